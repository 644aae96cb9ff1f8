"""Send requests to Bland's API over HTTPS: the target that operators use.

On httpx's types over the aiohttp transport, driven without a client in between: httpx's own pool looks at
every connection for every request, and its client costs more than the sending.
"""

from __future__ import annotations

import logging
import ssl
import zlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Self, cast

import aiohttp
import anyio
import httpx
from httpx_aiohttp import AiohttpTransport

from batch.bland.address import Address, read_address, tls_context
from batch.bland.answers import judge
from batch.bland.bodies import NOT_JSON, read_json
from batch.bland.credentials import ApiKey, auth_header
from batch.bland.mishaps import UNTRUSTED, cut_off, judge_mishap, too_large, undecodable, why_not_connected
from batch.bland.reading import attached_of, shown_of
from batch.errors import UnreachableError
from batch.read_back.readable import AttachedNumbers, Shown
from batch.target import Outcome, Verdict
from batch.version import __version__

_CONFIG_PATH = "/v1/sip/config"
#: No answer to a change comes near this; a list of all numbers may.
_LARGEST_ANSWER_BYTES = 1_000_000
_LARGEST_LIST_BYTES = 64_000_000
#: A name is asked for again after this, so that a run of hours follows the API to another address.
_DNS_TTL_S = 60
_KEEPALIVE_S = 30.0
#: How many compressions may lie on one another before it is malice.
_MOST_ENCODINGS = 2
_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
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


class _UnreadError(Exception):
    """The body of an answer could not be read; the outcome says why."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class BlandTarget:
    """The API at an address, with a key; implements `batch.target.Target` in asyncio's event loop.

    `connections` is the most that are open at once: as many as sends go on at once, so that none waits for
    another. `name` is the identity that keys carry (the base URL if it is left out). `scheme` is `bearer`
    or `raw`. `ca_bundle` is a file or folder of certificates to trust instead of the usual ones. With
    `trust_env` the proxies of the environment are used.
    """

    def __init__(
        self,
        base_url: str,
        credentials: ApiKey,
        *,
        connections: int,
        name: str | None = None,
        scheme: str = "bearer",
        ca_bundle: Path | None = None,
        trust_env: bool = False,
        connect_timeout_s: float = 10.0,
    ) -> None:
        """`UsageError` if the address, the scheme or the CA bundle is wrong; nothing is connected yet."""
        self._address: Address = read_address(base_url)
        self._name = name or self._address.url
        self._key = credentials
        self._connections = connections
        self._trust_env = trust_env
        self._connect_timeout_s = connect_timeout_s
        # Where no TLS is spoken, a context that trusts nobody takes its place.
        is_https = self._address.is_https
        self._tls = tls_context(ca_bundle) if is_https else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._headers = {
            "Authorization": auth_header(credentials, scheme),
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"sipbatch/{__version__}",
        }
        self._config_url = httpx.URL(self._address.url + _CONFIG_PATH)
        # Once connected, time is bounded by the caller's deadline alone.
        self._extensions: dict[str, object] = {
            "timeout": {"connect": connect_timeout_s, "pool": connect_timeout_s}
        }
        self._transport: AiohttpTransport | None = None

    @property
    def name(self) -> str:
        """The identity that keys carry."""
        return self._name

    def __repr__(self) -> str:
        return f"BlandTarget({self._address.url!r}, {self._key!r})"

    async def __aenter__(self) -> Self:
        # Both say at DEBUG and INFO which number is changed, and on an error may show headers.
        for logger in ("httpx", "httpcore", "aiohttp.client", "aiohttp.internal"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._connections,
                ttl_dns_cache=_DNS_TTL_S,
                keepalive_timeout=_KEEPALIVE_S,
                ssl=self._tls,
            ),
            headers=self._headers,
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

    async def send(self, number: str, direction: str, payload: bytes) -> Outcome:
        """Change one direction of one number; see `batch.target.Target.send`."""
        head = f'{{"phone_number":"{number}","direction":"{direction}",'.encode()
        outcome, _ = await self._exchange(
            "PATCH", self._config_url, head + payload[1:], _LARGEST_ANSWER_BYTES
        )
        return outcome

    async def probe(self) -> None:
        """Resolve the name, connect, and close again; `UnreachableError` says what stands in the way."""
        if self._trust_env:
            return  # a proxy may be the only way there is
        address = self._address
        try:
            with anyio.fail_after(self._connect_timeout_s):
                stream = await (
                    anyio.connect_tcp(address.host, address.port, tls=True, ssl_context=self._tls)
                    if address.is_https
                    else anyio.connect_tcp(address.host, address.port)
                )
        except OSError as error:
            code, why = why_not_connected(_root(error), address)
            advice = "If it is signed by an authority of your own, name that one's file with SSL_CERT_FILE."
            if code != UNTRUSTED:
                advice = "Check the address and the network."
            raise UnreachableError(
                f"The API at {address.url} cannot be reached: {why}. Nothing was sent. {advice}"
            ) from None
        await anyio.aclose_forcefully(stream)

    async def read(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        largest_bytes: int = _LARGEST_ANSWER_BYTES,
    ) -> tuple[Outcome, object]:
        """GET a path: how it ended, and the JSON value of an answer that was accepted (else None)."""
        url = httpx.URL(self._address.url + path, params=dict(params or {}))
        outcome, body = await self._exchange("GET", url, b"", largest_bytes)
        value = read_json(body) if outcome.verdict is Verdict.ACCEPTED else None
        return outcome, None if value is NOT_JSON else value

    async def get_config(self, number: str) -> tuple[Outcome, object]:
        """What the API shows of one number: `{"data": {"inbound": ..., "outbound": ...}}`."""
        return await self.read("/v1/sip", {"phone_number": number})

    async def get_status(self, number: str) -> tuple[Outcome, object]:
        """The health of one number: `{"data": {"status": ..., "response_time_ms": ...}}`."""
        return await self.read("/v1/sip/status", {"phone_number": number})

    async def get_numbers(self) -> tuple[Outcome, object]:
        """All numbers of the account: `{"data": {"numbers": [...]}}`."""
        return await self.read("/v1/sip/numbers", largest_bytes=_LARGEST_LIST_BYTES)

    async def read_number(self, number: str) -> tuple[Outcome, Shown | None]:
        """What is set up for one number; see `batch.read_back.readable.Readable`."""
        outcome, found = await self.get_config(number)
        return outcome, shown_of(number, outcome, found)

    async def read_numbers(self) -> tuple[Outcome, AttachedNumbers | None]:
        """All numbers of the account; see `batch.read_back.readable.Readable`."""
        outcome, found = await self.get_numbers()
        return outcome, attached_of(found) if outcome.verdict is Verdict.ACCEPTED else None

    async def _exchange(
        self, method: str, url: httpx.URL, body: bytes, largest_bytes: int
    ) -> tuple[Outcome, bytes]:
        """Send one request and judge what comes back; with it, the body that was read."""
        if self._transport is None:
            raise RuntimeError(
                "a BlandTarget is entered before it sends: async with BlandTarget(...) as target"
            )
        request = _Request(method, url, body, self._extensions)
        try:
            response = await self._transport.handle_async_request(request)
        # Whatever it is, a request that was perhaps sent has no answer: that is ambiguous, and no crash.
        except Exception as error:
            return judge_mishap(error, self._address), b""
        status = response.status_code
        fields = _fields(response)
        try:
            answer = await _body(response, fields, largest_bytes)
        except _UnreadError as unread:
            if 200 <= status < 300:
                return unread.outcome, b""
            answer = b""  # the status says enough
        return judge(status, fields, answer, redact=self._key.redact), answer


def _root(error: BaseException) -> BaseException:
    """The error of the first address tried, where several were: the outer ones say nothing."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif type(error) is OSError and error.errno is None and error.__cause__ is not None:
            error = error.__cause__
        else:
            return error


