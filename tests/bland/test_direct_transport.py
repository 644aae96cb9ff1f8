"""Promises of `batch.bland.direct_transport`: an answer is only ever that of its own request."""

from __future__ import annotations

import asyncio
import time

import anyio
import pytest

from batch.bland import direct_transport
from batch.bland.address import read_address
from batch.bland.direct_transport import DirectTransport
from batch.bland.transport import Answer, UnansweredError
from tests.bland.wires import OK, Server, Wire, always, answer, hang, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Its connections are asyncio's."""
    return "asyncio"


def transport_to(server: Server, *, connections: int = 1) -> DirectTransport:
    """As the target makes it."""
    fields = {"Authorization": "Bearer key", "Content-Type": "application/json"}
    return DirectTransport(
        read_address(server.url), fields, None, connections=connections, connect_timeout_s=5.0
    )


async def patch(transport: DirectTransport) -> Answer:
    """One request."""
    return await transport.exchange("PATCH", "/v1/sip/config", b"{}", largest_bytes=1_000)


async def test_what_nobody_asked_for_is_no_answer_to_the_next() -> None:
    """A server that speaks while nothing is asked is left: the next request goes over another connection."""

    async def then_speak(wire: Wire) -> None:
        await wire.write(OK)
        await asyncio.sleep(0.02)
        await wire.write(answer(200, b'{"is": "late"}'))

    async with serving(then_speak) as server, transport_to(server) as transport:
        await patch(transport)
        await asyncio.sleep(0.1)
        assert (await patch(transport)).body == b'{"data": null, "errors": null}'
    assert server.connections == 2


@pytest.mark.parametrize(
    "behind", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.1 2", b"junk"]
)
async def test_bytes_behind_an_answer_end_the_connection(behind: bytes) -> None:
    """The answer counts; what stands behind it is nobody's."""
    async with serving(always(OK + behind)) as server, transport_to(server) as transport:
        for _ in range(2):
            found = await patch(transport)
            assert (found.status, found.flaw, found.body) == (200, None, b'{"data": null, "errors": null}')
    assert server.connections == 2


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_server_that_ends_connections_gets_new_ones(head: bytes) -> None:
    """A connection that is about to end carries no further request, even if its end has not arrived."""
    async with serving(always(head)) as server, transport_to(server) as transport:
        for _ in range(3):
            assert (await patch(transport)).body == b"{}"
    assert (server.connections, len(server.requests)) == (3, 3)


async def test_connection_that_rested_too_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The far end may be about to close it, and the request would be in doubt for nothing."""
    async with serving(always(OK)) as server, transport_to(server) as transport:
        await patch(transport)
        later_s = time.monotonic() + 31.0
        monkeypatch.setattr(direct_transport, "monotonic", lambda: later_s)
        await patch(transport)
    assert server.connections == 2


async def test_connection_that_the_server_closed_meanwhile_is_not_used_again() -> None:
    """An idle connection that has ended is known to have: nothing is sent into it."""

    async def then_close(wire: Wire) -> None:
        await wire.write(OK)
        wire.writer.close()

    async with serving(then_close) as server, transport_to(server) as transport:
        for _ in range(3):
            assert (await patch(transport)).status == 200
            await asyncio.sleep(0.02)
    assert server.connections == 3


async def test_body_ends_with_the_connection_where_it_has_no_length() -> None:
    """HTTP/1.0's way is proper, as long as anything came."""
    async with (
        serving(always(b"HTTP/1.1 200 OK\r\n\r\n{}", close=True)) as server,
        transport_to(server) as transport,
    ):
        assert await patch(transport) == Answer(200, {}, b"{}")


async def test_who_gives_up_waiting_keeps_nobody_else_from_a_connection() -> None:
    """Of many that wait for the one connection, those that are cancelled leave their turn to the others."""
    is_slow = True

    async def slow_once(wire: Wire) -> None:
        await (hang if is_slow else always(OK))(wire)

    hung, *waiting = (anyio.CancelScope() for _ in range(6))

    async def within(scope: anyio.CancelScope) -> None:
        with scope:
            await patch(transport)

    async with (
        serving(slow_once) as server,
        transport_to(server) as transport,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(within, hung)
        await server.arrived.wait()
        for scope in waiting:
            tasks.start_soon(within, scope)
        tasks.start_soon(patch, transport)
        await asyncio.sleep(0.01)
        is_slow = False
        tasks.cancel_scope.deadline = anyio.current_time() + 5
        for scope in (*waiting, hung):
            scope.cancel()
    assert not tasks.cancel_scope.cancelled_caught
    assert len(server.requests) == 2


async def test_nothing_is_open_when_it_is_left() -> None:
    """The server sees every connection end, those that are waiting for an answer too."""
    async with serving(always(OK)) as server:
        async with transport_to(server, connections=4) as transport, anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(patch, transport)
        with anyio.fail_after(5):
            await server.ended.wait()
        assert not transport._all


async def test_header_fields_are_joined_and_named_in_small_letters() -> None:
    """As RFC 9110 5.3 has it: twice the same field is one with a comma."""
    lines = ("X-One: 1", "x-one: 2", "RateLimit: a")
    async with serving(always(answer(headers=lines))) as server, transport_to(server) as transport:
        found = await patch(transport)
    assert found.fields == {"x-one": "1, 2", "ratelimit": "a", "content-length": "2"}


async def test_path_of_the_base_url_stands_before_the_call() -> None:
    """A gateway that serves the API below a path of its own is asked there, spaces and all."""
    async with serving(always(OK)) as server:
        address = read_address(f"{server.url}/api of/bland")
        async with DirectTransport(address, {}, None, connections=1, connect_timeout_s=5.0) as transport:
            await patch(transport)
    assert server.requests[0].startswith(b"PATCH /api%20of/bland/v1/sip/config HTTP/1.1\r\n")


async def test_connection_lost_says_so() -> None:
    """What was sent may have arrived: the outcome is told by an exception of its own."""
    async with serving(always(b"", close=True)) as server, transport_to(server) as transport:
        with pytest.raises(UnansweredError) as caught:
            await patch(transport)
    assert caught.value.outcome.error_code == "CONNECTION_LOST"
