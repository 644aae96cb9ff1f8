"""The webhook: signed, over https, tried again where that helps, in bounded time, its URL told to nobody."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from batch import webhook
from batch.errors import UsageError
from batch.journal.memory import MemoryJournal
from batch.report.summary import summarise
from batch.webhook import SECRET_VARIABLE, Delivery, Webhook, body_of, read_webhook, signature, text_of
from tests.report_runs import mixed_run

SECRET = "a-secret-that-is-long-enough"
ENVIRON = {SECRET_VARIABLE: SECRET}
DOCS = Path(__file__).parent.parent / "docs"
FIXTURES = Path(__file__).parent / "bland" / "fixtures"
TOKEN = "T0KEN-in-the-path"


@dataclass(frozen=True, slots=True)
class Received:
    """One request that came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """What a webhook leads to: answers with these statuses in turn, the last one for ever."""

    statuses: Sequence[int] = (200,)
    headers: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    url: str = ""
    is_silent: bool = False
    released: threading.Event = field(default_factory=threading.Event)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers["Content-Length"])
        self.received.append(Received(request.path, dict(request.headers), request.rfile.read(length)))
        if self.is_silent:
            self.released.wait(30)
        status = self.statuses[min(len(self.received), len(self.statuses)) - 1]
        request.send_response(status)
        for name, value in {"Content-Length": "0", **self.headers}.items():
            request.send_header(name, value)
        request.end_headers()


