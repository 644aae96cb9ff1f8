"""One connection to the API: a request is written, and llhttp, through httptools, reads the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from batch.bland.mishaps import bad_answer, connection_lost, cut_off, too_large
from batch.bland.transport import MOST_INTERIM, Answer, UnansweredError
from batch.bland.unpacking import unpacked
from batch.target import Outcome

#: No head of an answer comes near this.
_LARGEST_HEAD_BYTES = 65_536
_SWITCHING = 101
_WITHOUT_BODY = frozenset({204, 205, 304})


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time.

    `is_usable` says that another may be sent over it: it is open, and nothing was left on it that nobody
    asked for. `host` names the far end in what is said of it; `on_end` is told when the connection is gone.
    """

    def __init__(self, host: str, on_end: Callable[[Connection], None]) -> None:
        self.is_usable = False
        self.idle_since_s = 0.0
        self._host = host
        self._on_end = on_end
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Answer] | None = None
        self._largest_bytes = 0
        self._interim = 0
        self._start_over()

    # --- what is done with it -------------------------------------------------------------------

    def exchange(self, request: bytes, largest_bytes: int) -> asyncio.Future[Answer]:
        """Send one request; the answer, or `UnansweredError`, comes by the future."""
        assert self._transport is not None
        self._waiter = waiter = asyncio.get_running_loop().create_future()
        self._largest_bytes = largest_bytes
        self.is_usable = False
        self._interim = 0
        self._start_over()
        self._transport.write(request)
        return waiter

    def close(self) -> None:
        """End it in order; nothing was left to come."""
        self.is_usable = False
        if self._transport is not None:
            self._transport.close()

    def drop(self) -> None:
        """End it at once, whatever it was about to carry: the far end sees that nobody waits any more."""
        self.is_usable = False
        self._waiter = None
        if self._transport is not None:
            self._transport.abort()

    # --- what the transport tells ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self.is_usable = True

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:  # nobody asked: what follows would be taken for the answer of another
            self.drop()
            return
        if not self._head_is_whole:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the answer was told whole before this
        except httptools.HttpParserError:
            self._fail(bad_answer(self._host))
        if not self._head_is_whole and self._head_bytes > _LARGEST_HEAD_BYTES:
            self._fail(bad_answer(self._host))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_usable = False
        if self._waiter is None:
            pass
        elif not self._head_is_whole:
            self._fail(connection_lost())
        elif exc is None and self._ends_with_connection and self._body:
            self._done()
        else:
            # Behind the head nothing came: that may have been all, or the rest was lost.
            self._flawed(cut_off(self._status))
        self._on_end(self)

    # --- what the parser tells ------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._waiter is None:  # a second answer behind the first
            self.is_usable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._field_bytes += len(name) + len(value)
        if self._field_bytes <= _LARGEST_HEAD_BYTES:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        self._head_is_whole = True
        self._status = self._parser.get_status_code()
        if self._field_bytes > _LARGEST_HEAD_BYTES:
            self._fail(bad_answer(self._host))

    def on_body(self, chunk: bytes) -> None:
        self._body += chunk
        if len(self._body) > self._largest_bytes:
            self._flawed(too_large(self._status, self._largest_bytes))

    def on_message_complete(self) -> None:
        if self._waiter is None:
            self.is_usable = False
        elif 100 <= self._status < 200 and self._status != _SWITCHING:
            self._start_over()  # the answer proper is yet to come
            self._interim += 1
            if self._interim > MOST_INTERIM:
                self._fail(bad_answer(self._host))
        else:
            self.is_usable = self._parser.should_keep_alive() and self._status != _SWITCHING
            self._done()

    # --- how an exchange ends -------------------------------------------------------------------

    def _start_over(self) -> None:
        self._head_is_whole = False
        self._head_bytes = self._field_bytes = self._status = 0
        self._fields: list[tuple[bytes, bytes]] = []
        self._body = bytearray()  # a list of all numbers comes in a thousand pieces

    @property
    def _ends_with_connection(self) -> bool:
        names = {name.lower() for name, _ in self._fields}
        return not names & {b"content-length", b"transfer-encoding"}

    def _done(self) -> None:
        fields = self._joined_fields()
        body = bytes(self._body)
        read: bytes | Outcome = body
        if body and (encodings := fields.get("content-encoding")):
            read = unpacked(body, self._status, encodings, self._largest_bytes)
        self._tell(
            Answer(self._status, fields, b"", read)
            if isinstance(read, Outcome)
            else Answer(self._status, fields, read)
        )

    def _flawed(self, flaw: Outcome) -> None:
        """The head was read, and the body cannot be."""
        if self._waiter is not None:
            self._tell(Answer(self._status, self._joined_fields(), b"", flaw))
            self.drop()

    def _fail(self, outcome: Outcome) -> None:
        """No head was read that could be understood; behind one, its status still counts."""
        if self._status:
            self._flawed(outcome)
            return
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(UnansweredError(outcome))
        self.drop()

    def _tell(self, answer: Answer) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)

    def _joined_fields(self) -> dict[str, str]:
        fields: dict[str, str] = {}
        for raw_name, raw_value in self._fields:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        return fields
