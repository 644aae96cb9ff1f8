"""Rehearsals: the real engine sends a small plan in virtual time to a target that a test plays.

done = rehearse(small_plan(3), lambda send: REFUSED if send.nth == 1 else ACCEPTED)
assert done.counts.failed == 1
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

from batch.clock import Clock
from batch.engine.pacer import Rate
from batch.errors import JournalError
from batch.journal.events import Event
from batch.journal.memory import MemoryJournal
from batch.journal.protocol import Counts, Journal, NewRun, ResultRow
from batch.plans import Plan
from batch.runner import Controls, Ending, RunOptions, run
from batch.target import Advice, Outcome, Verdict
from tests.simulation.virtual_time import run_virtual

_T = TypeVar("_T")

EPOCH = 1_785_144_600.0  #: 2026-07-27T09:30:00Z

ACCEPTED = Outcome(Verdict.ACCEPTED, http_status=200)
REFUSED = Outcome(Verdict.REFUSED, http_status=400, error_code="VALIDATION_ERROR", message="no such codec")
NOT_FOUND = Outcome(Verdict.REFUSED, Advice.WRONG_ADDRESS, 404, "NOT_FOUND", "no such number")
SERVER_ERROR = Outcome(Verdict.TRANSIENT, http_status=500, error_code="INTERNAL_SERVER_ERROR")
NO_ANSWER = Outcome(Verdict.AMBIGUOUS, error_code="RESET", message="the connection was reset")
NO_CONNECTION = Outcome(Verdict.TRANSIENT, Advice.UNREACHABLE, error_code="REFUSED", message="refused")
NO_KEY = Outcome(Verdict.REFUSED, Advice.CREDENTIALS, 401, "AUTH_FAILURE", "the key is not valid")
A_PAGE = Outcome(Verdict.AMBIGUOUS, Advice.SUSPICIOUS, 200, "NOT_JSON", "an HTML page")
THROTTLED = Outcome(Verdict.TRANSIENT, Advice.THROTTLED, 429, "TOO_MANY_REQUESTS")


def throttled(retry_after_s: float) -> Outcome:
    """429, and how long to wait."""
    return THROTTLED._replace(retry_after_s=retry_after_s)


@dataclass(frozen=True, slots=True)
class Sent:
    """One send as a target sees it: which of all, which of its number (from 1), seconds into the run."""

    index: int
    nth: int
    number: str
    direction: str
    payload: bytes
    at_s: float


Answer = Callable[[Sent], Outcome | Awaitable[Outcome]]


@dataclass
class PlayedTarget:
    """Gives the answers that a test wants, after the latency that it wants."""

    answer: Answer
    latency_s: float = 0.05
    sends: list[Sent] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    began_s: float = 0.0
    name: str = "rehearsal"
    _nth: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def send(self, number: str, direction: str, payload: bytes) -> Outcome:
        now = anyio.current_time()
        self._nth[number, direction] += 1
        nth = self._nth[number, direction]
        sent = Sent(len(self.sends), nth, number, direction, payload, now - self.began_s)
        self.sends.append(sent)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await anyio.sleep(self.latency_s)
            answer = self.answer(sent)
            return answer if isinstance(answer, Outcome) else await answer
        finally:
            self.in_flight -= 1

    async def __aenter__(self) -> PlayedTarget:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    def since(self, at_s: float) -> list[Sent]:
        """What was sent after this moment."""
        return [sent for sent in self.sends if sent.at_s > at_s]


@dataclass
class Watch:
    """Progress that remembers what it was shown: the counts, the rate, the note, by time since the start."""

    shown: list[tuple[float, Counts, float, str]] = field(default_factory=list)

    def update(self, counts: Counts, rate_per_s: float, note: str, *, wait_s: float = 0.0) -> None:
        self.shown.append((anyio.current_time(), counts, rate_per_s, note))

    def close(self) -> None:
        """Nothing."""


@dataclass
class Rehearsal:
    """What came of it. `error` is what the run raised, `ending` how it ended if it raised nothing."""

    journal: Journal
    run_id: str
    target: PlayedTarget
    progress: Watch
    ending: Ending | None
    error: BaseException | None
    lasted_s: float
    exchanges: int  #: what was asked of the journal's thread

    @property
    def counts(self) -> Counts:
        """Where the requests stand in the journal."""
        return self.journal.counts(self.run_id)

    @property
    def sends(self) -> list[Sent]:
        """All sends, in order."""
        return self.target.sends

    @property
    def rows(self) -> list[ResultRow]:
        """All requests as the journal has them."""
        return list(self.journal.results(self.run_id))

    def events(self, kind: str) -> list[Event]:
        """What happened of this kind."""
        return [event for event in self.journal.events(self.run_id) if event.kind == kind]


@dataclass
class Stage:
    """What a test may meddle with while the run goes: its controls, the scope that calls it, its target."""

    controls: Controls
    caller: anyio.CancelScope
    target: PlayedTarget


#: Quick enough that pacing is not what a test waits for.
FAST = RunOptions(rates=(Rate(1_000, 1.0),), concurrency=4)


def rehearse(
    plan: Plan,
    answer: Answer = lambda _: ACCEPTED,
    options: RunOptions = FAST,
    *,
    backend: str = "trio",
    seed: int = 0,
    latency_s: float = 0.05,
    commit_s: float = 0.0,
    wall_ahead_s: float | Callable[[], float] = 0.0,
    journal: Journal | None = None,
    meddle: Callable[[Stage], Awaitable[None]] | None = None,
    again: Rehearsal | None = None,
    **also: Any,
) -> Rehearsal:
    """Send a plan as a new run, or `again` what is left of another; `meddle` goes on beside it.

    `commit_s` is how long the journal takes for a commit, `wall_ahead_s` how far the wall clock has moved on;
    `also` is handed to `run`. Prints its seed, for whoever reads a failed test.
    """
    print(f"rehearsed with seed {seed} on {backend}")  # noqa: T201 - pytest shows it where a test fails
    target = PlayedTarget(answer, latency_s)
    progress = Watch()
    journal = again.journal if again else journal or MemoryJournal()
    exchanges = 0
    run_id = again.run_id if again else journal.create_run(plan, NewRun(target.name, EPOCH))

    async def run_blocking(work: Callable[[], _T]) -> _T:
        """A worker thread: it takes time, and once it has begun it is not cancelled."""
        nonlocal exchanges
        exchanges += 1
        await anyio.lowlevel.checkpoint()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(commit_s / 2)
            try:
                return work()
            finally:
                await anyio.sleep(commit_s / 2)

    def wall() -> float:
        ahead_s = wall_ahead_s() if callable(wall_ahead_s) else wall_ahead_s
        return EPOCH + ahead_s + anyio.current_time()

    async def main() -> Rehearsal:
        target.began_s = anyio.current_time()
        controls = Controls()
        ending: Ending | None = None
        error: BaseException | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_give_up)
            with anyio.CancelScope() as caller:
                if meddle is not None:
                    tasks.start_soon(meddle, Stage(controls, caller, target))
                try:
                    ending = await run(
                        journal,
                        run_id,
                        target,
                        options,
                        progress=progress,
                        controls=controls,
                        clock=Clock(anyio.current_time, wall),
                        run_blocking=run_blocking,
                        dice=random.Random(seed).random,
                        **also,
                    )
                except (JournalError, BaseExceptionGroup) as fault:
                    error = fault
            tasks.cancel_scope.cancel()
        lasted_s = anyio.current_time() - target.began_s
        return Rehearsal(journal, run_id, target, progress, ending, error, lasted_s, exchanges)

    return run_virtual(main, backend=backend, seed=seed)


async def _give_up() -> None:
    await anyio.sleep(20_000)
    raise AssertionError("the run neither ends nor stops")
