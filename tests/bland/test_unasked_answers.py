"""An answer belongs to the request before it: nothing that a server sends unasked is taken for another's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

import anyio
import pytest

from batch.bland.api import BlandTarget
from batch.bland.credentials import ApiKey
from batch.target import Verdict
from tests.bland.wires import OK, Play, Server, Wire, always, answer, forever, serving

pytestmark = pytest.mark.anyio

Transport = Literal["direct", "httpx"]
REFUSAL = answer(422, b'{"status": "error", "message": "no such codec"}')
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture
def anyio_backend() -> str:
    """The target is asyncio's."""
    return "asyncio"


@pytest.fixture(params=["direct", "httpx"])
def transport(request: pytest.FixtureRequest) -> Transport:
    """Both make the same of it."""
    return "direct" if request.param == "direct" else "httpx"


def target_at(server: Server, transport: Transport) -> BlandTarget:
    """One connection, so that a request follows the one before it on it where it can."""
    return BlandTarget(
        server.url, ApiKey("canary-4f9d2c71e0b8", source="test"), connections=1, transport=transport
    )


async def verdicts(target: BlandTarget, count: int) -> list[Verdict]:
    """What came of so many requests, one after the other, with a moment between them."""
    found = []
    for nth in range(count):
        outcome = await target.send(f"+1415555010{nth}", "outbound", b'{"codec_config":{}}')
        found.append(outcome.verdict)
        await anyio.sleep(0.02)
    return found


def first_then(first: Sequence[bytes], then: bytes) -> Play:
    """The first request gets all these pieces, each on its way before the next; the others get `then`."""
    is_first = True

    async def play(wire: Wire) -> None:
        nonlocal is_first
        if not is_first:
            await wire.write(then)
            return
        is_first = False
        for piece in first:
            await wire.write(piece)
            await asyncio.sleep(0.005)

    return play


@pytest.mark.parametrize(
    "first",
    [
        pytest.param([OK + OK], id="twice at once"),
        pytest.param([OK, OK], id="twice"),
        pytest.param([OK, OK[:20]], id="half of another"),
        pytest.param([OK, OK[:20], OK[20:]], id="another in pieces"),
        pytest.param([OK, TIMED_OUT], id="a connection that was idle for too long"),
        pytest.param([OK, b"\r\n"], id="a line behind it"),
    ],
)
async def test_what_comes_unasked_is_no_answer(first: Sequence[bytes], transport: Transport) -> None:
    """The second request is refused, whatever was sent behind the answer to the first: it did not succeed."""
    async with serving(first_then(first, REFUSAL)) as server, target_at(server, transport) as target:
        assert await verdicts(target, 3) == [Verdict.ACCEPTED, Verdict.REFUSED, Verdict.REFUSED]
    assert len(server.requests) == 3


async def test_garbage_behind_an_answer_takes_the_connection_with_it(transport: Transport) -> None:
    """The answer before it may count or be in doubt; those after it come over another connection."""
    play = first_then([OK + b"garbage"], REFUSAL)
    async with serving(play) as server, target_at(server, transport) as target:
        first, *others = await verdicts(target, 3)
    assert first in (Verdict.ACCEPTED, Verdict.AMBIGUOUS)
    assert others == [Verdict.REFUSED, Verdict.REFUSED]
    assert server.connections == 2


async def test_server_that_is_always_about_to_answer_is_left(transport: Transport) -> None:
    """A flood of interim answers ends its request long before any deadline, and holds up no other."""
    flood = forever(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 100)
    is_first = True

    async def first_flood(wire: Wire) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            await flood(wire)
        else:
            await wire.write(OK)

    async with serving(first_flood) as server, target_at(server, transport) as target:
        with anyio.fail_after(10):
            outcome = await target.send("+14155550100", "outbound", b'{"codec_config":{}}')
            assert (outcome.verdict, outcome.error_code) == (Verdict.AMBIGUOUS, "BAD_ANSWER")
            assert await verdicts(target, 1) == [Verdict.ACCEPTED]


@pytest.mark.parametrize("count", [1, 100])
async def test_interim_answers_are_waited_out(count: int, transport: Transport) -> None:
    """A server may say a hundred times that it is about to answer; what counts is the answer."""
    data = b"HTTP/1.1 102 Processing\r\n\r\n" * count + OK
    async with serving(always(data)) as server, target_at(server, transport) as target:
        assert await verdicts(target, 2) == [Verdict.ACCEPTED] * 2
    assert server.connections == 1
