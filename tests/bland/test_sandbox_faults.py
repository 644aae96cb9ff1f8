"""The sandbox's answers and faults over real sockets: each in its own way."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from batch.bland.sandbox import ANY_KEY, Answer, Reply
from batch.bland.sandbox_answers import BOMB_BYTES
from tests.bland.sandbox_client import KEY, sandboxed

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[pytest.param(False, id="asyncio"), pytest.param(True, id="uvloop")])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops: each has its own way to close a connection."""
    return "asyncio", {"use_uvloop": request.param}


def everyone(*faults: str | Reply) -> dict[str, Any]:
    """Options by which the first arrivals of every key meet these faults."""
    return {"script": {ANY_KEY: faults}}


# --- answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        ("ok/null", 200, {"data": None, "errors": None}),
        ("ok/status200", 200, {"status": 200}),
        ("ok/success", 200, {"status": "success"}),
        ("ok/bare", 200, {"phone_number": KEY[0], "direction": KEY[1]}),
        ("ok/data", 200, {"errors": None}),
    ],
)
async def test_a_success_can_come_in_every_body(fault: str, status: int, body: Mapping[str, object]) -> None:
    """Each of the API's success bodies is applied, and carries no error."""
    async with sandboxed(**everyone(fault)) as client:
        heard = await client.patch()
        assert heard.status == status
        assert body.items() <= heard.json.items()
        assert client.sandbox.applied_of(*KEY) == 1


@pytest.mark.parametrize(("fault", "status"), [("ok/empty", 200), ("empty", 200), ("ok/204", 204)])
async def test_a_success_can_come_without_a_body(fault: str, status: int) -> None:
    """An empty 200 and a 204 are applied too, and the connection stays good."""
    async with sandboxed(**everyone(fault)) as client:
        heard = await client.patch()
        assert (heard.status, heard.body) == (status, b"")
        assert (await client.patch()).status == 200
        assert client.sandbox.applied_of(*KEY) == 2


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        ("200/1", 200, {"data": None, "errors": [{"error": "BAD_REQUEST", "message": "Invalid parameters"}]}),
        ("200/2", 200, {"status": "error", "message": "Invalid parameters"}),
        ("200/5", 200, {"error": "Invalid parameters"}),
        (
            "200/4:SIP_NOT_ENABLED",
            200,
            {
                "status": "error",
                "data": None,
                "errors": [{"error": "SIP_NOT_ENABLED", "message": "SIP is not enabled for this account"}],
            },
        ),
        (
            "400",
            400,
            {
                "status": "error",
                "message": "Invalid parameters",
                "errors": ["BAD_REQUEST: Invalid parameters"],
            },
        ),
        (
            "401",
            401,
            {
                "data": None,
                "errors": [
                    {"error": "AUTH_FAILURE", "message": "The API key is missing, wrong or expired"},
                ],
            },
        ),
        ("402", 402, {"status": "error", "message": "Insufficient balance"}),
        (
            "403",
            403,
            {
                "data": None,
                "errors": [
                    {
                        "error": "INSUFFICIENT_SCOPE",
                        "message": "This API key lacks the scope that this call needs",
                        "required_scope": "sip:write",
                    }
                ],
            },
        ),
        ("403/2:SOME_CODE", 403, {"status": "error", "message": "SOME_CODE"}),
        ("404", 404, {"data": None, "errors": [{"error": "NOT_FOUND", "message": "Phone number not found"}]}),
        (
            "409",
            409,
            {
                "data": None,
                "errors": [{"error": "CONFLICT", "message": "The number is being changed by another call"}],
            },
        ),
        (
            "422",
            422,
            {
                "data": None,
                "errors": [
                    {"error": "VALIDATION_ERROR", "message": "The configuration cannot be applied"},
                ],
            },
        ),
        ("429", 429, {"status": "error", "message": "Rate limit exceeded"}),
        (
            "429/1",
            429,
            {"data": None, "errors": [{"error": "TOO_MANY_REQUESTS", "message": "Rate limit exceeded"}]},
        ),
        (
            "429/1:Rate Limit Exceeded",
            429,
            {"data": None, "errors": [{"error": "Rate Limit Exceeded", "message": "Rate limit exceeded"}]},
        ),
        ("500", 500, {"status": "error", "message": "Something went wrong"}),
        ("503/5", 503, {"error": "Something went wrong"}),
    ],
)
async def test_a_failure_can_come_in_every_body(fault: str, status: int, body: Mapping[str, object]) -> None:
    """Each of the API's failure bodies, at any status, 200 included: answered, and nothing applied."""
    async with sandboxed(**everyone(fault)) as client:
        heard = await client.patch()
        assert (heard.status, heard.json) == (status, body)
        assert heard.headers["Content-Type"].startswith("application/json")
        assert client.sandbox.applied == {}


