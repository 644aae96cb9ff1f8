"""A small client for the sandbox's tests, and the body that the vendor's page gives as its example."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import aiohttp
import orjson

from batch.bland.sandbox import Sandbox, SandboxOptions, serve

NUMBER = "+14150000000"
KEY = (NUMBER, "outbound")
CODECS = {"codec_config": {"codecs": ["PCMU", "Opus"], "transcode": True}}

DOCUMENTED: dict[str, Any] = {
    "phone_number": NUMBER,
    "direction": "outbound",
    "failover_config": {
        "enabled": True,
        "endpoints": [
            {"host": "backup1.sip.provider.com", "port": 5061, "transport": "tls", "priority": 1},
            {"host": "backup2.sip.provider.com", "port": 5061, "transport": "tls", "priority": 2},
        ],
        "triggers": ["unreachable", "timeout"],
        "failback": "auto",
    },
    "codec_config": {"codecs": ["PCMU", "PCMA", "Opus"], "transcode": True},
    "alert_config": {
        "enabled": True,
        "thresholds": {
            "unreachable_minutes": 5,
            "failure_rate_percent": 20,
            "failure_rate_window_minutes": 30,
            "response_time_ms": 500,
        },
        "channels": {"email": True, "sms": False, "webhook": "https://hooks.example.com/sip-alerts"},
    },
}


def documented(**changes: Any) -> dict[str, Any]:
    """The documented body with some of its fields changed."""
    return {**deepcopy(DOCUMENTED), **changes}


@dataclass(frozen=True)
class Heard:
    """What a client heard."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [orjson.loads(line) for line in self.body.splitlines()]


class Client:
    """Speaks HTTP to one sandbox, with a key of its own."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self._session = session

    async def call(
        self, method: str, path: str, *, key: str | None = "any", timeout_s: float = 30.0, **more: Any
    ) -> Heard:
        headers = {"Authorization": key, **more.pop("headers", {})} if key is not None else {}
        async with self._session.request(
            method,
            self.sandbox.base_url + path,
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            **more,
        ) as answer:
            return Heard(answer.status, dict(answer.headers), await answer.read())

    async def get(self, path: str, **more: Any) -> Heard:
        return await self.call("GET", path, **more)

    async def patch(self, body: object = None, **more: Any) -> Heard:
        """Change a configuration; by default as the documented example does."""
        if not isinstance(body, bytes | BytesIO):
            body = orjson.dumps(DOCUMENTED if body is None else body)
        headers = {"Content-Type": "application/json", **more.pop("headers", {})}
        return await self.call("PATCH", "/v1/sip/config", data=body, headers=headers, **more)

    async def patch_number(self, number: str, direction: str = "outbound", **more: Any) -> Heard:
        return await self.patch({"phone_number": number, "direction": direction, **CODECS}, **more)

    async def patch_in_vain(self) -> None:
        """A change whose client leaves without an answer, though others were answered in the meantime."""
        task = asyncio.create_task(self.patch())
        await self.sandbox.until_received(self.sandbox.received + 1)
        for _ in range(3):
            await self.get("/_sandbox/guesses")
        assert not task.done()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def control(self, **changes: Any) -> Heard:
        return await self.call("POST", "/_sandbox", key=None, json=changes)


@asynccontextmanager
async def sandboxed(options: SandboxOptions | None = None, **given: Any) -> AsyncGenerator[Client, None]:
    """A sandbox with these options, and a client of it."""
    async with (
        serve(options or SandboxOptions(**given)) as sandbox,
        # Compressed bodies are left alone, so that a test sees what went over the wire.
        aiohttp.ClientSession(auto_decompress=False) as session,
    ):
        yield Client(sandbox, session)
