"""The smallest client there can be: writes prepared bytes, counts answers, and understands nothing.

`python -m benchmarks.load_client BASE_URL N CONNECTIONS` prints JSON. What it reaches is what the load server
can answer: a figure near it is the server's, not the client's.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import uvloop

from batch.plans import Payload
from benchmarks.sending import BLOCKS, FIRST_NUMBER

_END = b'"errors":null}'


class _Connection(asyncio.Protocol):
    def __init__(self, requests: list[bytes], done: asyncio.Event) -> None:
        self._requests = requests
        self._done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        if data.endswith(_END):
            self._next()

    def _next(self) -> None:
        if self._requests:
            self._transport.write(self._requests.pop())
        else:
            self._done.set()
            self._transport.close()


async def blast(base_url: str, count: int, connections: int) -> float:
    """Seconds that so many requests take over so many connections."""
    parts = urlsplit(base_url)
    body = Payload.of(BLOCKS).body
    requests = []
    for number in range(FIRST_NUMBER, FIRST_NUMBER + count):
        whole = b'{"phone_number":"+%d","direction":"outbound",%b' % (number, body[1:])
        requests.append(
            b"PATCH /v1/sip/config HTTP/1.1\r\nHost: %b\r\nAuthorization: Bearer bench\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (parts.netloc.encode(), len(whole), whole)
        )
    loop = asyncio.get_running_loop()
    events = [asyncio.Event() for _ in range(connections)]
    began = time.perf_counter()
    for event in events:
        await loop.create_connection(
            lambda event=event: _Connection(requests, event), parts.hostname, parts.port
        )
    await asyncio.gather(*(event.wait() for event in events))
    return time.perf_counter() - began


if __name__ == "__main__":
    url, count, connections = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    before = resource.getrusage(resource.RUSAGE_SELF)
    took_s = uvloop.run(blast(url, count, connections))
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"rows_per_s": count / took_s, "cpu_us": 1e6 * cpu_s / count}))
