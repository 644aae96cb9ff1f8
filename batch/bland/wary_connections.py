"""aiohttp's connections, but that they give up at what nobody asked for.

Left to itself, aiohttp takes an answer that came unasked over an idle connection for the answer to the
request that follows, and reads on for as long as a server says that it is about to answer.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import BadHttpMessage

from batch.bland.transport import MOST_INTERIM

_SWITCHING = 101


class _WaryHandler(ResponseHandler):
    """One connection: for each request it takes one answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._is_answered = True
        self._interim = 0

    def set_response_params(self, **params: Any) -> None:
        """A request is about to be sent."""
        self._is_answered = False
        self._interim = 0
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Bytes came; on an idle connection they end it, so that it is not used again."""
        if data and self._is_answered and (self._payload is None or self._payload.is_eof()):
            self.force_close()
            self.abort()
            return
        super().data_received(data)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """The head of an answer was read."""
        message, _ = data
        if not 100 <= message.code < 200 or message.code == _SWITCHING:
            self._is_answered = True
        elif self._interim < MOST_INTERIM:
            self._interim += 1
        else:
            if self.exception() is None:
                self.abort()
                self.set_exception(BadHttpMessage("an answer that is always about to come"))
            return
        super().feed_data(data, size)


class WaryConnector(aiohttp.TCPConnector):
    """aiohttp's pool, of such connections."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(_WaryHandler, loop=self._loop)  # type: ignore[assignment] # a kind of it
