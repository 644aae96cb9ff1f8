"""The fleet's world over real HTTP: the account is a sandbox in another process, and nothing is virtual."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import anyio
import httpx

from batch.bland.api import BlandTarget
from batch.bland.credentials import ApiKey
from batch.engine.pacer import Rate
from batch.engine.retrying import RetryPolicy
from batch.plans import DIRECTIONS
from batch.runner import Ending, RunOptions
from batch.target import Outcome
from tests.fleet_world import TARGET, Account, Config, DeadError, FleetWorld, Key, Mood
from tests.sending import FIRST_NUMBER, KEY

#: What the sandbox is told to do to a request; the others are done by the process that sends it.
FAULTS = {
    Mood.REFUSE: "400",
    Mood.DOWN: "503",
    Mood.LOSE_ANSWER: "reset_after",
    Mood.LOSE_REQUEST: "reset_before",
}

#: As many moods a run that the engine never takes them for an outage, which it would sit out in real time.
MOST_MOODS = 4

#: One at a time: so each request meets its own mood, and the same course of things comes again.
HURRIED = RunOptions(rates=(Rate(10_000, 1.0),), concurrency=1, retry=RetryPolicy(max_attempts=3))


class HttpAccount(Account):
    """What a sandbox holds, sent to by the target that operators use, and read back as its API shows it."""

    def __init__(self, url: str, numbers: int) -> None:
        super().__init__()
        self._numbers = [f"+{FIRST_NUMBER + nth}" for nth in range(numbers)]
        self._url = url
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, timeout=30.0
        )
        self._target: BlandTarget | None = None
        self._control: httpx.AsyncClient | None = None
        self._stack = AsyncExitStack()
        self._seen: dict[Key, Config] | None = None
        self._told = ""
        reset = self._client.post("/_sandbox", json={"reset": "all", "faults": {}})
        assert reset.status_code == 200

    @property
    def holds(self) -> dict[Key, Config]:
        """What it shows, number by number."""
        if self._seen is None:
            self._seen = {key: config for key, config in self._shown() if config}
        return self._seen

    @holds.setter
    def holds(self, _: dict[Key, Config]) -> None:
        """Only what is sent to it changes it."""

    def _shown(self) -> list[tuple[Key, Config]]:
        shown = []
        for number in self._numbers:
            sides = self._client.get("/v1/sip", params={"phone_number": number}).json()["data"]
            for direction in DIRECTIONS:
                side = sides[direction] or {}
                blocks = {name: block for name, block in side.items() if name.endswith("_config")}
                shown.append(((number, direction), blocks))
        return shown

    async def send(self, number: str, direction: str, payload: bytes) -> Outcome:
        """Send it as the next mood says; accept when there are no more."""
        assert self._target is not None
        if self.is_dead:
            raise DeadError
        mood = self.moods.pop(0) if self.moods else Mood.ACCEPT
        self.sent.append((number, direction))
        self._seen = None
        if mood is Mood.DIE_BEFORE:
            self.is_dead = True
            raise DeadError
        await self._tell(FAULTS.get(mood, ""))
        outcome = await self._target.send(number, direction, payload)
        if mood is Mood.DIE_AFTER:
            self.is_dead = True
            raise DeadError
        return outcome

    async def _tell(self, fault: str) -> None:
        """Have the sandbox do this to what comes next."""
        if fault != self._told:
            assert self._control is not None
            faults = {fault: 1.0} if fault else {}
            answer = await self._control.post("/_sandbox", json={"faults": faults})
            assert answer.status_code == 200
            self._told = fault

    async def __aenter__(self) -> Self:
        key = ApiKey(KEY, source="the test")
        self._target = await self._stack.enter_async_context(
            BlandTarget(self._url, key, connections=1, name=TARGET)
        )
        self._control = await self._stack.enter_async_context(
            httpx.AsyncClient(base_url=self._url, trust_env=False)
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def close(self) -> None:
        self._client.close()


class HttpWorld(FleetWorld):
    """The same workspace and sheets; what is sent goes to the sandbox."""

    account: HttpAccount

    def __init__(self, folder: Path, account: HttpAccount) -> None:
        super().__init__(folder, account, options=HURRIED, dice=lambda: 0.0)

    def send(self, run_id: str, moods: Sequence[Mood] = (), steps: int | None = None) -> Ending | None:
        """As there, with few enough moods that nothing is sat out."""
        return super().send(run_id, moods[:MOST_MOODS], steps)

    def _played(self, work: Callable[[], Coroutine[Any, Any, Ending]]) -> Ending:
        """In real time."""

        async def main() -> Ending:
            async with self.account:
                return await work()

        return anyio.run(main, backend="asyncio")

    def close(self) -> None:
        super().close()
        self.account.close()
