"""Where a run goes: the live API, the embedded sandbox, or a target of the caller's own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from batch.errors import UsageError
from batch.target import Target

if TYPE_CHECKING:
    from batch.bland.api import BlandTarget
    from batch.bland.credentials import ApiKey
    from batch.bland.sandbox_options import SandboxOptions

LIVE_URL = "https://api.bland.ai"

#: What carries the requests; the values of `batch.bland.api.BlandTarget`'s `transport`.
Carrier = Literal["direct", "httpx"]
DEFAULT_TRANSPORT: Carrier = "direct"

#: Every key that this process has read, so that a traceback can be shown without them.
KEYS_READ: list[ApiKey] = []

#: The embedded sandbox as keys and reports name it, and a key that it takes.
SANDBOX = "sandbox"
_SANDBOX_KEY = "sandbox-key"


@runtime_checkable
class Destination(Protocol):
    """Something that requests can be sent to, known by name before it is opened."""

    @property
    def name(self) -> str:
        """The identity that keys carry, the same as the opened target's."""
        ...

    @property
    def account(self) -> str:
        """Whose numbers these are, where several accounts share a workspace; empty where it has no name."""
        ...

    @property
    def in_words(self) -> str:
        """What it is, for the question before a run and the lines after it."""
        ...

    @property
    def pinned(self) -> Mapping[str, object]:
        """What a later `resume` needs to find it again, as JSON values; no secret."""
        ...

    async def probe(self) -> None:
        """`UnreachableError` if it can be told that nothing would reach it; sends nothing."""
        ...

    def open(self, *, connections: int) -> AbstractAsyncContextManager[Target]:
        """The target, ready to send over at most so many connections at once."""
        ...


@dataclass(frozen=True, slots=True)
class Live:
    """The API over HTTP, at its own address or another."""

    base_url: str
    key: ApiKey
    auth_scheme: str = "bearer"
    key_file: Path | None = None
    account: str = ""
    transport: Carrier = DEFAULT_TRANSPORT

    @property
    def name(self) -> str:
        """The base URL."""
        return self.base_url

    @property
    def in_words(self) -> str:
        """Says outright if it is the live API."""
        where = f"the live API at {self.base_url}" if self.base_url == LIVE_URL else self.base_url
        return f"{where}, account {self.account}" if self.account else where

    @property
    def pinned(self) -> Mapping[str, object]:
        """Where it is and how to authenticate; where the key is, never the key."""
        return {
            "base_url": self.base_url,
            "auth_scheme": self.auth_scheme,
            "key_file": None if self.key_file is None else str(self.key_file.absolute()),
            "account": self.account,
            "transport": self.transport,
        }

    async def probe(self) -> None:
        """Connects once, without a request."""
        await self.open(connections=1).probe()

    def open(self, *, connections: int) -> BlandTarget:
        """Connections are made as they are needed."""
        from batch.bland.api import BlandTarget

        return BlandTarget(
            self.base_url,
            self.key,
            scheme=self.auth_scheme,
            connections=connections,
            transport=self.transport,
        )


@dataclass(frozen=True, slots=True)
class EmbeddedSandbox:
    """The sandbox, started beside the run in this process; what it was sent is gone with it."""

    options: Mapping[str, object] = field(default_factory=dict)
    transport: Carrier = DEFAULT_TRANSPORT

    @property
    def name(self) -> str:
        """One name, whichever port it gets."""
        return SANDBOX

    @property
    def account(self) -> str:
        """It has but one."""
        return ""

    @property
    def in_words(self) -> str:
        """Says that nothing real is touched."""
        return "the embedded sandbox (nothing real is changed)"

    @property
    def pinned(self) -> Mapping[str, object]:
        """How it behaves."""
        return {"sandbox": dict(self.options), "transport": self.transport}

    async def probe(self) -> None:
        """It is there when it is opened."""

    def check(self) -> None:
        """`UsageError` if it cannot behave as it is told to: better now than with a run pinned."""
        from batch.bland.sandbox_options import Behaviour

        Behaviour(sandbox_options(self.options))

    @asynccontextmanager
    async def open(self, *, connections: int) -> AsyncIterator[Target]:
        """It lives as long as the block, in the same event loop."""
        from batch.bland.api import BlandTarget
        from batch.bland.credentials import ApiKey
        from batch.bland.sandbox import serve

        async with serve(sandbox_options(self.options)) as sandbox:
            key = ApiKey(_SANDBOX_KEY, source="the sandbox")
            async with BlandTarget(
                sandbox.base_url, key, connections=connections, name=SANDBOX, transport=self.transport
            ) as target:
                yield target


@dataclass(frozen=True, slots=True)
class Given:
    """A target that a caller of the library made."""

    target: Target

    @property
    def name(self) -> str:
        """As the target says."""
        return self.target.name

    @property
    def account(self) -> str:
        """Its name says all."""
        return ""

    @property
    def in_words(self) -> str:
        """As the target says."""
        return self.target.name

    @property
    def pinned(self) -> Mapping[str, object]:
        """Nothing: only the caller can make it again."""
        return {}

    async def probe(self) -> None:
        """A target of the caller's own has none."""

    def open(self, *, connections: int) -> AbstractAsyncContextManager[Target]:
        """The target looks after its own connections."""
        del connections
        return _entered(self.target)


@asynccontextmanager
async def _entered(target: Target) -> AsyncIterator[Target]:
    async with target as entered:
        yield entered


def sandbox_options(given: Mapping[str, object]) -> SandboxOptions:
    """The sandbox' options out of JSON values."""
    from batch.bland.sandbox_options import SandboxOptions

    options: dict[str, Any] = dict(given)
    if isinstance(options.get("record"), str):
        options["record"] = Path(options["record"])
    return SandboxOptions(**options)


def live(
    base_url: str,
    *,
    key_file: Path | None = None,
    auth_scheme: str = "bearer",
    account: str = "",
    transport: Carrier = DEFAULT_TRANSPORT,
) -> Live:
    """The API at this address, with the key that the environment, the key file or a `.env` has.

    `account` is a name for whose numbers these are, where several accounts share a workspace.

    `UsageError` if that is no address, `CredentialsError` if there is no key.
    """
    from batch.bland.address import read_address
    from batch.bland.credentials import find_key

    url = read_address(base_url).url
    key = find_key(os.environ, Path.cwd(), key_file)
    KEYS_READ.append(key)
    return Live(url, key, auth_scheme, key_file, account, transport)


def pinned_destination(
    options: Mapping[str, object],
    target: str,
    *,
    key_file: Path | None = None,
    transport: Carrier | None = None,
) -> Destination:
    """The destination that a run was pinned with; what is given here is used in place of what was pinned.

    `UsageError` if only the caller who made the run can make its target again.
    """
    pinned: Carrier = "httpx" if options.get("transport") == "httpx" else DEFAULT_TRANSPORT
    transport = transport or pinned
    match options:
        case {"sandbox": dict(sandbox)}:
            return EmbeddedSandbox(sandbox, transport)
        case {"base_url": str(base_url), "auth_scheme": str(auth_scheme), **rest}:
            pinned_file = rest.get("key_file")
            if key_file is None and isinstance(pinned_file, str):
                key_file = Path(pinned_file)
            account = str(rest.get("account", ""))
            return live(
                base_url,
                key_file=key_file,
                auth_scheme=auth_scheme,
                account=account,
                transport=transport,
            )
        case _:
            raise UsageError(
                f"this run was sent to {target} by a program of its own, not by this command. "
                "Go on with it from there: `batch.resume(RUN, target=...)`."
            )
