"""Sends what a run still has to send: workers, pace, deadlines, and every way to stop."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass

import anyio
import anyio.abc

from batch.clock import Clock
from batch.engine.advance import Advance, Ask, ReadBack
from batch.engine.beginning import Beginning, begin, pacer_for
from batch.engine.blocking import InTurn, RunBlocking, in_thread
from batch.engine.breaker import Gate
from batch.engine.controls import Controls, in_words
from batch.engine.desk import Bell, Desk, Dispatcher, LocalDispatcher
from batch.engine.judging import ABORTED, Judge
from batch.engine.pacer import Pacer, Rate
from batch.engine.retrying import Dice, RetryBudget
from batch.engine.run_options import RunOptions
from batch.engine.seeking import SeekingPacer
from batch.engine.steering import Steering
from batch.engine.workers import Crew, Deadlines, Departure, Worker
from batch.errors import JournalError
from batch.journal.events import FOUND_RATE
from batch.journal.protocol import Counts, Journal, Shard
from batch.plans import DIRECTIONS
from batch.progress import Progress, Silent
from batch.states import StopReason
from batch.target import Outcome, Target, Verdict
from batch.timestamps import utc

__all__ = ["Controls", "Ending", "Engine", "RunOptions", "pacer_for", "run"]

#: For how many seconds of sending claims are made ahead.
_AHEAD_S = 0.25


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a run is no longer going, in a word and in a sentence, and where its requests stand."""

    reason: StopReason
    message: str
    counts: Counts


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
    ask: Ask | None = None,
    read_back: ReadBack | None = None,
) -> Ending:
    """Send what the run has left, until it is done or must stop.

    The target is entered and left by the caller. `pacer` (made by `pacer_for`) is given where other calls
    share the run's rate. Between waves `ask` asks the operator, and without it the thresholds decide;
    `read_back` looks at what a wave has put in force. Raises `JournalError` when the journal can no longer
    be written: it says how many results are recorded and how many are in doubt.
    """
    clock = clock or Clock()
    begun_at = clock.utc()
    in_turn = InTurn.of(run_blocking)
    begun = await in_turn(lambda: begin(journal, run_id, options, at=begun_at))
    pacer = pacer or pacer_for(options, clock, begun.known_per_s)
    if begun.is_resumed:
        pacer.go_on(begun.paused_until - clock.utc(), most_s=options.retry.longest_wait_s)
    engine = Engine(
        journal,
        run_id,
        target,
        options,
        begun=begun,
        pacer=pacer,
        progress=progress or Silent(),
        clock=clock,
        in_turn=in_turn,
        dice=dice,
        dispatcher=dispatcher or LocalDispatcher(begun.shards),
        ask=ask,
        read_back=read_back,
    )
    engine.desk.note("began", left=begun.counts.left, lost=begun.lost, rate=in_words(options.rates))
    if controls is not None:
        controls.attach(engine)
    return await engine.run()


