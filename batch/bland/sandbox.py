"""A stand-in for Bland's API on this machine: over real HTTP, strict, with a limit and faults of its own.

    async with serve(SandboxOptions(limit="50/s", faults={"503": 0.02})) as sandbox:
        ...                       # anything that speaks HTTP, to sandbox.base_url
        sandbox.applied           # {("+14155550100", "outbound"): {"codec_config": {...}}}

It answers `PATCH /v1/sip/config`, `GET /v1/sip`, `GET /v1/sip/numbers` and `GET /v1/sip/status`, and tells of
itself at `/_sandbox` (see `batch.bland.sandbox_control`). What it has to guess is in `batch.bland.guesses`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from batch.bland import sandbox_control as control
from batch.bland.sandbox_answers import Answer, Reply, failure
from batch.bland.sandbox_changes import Changes
from batch.bland.sandbox_memory import Memory
from batch.bland.sandbox_options import ANY_KEY, Behaviour, Key, SandboxOptions
from batch.bland.sandbox_reads import Reads
from batch.bland.sandbox_wire import Sent
from batch.errors import JournalError, UsageError

__all__ = ["ANY_KEY", "Answer", "Reply", "Sandbox", "SandboxOptions", "serve"]

_CONFIG = "/v1/sip/config"
_READS = ("/v1/sip", "/v1/sip/numbers", "/v1/sip/status")


@asynccontextmanager
async def serve(options: SandboxOptions | None = None) -> AsyncGenerator[Sandbox, None]:
    """Serve in the running event loop (asyncio's) until the block is left; nothing of it stays.

    `UsageError` if an option is wrong or the port is taken, `JournalError` if the record cannot be read.
    """
    sandbox = Sandbox(options or SandboxOptions())
    try:
        await sandbox.listen()
        yield sandbox
    finally:
        await sandbox.close()


class Sandbox:
    """One running stand-in; `serve` makes it."""

    def __init__(self, options: SandboxOptions) -> None:
        self.behaviour = Behaviour(options)
        self.memory = Memory(options.record, merge_blocks=options.merge_blocks)
        self.base_url = ""  #: known once it listens
        self._port = options.port
        self._changes = Changes(self.memory, self.behaviour)
        self._reads = Reads(self.memory, self.behaviour)
        self._listener: asyncio.Server | None = None
        self._server = web.Server(
            self._handle, handler_cancellation=True, access_log=None, tcp_keepalive=False
        )

    # --- what it saw --------------------------------------------------------------------------------

    @property
    def received(self) -> int:
        """How many changes arrived, whatever became of them."""
        return self.memory.received

    @property
    def applied(self) -> dict[Key, dict[str, object]]:
        """The blocks that were last applied to each number and direction (shared: do not change them)."""
        return {key: side.last.blocks for key, side in self.memory.sides.items() if side.last}

    @property
    def applied_sha256(self) -> dict[Key, str]:
        """The same as digests, as the report has them."""
        return {key: side.last.payload.sha256 for key, side in self.memory.sides.items() if side.last}

    @property
    def counts(self) -> dict[str, int]:
        """Answers to changes, by status, or by what happened in its place (`hang`, `reset_after` ...)."""
        return dict(self.memory.answers)

    def received_of(self, number: str, direction: str) -> int:
        """How often a change of this key arrived."""
        side = self.memory.sides.get((number, direction))
        return side.received if side else 0

    def applied_of(self, number: str, direction: str) -> int:
        """How often a change of this key was applied."""
        side = self.memory.sides.get((number, direction))
        return side.applied if side else 0

    def config(self, number: str, direction: str) -> Mapping[str, object]:
        """All blocks in force for a key: those applied last, and those that earlier changes left."""
        side = self.memory.sides.get((number, direction))
        return side.config or {} if side else {}

    def worst_second(self) -> int:
        """The most changes that arrived in any window of one second, whenever it began."""
        return self.memory.busiest_received.most

    async def until_received(self, count: int) -> None:
        """Return once so many changes have arrived."""
        while self.received < count:
            self.memory.arrived.clear()
            await self.memory.arrived.wait()

    # --- its life -----------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Begin to listen, or again after `go_offline`, on the same port."""
        options = self.behaviour.options
        host = "127.0.0.1" if options.host == "localhost" else options.host
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                self._server, host, self._port, backlog=1024, ssl=options.tls
            )
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"The sandbox cannot listen on {host}, port {self._port}: {error}. Choose another port, or 0 "
                "for any that is free."
            ) from None
        self._port = self._listener.sockets[0].getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.base_url = f"{'https' if options.tls else 'http'}://{shown}:{self._port}"

    async def go_offline(self) -> None:
        """Refuse connections and drop those there are, as if it had died; `listen` brings it back."""
        if self._listener:
            self._listener.close()
            self._listener = None
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        # What hangs is cancelled by the loss of its connection: this waits for nobody.
        await self._server.shutdown(1.0)

    async def close(self) -> None:
        """Stop at once, whatever hangs."""
        await self.go_offline()
        self.memory.close()

    def change(self, changes: Mapping[str, object]) -> None:
        """Change options while it runs; on `UsageError` nothing was changed.

        What counts requests (`expire_key_after`, `fault_first`, `fault_after`) counts from here on. A new key
        has not expired.
        """
        if "key" in changes:
            changes = {"expire_key_after": None, **changes}
        self.behaviour = self._changes.behaviour = self.behaviour.changed(changes)
        self._reads = Reads(self.memory, self.behaviour)
        self.memory.merge_blocks = self.behaviour.options.merge_blocks
        if "expire_key_after" in changes:
            self._changes.gate.renew(self.behaviour.options.expire_key_after)
        if "fault_first" in changes or "fault_after" in changes:
            self._changes.faults_from = self.memory.admitted

    def recount(self) -> None:
        """Set all counters to zero; what was applied stays."""
        self.memory.recount()
        self._changes.faults_from = 0

    def forget(self) -> None:
        """Set everything to zero, what was applied too."""
        self.memory.forget()
        self._changes.faults_from = 0

    # --- one request --------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        try:
            if path == _CONFIG and request.method == "PATCH":
                return await self._changes.answer(request)
            if path == control.PATH or path.startswith(control.PATH + "/"):
                return await control.answer(self, request)
            return await self._changes.unhurried(request, self._read(request))
        except ConnectionError:
            return Sent()  # the client has gone: there is nobody to answer
        except JournalError as error:
            return self._changes.wire.whole(request, failure(500, message=str(error)))

    def _read(self, request: web.BaseRequest) -> Answer:
        path, form = request.path, self.behaviour.options.failure_form
        if path == _CONFIG:
            return failure(405, form=form, headers=(("Allow", "PATCH"),))
        if path not in _READS:
            return failure(404, form=form, message="There is nothing at this path")
        if request.method not in ("GET", "HEAD"):
            return failure(405, form=form, headers=(("Allow", "GET, HEAD"),))
        if self._changes.gate.has_expired or not self._changes.gate.is_good(
            request, self.behaviour.options.key
        ):
            return failure(401, form=form)
        number = request.query.get("phone_number", "")
        match path:
            case "/v1/sip/numbers":
                return self._reads.numbers()
            case "/v1/sip/status":
                return self._reads.status(number, time.time())
            case _:
                return self._reads.number(number)