@contextmanager
def receiving(receiver: Receiver, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """The receiver behind a real server on the loopback address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.answer(self)

        def log_message(self, *args: object) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def handle_error(self, *args: object) -> None:
            """A client that goes away is no error of the receiver's."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/hooks/{TOKEN}?key={TOKEN}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two attempts here."""
    monkeypatch.setattr(webhook, "_FIRST_PAUSE_S", 0.0)


def post(receiver: Receiver, body: bytes = b"{}") -> Delivery:
    """Post to a receiver."""
    return anyio.run(read_webhook(receiver.url, ENVIRON).post, body)


def documented(name: str) -> Callable[..., Any]:
    """A function out of the Python in docs/hooks.md."""
    [code] = re.findall(r"```python\n(.*?)```", (DOCS / "hooks.md").read_text(encoding="utf-8"), re.DOTALL)
    module: dict[str, Any] = {}
    exec(code, module)
    function: Callable[..., Any] = module[name]
    return function


# --- the signature ----------------------------------------------------------------------------------


def test_signature_is_hmac_of_time_and_body() -> None:
    """As `printf '1785144600.{"a":1}' | openssl dgst -sha256 -hmac 'a-secret-...'` says."""
    assert signature(SECRET.encode(), 1_785_144_600, b'{"a":1}') == ("t=1785144600,v1=" + EXPECTED)


EXPECTED = "d7a9fb90d6265d444d0c3c530bbca23182834f999ee1f9976aa620f491ea667e"


def test_receiver_of_the_docs_takes_what_was_sent_and_nothing_else() -> None:
    """The snippet in docs/hooks.md verifies a real delivery; another body, secret or time it refuses."""
    verify = documented("is_from_sipbatch")
    with receiving(Receiver()) as receiver:
        assert post(receiver, b'{"text": "\xc3\xa4"}').is_taken
    [received] = receiver.received
    header = received.headers["X-Sipbatch-Signature"]
    assert verify(SECRET, header, received.body)
    assert not verify(SECRET, header, received.body + b" ")
    assert not verify("another-secret-of-some-length", header, received.body)
    assert not verify(SECRET, header, received.body, longest_s=-1)
    later = re.sub(r"t=\d+", "t=1785144600", header)
    assert not verify(SECRET, later, received.body, longest_s=1e12)
    assert not any(verify(SECRET, wrong, received.body) for wrong in ("", "t=,v1=", "t=²,v1=ä", "nonsense"))


# --- what is posted ---------------------------------------------------------------------------------


def test_body_is_the_summary_and_two_fields_more() -> None:
    """All of `summary.json` as it is, what to show in a chat, and the exit code."""
    journal = MemoryJournal()
    summary = summarise(journal, mixed_run(journal))
    body = json.loads(body_of(summary, 3))
    text, exit_code = body.pop("text"), body.pop("exit_code")
    assert body == json.loads(summary.to_json())
    assert exit_code == 3
    assert text.startswith(f"sipbatch run {summary.run.id} completed, exit code 3. {summary.headline}\n")
    assert "2 × NOT_FOUND (HTTP 404): no such number <number>" in text
    assert text == text_of(summary, 3)


def test_text_has_no_whole_number() -> None:
    """What goes into a chat is a log that many read."""
    journal = MemoryJournal()
    text = text_of(summarise(journal, mixed_run(journal)), 3)
    assert re.findall(r"\+?\d{9,}", text) == []


# --- posting ----------------------------------------------------------------------------------------


def test_summary_is_posted_as_json() -> None:
    """One POST to the very URL, which says what it is."""
    with receiving(Receiver()) as receiver:
        delivery = post(receiver, b'{"a":1}')
    assert delivery == Delivery("127.0.0.1", 1, 200, "")
    [received] = receiver.received
    assert (received.path, received.body) == (f"/hooks/{TOKEN}?key={TOKEN}", b'{"a":1}')
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers["User-Agent"].startswith("sipbatch/")


@pytest.mark.parametrize("first", [429, 500, 503, 408])
def test_what_passes_is_tried_again(first: int) -> None:
    """A receiver that has a bad moment gets it later, signed anew, known by the same delivery."""
    with receiving(Receiver((first, first, 204))) as receiver:
        delivery = post(receiver)
    assert (delivery.is_taken, delivery.attempts, delivery.http_status) == (True, 3, 204)
    assert len({received.headers["X-Sipbatch-Delivery"] for received in receiver.received}) == 1


def test_it_gives_up_in_the_end() -> None:
    """Four attempts, and then it says so without the URL."""
    with receiving(Receiver((502,))) as receiver:
        delivery = post(receiver)
    assert delivery == Delivery("127.0.0.1", 4, 502, "it answered with HTTP 502")


@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_what_is_refused_is_not_tried_again(status: int) -> None:
    """The same would be refused again."""
    with receiving(Receiver((status,))) as receiver:
        delivery = post(receiver)
    assert delivery == Delivery("127.0.0.1", 1, status, f"it answered with HTTP {status}")


def test_redirect_is_not_followed() -> None:
    """A signed summary goes where the operator said and nowhere else."""
    with receiving(Receiver()) as other, receiving(Receiver((307,), {"Location": other.url})) as receiver:
        delivery = post(receiver)
    assert not delivery.is_taken
    assert "give the URL that it leads to" in delivery.problem
    assert other.received == []


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is what is meant for one host shown to another."""
    with receiving(Receiver()) as proxy, receiving(Receiver()) as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert post(receiver).is_taken
    assert proxy.received == []


def test_nobody_there_is_told() -> None:
    """A closed port is tried a few times, and then told in words."""
    with receiving(Receiver()) as receiver:
        pass
    assert post(receiver) == Delivery("127.0.0.1", 4, None, "it cannot be reached")


def test_silence_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that takes the request and never answers holds the command for a bounded time."""
    monkeypatch.setattr(webhook, "LONGEST_S", 0.3)
    with receiving(Receiver(is_silent=True)) as receiver:
        delivery = post(receiver)
    assert delivery == Delivery("127.0.0.1", 1, None, "it did not answer in time")


def test_wait_that_the_receiver_asks_for_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Retry-After` is obeyed, but not beyond the time there is."""
    monkeypatch.setattr(webhook, "LONGEST_S", 0.3)
    with receiving(Receiver((503,), {"Retry-After": "3600"})) as receiver:
        delivery = post(receiver)
    assert (delivery.attempts, delivery.http_status, delivery.is_taken) == (1, 503, False)


def test_certificate_is_verified() -> None:
    """A server that cannot show who it is gets nothing."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(FIXTURES / "self_signed.pem")
    with receiving(Receiver(), tls) as receiver:
        delivery = post(receiver)
    assert delivery == Delivery("127.0.0.1", 1, None, "its certificate cannot be verified")
    assert receiver.received == []


# --- the URL and the secret -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"http://chat.example.com/{TOKEN}", "is not https"),
        (f"http://10.0.0.1/{TOKEN}", "is not https"),
        (f"ftp://chat.example.com/{TOKEN}", "must begin with https://"),
        (f"https:///{TOKEN}", "name a host"),
        (f"chat.example.com/{TOKEN}", "must begin with https://"),
        (f"https://me:{TOKEN}@chat.example.com/", "a user or a password"),
        (f"https://[{TOKEN}", "name a host"),
        (f"https://chat.example.com:port/{TOKEN}", "no URL"),
    ],
)
def test_url_that_may_not_be_posted_to_is_usage(url: str, said: str) -> None:
    """It says what is wrong, and never the URL."""
    with pytest.raises(UsageError) as caught:
        read_webhook(url, ENVIRON)
    assert said in str(caught.value)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]:80/x", "https://chat.example.com"]
)
def test_https_or_this_machine(url: str) -> None:
    """What stays on this machine may go without."""
    assert read_webhook(url, ENVIRON).host


@pytest.mark.parametrize(("secret", "said"), [("", "set SIPBATCH_WEBHOOK_SECRET"), ("short", "too short")])
def test_nothing_is_sent_unsigned(secret: str, said: str, tmp_path: Path) -> None:
    """Without a secret that deserves the name, the webhook is not used at all."""
    with pytest.raises(UsageError, match=said):
        read_webhook("https://chat.example.com/", {SECRET_VARIABLE: secret}, dotenv=tmp_path / ".env")


def test_secret_may_stand_in_a_dotenv(tmp_path: Path) -> None:
    """Beside the API key."""
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"{SECRET_VARIABLE}={SECRET}\n", encoding="utf-8")
    assert read_webhook("https://chat.example.com/", {}, dotenv=dotenv).secret == SECRET.encode()


def test_webhook_shows_neither_path_nor_secret() -> None:
    """Wherever it is printed by accident."""
    shown = repr(Webhook(httpx.URL(f"https://chat.example.com/{TOKEN}"), SECRET.encode()))
    assert shown == "Webhook(chat.example.com)"
