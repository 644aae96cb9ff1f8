"""A server that must be faster than every client: answers any request at once, or after a fixed delay.

`python -m benchmarks.load_server [DELAY_MS]` prints its port and serves on loopback until its standard
input closes. `GET /seen` tells, as JSON, when each request since the last telling arrived, in seconds of
the steady clock.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from array import array
from typing import cast

import httptools
import uvloop

_BODY = b'{"data":{"updated":true},"errors":null}'
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(_BODY),
    _BODY,
)


class LoadProtocol(asyncio.Protocol):
    """One connection: every complete request is answered, in order."""

    def __init__(self, delay_s: float, seen: array[float]) -> None:
        self._delay_s = delay_s
        self._seen = seen
        self._url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_message_complete(self) -> None:
        if self._url == b"/seen":
            body = json.dumps(list(self._seen)).encode()
            del self._seen[:]
            self._write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        self._seen.append(time.monotonic())
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._write, _ANSWER)
        else:
            self._transport.write(_ANSWER)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def _serve(delay_s: float) -> None:
    loop = asyncio.get_running_loop()
    seen = array("d")
    server = await loop.create_server(lambda: LoadProtocol(delay_s, seen), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(_serve(float(sys.argv[1]) / 1000 if len(sys.argv) > 1 else 0.0))
