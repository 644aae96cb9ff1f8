"""A server of raw bytes on 127.0.0.1, for answers that no HTTP library would give."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

#: What is done with one request that was read whole.
Play = Callable[["Wire"], Awaitable[None]]

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{"data": null, "errors": null}'


@dataclass
class Server:
    """What it was sent, and how many connections were made and ended."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)  #: a request was read
    ended: asyncio.Event = field(default_factory=asyncio.Event)  #: a connection has ended

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def forget(self) -> None:
        """Wait anew for the next request, and for the next end."""
        self.arrived.clear()
        self.ended.clear()

    @property
    def tls_url(self) -> str:
        """The same, as an address of TLS."""
        return f"https://127.0.0.1:{self.port}"


@dataclass
class Wire:
    """One connection, after a request was read from it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def write(self, data: bytes) -> None:
        """Send bytes, as far as the client takes them."""
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """End the connection the hard way."""
        self.writer.transport.abort()


@asynccontextmanager
async def serving(
    play: Play, *, tls: ssl.SSLContext | None = None, on_connect: Play | None = None
) -> AsyncIterator[Server]:
    """Serve until the block is left. `play` answers each request; `on_connect` acts before any is read."""
    server = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        wire = Wire(reader, writer)
        try:
            if on_connect is not None:
                await on_connect(wire)
            while request := await _read(reader):
                server.requests.append(request)
                server.arrived.set()
                await play(wire)
                if writer.transport.is_closing():
                    return
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            server.ended.set()
            writer.transport.abort()
            tasks.discard(task)

    listener = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """One whole request; nothing if the client went away."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)


def answer(
    status: int = 200, body: bytes = b"{}", headers: tuple[str, ...] = ("Content-Type: application/json",)
) -> bytes:
    """A proper answer with its length."""
    lines = [f"HTTP/1.1 {status} Status", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def always(data: bytes, *, close: bool = False) -> Play:
    """Give every request the same bytes, and perhaps close the connection behind them."""

    async def play(wire: Wire) -> None:
        await wire.write(data)
        if close:
            wire.writer.close()

    return play


async def hang(wire: Wire) -> None:
    """Say nothing until the client goes away."""
    await wire.reader.read()


async def reset(wire: Wire) -> None:
    """End the connection without a word."""
    wire.reset()


def then_hang(data: bytes) -> Play:
    """Send some bytes, and then no more."""

    async def play(wire: Wire) -> None:
        await wire.write(data)
        await hang(wire)

    return play


def forever(start: bytes, more: bytes) -> Play:
    """Send without end, as fast as the client reads."""

    async def play(wire: Wire) -> None:
        await wire.write(start)
        while not wire.writer.transport.is_closing():
            await wire.write(more)
            await asyncio.sleep(0)

    return play