@pytest.mark.parametrize("status", [502, 503, 504, 520, 522, 526])
async def test_a_proxys_failure_is_a_page(status: int) -> None:
    """Bad gateways answer by an HTML page, and nothing is applied."""
    async with sandboxed(**everyone(str(status))) as client:
        heard = await client.patch()
        assert heard.status == status
        assert heard.headers["Content-Type"].startswith("text/html")
        assert b"<html>" in heard.body
        assert client.sandbox.applied == {}


async def test_a_page_can_come_with_status_200() -> None:
    """`html` looks like a success to whoever reads the status alone; nothing is applied."""
    async with sandboxed(**everyone("html")) as client:
        heard = await client.patch()
        assert (heard.status, heard.body[:15]) == (200, b"<!DOCTYPE html>")
        assert client.sandbox.applied == {}


async def test_missing_rights_are_told_in_the_header_too() -> None:
    """403 INSUFFICIENT_SCOPE comes with the challenge that the vendor's other calls send."""
    async with sandboxed(**everyone("403")) as client:
        heard = await client.patch()
        assert 'error="insufficient_scope"' in heard.headers["WWW-Authenticate"]


async def test_every_failure_can_be_put_into_one_body() -> None:
    """`failure_form` holds for what the sandbox refuses by itself, and for faults that name no form."""
    async with sandboxed(failure_form="4", **everyone("500", "500/5")) as client:
        assert (await client.patch()).json["status"] == "error"
        assert (await client.patch()).json == {"error": "Something went wrong"}
        assert (await client.patch(b"{}")).json["data"] is None
        assert (await client.get("/nowhere")).json["status"] == "error"


async def test_every_success_can_be_put_into_one_body() -> None:
    """`success_form` is the body of every success."""
    async with sandboxed(success_form="null") as client:
        assert (await client.patch()).json == {"data": None, "errors": None}


async def test_a_redirect_leads_elsewhere() -> None:
    """`redirect` points to another path of the same server; whoever follows it is seen there."""
    async with sandboxed(**everyone("redirect", "308")) as client:
        heard = await client.patch()
        assert (heard.status, heard.headers["Location"]) == (307, f"{client.sandbox.base_url}/v1/sip/moved")
        assert (await client.patch()).status == 308
        assert client.sandbox.applied == {}


async def test_an_answer_can_be_given_word_for_word() -> None:
    """A script may hold a whole answer, with any header and body, applied or not."""
    answer = Answer(429, b'{"slow": "down"}', headers=(("Retry-After", "soon"),))
    async with sandboxed(**everyone(Reply(answer), Reply(Answer(202), applies=True))) as client:
        heard = await client.patch()
        assert (heard.status, heard.headers["Retry-After"], heard.json) == (429, "soon", {"slow": "down"})
        assert client.sandbox.applied_of(*KEY) == 0
        assert (await client.patch()).status == 202
        assert client.sandbox.applied_of(*KEY) == 1


