"""How the HTTP target sends, and what it makes of everything that a network does."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import ssl
import tracemalloc
import zlib
from pathlib import Path

import anyio
import pytest

from batch.bland.address import read_address
from batch.bland.api import BlandTarget
from batch.bland.credentials import ApiKey
from batch.errors import UnreachableError, UsageError
from batch.target import Advice, Target, Verdict
from batch.version import __version__
from tests.bland.wires import OK, Play, Server, Wire, always, answer, forever, hang, reset, serving, then_hang

KEY = "canary-4f9d2c71e0b8"
PAYLOAD = b'{"codec_config":{"codecs":["PCMU"],"transcode":true}}'
CERTIFICATE = Path(__file__).parent / "fixtures" / "self_signed.pem"

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The target is asyncio's: neither transport knows any other."""
    return "asyncio"


@pytest.fixture(params=["direct", "httpx"], autouse=True)
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whatever a network does, both transports make the same of it."""
    assert BlandTarget.__init__.__kwdefaults__["transport"] == "direct"
    monkeypatch.setitem(BlandTarget.__init__.__kwdefaults__, "transport", request.param)
    return str(request.param)


def target_at(server: Server | str, *, connections: int = 1, connect_timeout_s: float = 10.0) -> BlandTarget:
    """The target as commands make it."""
    url = server if isinstance(server, str) else server.url
    return BlandTarget(
        url, ApiKey(KEY, source="test"), connections=connections, connect_timeout_s=connect_timeout_s
    )


async def send(target: Target) -> tuple[Verdict, Advice, str]:
    """Send one request; what the engine acts on, and the code."""
    outcome = await target.send("+14155550100", "outbound", PAYLOAD)
    assert KEY not in repr(outcome)
    assert outcome.message or outcome.verdict is Verdict.ACCEPTED
    return outcome.verdict, outcome.advice, outcome.error_code


def tls_server() -> ssl.SSLContext:
    """A server's context with a certificate that signs itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


# --- what is sent -------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "header"), [("bearer", f"Bearer {KEY}"), ("raw", KEY)])
async def test_one_request_is_the_documented_call(scheme: str, header: str) -> None:
    """Method, path, headers and body are those of the vendor's page; the payload is sent as it is."""
    key = ApiKey(KEY, source="test")
    async with (
        serving(always(OK)) as server,
        BlandTarget(server.url, key, connections=1, scheme=scheme) as target,
    ):
        assert await send(target) == (Verdict.ACCEPTED, Advice.GO_ON, "")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert first == "PATCH /v1/sip/config HTTP/1.1"
    assert headers["authorization"] == header.lower()
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"] == f"sipbatch/{__version__}"
    assert "cookie" not in headers
    assert json.loads(body) == {
        "phone_number": "+14155550100",
        "direction": "outbound",
        **json.loads(PAYLOAD),
    }


async def test_connection_is_used_again_and_cookies_are_not() -> None:
    """A thousand requests need one handshake, and a server's cookies change none of them."""
    data = answer(headers=("Content-Type: application/json", "Set-Cookie: session=1; Path=/"))
    async with serving(always(data)) as server, target_at(server) as target:
        for _ in range(5):
            await send(target)
    assert server.connections == 1
    assert all(b"cookie" not in request.lower() for request in server.requests)


