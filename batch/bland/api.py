"""Send requests to Bland's API over HTTPS: the target that operators use."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import urlencode

import anyio

from batch.bland.address import Address, read_address, tls_context
from batch.bland.answers import judge
from batch.bland.bodies import NOT_JSON, read_json
from batch.bland.credentials import ApiKey, auth_header
from batch.bland.mishaps import UNTRUSTED, root_of, why_not_connected
from batch.bland.reading import attached_of, shown_of
from batch.bland.transport import UnansweredError
from batch.errors import UnreachableError
from batch.read_back.readable import AttachedNumbers, Shown
from batch.target import Outcome, Verdict
from batch.version import __version__

if TYPE_CHECKING:
    from batch.bland.transport import Transport

_CONFIG_PATH = "/v1/sip/config"
#: No answer to a change comes near this; a list of all numbers may.
_LARGEST_ANSWER_BYTES = 1_000_000
_LARGEST_LIST_BYTES = 64_000_000


class BlandTarget:
    """The API at an address, with a key; implements `batch.target.Target` in asyncio's event loop.

    `connections` is the most that are open at once: as many as sends go on at once, so that none waits for
    another. `name` is the identity that keys carry (the base URL if it is left out). `scheme` is `bearer`
    or `raw`. `ca_bundle` is a file or folder of certificates to trust instead of the usual ones. `transport`
    is `direct`, which costs least, or `httpx`, which goes over httpx and aiohttp. With `trust_env` the
    proxies of the environment are used, and it is always `httpx`.
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
        transport: Literal["direct", "httpx"] = "direct",
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
        self._tls = tls_context(ca_bundle) if self._address.is_https else None
        self._headers = {
            "Authorization": auth_header(credentials, scheme),
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"sipbatch/{__version__}",
        }
        self._is_httpx = trust_env or transport == "httpx"
        self._transport: Transport | None = None

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
        self._transport = await self._new_transport().__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.__aexit__(*exc_info)

    def _new_transport(self) -> Transport:
        if self._is_httpx:
            from batch.bland.httpx_transport import HttpxTransport

            return HttpxTransport(
                self._address,
                self._headers,
                self._tls,
                connections=self._connections,
                connect_timeout_s=self._connect_timeout_s,
                trust_env=self._trust_env,
            )
        from batch.bland.direct_transport import DirectTransport

        return DirectTransport(
            self._address,
            self._headers,
            self._tls,
            connections=self._connections,
            connect_timeout_s=self._connect_timeout_s,
        )

    async def send(self, number: str, direction: str, payload: bytes) -> Outcome:
        """Change one direction of one number; see `batch.target.Target.send`."""
        head = f'{{"phone_number":"{number}","direction":"{direction}",'.encode()
        outcome, _ = await self._exchange("PATCH", _CONFIG_PATH, head + payload[1:], _LARGEST_ANSWER_BYTES)
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
                    if self._tls
                    else anyio.connect_tcp(address.host, address.port)
                )
        except OSError as error:
            code, why = why_not_connected(root_of(error), address)
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
        query = f"?{urlencode(params)}" if params else ""
        outcome, body = await self._exchange("GET", path + query, b"", largest_bytes)
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
        self, method: str, path: str, body: bytes, largest_bytes: int
    ) -> tuple[Outcome, bytes]:
        """Send one request and judge what comes back; with it, the body that was read."""
        if self._transport is None:
            raise RuntimeError(
                "a BlandTarget is entered before it sends: async with BlandTarget(...) as target"
            )
        try:
            answer = await self._transport.exchange(method, path, body, largest_bytes=largest_bytes)
        except UnansweredError as mishap:
            return mishap.outcome, b""
        if answer.flaw is not None and 200 <= answer.status < 300:
            return answer.flaw, b""  # behind any other status, the status says enough
        return judge(answer.status, answer.fields, answer.body, redact=self._key.redact), answer.body