# --- connections ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "applied"), [("reset_before", 0), ("reset_after", 1)])
async def test_a_reset_looks_the_same_before_and_after_applying(fault: str, applied: int) -> None:
    """Either way the client sees ECONNRESET and nothing else; only the sandbox knows what was applied."""
    async with sandboxed(**everyone(fault)) as client:
        with pytest.raises(aiohttp.ClientOSError, match=r"\[Errno 104\]"):
            await client.patch()
        assert client.sandbox.received_of(*KEY) == 1
        assert client.sandbox.applied_of(*KEY) == applied
        assert client.sandbox.counts == {fault: 1}


@pytest.mark.parametrize(("fault", "applied"), [("hang", 0), ("hang+applied", 1)])
async def test_a_hang_never_answers(fault: str, applied: int) -> None:
    """Only the client's leaving ends it; the next request is answered."""
    async with sandboxed(**everyone(fault)) as client:
        await client.patch_in_vain()
        assert client.sandbox.applied_of(*KEY) == applied
        assert (await client.patch()).status == 200


async def test_a_drip_arrives_whole_in_the_end() -> None:
    """`drip` sends an ordinary answer byte by byte."""
    async with sandboxed(drip_s=0, **everyone("drip")) as client:
        assert (await client.patch()).json["errors"] is None
        assert client.sandbox.applied_of(*KEY) == 1


async def test_a_slow_drip_outlasts_a_clients_patience() -> None:
    """However long a client waits between two bytes, only a deadline over all of them ends it."""
    async with sandboxed(drip_s=0.01, **everyone("drip")) as client:
        with pytest.raises(TimeoutError):
            await client.patch(timeout_s=0.1)


async def test_endless_headers_end_at_the_clients_bound() -> None:
    """`endless_headers` sends headers until the client has had enough."""
    async with sandboxed(drip_s=0, **everyone("endless_headers")) as client:
        with pytest.raises(aiohttp.ClientResponseError, match="Too many headers"):
            await client.patch()


async def test_a_truncated_body_is_shorter_than_it_says() -> None:
    """`truncated` closes in the middle of the body, after the request was applied."""
    async with sandboxed(**everyone("truncated")) as client:
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.patch()
        assert client.sandbox.applied_of(*KEY) == 1


async def test_bad_gzip_does_not_unpack() -> None:
    """`bad_gzip` says that it is gzip, and is not."""
    async with sandboxed(**everyone("bad_gzip")) as client:
        heard = await client.patch()
        assert heard.headers["Content-Encoding"] == "gzip"
        with pytest.raises(zlib.error):
            zlib.decompress(heard.body, wbits=31)


async def test_a_bomb_is_small_on_the_wire_and_huge_unpacked() -> None:
    """`bomb` is a valid answer of less than a megabyte that unpacks to more than 200."""
    async with sandboxed(**everyone("bomb")) as client:
        heard = await client.patch()
        assert len(heard.body) < 1_000_000
        unpacker, size = zlib.decompressobj(wbits=31), 0
        data = heard.body
        while data:
            size += len(unpacker.decompress(data, 1 << 20))
            data = unpacker.unconsumed_tail
        assert size > BOMB_BYTES


@pytest.mark.parametrize("fault", ["garbage", "huge_headers"])
async def test_what_is_no_answer_breaks_the_protocol(fault: str) -> None:
    """No HTTP at all, and a megabyte of headers, are errors of the protocol for any client."""
    async with sandboxed(**everyone(fault)) as client:
        with pytest.raises(aiohttp.ClientResponseError):
            await client.patch()
        assert client.sandbox.applied_of(*KEY) == 1


async def test_a_faults_effect_can_be_turned_round() -> None:
    """`+applied` and `+unapplied` change whether a request was applied, and nothing that the client sees."""
    async with sandboxed(**everyone("504+applied", "truncated+unapplied", "ok+unapplied")) as client:
        assert (await client.patch()).status == 504
        assert client.sandbox.applied_of(*KEY) == 1
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.patch()
        assert (await client.patch()).status == 200
        assert client.sandbox.applied_of(*KEY) == 1
