"""A round of reads: many things, each read until it is, at the pace of a run and with its patience.

A read changes nothing, so that much is simpler than for sends: nothing is claimed, and whoever stops a round
cancels what is in flight.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import anyio
import anyio.abc

from batch.clock import Clock
from batch.engine.blocking import RunBlocking, in_thread
from batch.engine.breaker import Gate, OutageBreaker
from batch.engine.controls import Controls
from batch.engine.desk import Bell
from batch.engine.pacer import Pacer, Rate
from batch.engine.retrying import Dice, backoff_s, state_after, throttle_wait_s
from batch.engine.run_options import RunOptions
from batch.journal.protocol import Counts
from batch.progress import Progress, Silent
from batch.states import RequestState, StopReason
from batch.target import Advice, Outcome, Verdict

T = TypeVar("T")

#: The most reads in flight when the number is chosen here, and the fewest.
_MOST_READERS = 256
_FEWEST_READERS = 4

#: How long what was read waits for others to share its commit, in seconds, and how many make a full one.
_GROUP_S = 0.25
_GROUP_SIZE = 500

#: Failed probes after which answers that are not the API's mean a wrong address, not a bad minute.
_SUSPICIOUS_PROBES = 3


class Reading(NamedTuple, Generic[T]):
    """How reading one thing ended: `which` it was, `at` when (UTC); no `value` if there was no answer."""

    which: int
    at: float
    outcome: Outcome
    value: T | None


@dataclass(frozen=True, slots=True)
class RoundEnding:
    """Why a round is over, in a word and in a sentence; `left` is how many things were not read."""

    reason: StopReason
    message: str
    left: int


class _Attempt(NamedTuple):
    which: int
    attempts: int  #: those that counted before this one


@dataclass(frozen=True, slots=True)
class Reader:
    """How rounds are read: how often and how patiently (`options`, as for sends), and at whose pace.

    `controls` can stop a round. `run_blocking` and `dice` are as for `batch.runner.run`; `progress` makes
    what shows a round while it goes.
    """

    options: RunOptions
    pacer: Pacer
    clock: Clock
    controls: Controls | None = None
    run_blocking: RunBlocking = in_thread
    dice: Dice = random.random
    progress: Callable[[], Progress] = Silent

    async def read(
        self,
        read: Callable[[int], Awaitable[tuple[Outcome, T | None]]],
        take: Callable[[list[Reading[T]]], Awaitable[None]],
        count: int,
        *,
        doing: str,
    ) -> RoundEnding:
        """A round of so many things: see `Round`."""
        shown = self.progress()
        reading = Round(read, take, count, reader=self, progress=shown, doing=doing)
        if self.controls is not None:
            self.controls.attach(reading)
        try:
            return await reading.run()
        finally:
            shown.close()


class Round(Generic[T]):
    """Reads the things `0 .. count - 1`.

    `read` reads one of them, and never raises for a failed read. `take` is awaited with what was read, by one
    caller at a time; what it has taken counts. `doing` is what is said of it while it goes.
    """

    def __init__(
        self,
        read: Callable[[int], Awaitable[tuple[Outcome, T | None]]],
        take: Callable[[list[Reading[T]]], Awaitable[None]],
        count: int,
        *,
        reader: Reader,
        progress: Progress,
        doing: str,
    ) -> None:
        self._read = read
        self._take = take
        self._count = count
        self._pacer = reader.pacer
        self._options = reader.options
        self._clock = reader.clock
        self._dice = reader.dice
        self._progress = progress
        self._doing = doing
        self._ready = deque(_Attempt(which, 0) for which in range(count))
        self._later: list[tuple[float, _Attempt]] = []
        self._in_flight = 0
        self._latency_s = 0.0
        self._outage = OutageBreaker()
        self._throttles = 0
        self._throttled_since_s: float | None = None
        self._found: list[Reading[T]] = []
        self._taken = 0
        self._failed = 0
        self._reason: StopReason | None = None
        self._message = ""
        self._is_over = False
        self._is_paused = False
        self._bell = Bell()
        self._counter = Bell()
        self._reading = anyio.CancelScope()

    async def run(self) -> RoundEnding:
        """Read until everything is read, or the round must stop; all that was read has been taken then."""
        self._show()
        async with anyio.create_task_group() as group:
            group.start_soon(self._hand_over)
            with self._reading:
                async with anyio.create_task_group() as readers:
                    while (attempt := await self._next()) is not None:
                        self._in_flight += 1
                        readers.start_soon(self._attempt, attempt, self._pacer.last_left_s)
            self._is_over = True
            self._counter.ring()
        reason = self._reason or StopReason.DONE
        return RoundEnding(reason, self._message, self._count - self._taken)

    # --- what an operator does to it: see `batch.engine.controls.Controlled` ---------------------------

    @property
    def is_stopping(self) -> bool:
        """Whether it has a reason to read nothing more, or is over."""
        return self._reason is not None or self._is_over

    @property
    def in_flight(self) -> int:
        """How many reads are on their way."""
        return self._in_flight

    def stop(self, reason: StopReason, message: str) -> None:
        """Read nothing more, and let go of what is in flight; the first reason stands."""
        if self._reason is None:
            self._reason, self._message = reason, message
            self._reading.cancel()

    def abort(self) -> None:
        """The same: nothing is lost with a read."""
        self.stop(StopReason.SIGINT, "cancelled")

    def pause(self) -> bool:
        """Read nothing until told to go on; false if that is so already."""
        was, self._is_paused = self._is_paused, True
        return not was

    def go_on(self) -> bool:
        """Read again; false if there was no pause."""
        was, self._is_paused = self._is_paused, False
        self._bell.ring()
        return was

    def change_rate(self, rates: tuple[Rate, ...]) -> str:
        """Read at other rates from now on; returns what they were. `UsageError` as `Pacer.change`."""
        was = ", ".join(map(str, self._pacer.rates)) or "auto"
        self._pacer.change(rates)
        self._bell.ring()
        return was

    # --- what is read next ----------------------------------------------------------------------

    async def _next(self) -> _Attempt | None:
        """The next attempt, once its slot has come; None if there is no more."""
        while self._reason is None:
            now = self._clock.now()
            while self._later and self._later[0][0] <= now:
                self._ready.append(heapq.heappop(self._later)[1])
            if not (self._ready or self._later or self._in_flight):
                return None
            if self._may_read():
                await self._pacer.wait()
                if self._may_read():
                    self._outage.pause_is_over()
                    return self._ready.popleft()
                continue
            due_s = self._later[0][0] - now if self._later else math.inf
            with anyio.move_on_after(due_s if due_s < math.inf else None):
                await self._bell.wait()
        return None

    def _may_read(self) -> bool:
        # One read at a time finds out whether an outage is over.
        is_probing = self._in_flight and self._outage.gate is Gate.PROBING
        return bool(
            self._ready
            and self._reason is None
            and not self._is_paused
            and self._in_flight < self._limit()
            and not is_probing
        )

    def _limit(self) -> int:
        """As many as the rate keeps busy at this latency, and some to spare."""
        if self._options.concurrency is not None:
            return self._options.concurrency
        needed = math.ceil(self._pacer.rate_per_s * (self._latency_s or 0.3) * 1.5) + 2
        return min(_MOST_READERS, max(_FEWEST_READERS, needed))

    async def _attempt(self, attempt: _Attempt, left_at_s: float) -> None:
        value: T | None = None
        deadline_s = self._options.deadline_s
        outcome = Outcome(
            Verdict.AMBIGUOUS, error_code="DEADLINE", message=f"no answer within {deadline_s:g} s"
        )
        started_s = self._clock.now()
        try:
            with anyio.move_on_after(deadline_s):
                outcome, value = await self._read(attempt.which)
        finally:
            took_s = self._clock.now() - started_s
            self._latency_s = 0.9 * self._latency_s + 0.1 * took_s if self._latency_s else took_s
            self._pacer.answered(left_at_s)
            self._in_flight -= 1
        self._judge(attempt, outcome, value, left_at_s)
        self._bell.ring()

    # --- what an answer means -------------------------------------------------------------------

    def _judge(self, attempt: _Attempt, outcome: Outcome, value: T | None, left_at_s: float) -> None:
        now = self._clock.now()
        if outcome.rate_per_s is not None:
            self._pacer.at_most(outcome.rate_per_s)
        self._heed_advice(outcome, left_at_s, now)
        self._heed_outage(outcome, now)
        # Other than a send, a read that fails in an outage counts: the next probe reads another thing, and
        # one thing that can never be read must not keep the round waiting for an outage to end.
        is_throttled = outcome.advice is Advice.THROTTLED
        attempts = attempt.attempts + (not is_throttled)
        match state_after(outcome, attempts, in_doubt=False, policy=self._options.retry):
            case RequestState.SUCCEEDED:
                self._pacer.accepted(left_at_s)
                self._put(Reading(attempt.which, self._clock.utc(), outcome, value))
            case RequestState.FAILED | RequestState.UNKNOWN:
                self._failed += 1
                self._put(Reading(attempt.which, self._clock.utc(), outcome, value))
            case RequestState.RETRYING:
                self._later_on(_Attempt(attempt.which, attempts), outcome, now)
            case RequestState.PENDING | RequestState.IN_FLIGHT | RequestState.SKIPPED:
                pass  # credentials or certificates: the round has stopped, and it is left

    def _put(self, reading: Reading[T]) -> None:
        self._found.append(reading)
        if len(self._found) in (1, _GROUP_SIZE):
            self._counter.ring()

    def _later_on(self, attempt: _Attempt, outcome: Outcome, now: float) -> None:
        policy = self._options.retry
        if outcome.advice is Advice.THROTTLED:
            wait_s = self._dice() * policy.jitter_after_wait_s
        elif outcome.retry_after_s is not None:
            wait_s = outcome.retry_after_s + self._dice() * policy.jitter_after_wait_s
        else:
            wait_s = backoff_s(attempt.attempts, base_s=policy.base_s, policy=policy, dice=self._dice)
        due_s = max(now + wait_s, self._pacer.paused_until_s)
        heapq.heappush(self._later, (due_s, attempt))

    def _heed_advice(self, outcome: Outcome, left_at_s: float, now: float) -> None:
        match outcome.advice:
            case Advice.CREDENTIALS:
                self.stop(StopReason.CREDENTIALS, f"the API refused the credentials: {_words(outcome)}")
            case Advice.UNTRUSTED:
                self.stop(
                    StopReason.UNTRUSTED, f"the server's identity cannot be verified: {_words(outcome)}"
                )
            case Advice.THROTTLED:
                self._heed_throttle(outcome, left_at_s, now)
            case Advice.GO_ON | Advice.WRONG_ADDRESS:
                if outcome.verdict in (Verdict.ACCEPTED, Verdict.REFUSED):
                    self._throttles, self._throttled_since_s = 0, None
            case Advice.UNREACHABLE | Advice.SUSPICIOUS:
                pass

    def _heed_throttle(self, outcome: Outcome, left_at_s: float, now: float) -> None:
        policy = self._options.retry
        if self._throttled_since_s is None:
            self._throttled_since_s = now
        is_first_to_say = self._pacer.throttled(left_at_s)
        if outcome.retry_after_s is None and not is_first_to_say:
            return
        wait_s = throttle_wait_s(outcome, self._throttles, policy=policy, dice=self._dice)
        self._throttles += is_first_to_say
        if wait_s > policy.longest_wait_s or now - self._throttled_since_s > self._options.outage_s:
            self.stop(StopReason.TRY_LATER, f"the API asks to wait {wait_s:.0f} s: {_words(outcome)}")
            return
        self._pacer.pause_until(now + wait_s)

    def _heed_outage(self, outcome: Outcome, now: float) -> None:
        pause_s = self._outage.told(outcome, now)
        if pause_s is None:
            return
        self._pacer.pause_until(now + pause_s)
        if outcome.advice is Advice.SUSPICIOUS and self._outage.failed_probes >= _SUSPICIOUS_PROBES:
            self.stop(StopReason.SAFETY, f"the answers are not the API's: {_words(outcome)}")
        elif self._outage.since_s is not None and now - self._outage.since_s > self._options.outage_s:
            minutes = f"{(now - self._outage.since_s) / 60:.0f} minutes"
            said = _words(outcome)
            self.stop(StopReason.TRY_LATER, f"the API has answered nothing for {minutes}: {said}")

    # --- what was read --------------------------------------------------------------------------

    async def _hand_over(self) -> None:
        """Hand over what was read, in groups, until the round is over and nothing is left to hand over."""
        while True:
            if not self._found:
                if self._is_over:
                    return
                await self._counter.wait()
                continue
            if not self._is_over and len(self._found) < _GROUP_SIZE:
                with anyio.move_on_after(_GROUP_S):
                    await self._counter.wait()
            found, self._found = self._found, []
            await self._take(found)
            self._taken += len(found)
            self._show()

    def _show(self) -> None:
        left = self._count - self._taken
        counts = Counts(
            pending=left, succeeded=self._taken - self._failed, failed=min(self._failed, self._taken)
        )
        self._progress.update(counts, self._pacer.rate_per_s, self._doing)


def _words(outcome: Outcome) -> str:
    """An outcome in a few words, for the operator."""
    status = f"HTTP {outcome.http_status}" if outcome.http_status else ""
    return " ".join(part for part in (status, outcome.error_code, outcome.message) if part)
