"""Sends what a run still has to send: workers, pace, deadlines, and every way to stop."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import anyio
import anyio.abc

from batch.breaker import FailureLimit, Gate
from batch.clock import Clock
from batch.desk import Bell, Desk, Dispatcher, LocalDispatcher, RunBlocking, in_thread
from batch.errors import JournalError
from batch.journal import FOUND_RATE, Claim, Counts, Journal, Shard, merged
from batch.judging import ABORTED, Judge
from batch.pacer import Pacer, Rate
from batch.plans import DIRECTIONS
from batch.progress import Progress, Silent
from batch.retrying import Dice, RetryBudget, RetryPolicy
from batch.seeking import SeekingPacer
from batch.states import StopReason
from batch.target import Outcome, Target, Verdict
from batch.timestamps import utc

#: Requests in a shard: small enough to hand out, large enough to be rare.
SHARD_SIZE = 10_000

#: The most requests in flight when the number is chosen here, and the fewest.
_MOST_WORKERS = 256
_FEWEST_WORKERS = 4

#: For how many seconds of sending claims are made ahead.
_AHEAD_S = 0.25


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is sent; times in seconds.

    No `rates` at all means that the rate is to be found. `concurrency` None takes what the rate and the
    measured latency need. `canary` is how many requests are sent, and must succeed, before the others.
    `drain_s` is how long a stopped run waits for what is in flight, and `outage_s` how long an outage is
    sat out.
    """

    rates: tuple[Rate, ...] = (Rate(5, 1.0),)
    concurrency: int | None = None
    deadline_s: float = 30.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    max_failures: FailureLimit | None = None
    canary: int | None = None
    drain_s: float = 30.0
    outage_s: float = 900.0

    @property
    def most_workers(self) -> int:
        """The most requests that can be in flight: what a target needs connections for."""
        return self.concurrency or _MOST_WORKERS


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a run is no longer going, in a word and in a sentence, and where its requests stand."""

    reason: StopReason
    message: str
    counts: Counts


class Stoppable(Protocol):
    """What is going on, and can be stopped: sending, or what reads before and after it."""

    def stop(self, reason: StopReason, message: str) -> None:
        """Begin nothing more; the first reason stands."""
        ...

    def abort(self) -> None:
        """Cancel what is in flight."""
        ...


class Controls:
    """What an operator does to a run that is going; before it is, a stop is kept for it."""

    def __init__(self) -> None:
        self._engine: Stoppable | None = None
        self._waiting: StopReason | None = None

    def attach(self, engine: Stoppable) -> None:
        """The run begins; a stop that was asked for before takes effect now."""
        self._engine = engine
        if self._waiting is not None:
            self.drain(self._waiting)

    def drain(self, reason: StopReason) -> None:
        """Send nothing more, let what is in flight end: the first signal."""
        self._waiting = reason
        if self._engine is not None:
            self._engine.stop(reason, f"interrupted by {reason.upper()}")

    def abort(self) -> None:
        """Cancel what is in flight: the second signal."""
        if self._engine is not None:
            self._engine.abort()


async def run(
    journal: Journal,
    run_id: str,
    target: Target,
    options: RunOptions,
    *,
    progress: Progress | None = None,
    controls: Controls | None = None,
    clock: Clock | None = None,
    run_blocking: RunBlocking = in_thread,
    dice: Dice = random.random,
    dispatcher: Dispatcher | None = None,
    pacer: Pacer | None = None,
) -> Ending:
    """Send what the run has left, until it is done or must stop.

    The target is entered and left by the caller. `pacer` (made by `pacer_for`) is given where other calls
    share the run's rate. Raises `JournalError` when the journal can no longer be written: it says how many
    results are recorded and how many are in doubt.
    """
    clock = clock or Clock()
    begun_at = clock.utc()

    def begin() -> _Begun:
        is_resumed = journal.run(run_id).started_at is not None
        lost = journal.begin(run_id, begun_at)
        events = journal.events(run_id)
        return _Begun(
            lost,
            journal.counts(run_id),
            journal.shards(run_id, SHARD_SIZE),
            None if options.rates else journal.found_rate(run_id),
            is_resumed,
            any(event.kind == "canary_passed" for event in events),
            max(
                (e.at + float(str(e.detail["wait_s"])) for e in events if e.kind == "throttled"), default=0.0
            ),
        )

    begun = await run_blocking(begin)
    pacer = pacer or pacer_for(options, clock, begun.known_per_s)
    if begun.is_resumed:
        pacer.go_on(begun.paused_until - clock.utc(), most_s=options.retry.longest_wait_s)
    engine = Engine(
        journal,
        run_id,
        target,
        options,
        counts=begun.counts,
        pacer=pacer,
        canary=0 if begun.is_past_canary else min(options.canary or 0, begun.counts.left),
        progress=progress or Silent(),
        clock=clock,
        run_blocking=run_blocking,
        dice=dice,
        dispatcher=dispatcher or LocalDispatcher(begun.shards),
    )
    rate = ", ".join(map(str, options.rates)) or "auto"
    engine.desk.note("began", left=begun.counts.left, lost=begun.lost, rate=rate)
    if controls is not None:
        controls.attach(engine)
    return await engine.run()


class _Begun(NamedTuple):
    """What the journal says when a run begins, or goes on."""

    lost: int
    counts: Counts
    shards: list[Shard]
    known_per_s: float | None
    is_resumed: bool
    is_past_canary: bool
    paused_until: float  #: UTC; what the API asked for last


def pacer_for(options: RunOptions, clock: Clock, known_per_s: float | None) -> Pacer:
    """A pacer for these rates; for none, one that finds the rate, from what an earlier run settled at."""
    if options.rates:
        return Pacer(options.rates, now=clock.now)
    return SeekingPacer(now=clock.now, known_per_s=known_per_s)


class Engine:
    """One process's part of a run, from the first claim to the last commit."""

    def __init__(
        self,
        journal: Journal,
        run_id: str,
        target: Target,
        options: RunOptions,
        *,
        counts: Counts,
        pacer: Pacer,
        canary: int,
        progress: Progress,
        clock: Clock,
        run_blocking: RunBlocking,
        dice: Dice,
        dispatcher: Dispatcher,
    ) -> None:
        self._journal = journal
        self._run_id = run_id
        self._target = target
        self._options = options
        self._progress = progress
        self._clock = clock
        self._run_blocking = run_blocking
        self._reason: StopReason | None = None
        self._message = ""
        self._stopped_at_s = math.inf
        self._journal_error: JournalError | None = None
        self._finished = anyio.Event()
        self._sending = anyio.CancelScope()
        self._bell = Bell()
        self._idle: deque[_Worker] = deque()
        self._workers = 0
        self._in_flight = 0
        self._latency_s = 0.0
        self._canary = canary
        self._canary_seen: set[int] = set()
        self._pacer = pacer
        self._limit = options.concurrency or min(
            _MOST_WORKERS, max(_FEWEST_WORKERS, math.ceil(self._pacer.asked_per_s / 2))
        )
        self._budget = RetryBudget(options.retry)
        self._judge = Judge(
            policy=options.retry,
            max_failures=options.max_failures,
            canary=canary,
            outage_s=options.outage_s,
            pacer=self._pacer,
            clock=clock,
            dice=dice,
            budget=self._budget,
        )
        self.desk = Desk(
            journal,
            run_id,
            dispatcher,
            counts=counts,
            clock=clock,
            run_blocking=run_blocking,
            budget=self._budget,
            barred=self._judge.safety.barred,
            wanted=self._wanted,
            claimable=self._claimable,
            on_commit=self._committed,
        )

    async def run(self) -> Ending:
        """Send until done or stopped; the run's end is in the journal when this returns."""
        self._committed()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._serve)
                group.start_soon(self._send_all)
                group.start_soon(self._tick)
                await self._finished.wait()
                group.cancel_scope.cancel()
        except BaseException as error:
            # Cancelled by the caller, or a bug: what was sent is journaled all the same.
            with anyio.CancelScope(shield=True):
                if isinstance(error, anyio.get_cancelled_exc_class()):
                    self.stop(StopReason.SIGINT, "cancelled")
                else:
                    self.stop(StopReason.SAFETY, "an unexpected error")
                await self.desk.exchange()
                await self._end()
            raise
        if self._journal_error is not None:
            raise JournalError(self._in_doubt(self._journal_error)) from self._journal_error
        await self._end()
        self._show()
        assert self._reason is not None
        return Ending(self._reason, self._message, self.desk.counts)

    def stop(self, reason: StopReason, message: str) -> None:
        """Send nothing more; the first reason stands."""
        if self._reason is not None:
            return
        self._reason, self._message, self._stopped_at_s = reason, message, self._clock.now()
        self.desk.give_back()
        if reason is not StopReason.DONE:
            self.desk.note("stopped", reason=reason.value, message=message)
        if isinstance(self._pacer, SeekingPacer) and self._pacer.found_per_s is not None:
            self.desk.note(FOUND_RATE, rate_per_s=round(self._pacer.found_per_s, 3))
        self._bell.ring()
        self._look_for_the_end()

    def abort(self) -> None:
        """Cancel what is in flight, and send nothing more; what becomes of it is journaled as ambiguous."""
        self.stop(StopReason.SIGINT, "interrupted")
        self._sending.cancel()

    # --- the journal's side ---------------------------------------------------------------------

    async def _serve(self) -> None:
        try:
            await self.desk.serve()
        except JournalError as error:
            self._journal_error = error
            self._reason = self._reason or StopReason.JOURNAL
            self.abort()
            self._finished.set()

    async def _end(self) -> None:
        reason, ended_at = self._reason, self._clock.utc()
        assert reason is not None
        await self._run_blocking(lambda: self._journal.end(self._run_id, reason, ended_at))

    def _committed(self) -> None:
        """The counts are those on disk: show them, and see whether anything is left."""
        if len(self._canary_seen) < self._canary:
            self._canary_seen.update(ready.claim.seq for ready in self.desk.ready)
        self._show()
        self._bell.ring()
        barred = len(self._judge.safety.barred)
        is_idle = not (self._in_flight or self.desk.ready or self.desk.unsaved)
        wait_s = self.desk.claims_again_at - self._clock.utc()
        if not self.desk.counts.left:
            self.stop(StopReason.DONE, "nothing is left to send")
        elif is_idle and self._options.retry.longest_due_s < wait_s < math.inf:
            self.stop(
                StopReason.TRY_LATER,
                "the API asked to wait with all that is left: come back after "
                f"{utc(self.desk.claims_again_at)}",
            )
        elif is_idle and barred and self.desk.is_dry:
            self.stop(
                StopReason.SAFETY,
                f"{barred} template{'s' * (barred != 1)} in quarantine: the API refused each of the first "
                f"requests made from {'them' if barred != 1 else 'it'}; all others were sent",
            )
        self._look_for_the_end()

    def _look_for_the_end(self) -> None:
        if self._reason is not None and not self._in_flight and self.desk.is_saved:
            self._finished.set()

    def _in_doubt(self, error: JournalError) -> str:
        counts = self.desk.counts
        recorded = counts.succeeded + counts.failed + counts.unknown
        in_doubt = self.desk.unsaved + self._in_flight
        return (
            f"{error}. Sending stopped at once: {recorded} results are recorded, {in_doubt} are in doubt; "
            "resume sends those again"
        )

    # --- how much is claimed ahead --------------------------------------------------------------

    def _ahead(self) -> int:
        """How many claims may wait to be sent: never more than can be in flight."""
        return min(self._limit, math.ceil(self._pacer.rate_per_s * _AHEAD_S) + 1)

    def _wanted(self) -> int:
        if self._reason is not None:
            return 0
        self.desk.group(min(self._limit // 4, math.ceil(self._pacer.rate_per_s / 100)))
        ahead = self._ahead()
        want = ahead - len(self.desk.ready)
        if 2 * want < ahead:
            return 0
        if self._judge.canary_left and len(self._canary_seen) < self._canary:
            want = min(want, self._canary - len(self._canary_seen))
        return want

    def _claimable(self) -> list[Shard]:
        """All open shards; once the canary is chosen and until it has ended, its requests alone."""
        if self._judge.canary_left and len(self._canary_seen) == self._canary:
            return merged(Shard(seq, seq + 1) for seq in self._canary_seen)
        return self.desk.shards

    # --- workers --------------------------------------------------------------------------------

    async def _send_all(self) -> None:
        with self._sending:
            async with anyio.create_task_group() as group:
                while self._reason is None:
                    await self._hand_out(group)
        self._look_for_the_end()

    async def _hand_out(self, group: anyio.abc.TaskGroup) -> None:
        if not self._may_send():
            await self._bell.wait()
            return
        if not self._pacer.take_now():
            await self._pacer.wait()
            if not self._may_send():
                return
        self._judge.outage.pause_is_over()
        if self._idle:
            self._idle.pop().hand(self._take())
        else:
            self._workers += 1
            group.start_soon(self._work, self._take())

    def _may_send(self) -> bool:
        return bool(
            self.desk.ready
            and self._reason is None
            and self._in_flight < self._limit
            and self.desk.unsaved < self._limit
            and not (self._in_flight and self._judge.outage.gate is Gate.PROBING)
        )

    def _take(self) -> _Departure:
        """The next claim, for the slot that the pacer has just given."""
        ready = self.desk.ready.popleft()
        if len(self._canary_seen) < self._canary:
            self._canary_seen.add(ready.claim.seq)
        if ready.claim.is_paid:
            self._budget.spend()
        self._in_flight += 1
        if 2 * len(self.desk.ready) < self._ahead():
            self.desk.look_again()
        return _Departure(ready.claim, ready.payload, self._pacer.last_left_s)

    async def _work(self, departure: _Departure) -> None:
        me = _Worker()
        while True:
            await self._attempt(departure)
            if self._workers > self._limit:
                break
            if self._judge.outage.gate is Gate.CLOSED and self._may_send() and self._pacer.take_now():
                departure = self._take()
                continue
            self._idle.append(me)
            self._bell.ring()
            departure = await me.handed()
        self._workers -= 1

    async def _attempt(self, departure: _Departure) -> None:
        claim = departure.claim
        sent_at, started_s = self._clock.utc(), self._clock.now()
        outcome = ABORTED
        try:
            with anyio.move_on_after(self._options.deadline_s) as deadline:
                outcome = await self._target.send(
                    f"+{claim.number}", DIRECTIONS[claim.direction], departure.payload
                )
            if deadline.cancelled_caught:
                said = f"no answer within {self._options.deadline_s:g} s; it may have been applied"
                outcome = Outcome(Verdict.AMBIGUOUS, error_code="DEADLINE", message=said)
        finally:
            # Also when cancelled: what was sent is journaled, or it would be taken for never sent.
            took_s = self._clock.now() - started_s
            self._pacer.answered(departure.left_at_s)
            self._latency_s = 0.9 * self._latency_s + 0.1 * took_s if self._latency_s else took_s
            why = self._judge.ended(claim, outcome, sent_at=sent_at, started_s=started_s, desk=self.desk)
            if why is not None:
                self.stop(*why)
            self._in_flight -= 1
            self._bell.ring()

    # --- once a second --------------------------------------------------------------------------

    async def _tick(self) -> None:
        """Fit the number of workers, end what has lasted too long, show where it stands."""
        while True:
            await anyio.sleep(1.0)
            if self._clock.now() > self._stopped_at_s + self._options.drain_s:
                self.abort()
            why = self._judge.lasted_too_long()
            if why is not None:
                self.stop(*why)
            if self._options.concurrency is None and self._latency_s:
                # As many as the rate keeps busy at this latency, and some to spare.
                needed = math.ceil(self._pacer.rate_per_s * self._latency_s * 1.5) + 2
                self._limit = min(_MOST_WORKERS, max(_FEWEST_WORKERS, needed))
                self._bell.ring()
            self._show()

    def _show(self) -> None:
        note = self._judge.waiting_for()
        if self._reason is not None:
            note = f"stopping, {self._in_flight} in flight" if self._in_flight else ""
        wait_s = max(0.0, self._pacer.paused_until_s - self._clock.now())
        self._progress.update(self.desk.counts, self._pacer.rate_per_s, note, wait_s=wait_s)


class _Departure(NamedTuple):
    """A request on its way: its claim, its body, and when the pacer let it go."""

    claim: Claim
    payload: bytes
    left_at_s: float


class _Worker:
    """One of the requests in flight at a time; waits here for the next."""

    __slots__ = ("_departure", "_event")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._departure: _Departure | None = None

    def hand(self, departure: _Departure) -> None:
        self._departure = departure
        self._event.set()

    async def handed(self) -> _Departure:
        await self._event.wait()
        self._event = anyio.Event()
        assert self._departure is not None
        return self._departure
