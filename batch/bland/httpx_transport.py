"""The transport of libraries: httpx's types over aiohttp's connections, without a client in between.

httpx's own pool looks at every connection for every request, and its client costs more than the sending.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Self, cast

import aiohttp
import anyio
import httpx
from httpx_aiohttp import AiohttpTransport

from batch.bland.address import Address
from batch.bland.mishaps import (
    bad_answer,
    connection_lost,
    cut_off,
    in_doubt,
    not_sent,
    too_large,
    why_not_connected,
)
from batch.bland.transport import Answer, UnansweredError
from batch.bland.unpacking import unpacked
from batch.bland.wary_connections import WaryConnector
from batch.target import Outcome

#: A name is asked for again after this, so that a run of hours follows the API to another address.
_DNS_TTL_S = 60
_KEEPALIVE_S = 30.0
_NO_HEADERS = httpx.Headers()


class _Request(httpx.Request):
    """One request made of parts that all share, for the transport alone.

    The base class's own making parses the URL and copies the headers, which costs as much as the sending. The
    headers are the session's.
    """

    def __init__(self, method: str, url: httpx.URL, body: bytes, extensions: dict[str, object]) -> None:
        self.method = method
        self.url = url
        self.headers = _NO_HEADERS
        self.extensions = extensions
        self._body = body

    @property
    def content(self) -> bytes:
        return self._body


class HttpxTransport:
    """Connections by aiohttp, driven through `httpx_aiohttp`; a `batch.bland.transport.Transport`.

    The only transport that goes through the proxies of the environment, with `trust_env`.
    """

    def __init__(
        self,
        address: Address,
        fields: Mapping[str, str],
        tls: ssl.SSLContext | None,
        *,
        connections: int,
        connect_timeout_s: float,
        trust_env: bool = False,
    ) -> None:
        self._address = address
        self._fields = dict(fields)
        # Where no TLS is spoken, a context that trusts nobody takes its place.
        self._tls = tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._connections = connections
        self._trust_env = trust_env
        # Once connected, time is bounded by the caller's deadline alone.
        self._extensions: dict[str, object] = {
            "timeout": {"connect": connect_timeout_s, "pool": connect_timeout_s}
        }
        self._transport: AiohttpTransport | None = None
        self._path, self._url = "", httpx.URL(address.url)

    async def __aenter__(self) -> Self:
        session = aiohttp.ClientSession(
            connector=WaryConnector(
                limit=self._connections,
                ttl_dns_cache=_DNS_TTL_S,
                keepalive_timeout=_KEEPALIVE_S,
                ssl=self._tls,
            ),
            headers=self._fields,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=self._trust_env,
        )
        self._transport = AiohttpTransport(verify=self._tls, client=session)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            with anyio.CancelScope(shield=True):
                await transport.aclose()

    async def exchange(self, method: str, path: str, body: bytes, *, largest_bytes: int) -> Answer:
        """See `batch.bland.transport.Transport.exchange`."""
        assert self._transport is not None
        if path != self._path:
            self._path, self._url = path, httpx.URL(self._address.url + path)
        request = _Request(method, self._url, body, self._extensions)
        try:
            response = await self._transport.handle_async_request(request)
        # Whatever it is, a request that was perhaps sent has no answer: that is ambiguous, and no crash.
        except Exception as error:
            raise UnansweredError(_mishap(error, self._address)) from None
        fields = _fields(response)
        read = await _body(response, fields, largest_bytes)
        if isinstance(read, Outcome):
            return Answer(response.status_code, fields, b"", read)
        return Answer(response.status_code, fields, read)


def _mishap(error: Exception, address: Address) -> Outcome:
    """The outcome of a send that ended with an exception and brought no status.

    httpx-aiohttp turns every connection error of aiohttp's into `httpx.ConnectTimeout`, those after the
    request was sent included; so it is the cause that is judged.
    """
    cause = error if isinstance(error, aiohttp.ClientError | OSError) else (error.__cause__ or error)
    match cause:
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return not_sent("PROXY_FAILED", f"the proxy made no connection to {address.host}")
        case aiohttp.ClientConnectorCertificateError():
            return not_sent(*why_not_connected(cause.certificate_error, address))
        case aiohttp.ClientConnectorError():
            return not_sent(*why_not_connected(cause.os_error, address))
        case aiohttp.ConnectionTimeoutError():
            return not_sent(*why_not_connected(cause, address))
        case aiohttp.ClientResponseError():
            return bad_answer(address.host)
        case aiohttp.ClientPayloadError():
            return cut_off()
        case aiohttp.ClientConnectionError() | OSError() | EOFError():
            return connection_lost()
        case _:
            return in_doubt("NO_ANSWER", f"no answer could be read ({type(cause).__name__})")


def _fields(response: httpx.Response) -> dict[str, str]:
    fields: dict[str, str] = {}
    for raw_name, raw_value in response.headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


async def _body(response: httpx.Response, fields: Mapping[str, str], largest_bytes: int) -> bytes | Outcome:
    """The whole body, unpacked, or why it cannot be had: it is cut off, too large or not to be unpacked.

    The connection goes back to the pool, or is closed if anything of the body was left.
    """
    status = response.status_code
    raw = bytearray()
    stream = cast(httpx.AsyncByteStream, response.stream)
    try:
        async with aclosing(cast("AsyncGenerator[bytes, None]", aiter(stream))) as chunks:
            async for chunk in chunks:
                raw += chunk
                if len(raw) > largest_bytes:
                    return too_large(status, largest_bytes)
    except Exception:
        return cut_off(status)
    finally:
        # Lets go of the connection before it waits for anything, so that cancelling cannot keep it.
        await stream.aclose()
    if not raw:
        if status not in (204, 205, 304) and not {"content-length", "transfer-encoding"} & fields.keys():
            # The server closed the connection behind the headers: this may be all, or the rest was lost.
            return cut_off(status)
        return b""
    return unpacked(bytes(raw), status, fields.get("content-encoding", ""), largest_bytes)
