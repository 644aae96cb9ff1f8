"""Between the workers and the journal: claims that are on disk go out, results go to disk in groups."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Set
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Protocol

import anyio

from batch.clock import Clock
from batch.engine.blocking import InTurn
from batch.engine.retrying import RetryBudget
from batch.errors import BusyJournalError
from batch.journal.events import Event
from batch.journal.protocol import Claim, Counts, Ended, Journal, Shard
from batch.states import RequestState

#: How many payloads are kept at hand; a run of a few templates reads each of them once.
_PAYLOADS_AT_HAND = 2_000

#: The longest that a result waits for others to share its commit. A result is not counted before.
_GROUP_S = 0.01

#: How long until claims that could not be had are asked for again.
_LOOK_AGAIN_S = 0.05


class Dispatcher(Protocol):
    """Gives out the shards of a run; in a cluster, each to one worker process."""

    async def take(self) -> Shard | None:
        """The next shard that this process is to send, or None if there is no more."""
        ...


class LocalDispatcher:
    """All shards of a run, in order, for the one process there is."""

    def __init__(self, shards: list[Shard]) -> None:
        self._shards = deque(shards)

    async def take(self) -> Shard | None:
        """The next shard, or None."""
        return self._shards.popleft() if self._shards else None


class Ready(NamedTuple):
    """A request that is claimed on disk and may be sent, with the body it gets."""

    claim: Claim
    payload: bytes


class Bell:
    """Rung by many, waited for by one; a ring while nobody waits is kept."""

    def __init__(self) -> None:
        self._is_rung = False
        self._event: anyio.Event | None = None

    def ring(self) -> None:
        if not self._is_rung:
            self._is_rung = True
            if self._event is not None:
                self._event.set()

    async def wait(self) -> None:
        if not self._is_rung:
            self._event = anyio.Event()
            try:
                await self._event.wait()
            finally:
                self._event = None
        self._is_rung = False


class Desk:
    """One task, `serve`, exchanges with the journal; everything else here only changes memory.

    `ready` holds what may be sent, `unsaved` counts results that are not on disk yet, `counts` are those on
    disk, `shards` those that are open here. `is_dry` says that the journal has nothing to claim beyond
    `ready`, now or later. `wanted` says how many claims to ask for, and `claimable` from which shards;
    `on_commit` is called after each commit.
    """

    def __init__(
        self,
        journal: Journal,
        run_id: str,
        dispatcher: Dispatcher,
        *,
        counts: Counts,
        clock: Clock,
        in_turn: InTurn,
        budget: RetryBudget,
        barred: Set[int],
        wanted: Callable[[], int],
        claimable: Callable[[], list[Shard]],
        on_commit: Callable[[], None],
    ) -> None:
        self.ready: deque[Ready] = deque()
        self.unsaved = 0
        self.counts = counts
        self.shards: list[Shard] = []
        self.is_dry = False
        self._journal = journal
        self._run_id = run_id
        self._dispatcher = dispatcher
        self._clock = clock
        self._in_turn = in_turn
        self._budget = budget
        self._barred = barred
        self._wanted = wanted
        self._claimable = claimable
        self._on_commit = on_commit
        self._claim_at = -math.inf
        self._hold_until = -math.inf
        self._recalls = 0
        self._got_none = False
        self._ended: list[Ended] = []
        self._released: list[Claim] = []
        self._events: list[Event] = []
        self._payloads: dict[int, bytes] = {}
        self._bell = Bell()
        self._group_full = anyio.Event()
        self._group_size = 1

    @property
    def claims_again_at(self) -> float:
        """When (UTC) claims are asked for again: in the past for at once, never if the journal is dry."""
        return max(self._claim_at, self._hold_until)

    @property
    def is_saved(self) -> bool:
        """Whether everything that is known is on disk."""
        return not (self.unsaved or self._released or self._events)

    def put(self, ended: Ended) -> None:
        """A claimed request's attempt has ended."""
        self._ended.append(ended)
        self.unsaved += 1
        if ended.due_at is not None:
            self._claim_at = min(self._claim_at, ended.due_at)
        elif ended.state is RequestState.PENDING:
            self._claim_at = -math.inf
        self.is_dry &= ended.state.is_final
        if len(self._ended) >= self._group_size:
            self._group_full.set()
        self._bell.ring()

    def note(self, kind: str, **detail: object) -> None:
        """Something happened to the run as a whole."""
        self._events.append(Event(self._clock.utc(), kind, detail))
        self._bell.ring()

    def give_back(self) -> None:
        """Claims that were not sent go back to where they were; also those of a commit that is under way."""
        self._recalls += 1
        while self.ready:
            self._released.append(self.ready.pop().claim)
        self._claim_at = -math.inf
        self.is_dry = False
        self._bell.ring()

    def take_back(self, claim: Claim) -> None:
        """A claim was given out to be sent, and was not."""
        self._released.append(claim)
        self._bell.ring()

    def hold(self, until: float) -> None:
        """Claim nothing before `until` (UTC), and give back what was not sent."""
        self._hold_until = max(self._hold_until, until)
        self.give_back()

    def look_again(self) -> None:
        """More may be wanted, or wanted again, than before."""
        self._bell.ring()

    def claim_again(self) -> None:
        """More can be claimed than before; called from `on_commit` alone, between two commits."""
        self._claim_at = -math.inf
        self.is_dry = False
        self._bell.ring()

    def group(self, size: int) -> None:
        """Let results wait for each other, up to `size` of them or a hundredth of a second."""
        self._group_size = max(1, size)

    async def serve(self) -> None:
        """Exchange with the journal for as long as the run goes on."""
        while True:
            await self._wait_for_work()
            # What is being committed must also be known here: a claim forgotten between the two
            # would be taken for one that was sent.
            with anyio.CancelScope(shield=True):
                await self.exchange()

    async def exchange(self) -> None:
        """One commit of what there is, and as many claims as are wanted."""
        want = self._wanted() if self.claims_again_at <= self._clock.utc() else 0
        ended, self._ended = self._ended, []
        released, self._released = self._released, []
        events, self._events = self._events, []
        if not (want or ended or released or events):
            return
        if want and not self.shards:
            await self._open_shard()
        shards, now = self._claimable(), self._clock.utc()
        max_retries = max(0, self._budget.retries - sum(ready.claim.is_paid for ready in self.ready))
        if not max_retries and self._got_none:
            # Nothing else is left that could earn a retry: they may trickle, or the run would never end.
            max_retries = 1

        # As they are now: what is told of meanwhile must not change what a thread is reading.
        barred, recalls = frozenset(self._barred), self._recalls
        work = partial(
            self._journal.exchange,
            self._run_id,
            ended=ended,
            released=[claim.seq for claim in released],
            events=events,
            want=want,
            shards=shards,
            now=now,
            max_retries=max_retries,
            barred_templates=barred,
        )

        def finish() -> float | None:
            if is_open:
                self._journal.commit()
            self._load_payloads(claims)
            return self._journal.next_due(self._run_id, barred, shards) if len(claims) < want else None

        async with self._in_turn.turn:
            try:
                # Here, and not in the thread: each of its statements would wait there for the interpreter.
                claims, is_open = work(commit=False), True
            except BusyJournalError:
                claims, is_open = await self._in_turn.run_blocking(work), False
            due_at = await self._in_turn.run_blocking(finish)
        ready = [Ready(claim, self._payloads[claim.payload_id]) for claim in claims]
        self.unsaved -= len(ended)
        self._count(ended, released, ready)
        if want:
            self._got_none = not ready
        if recalls != self._recalls:
            self._released += [claim for claim, _ in ready]
            ready, want = [], 0
        self.ready.extend(ready)
        if want:
            await self._settle(want, len(ready), due_at)
        self._on_commit()

    async def _settle(self, want: int, got: int, due_at: float | None) -> None:
        """Decide when it is worth asking for claims again."""
        self.is_dry = False
        if got == want:
            return
        if await self._open_shard():
            self._bell.ring()
            return
        # What ended or was given back while the commit was under way is not in its answer.
        if self._released or any(e.state is RequestState.PENDING for e in self._ended):
            return
        dues = [e.due_at for e in self._ended if e.due_at is not None]
        soonest = min([*dues, due_at] if due_at is not None else dues, default=math.inf)
        self.is_dry = soonest == math.inf
        if self._got_none:
            # What is due already could not be had: no retry is affordable, or another has its shard.
            soonest = max(soonest, self._clock.utc() + _LOOK_AGAIN_S)
        self._claim_at = soonest

    async def _open_shard(self) -> bool:
        shard = await self._dispatcher.take()
        if shard is not None:
            self.shards.append(shard)
        return shard is not None

    async def _wait_for_work(self) -> None:
        if self._ended and self._group_size > 1:
            with anyio.move_on_after(_GROUP_S):
                await self._group_full.wait()
        self._group_full = anyio.Event()
        if self._ended or self._released or self._events:
            return
        wait_s = self.claims_again_at - self._clock.utc()
        if wait_s <= 0 and self._wanted():
            return
        with anyio.move_on_after(wait_s if 0 < wait_s < math.inf else None):
            await self._bell.wait()

    def _load_payloads(self, claims: list[Claim]) -> None:
        wanted = {claim.payload_id for claim in claims}
        if len(self._payloads.keys() | wanted) > _PAYLOADS_AT_HAND:
            self._payloads.clear()
        for payload_id in wanted - self._payloads.keys():
            self._payloads[payload_id] = self._journal.payload(payload_id)

    def _count(self, ended: list[Ended], released: list[Claim], ready: list[Ready]) -> None:
        delta = dict.fromkeys(RequestState, 0)
        for e in ended:
            delta[e.state] += 1
        for claim in released:
            delta[RequestState.RETRYING if claim.is_retry else RequestState.PENDING] += 1
        for claim, _ in ready:
            delta[RequestState.RETRYING if claim.is_retry else RequestState.PENDING] -= 1
        delta[RequestState.IN_FLIGHT] += len(ready) - len(ended) - len(released)
        self.counts = replace(self.counts, **{s.value: self.counts.of(s) + n for s, n in delta.items() if n})