def _fields(response: httpx.Response) -> dict[str, str]:
    """The headers by their lower-case names; those that come twice are joined."""
    fields: dict[str, str] = {}
    for raw_name, raw_value in response.headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


async def _body(response: httpx.Response, fields: Mapping[str, str], largest_bytes: int) -> bytes:
    """The whole body, unpacked; `_UnreadError` if it is cut off, too large or not to be unpacked.

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
                    raise _UnreadError(too_large(status, largest_bytes))
    except _UnreadError:
        raise
    except Exception:
        raise _UnreadError(cut_off(status)) from None
    finally:
        # Lets go of the connection before it waits for anything, so that cancelling cannot keep it.
        await stream.aclose()
    if not raw:
        if status not in (204, 205, 304) and not {"content-length", "transfer-encoding"} & fields.keys():
            # The server closed the connection behind the headers: this may be all, or the rest was lost.
            raise _UnreadError(cut_off(status))
        return b""
    return _unpacked(bytes(raw), status, fields.get("content-encoding", ""), largest_bytes)


def _unpacked(body: bytes, status: int, encodings: str, largest_bytes: int) -> bytes:
    """The body without its compression, which was not asked for; never more than the bound is unpacked."""
    names = [name for part in encodings.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    if len(names) > _MOST_ENCODINGS:
        raise _UnreadError(undecodable(status))
    for name in reversed(names):
        if name not in _WBITS:
            raise _UnreadError(undecodable(status))
        wbits = _WBITS[name]
        if name == "deflate" and body[:1] and body[0] & 0x0F != 8:
            wbits = -15  # without the header that the standard asks for, as some servers send it
        unpacker = zlib.decompressobj(wbits)
        try:
            body = unpacker.decompress(body, largest_bytes + 1)
        except zlib.error:
            raise _UnreadError(undecodable(status)) from None
        if len(body) > largest_bytes:
            raise _UnreadError(too_large(status, largest_bytes))
        if not unpacker.eof:
            raise _UnreadError(cut_off(status))
    return body
