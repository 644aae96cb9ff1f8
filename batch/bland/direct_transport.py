"""The transport that costs least: connections of asyncio's own, with nothing but a parser of HTTP on them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any, Self
from urllib.parse import urlsplit

import aiohappyeyeballs
import anyio
import httpx

from batch.bland.address import Address
from batch.bland.connection import Connection
from batch.bland.mishaps import not_sent, root_of, why_not_connected
from batch.bland.transport import Answer, UnansweredError

#: A name is asked for again after this, so that a run of hours follows the API to another address.
_DNS_TTL_S = 60.0
#: A connection that was idle for longer is not used again: the far end may be about to close it.
_KEEPALIVE_S = 30.0
#: How long another address of the name waits for the one before it to connect (RFC 8305, 5).
_NEXT_ADDRESS_S = 0.25
#: How long connections have to end in order when it is left.
_CLOSE_S = 1.0


class DirectTransport:
    """Up to `connections` connections, each with one request at a time; a `batch.bland.transport.Transport`.

    `fields` are the header fields of every request. `tls` is None for an address of http.
    """

    def __init__(
        self,
        address: Address,
        fields: Mapping[str, str],
        tls: ssl.SSLContext | None,
        *,
        connections: int,
        connect_timeout_s: float,
    ) -> None:
        self._address = address
        self._tls = tls
        self._most = connections
        self._connect_timeout_s = connect_timeout_s
        parts = urlsplit(address.url)
        self._host = parts.hostname or address.host
        self._base_path = httpx.URL(address.url).raw_path.decode("ascii").rstrip("/")
        lines = [f"Host: {parts.netloc}", *(f"{name}: {value}" for name, value in fields.items())]
        self._lines = "".join(f"{line}\r\n" for line in lines)
        self._head_of: tuple[str, str] = ("", "")
        self._head = b""
        self._all: set[Connection] = set()
        self._idle: list[Connection] = []
        self._opening = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._found: list[tuple[Any, ...]] = []
        self._found_at_s = 0.0
        self._finding = anyio.Lock()
        self._none_left: anyio.Event | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for connection in tuple(self._all):
            connection.close()
        with anyio.move_on_after(_CLOSE_S, shield=True):
            if self._all:
                self._none_left = anyio.Event()
                await self._none_left.wait()
        for connection in tuple(self._all):
            connection.drop()

    async def exchange(self, method: str, path: str, body: bytes, *, largest_bytes: int) -> Answer:
        """See `batch.bland.transport.Transport.exchange`."""
        if (method, path) != self._head_of:
            self._head_of = method, path
            head = f"{method} {self._base_path}{path} HTTP/1.1\r\n{self._lines}Content-Length: "
            self._head = head.encode("latin-1")
        request = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
        connection = self._idle_one() or await self._another()
        try:
            return await connection.exchange(request, largest_bytes)
        except BaseException:
            connection.drop()  # also when cancelled: an answer that comes late must not meet the next request
            raise
        finally:
            self._give_back(connection)

    # --- connections ----------------------------------------------------------------------------

    def _idle_one(self) -> Connection | None:
        """The connection that was used last, if it may be used again."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable and monotonic() - connection.idle_since_s < _KEEPALIVE_S:
                return connection
            connection.drop()
        return None

    async def _another(self) -> Connection:
        """A new connection, or one that somebody gives back, if there are as many as there may be."""
        while True:
            if len(self._all) + self._opening < self._most:
                self._opening += 1
                try:
                    connection = await self._connected()
                    self._all.add(connection)
                    return connection
                finally:
                    self._opening -= 1
                    self._wake_one()
            await self._woken()
            if (connection_back := self._idle_one()) is not None:
                return connection_back

    def _give_back(self, connection: Connection) -> None:
        if connection.is_usable:
            connection.idle_since_s = monotonic()
            self._idle.append(connection)
            self._wake_one()
        else:
            connection.drop()  # `_ended` hears of it

    def _ended(self, connection: Connection) -> None:
        self._all.discard(connection)
        self._wake_one()
        if self._none_left is not None and not self._all:
            self._none_left.set()

    async def _woken(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self._wake_one()  # what it was woken for is another's now
            raise

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _connected(self) -> Connection:
        try:
            with anyio.fail_after(self._connect_timeout_s):
                return await self._connect()
        except OSError as error:
            why = why_not_connected(root_of(error), self._address)
            raise UnansweredError(not_sent(*why)) from None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        sock = await aiohappyeyeballs.start_connection(
            await self._addresses(), happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1, loop=loop
        )
        try:
            _, connection = await loop.create_connection(
                partial(Connection, self._address.host, self._ended),
                sock=sock,
                ssl=self._tls,
                server_hostname=self._host if self._tls else None,
            )
        except BaseException:
            sock.close()
            raise
        return connection

    async def _addresses(self) -> list[Any]:
        """Where the name leads; asked for once for all that connect at the same time."""
        async with self._finding:
            if not self._found or monotonic() - self._found_at_s > _DNS_TTL_S:
                loop = asyncio.get_running_loop()
                self._found = await loop.getaddrinfo(self._host, self._address.port, type=socket.SOCK_STREAM)
                self._found_at_s = monotonic()
        return list(self._found)
