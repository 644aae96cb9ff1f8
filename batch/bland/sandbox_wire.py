"""What the sandbox does to a connection: whole answers, and what a network or a sick server makes of them."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from email.utils import formatdate

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from batch.bland.sandbox_answers import Answer, reason

GARBAGE = b"\x16\x03\x01\x02\x00 this is not HTTP\r\n\r\n"

#: `SO_LINGER` on with no time: closing discards what is unsent and resets the connection.
_LINGER_NOT = struct.pack("ii", 1, 0)


class Sent(web.StreamResponse):
    """An answer whose bytes are ready; no bytes where the connection has had all that it gets."""

    def __init__(self, data: bytes = b"", *, keep_alive: bool = False) -> None:
        super().__init__()
        self._data = data
        self._stays = keep_alive

    @property
    def keep_alive(self) -> bool:
        """Whether the connection takes another request afterwards."""
        return self._stays

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the bytes as they are: no header is added, so that broken answers stay broken."""
        if self._data:
            _write(request, self._data)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


class Wire:
    """Turns answers into bytes and sends them whole or broken.

    It keeps the server's own clock, which is wrong by `clock_offset_s`.
    """

    def __init__(self, clock_offset_s: float = 0.0) -> None:
        self._offset_s = clock_offset_s
        self._second = -1
        self._date = ""
        self._count = 0

    def date(self, at: float) -> str:
        """A time in seconds since the epoch as an HTTP date, by the server's clock."""
        return formatdate(at + self._offset_s, usegmt=True)

    def encode(self, request: web.BaseRequest, answer: Answer, *, keep_alive: bool) -> bytes:
        """The bytes of an answer; one to HEAD has a length and no body."""
        at = time.time()
        if int(at) != self._second:
            self._second, self._date = int(at), self.date(at)
        self._count += 1
        lines = [
            f"HTTP/1.1 {answer.status} {reason(answer.status)}",
            f"Date: {self._date}",
            f"X-Request-Id: sandbox-{self._count:08x}",
        ]
        if answer.status != 204:
            if answer.body:
                lines.append(f"Content-Type: {answer.content_type}")
            lines.append(f"Content-Length: {len(answer.body)}")
        lines += [f"{name}: {value}" for name, value in answer.headers]
        if not keep_alive:
            lines.append("Connection: close")
        # A header that somebody scripts may hold any text: the wire takes latin-1.
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        return head if request.method == "HEAD" else head + answer.body

    def whole(self, request: web.BaseRequest, answer: Answer, *, keep_alive: bool = True) -> Sent:
        """An answer as it is; the connection stays open if the client wants that too."""
        stays = keep_alive and request.keep_alive
        return Sent(self.encode(request, answer, keep_alive=stays), keep_alive=stays)

    def truncated(self, request: web.BaseRequest, answer: Answer) -> Sent:
        """An answer that ends in the middle of its body."""
        data = self.encode(request, answer, keep_alive=False)
        return Sent(data[: len(data) - len(answer.body) // 2 - 1])

    async def drip(self, request: web.BaseRequest, answer: Answer, pause_s: float) -> Sent:
        """An answer one byte at a time."""
        for byte in self.encode(request, answer, keep_alive=False):
            _write(request, bytes((byte,)))
            await asyncio.sleep(pause_s)
        return Sent()


def reset(request: web.BaseRequest) -> Sent:
    """Reset the connection: the client sees ECONNRESET, as when a process or a middlebox dies."""
    transport = request.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        transport.abort()
    return Sent()


async def hang() -> Sent:
    """Say nothing until the client leaves or the sandbox closes: both cancel this."""
    await asyncio.Event().wait()
    return Sent()


async def endless_headers(request: web.BaseRequest, pause_s: float) -> Sent:
    """Send a header at a time, and never the last one."""
    _write(request, b"HTTP/1.1 200 OK\r\n")
    while True:
        _write(request, b"X-More: to come\r\n")
        await asyncio.sleep(pause_s)


def _write(request: web.BaseRequest, data: bytes) -> None:
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client has gone")
    transport.write(data)
