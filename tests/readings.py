"""Playing a target that can be read: in virtual time it shows of each number what a test wants."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import anyio
import anyio.lowlevel
import orjson

from batch.clock import Clock
from batch.engine.pacer import Pacer, Rate
from batch.engine.run_options import RunOptions
from batch.plans import DIRECTIONS
from batch.read_back.readable import AttachedNumbers, Shown
from batch.target import Advice, Outcome, Verdict

_T = TypeVar("_T")

READ = Outcome(Verdict.ACCEPTED, http_status=200)
NOT_THERE = Outcome(Verdict.REFUSED, Advice.WRONG_ADDRESS, 404, "NOT_FOUND", "no such number")
NO_ANSWER = Outcome(Verdict.AMBIGUOUS, error_code="RESET", message="the connection was reset")
DOWN = Outcome(Verdict.AMBIGUOUS, http_status=500, error_code="INTERNAL_SERVER_ERROR")
NO_KEY = Outcome(Verdict.REFUSED, Advice.CREDENTIALS, 403, "INSUFFICIENT_SCOPE", "lacks the scope sip:read")
A_PAGE = Outcome(Verdict.AMBIGUOUS, Advice.SUSPICIOUS, 200, "NOT_THE_API", "an HTML page")


def throttled(retry_after_s: float | None = None) -> Outcome:
    """429, and how long to wait."""
    return Outcome(Verdict.TRANSIENT, Advice.THROTTLED, 429, "TOO_MANY_REQUESTS", retry_after_s=retry_after_s)


class Read(NamedTuple):
    """One read as the target sees it: which of all, which of its number (from 1), seconds into the round."""

    index: int
    nth: int
    number: str
    at_s: float


Answer = Callable[[Read], Outcome | tuple[Outcome, Shown | None]]


@dataclass
class PlayedReadable:
    """Gives the answers that a test wants after its latency; an outcome alone shows nothing."""

    answer: Answer
    latency_s: float = 0.05
    began_s: float = 0.0
    reads: list[Read] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    async def read_number(self, number: str) -> tuple[Outcome, Shown | None]:
        nth = sum(read.number == number for read in self.reads) + 1
        read = Read(len(self.reads), nth, number, anyio.current_time() - self.began_s)
        self.reads.append(read)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await anyio.sleep(self.latency_s)
        finally:
            self.in_flight -= 1
        answer = self.answer(read)
        return (answer, None) if isinstance(answer, Outcome) else answer

    async def read_numbers(self) -> tuple[Outcome, AttachedNumbers | None]:
        return READ, AttachedNumbers.of({})

    def times(self) -> list[float]:
        """When reads left, in seconds."""
        return [read.at_s for read in self.reads]


#: Quick enough that pacing is not what a test waits for.
FAST = RunOptions(rates=(Rate(1_000, 1.0),), concurrency=4)


def pacer_of(options: RunOptions, clock: Clock) -> Pacer:
    """A pacer for these rates."""
    return Pacer(options.rates, now=clock.now)


async def inline(work: Callable[[], _T]) -> _T:
    """What blocks, run where it is: a thread would break virtual time."""
    await anyio.lowlevel.checkpoint()
    return work()


@dataclass
class PlayedApi:
    """An API in memory that keeps what it is sent and shows it; in virtual time.

    `fault` gives the outcome of a read or send that fails, by its place among all; None lets it through.
    `hidden` names the blocks that it does not show.
    """

    sides: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    fault: Callable[[int, str], Outcome | None] = lambda _, __: None
    latency_s: float = 0.02
    calls: list[tuple[str, str, float]] = field(default_factory=list)
    name: str = "played"

    async def send(self, number: str, direction: str, payload: bytes) -> Outcome:
        fault = await self._call("send", number)
        if fault is not None and fault.verdict is not Verdict.AMBIGUOUS:
            return fault
        side = self.sides.setdefault((number, direction), {})
        side.update(orjson.loads(payload))
        return fault or READ

    async def read_number(self, number: str) -> tuple[Outcome, Shown | None]:
        fault = await self._call("read", number)
        if fault is not None:
            return fault, None
        return READ, Shown({direction: self._shown(number, direction) for direction in DIRECTIONS})

    async def read_numbers(self) -> tuple[Outcome, AttachedNumbers | None]:
        return READ, AttachedNumbers.of({int(number): 0b11 for number, _ in self.sides})

    def _shown(self, number: str, direction: str) -> dict[str, Any] | None:
        side = self.sides.get((number, direction))
        if side is None:
            return None
        return {name: copy.deepcopy(block) for name, block in side.items() if name not in self.hidden}

    async def _call(self, kind: str, number: str) -> Outcome | None:
        index = len(self.calls)
        self.calls.append((kind, number, anyio.current_time()))
        await anyio.sleep(self.latency_s)
        return self.fault(index, kind)

    def of(self, kind: str) -> list[str]:
        """The numbers of all calls of a kind, in order."""
        return [number for called, number, _ in self.calls if called == kind]

    async def __aenter__(self) -> PlayedApi:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None