class Engine:
    """One process's part of a run, from the first claim to the last commit."""

    def __init__(
        self,
        journal: Journal,
        run_id: str,
        target: Target,
        options: RunOptions,
        *,
        begun: Beginning,
        pacer: Pacer,
        progress: Progress,
        clock: Clock,
        in_turn: InTurn,
        dice: Dice,
        dispatcher: Dispatcher,
        ask: Ask | None,
        read_back: ReadBack | None,
    ) -> None:
        self._journal = journal
        self._run_id = run_id
        self._target = target
        self._options = options
        self._progress = progress
        self._clock = clock
        self._in_turn = in_turn
        self._reason: StopReason | None = None
        self._message = ""
        self._stopped_at_s = math.inf
        self._journal_error: JournalError | None = None
        self._finished = anyio.Event()
        self._sending = anyio.CancelScope()
        self._waiting = anyio.CancelScope()
        self._bell = Bell()
        self._idle: deque[Worker] = deque()
        self._deadlines = Deadlines(options.deadline_s, clock.now)
        self._in_flight = 0
        #: With fewer claims than that to be sent, more are asked for.
        self._few = 0.0
        self._pacer = pacer
        self._crew = Crew(options.concurrency, pacer)
        self._budget = RetryBudget(options.retry)
        self._judge = Judge(
            policy=options.retry,
            max_failures=options.max_failures,
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
            counts=begun.counts,
            clock=clock,
            in_turn=in_turn,
            budget=self._budget,
            barred=self._judge.safety.barred,
            wanted=self._wanted,
            claimable=self._claimable,
            on_commit=self._committed,
        )
        self._steering = Steering(
            options.windows,
            margin_s=options.deadline_s,
            clock=clock,
            note=self.desk.note,
            hold=self._hold,
            move_on=self._move_on,
        )
        self._advance = Advance(
            begun.waves,
            begun.counts,
            limit=options.max_failures,
            soak_s=options.soak_s,
            clock=clock,
            note=self.desk.note,
            stop=self.stop,
            move_on=self._move_on,
            ask=ask,
            read_back=read_back,
            unjudged=begun.unjudged,
            soaks_until=begun.soaks_until,
        )

    async def run(self) -> Ending:
        """Send until done or stopped; the run's end is in the journal when this returns."""
        self._committed()
        self._steer()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._serve)
                group.start_soon(self._send_all)
                group.start_soon(self._tick)
                group.start_soon(self._deadlines.keep)
                group.start_soon(self._advance.see_through)
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

    # --- what others may do to it ---------------------------------------------------------------

    @property
    def is_stopping(self) -> bool:
        """Whether it has a reason to send nothing more, or has ended."""
        return self._reason is not None

    @property
    def in_flight(self) -> int:
        """How many requests are on their way."""
        return self._in_flight

    def pause(self) -> bool:
        """Send nothing until told to go on; false if that is so already."""
        return self._steering.pause()

    def go_on(self) -> bool:
        """Send again; false if there was no pause."""
        return self._steering.go_on()

    def change_rate(self, rates: tuple[Rate, ...]) -> str:
        """Send at other rates from now on, none at all: find it; returns what they were."""
        was = in_words(self._pacer.rates)
        self._pacer.change(rates)
        self._crew.begin()
        self.desk.note("rate_changed", rate=in_words(rates), was=was)
        self._waiting.cancel()
        self.desk.look_again()
        return was

    def _hold(self) -> None:
        """Nothing may be sent from now on; what was claimed goes back."""
        self._waiting.cancel()
        self.desk.give_back()

    def _move_on(self, waited_s: float) -> None:
        """Something may be claimed and sent again, that could not be for so long."""
        self._judge.waited(waited_s)
        self.desk.give_back()
        self._bell.ring()

    def _steer(self) -> None:
        """Keep to the windows, if there are any."""
        self._steering.look()
        if self._options.leaves_window and (opens := self._steering.opens_in_words):
            self.stop(StopReason.TRY_LATER, f"the window is closed until {opens}: come back then")

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
        await self._in_turn(lambda: self._journal.end(self._run_id, reason, ended_at))

    def _committed(self) -> None:
        """The counts are those on disk: show them, and see whether anything is left."""
        self._show()
        self._bell.ring()
        barred = len(self._judge.safety.barred)
        is_idle = not (self._in_flight or self.desk.ready or self.desk.unsaved)
        if self._advance.committed(self.desk.counts, is_through=is_idle and self.desk.is_dry):
            self.desk.claim_again()
        wait_s = self.desk.claims_again_at - self._clock.utc()
        if not self.desk.counts.left:
            self.stop(StopReason.DONE, "nothing is left to send")
        elif is_idle and self._options.retry.longest_due_s < wait_s < math.inf:
            until = utc(self.desk.claims_again_at)
            said = f"the API asked to wait with all that is left: come back after {until}"
            self.stop(StopReason.TRY_LATER, said)
        elif is_idle and barred and self.desk.is_dry and self._advance.is_over:
            self.stop(StopReason.SAFETY, self._judge.safety.quarantine)
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
        """How many claims may wait to be sent: with those in flight, twice as many as can be in flight.

        So that workers who wait for the journal have something to send as soon as it answers, and the next
        claims are under way by then.
        """
        return min(2 * self._crew.limit - self._in_flight, math.ceil(self._pacer.rate_per_s * _AHEAD_S) + 1)

    def _wanted(self) -> int:
        if self._reason is not None or self._steering.is_held:
            return 0
        self.desk.group(min(self._crew.limit // 4, math.ceil(self._pacer.rate_per_s / 100)))
        ahead = self._ahead()
        self._few = ahead / 2
        want = ahead - len(self.desk.ready)
        return 0 if 2 * want < ahead else want

    def _claimable(self) -> list[Shard]:
        """What of the open shards belongs to the wave that is being sent."""
        return self._advance.claimable(self.desk.shards)

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
            with anyio.CancelScope() as self._waiting:
                await self._pacer.wait()
            if self._waiting.cancelled_caught or not self._may_send():
                return
        self._judge.outage.pause_is_over()
        if self._idle:
            self._idle.pop().hand(self._take())
        else:
            worker = Worker(self._take())
            self._deadlines.workers.add(worker)
            group.start_soon(self._work, worker)

    def _may_send(self) -> bool:
        return bool(
            self.desk.ready
            and self._reason is None
            and not self._steering.is_held
            and self._in_flight < self._crew.limit
            and not (self._in_flight and self._judge.outage.gate is Gate.PROBING)
        )

    def _take(self) -> Departure:
        """The next claim, for the slot that the pacer has just given."""
        ready = self.desk.ready.popleft()
        if ready.claim.is_paid:
            self._budget.spend()
        self._in_flight += 1
        if len(self.desk.ready) < self._few:
            self.desk.look_again()
        return Departure(ready.claim, ready.payload, self._pacer.last_left_s)

    async def _work(self, me: Worker) -> None:
        try:
            while me in self._deadlines.workers:
                with anyio.CancelScope() as me.scope:
                    while me in self._deadlines.workers and not me.scope.cancel_called:
                        await self._attempt(me, await me.handed())
                        self._next(me)
                if me.scope.cancelled_caught:
                    self._next(me)
        finally:
            if me.missed is not None:  # cancelled before it could leave: it goes back unsent
                self._in_flight -= 1
                self.desk.take_back(me.missed.claim)

    async def _attempt(self, me: Worker, departure: Departure) -> None:
        claim = departure.claim
        started_s = self._clock.now()
        sent_at = self._clock.utc_of(started_s)
        outcome = ABORTED
        me.since_s = started_s
        try:
            outcome = await self._target.send(
                f"+{claim.number}", DIRECTIONS[claim.direction], departure.payload
            )
        finally:
            # Also when cancelled: what was sent is journaled, or it would be taken for never sent.
            me.since_s = math.inf
            if outcome is ABORTED and me.scope.cancel_called:
                said = f"no answer within {self._options.deadline_s:g} s; it may have been applied"
                outcome = Outcome(Verdict.AMBIGUOUS, error_code="DEADLINE", message=said)
            took_s = self._clock.now() - started_s
            self._pacer.answered(departure.left_at_s)
            self._crew.told(took_s)
            why = self._judge.ended(claim, outcome, sent_at=sent_at, started_s=started_s, desk=self.desk)
            if why is not None:
                self.stop(*why)
            self._in_flight -= 1
            self._bell.ring()

    def _next(self, me: Worker) -> None:
        """Give a worker another request; or let it wait for one, or leave if there are too many."""
        if len(self._deadlines.workers) > self._crew.limit:
            self._deadlines.workers.discard(me)
        elif self._judge.outage.gate is Gate.CLOSED and self._may_send() and self._pacer.take_now():
            me.hand(self._take())
        else:
            self._idle.append(me)

    # --- once a second --------------------------------------------------------------------------

    async def _tick(self) -> None:
        """Fit the number of workers, end what has lasted too long, show where it stands."""
        while True:
            await anyio.sleep(1.0)
            if self._clock.now() > self._stopped_at_s + self._options.drain_s:
                self.abort()
            self._steer()
            why = None if self._steering.is_held else self._judge.lasted_too_long()
            if why is not None:
                self.stop(*why)
            if self._crew.fit():
                self._bell.ring()
            self._show()

    def _show(self) -> None:
        note = self._steering.waiting_for or self._advance.waiting_for or self._judge.waiting_for()
        if self._reason is not None:
            note = f"stopping, {self._in_flight} in flight" if self._in_flight else ""
        until_s = max(self._pacer.paused_until_s, self._advance.waits_until_s)
        wait_s = max(0.0, until_s - self._clock.now(), self._steering.wait_s)
        self._progress.update(self.desk.counts, self._pacer.rate_per_s, note, wait_s=wait_s)