async def test_connections_are_as_many_as_were_asked_for() -> None:
    """Thirty sends at once over three connections open three."""
    async with (
        serving(always(OK)) as server,
        target_at(server, connections=3) as target,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(30):
            tasks.start_soon(send, target)
    assert (server.connections, len(server.requests)) == (3, 30)


async def test_redirect_is_not_followed() -> None:
    """The key goes to no other address, whatever the server says."""
    async with serving(always(OK)) as elsewhere:
        data = answer(307, b"", (f"Location: {elsewhere.url}/elsewhere?secret=1",))
        async with serving(always(data)) as server, target_at(server) as target:
            assert await send(target) == (Verdict.REFUSED, Advice.WRONG_ADDRESS, "REDIRECT")
            outcome = await target.send("+14155550100", "outbound", PAYLOAD)
    assert f"{elsewhere.url}/elsewhere" in outcome.message
    assert "secret" not in outcome.message
    assert elsewhere.connections == 0


async def test_proxies_of_the_environment_are_not_used_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten variable does not lead the key through another machine."""
    async with serving(always(OK)) as proxy, serving(always(OK)) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        async with target_at(server) as target:
            assert (await send(target))[0] is Verdict.ACCEPTED
    assert (proxy.connections, server.connections) == (0, 1)


# --- what comes back ----------------------------------------------------------------------------

AMBIGUOUS = (Verdict.AMBIGUOUS, Advice.GO_ON)
SUSPICIOUS = (Verdict.AMBIGUOUS, Advice.SUSPICIOUS)
GZIP = ("Content-Type: application/json", "Content-Encoding: gzip")


@pytest.mark.parametrize(
    ("play", "expected", "code"),
    [
        pytest.param(reset, AMBIGUOUS, "CONNECTION_LOST", id="reset after the request was read"),
        pytest.param(always(b"", close=True), AMBIGUOUS, "CONNECTION_LOST", id="closed without an answer"),
        pytest.param(
            always(b"HTTP/1.1 200", close=True), AMBIGUOUS, "CONNECTION_LOST", id="half a status line"
        ),
        pytest.param(
            always(b"HTTP/1.1 200 OK\r\nContent-", close=True),
            AMBIGUOUS,
            "CONNECTION_LOST",
            id="half headers",
        ),
        pytest.param(always(b"\x00\xffgarbage\r\n\r\n", close=True), AMBIGUOUS, "BAD_ANSWER", id="garbage"),
        pytest.param(
            always(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", close=True), AMBIGUOUS, "BAD_ANSWER", id="another protocol"
        ),
        pytest.param(always(b"HTTP/1.1 abc OK\r\n\r\n", close=True), AMBIGUOUS, "BAD_ANSWER", id="no status"),
        pytest.param(
            always(answer(headers=("X-Huge: " + "x" * 100_000,))), AMBIGUOUS, "BAD_ANSWER", id="a huge header"
        ),
        pytest.param(
            always(answer(headers=tuple(f"X-{i}: x" for i in range(10_000)))),
            AMBIGUOUS,
            "BAD_ANSWER",
            id="many headers",
        ),
        pytest.param(
            forever(b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n"),
            AMBIGUOUS,
            "BAD_ANSWER",
            id="headers without end",
        ),
        pytest.param(
            always(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"data": {}', close=True),
            AMBIGUOUS,
            "ANSWER_CUT_OFF",
            id="cut off in the body",
        ),
        pytest.param(
            always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", close=True),
            AMBIGUOUS,
            "ANSWER_CUT_OFF",
            id="cut off between chunks",
        ),
        pytest.param(
            always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", close=True),
            AMBIGUOUS,
            "BAD_ANSWER",
            id="bad chunk size",
        ),
        pytest.param(
            always(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", close=True),
            AMBIGUOUS,
            "ANSWER_CUT_OFF",
            id="closed behind the headers",
        ),
        pytest.param(always(answer(body=b"not gzip", headers=GZIP)), AMBIGUOUS, "BAD_ANSWER", id="bad gzip"),
        pytest.param(
            always(answer(body=gzip.compress(b"{}" + b" " * 999)[:-9], headers=GZIP)),
            AMBIGUOUS,
            "ANSWER_CUT_OFF",
            id="half a gzip",
        ),
        pytest.param(
            always(answer(body=b"{}", headers=("Content-Encoding: br",))),
            AMBIGUOUS,
            "BAD_ANSWER",
            id="unknown compression",
        ),
        pytest.param(
            always(answer(body=b"{}", headers=("Content-Encoding: gzip, gzip, gzip",))),
            AMBIGUOUS,
            "BAD_ANSWER",
            id="compressed thrice",
        ),
        pytest.param(
            forever(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65_536),
            SUSPICIOUS,
            "ANSWER_TOO_LARGE",
            id="body without end",
        ),
        pytest.param(always(answer(body=b"<html></html>")), SUSPICIOUS, "NOT_THE_API", id="an HTML page"),
        pytest.param(always(answer(101, b"")), SUSPICIOUS, "HTTP_101", id="switched protocols"),
    ],
)
async def test_answer_that_is_none_is_in_doubt(
    play: Play, expected: tuple[Verdict, Advice], code: str
) -> None:
    """The request was sent and perhaps applied: it is neither a success nor lost, and nothing is raised."""
    async with serving(play) as server, target_at(server) as target:
        with anyio.fail_after(10):
            assert await send(target) == (*expected, code)
            await send(target)  # the mishap took no connection with it
    assert len(server.requests) == 2  # and none was sent again behind the engine's back


async def test_reset_before_the_request_is_read_is_in_doubt() -> None:
    """Seen from here it is the same as a reset after it was applied."""
    async with serving(always(OK), on_connect=reset) as server, target_at(server) as target:
        assert await send(target) == (*AMBIGUOUS, "CONNECTION_LOST")
    assert server.requests == []


@pytest.mark.parametrize(
    "data",
    [
        answer(body=gzip.compress(b'{"data": {}}'), headers=GZIP),
        answer(body=zlib.compress(b'{"data": {}}'), headers=("Content-Encoding: deflate",)),
        answer(body=zlib.compress(b'{"data": {}}')[2:-4], headers=("Content-Encoding: deflate",)),
        answer(body=gzip.compress(gzip.compress(b"{}")), headers=("Content-Encoding: gzip, x-gzip",)),
        answer(body=b"", headers=()),
        answer(body=b"", headers=GZIP),
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK,
    ],
)
async def test_unusual_but_proper_success_is_one(data: bytes) -> None:
    """Compression that was not asked for, an empty body and early hints are no mishaps."""
    async with serving(always(data)) as server, target_at(server) as target:
        assert await send(target) == (Verdict.ACCEPTED, Advice.GO_ON, "")
        assert await send(target) == (Verdict.ACCEPTED, Advice.GO_ON, "")
    assert server.connections == 1


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (answer(401, b"not gzip", GZIP), (Verdict.REFUSED, Advice.CREDENTIALS, "HTTP_401")),
        (answer(503, b" " * 2_000_000), (Verdict.TRANSIENT, Advice.THROTTLED, "HTTP_503")),
        (
            b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 99\r\n\r\n{",
            (Verdict.TRANSIENT, Advice.THROTTLED, "HTTP_429"),
        ),
    ],
)
async def test_status_counts_even_if_the_body_cannot_be_read(
    data: bytes, expected: tuple[Verdict, Advice, str]
) -> None:
    """A 401 with a broken body still stops the run."""
    async with serving(always(data, close=True)) as server, target_at(server) as target:
        assert await send(target) == expected


async def test_headers_of_the_answer_reach_the_outcome() -> None:
    """Wait, rate and identifier come through the wire."""
    lines = ("Retry-After: 7", "X-Request-Id: req-1", "RateLimit-Policy: 10;w=5")
    async with serving(always(answer(429, b"", lines))) as server, target_at(server) as target:
        outcome = await target.send("+14155550100", "inbound", PAYLOAD)
    assert (outcome.retry_after_s, outcome.request_id, outcome.rate_per_s) == (7.0, "req-1", 2.0)


async def test_bomb_is_not_unpacked() -> None:
    """Two hundred megabytes in two hundred kilobytes take no more than a megabyte here."""
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(200)) + packer.flush()
    async with serving(always(answer(body=bomb, headers=GZIP))) as server, target_at(server) as target:
        tracemalloc.start()
        result = await send(target)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert result == (*SUSPICIOUS, "ANSWER_TOO_LARGE")
    assert peak_bytes < 10_000_000


# --- the deadline -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "play",
    [
        pytest.param(hang, id="says nothing"),
        pytest.param(then_hang(b"HTTP/1.1 200 OK\r\nX-Half"), id="stops in the headers"),
        pytest.param(then_hang(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"), id="stops in the body"),
        pytest.param(then_hang(b"HTTP/1.1 100 Continue\r\n\r\n"), id="stops after continue"),
    ],
)
async def test_deadline_of_the_caller_drops_the_connection(play: Play) -> None:
    """A server that drips or hangs is left when time is up, and the slot it held is free again."""
    slow = True

    async def first_slow(wire: Wire) -> None:
        await (play if slow else always(OK))(wire)

    async with serving(first_slow) as server, target_at(server, connections=1) as target:
        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(send, target)
                await server.arrived.wait()
                tasks.cancel_scope.deadline = anyio.current_time() + 0.02
            assert tasks.cancel_scope.cancelled_caught
            with anyio.fail_after(5):
                await server.ended.wait()
            server.forget()
        slow = False
        assert await send(target) == (Verdict.ACCEPTED, Advice.GO_ON, "")
    assert server.connections == 3


# --- no connection ------------------------------------------------------------------------------


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


UNREACHABLE = (Verdict.TRANSIENT, Advice.UNREACHABLE)


async def test_refused_connection_means_that_nothing_was_sent() -> None:
    """It may be sent again at once when the server is back, and the probe says so before the run."""
    async with target_at(f"http://127.0.0.1:{free_port()}") as target:
        assert await send(target) == (*UNREACHABLE, "CONNECTION_REFUSED")
        with pytest.raises(UnreachableError, match=r"refused the connection\. Nothing was sent") as caught:
            await target.probe()
    assert caught.value.exit_code == 75


async def test_name_that_is_not_found_means_that_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo in the address is named as one."""

    def not_found(*args: object, **kwargs: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", not_found)
    async with target_at("https://api.bland.example") as target:
        assert await send(target) == (*UNREACHABLE, "NAME_NOT_FOUND")
        with pytest.raises(UnreachableError, match=r"the name api\.bland\.example was not found"):
            await target.probe()


async def test_connecting_has_a_bound_of_its_own() -> None:
    """A handshake that never ends is not taken for a request that was sent."""
    async with serving(hang) as server, target_at(server.tls_url, connect_timeout_s=0.1) as target:
        assert await send(target) == (*UNREACHABLE, "CONNECT_TIMEOUT")
        with pytest.raises(UnreachableError, match="in time"):
            await target.probe()
    assert server.requests == []


async def test_server_without_tls_gets_nothing_in_clear() -> None:
    """An https address is never spoken to in http."""
    in_clear = always(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    async with serving(always(OK), on_connect=in_clear) as server, target_at(server.tls_url) as target:
        assert await send(target) == (*UNREACHABLE, "TLS_FAILED")
        with pytest.raises(UnreachableError, match="does not speak TLS"):
            await target.probe()
    assert all(KEY.encode() not in request for request in server.requests)


async def test_certificate_that_cannot_be_verified_ends_it() -> None:
    """Nothing is sent to a server that nobody vouches for, and sending again would not help."""
    async with serving(always(OK), tls=tls_server()) as server, target_at(server.tls_url) as target:
        assert await send(target) == (Verdict.REFUSED, Advice.UNTRUSTED, "TLS_UNTRUSTED")
        with pytest.raises(UnreachableError, match=r"self-signed certificate.*SSL_CERT_FILE"):
            await target.probe()
    assert server.requests == []


@pytest.mark.parametrize("by_environment", [False, True])
async def test_authority_of_ones_own_is_trusted(
    by_environment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A company's own certificates work by option and by SSL_CERT_FILE."""
    if by_environment:
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    bundle = None if by_environment else CERTIFICATE
    async with serving(always(OK), tls=tls_server()) as server:
        key = ApiKey(KEY, source="test")
        async with BlandTarget(server.tls_url, key, connections=1, ca_bundle=bundle) as target:
            await target.probe()
            assert await send(target) == (Verdict.ACCEPTED, Advice.GO_ON, "")


async def test_probe_sends_nothing() -> None:
    """Before the run, the server sees a connection and no request."""
    async with serving(always(OK)) as server, target_at(server) as target:
        await target.probe()
        with anyio.fail_after(5):
            await server.ended.wait()
    assert (server.connections, server.requests) == (1, [])


# --- the address --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://api.bland.ai", "https://api.bland.ai"),
        (" https://API.bland.ai:443/ ", "https://api.bland.ai"),
        ("https://proxy.example.com/bland/", "https://proxy.example.com/bland"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_address_has_one_spelling(given: str, url: str) -> None:
    """Keys carry the address: the same one written otherwise is the same target."""
    assert read_address(given).url == url
    assert BlandTarget(given, ApiKey(KEY, source="test"), connections=1).name == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.bland.ai",
        "ftp://api.bland.ai",
        "https://",
        "https://api.bland.ai/v1",
        "https://api.bland.ai/v1/sip/config",
        "https://api.bland.ai?key=CANARY",
        "https://user:CANARY@api.bland.ai",
        "http://api.bland.ai",
        "http://10.0.0.1",
        "http://localhost.example.com",
        "https://api.bland.ai:99999",
        "https://[CANARY",
    ],
)
def test_address_that_is_wrong_or_unsafe_is_refused(url: str) -> None:
    """Before anything is read or sent, and without showing what may be a password."""
    with pytest.raises(UsageError) as caught:
        BlandTarget(url, ApiKey(KEY, source="test"), connections=1)
    assert "CANARY" not in str(caught.value)


def test_ca_bundle_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    """A wrong path never falls back to trusting others."""
    (tmp_path / "empty.pem").write_text("nothing")
    for path in (tmp_path / "missing.pem", tmp_path / "empty.pem"):
        with pytest.raises(UsageError, match="CA bundle"):
            BlandTarget("https://api.bland.ai", ApiKey(KEY, source="test"), connections=1, ca_bundle=path)


# --- reading, and keeping the key ---------------------------------------------------------------


async def test_reading_gives_the_answers_value() -> None:
    """A number is asked for by its E.164 form, escaped as URLs want it."""
    body = b'{"data": {"inbound": null, "outbound": {"number": "+14155550100"}}, "errors": null}'
    async with serving(always(answer(body=body))) as server, target_at(server) as target:
        outcome, value = await target.get_config("+14155550100")
        await target.get_status("+14155550100")
        await target.get_numbers()
    assert (outcome.verdict, value) == (Verdict.ACCEPTED, json.loads(body))
    assert [request.split(b" HTTP")[0] for request in server.requests] == [
        b"GET /v1/sip?phone_number=%2B14155550100",
        b"GET /v1/sip/status?phone_number=%2B14155550100",
        b"GET /v1/sip/numbers",
    ]


async def test_failed_read_gives_no_value() -> None:
    """What could not be read is not mistaken for something that is not there."""
    body = b'{"data": null, "errors": [{"error": "NOT_FOUND", "message": "No such number"}]}'
    async with serving(always(answer(404, body))) as server, target_at(server) as target:
        outcome, value = await target.get_config("+14155550100")
    assert (outcome.verdict, outcome.message, value) == (Verdict.REFUSED, "No such number", None)


async def test_list_of_numbers_may_be_longer_than_an_answer() -> None:
    """An account of two hundred thousand numbers is read whole."""
    body = json.dumps(
        {"data": {"numbers": [{"phone_number": f"+1415555{i:04}"} for i in range(50_000)]}}
    ).encode()
    async with serving(always(answer(body=body))) as server, target_at(server) as target:
        outcome, value = await target.get_numbers()
    assert outcome.verdict is Verdict.ACCEPTED
    assert value == json.loads(body)


@pytest.mark.parametrize(
    "data",
    [
        answer(400, json.dumps({"error": f"bad key {KEY}"}).encode()),
        answer(
            401, f"<html><title>{KEY}</title>".encode(), ("Content-Type: text/html", f"X-Request-Id: {KEY}")
        ),
        answer(302, b"", (f"Location: https://example.com/{KEY}?{KEY}",)),
        b"HTTP/1.1 " + KEY.encode() + b"\r\n\r\n",
        answer(200, KEY.encode()),
        b"HTTP/1.1 200 " + KEY.encode() + b"\r\nContent-Length: 99\r\n\r\n",
    ],
)
async def test_key_is_in_no_outcome_and_no_log(
    data: bytes, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that sends the key back does not get it into a report, at any level of logging."""
    caplog.set_level(logging.DEBUG)
    async with serving(always(data, close=True)) as server, target_at(server) as target:
        outcome = await target.send("+14155550100", "outbound", PAYLOAD)
        assert KEY not in repr((outcome, target))
    captured = capsys.readouterr()
    assert KEY not in caplog.text + captured.out + captured.err
    assert not [
        record for record in caplog.records if record.name.startswith(("httpx", "aiohttp", "httpcore"))
    ]
