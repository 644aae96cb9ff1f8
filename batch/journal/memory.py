"""A journal in memory: the engine's double for tests and simulations, and for a library caller's dry run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TypeVar

import numpy as np

from batch.errors import JournalError
from batch.journal.events import FOUND_RATE, Event
from batch.journal.known import Applied, FleetEntry, Touch
from batch.journal.memory_fleet import Change, Held, MemoryFleet, applied
from batch.journal.protocol import (
    EVERYTHING,
    AttemptRow,
    Chapter,
    Claim,
    Counts,
    Ended,
    Left,
    NewRun,
    Pick,
    ResultRow,
    RunRecord,
    Shard,
)
from batch.journal.verification import Snapshot, Verification
from batch.plans import CellChunk, Payload, Plan, Reject, plan_digest
from batch.sealing import Seal
from batch.states import REQUEST_MOVES, RUN_MOVES, RequestState, RunState, StopReason
from batch.target import Outcome, Verdict

_T = TypeVar("_T")


@dataclass(slots=True)
class _Request:
    seq: int
    number: int
    direction: int
    payload_id: int
    template_id: int
    sheet_id: int
    row: int
    note: str
    duplicate_of: int | None
    state: RequestState
    unchanged_since: str | None = None
    attempts: int = 0
    sends: int = 0
    in_doubt: bool = False
    due_at: float | None = None
    is_free: bool = False
    claimed_at: float | None = None
    first_sent_at: float | None = None
    last_sent_at: float | None = None
    duration_s: float | None = None
    outcome: Outcome | None = None
    log: list[AttemptRow] = field(default_factory=list)

    @property
    def key(self) -> int:
        """As `batch.plans.keys_of` has it."""
        return self.number * 2 + self.direction

    @property
    def is_touched(self) -> bool:
        """Whether it changed what is in force, or may have."""
        return self.in_doubt or self.state in (
            RequestState.SUCCEEDED,
            RequestState.UNKNOWN,
            RequestState.IN_FLIGHT,
        )

    def move(self, state: RequestState) -> None:
        if state not in REQUEST_MOVES[self.state]:
            raise JournalError(f"request {self.seq} may not move from {self.state} to {state}")
        self.state = state

    def sent(self, at: float, duration_s: float, outcome: Outcome, state: RequestState) -> None:
        self.sends += 1
        self.in_doubt |= outcome.verdict is Verdict.AMBIGUOUS
        self.claimed_at = None
        self.first_sent_at = at if self.first_sent_at is None else self.first_sent_at
        self.last_sent_at = at
        self.log.append(
            AttemptRow(
                self.seq,
                self.sends,
                at,
                duration_s,
                outcome.verdict.value,
                outcome.http_status,
                outcome.error_code,
                outcome.message,
                outcome.request_id,
            )
        )
        self.move(state)


@dataclass(slots=True)
class _Run:
    record: RunRecord
    requests: list[_Request]
    rejects: tuple[Reject, ...]
    cells: tuple[CellChunk, ...]
    events: list[Event] = field(default_factory=list)
    verified: dict[int, Verification] = field(default_factory=dict)
    snapshots: dict[int, Snapshot] = field(default_factory=dict)
    retrying: set[int] = field(default_factory=set)
    pending_from: int = 0  #: no request before this one is pending

    def place(self, request: _Request) -> None:
        """Know where the request is found that has just moved, without a look at all of them."""
        if request.state is RequestState.RETRYING:
            self.retrying.add(request.seq)
        else:
            self.retrying.discard(request.seq)
        if request.state is RequestState.PENDING:
            self.pending_from = min(self.pending_from, request.seq)


class MemoryJournal:
    """A `batch.journal.protocol.Journal` that forgets everything with the process."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._payloads: list[Payload] = []
        self._templates: list[str] = []
        self._found_rates: dict[tuple[str, str], float] = {}
        self._seal = Seal()
        self._fleets: defaultdict[tuple[str, str], MemoryFleet] = defaultdict(MemoryFleet)
        self._is_open = False

    def create_run(self, plan: Plan, new: NewRun) -> str:
        """Pin a plan as a new run, and return the run's id."""
        self._seal.learn(plan.environment)
        payload_ids = [_intern(self._payloads, payload) for payload in plan.payloads]
        template_ids = [_intern(self._templates, template) for template in plan.templates]
        is_skipped = plan.is_skipped
        requests = [
            _Request(
                seq=seq,
                number=int(plan.numbers[seq]),
                direction=int(plan.directions[seq]),
                payload_id=payload_ids[plan.payload_ids[seq]],
                template_id=template_ids[plan.template_ids[seq]],
                sheet_id=int(plan.sheet_ids[seq]),
                row=int(plan.rows[seq]),
                note=plan.notes[plan.note_ids[seq]],
                duplicate_of=None if plan.duplicate_of[seq] < 0 else int(plan.duplicate_of[seq]),
                state=RequestState.SKIPPED if is_skipped[seq] else RequestState.PENDING,
                unchanged_since=_earlier(plan, seq),
            )
            for seq in range(plan.request_count)
        ]
        record = self._new_record(new, plan.digest, new.parent)
        record = replace(
            record, sheets=plan.sheets, template_digests=dict(plan.template_digests), warnings=plan.warnings
        )
        cells = plan.cells if new.parent is None else self._run(new.parent).cells
        self._runs[record.id] = _Run(record, requests, plan.rejects, cells)
        return record.id

    def derive_run(self, parent: str, pick: Pick, new: NewRun) -> str:
        """A new run of some requests of another, with their pinned payloads and rows."""
        old = self._run(parent)
        picked = [r for r in old.requests if self._is_picked(r, pick)]
        requests = [
            _Request(
                seq=seq,
                number=r.number,
                direction=r.direction,
                payload_id=r.payload_id,
                template_id=r.template_id,
                sheet_id=r.sheet_id,
                row=r.row,
                note=r.note,
                duplicate_of=None,
                state=RequestState.PENDING,
            )
            for seq, r in enumerate(picked)
        ]
        sent = list(dict.fromkeys(r.payload_id for r in requests))
        digest = plan_digest(
            np.array([r.number for r in requests], dtype=np.int64),
            np.array([r.direction for r in requests], dtype=np.uint8),
            np.array([sent.index(r.payload_id) for r in requests], dtype=np.int32),
            [self._payloads[payload_id] for payload_id in sent],
        )
        record = self._new_record(new, digest, parent)
        record = replace(record, sheets=old.record.sheets, template_digests=old.record.template_digests)
        self._runs[record.id] = _Run(record, requests, (), old.cells)
        return record.id

    def _is_picked(self, request: _Request, pick: Pick) -> bool:
        code = request.outcome.error_code if request.outcome else ""
        return (
            request.state in pick.states
            and pick.error_code in (None, code)
            and pick.template in (None, self._templates[request.template_id])
        )

    def _new_record(self, new: NewRun, digest: str, parent: str | None) -> RunRecord:
        return RunRecord(
            id=f"{datetime.fromtimestamp(new.created_at, UTC):%Y%m%d-%H%M%S}-{len(self._runs) + 1}",
            state=RunState.PLANNED,
            reason=None,
            target=new.target,
            account=new.account,
            plan_digest=digest,
            created_at=new.created_at,
            started_at=None,
            ended_at=None,
            options=dict(new.options),
            parent=parent,
            version=new.version,
            sheets=(),
            template_digests={},
            warnings=(),
        )

    def runs(self) -> list[RunRecord]:
        """All runs, oldest first."""
        return [run.record for run in self._runs.values()]

    def run(self, run_id: str) -> RunRecord:
        """One run by its id; `JournalError` names the runs there are if it is unknown."""
        return self._run(run_id).record

    def _run(self, run_id: str) -> _Run:
        if run_id not in self._runs:
            newest = ", ".join(list(self._runs)[:-6:-1])
            there = f"the newest are {newest}" if newest else "there are none yet"
            raise JournalError(f"there is no run {run_id}: {there}")
        return self._runs[run_id]

    def _move_run(self, run: _Run, state: RunState, **changes: object) -> None:
        if state not in RUN_MOVES[run.record.state]:
            raise JournalError(f"run {run.record.id} is {run.record.state} and cannot become {state}")
        run.record = replace(run.record, state=state, **changes)  # type: ignore[arg-type]

    def begin(self, run_id: str, at: float) -> int:
        """Set a run going, and take back what a dead process had claimed."""
        run = self._run(run_id)
        started_at = run.record.started_at
        if RunState.RUNNING in RUN_MOVES[run.record.state]:
            self._settle(but_for=run_id)
        self._move_run(
            run,
            RunState.RUNNING,
            started_at=at if started_at is None else started_at,
            reason=None,
            ended_at=None,
        )
        lost = [r for r in run.requests if r.state is RequestState.IN_FLIGHT]
        message = "the process died before the answer was recorded; it may have been applied"
        for request in lost:
            assert request.claimed_at is not None
            died = Outcome(Verdict.AMBIGUOUS, error_code="LOST", message=message)
            request.sent(request.claimed_at, 0.0, died, RequestState.PENDING)
            request.due_at = None
            run.place(request)
        for request in run.requests:
            if request.state is RequestState.RETRYING:
                assert request.due_at is not None
                assert request.last_sent_at is not None
                if request.last_sent_at > at:
                    request.due_at -= request.last_sent_at - at
        return len(lost)

    def shards(self, run_id: str, size: int) -> list[Shard]:
        """The run's requests cut into shards of `size`, in order; those with nothing left are left out."""
        left = sorted({r.seq // size for r in self._run(run_id).requests if not r.state.is_final})
        return [Shard(index * size, (index + 1) * size) for index in left]

    def left(self, run_id: str) -> Left:
        """What has not ended of a run: what its waves are made of."""
        left = [r for r in self._run(run_id).requests if not r.state.is_final]
        return Left(
            np.array([r.seq for r in left], dtype=np.int64),
            np.array([r.number for r in left], dtype=np.int64),
            np.array([r.direction for r in left], dtype=np.uint8),
            np.array([r.template_id for r in left], dtype=np.int64),
        )

    def exchange(
        self,
        run_id: str,
        *,
        ended: Sequence[Ended] = (),
        released: Sequence[int] = (),
        events: Sequence[Event] = (),
        want: int = 0,
        shards: Sequence[Shard] = (),
        now: float = 0.0,
        max_retries: int | None = None,
        barred_templates: Collection[int] = (),
        commit: bool = True,
    ) -> list[Claim]:
        """Record results, release claims never sent, claim up to `want` more."""
        if self._is_open:
            raise JournalError("an exchange is open that was not committed")
        run = self._run(run_id)
        self._check(run, ended, released)
        for e in ended:
            request = run.requests[e.claim.seq]
            request.sent(e.sent_at, e.duration_s, e.outcome, e.state)
            request.attempts += e.counted
            request.due_at, request.is_free = e.due_at, e.is_free
            request.duration_s, request.outcome = e.duration_s, e.outcome
            run.place(request)
        for seq in released:
            request = run.requests[seq]
            request.move(RequestState.PENDING if request.due_at is None else RequestState.RETRYING)
            request.claimed_at = None
            run.place(request)
        run.events.extend(events)
        for event in events:
            if event.kind == FOUND_RATE:
                scope = run.record.target, run.record.account
                self._found_rates[scope] = float(str(event.detail["rate_per_s"]))
        claims = []
        for request in _claimable(run, want, shards, now, max_retries, barred_templates):
            is_retry = request.state is RequestState.RETRYING
            request.move(RequestState.IN_FLIGHT)
            request.claimed_at = now
            run.place(request)
            claims.append(
                Claim(
                    request.seq,
                    request.number,
                    request.direction,
                    request.payload_id,
                    request.template_id,
                    request.attempts,
                    request.sends,
                    request.in_doubt,
                    is_retry,
                    request.is_free,
                )
            )
        self._is_open = not commit
        return claims

    def commit(self) -> None:
        """Nothing is put on any disk; what an exchange has left open is no longer."""
        self._is_open = False

    def _check(self, run: _Run, ended: Sequence[Ended], released: Sequence[int]) -> None:
        """All or nothing: look at every move before the first is made."""
        for e in ended:
            if (e.due_at is None) is (e.state is RequestState.RETRYING):
                raise JournalError(f"request {e.claim.seq} is {e.state} with due time {e.due_at}")
            if e.state not in REQUEST_MOVES[RequestState.IN_FLIGHT]:
                raise JournalError(f"request {e.claim.seq} may not move from in_flight to {e.state}")
        moved = Counter([*(e.claim.seq for e in ended), *released])
        for seq, times in moved.items():
            if times > 1 or run.requests[seq].state is not RequestState.IN_FLIGHT:
                raise JournalError(f"request {seq} is not in_flight; nothing was recorded")

    def next_due(
        self, run_id: str, barred_templates: Collection[int] = (), shards: Sequence[Shard] = EVERYTHING
    ) -> float | None:
        """The earliest due time of what is `retrying` in `shards`, barred templates aside, or None."""
        run = self._run(run_id)
        retrying = (run.requests[seq] for seq in run.retrying)
        return min(
            (r.due_at for r in retrying if r.due_at is not None and _may_be_had(r, shards, barred_templates)),
            default=None,
        )

    def end(self, run_id: str, reason: StopReason, at: float) -> None:
        """Record why the run is no longer going; what it applied is known to the fleet from here on."""
        run = self._run(run_id)
        self._move_run(run, reason.run_state, reason=reason, ended_at=at)
        self._fleets[_scope(run)].fold(self._changes(run))

    def found_rate(self, run_id: str) -> float | None:
        """What the newest search for a rate settled at, in sends a second, at the target of this run."""
        record = self._run(run_id).record
        return self._found_rates.get((record.target, record.account))

    def payload(self, payload_id: int) -> bytes:
        """The body of a payload."""
        return self._payloads[payload_id].body

    def kept(self, payload_id: int) -> bytes:
        """The same with `${env:NAME}` for what came from the environment."""
        return self._seal.sealed(self._payloads[payload_id].body)

    def counts(self, run_id: str) -> Counts:
        """How many requests are in each state."""
        run = self._run(run_id)
        found = Counter(r.state.value for r in run.requests)
        return Counts(**found, rejected=len(run.rejects))

    def results(self, run_id: str) -> Iterator[ResultRow]:
        """Every request, in sheet order."""
        for r in self._run(run_id).requests:
            yield ResultRow(
                r.seq,
                r.sheet_id,
                r.row,
                r.number,
                r.direction,
                self._templates[r.template_id],
                r.state,
                r.attempts,
                r.sends,
                r.outcome.http_status if r.outcome else None,
                r.outcome.error_code if r.outcome else "",
                r.outcome.message if r.outcome else "",
                r.first_sent_at,
                r.last_sent_at,
                r.duration_s,
                r.outcome.request_id if r.outcome else "",
                self._payloads[r.payload_id].sha256,
                r.note,
                r.duplicate_of,
                r.due_at,
                r.unchanged_since,
            )

    def rejects(self, run_id: str) -> Iterator[Reject]:
        """Every rejected row, in sheet order."""
        return iter(self._run(run_id).rejects)

    def cells(self, run_id: str) -> Iterator[CellChunk]:
        """The rows of the run's sheets, in sheet order."""
        return iter(self._run(run_id).cells)

    def attempts(self, run_id: str) -> Iterator[AttemptRow]:
        """Every attempt, by request and then by send."""
        return (attempt for r in self._run(run_id).requests for attempt in r.log)

    def events(self, run_id: str) -> list[Event]:
        """What happened to the run as a whole, oldest first."""
        return list(self._run(run_id).events)

    def record_verified(self, run_id: str, verified: Sequence[Verification]) -> None:
        """Record what reading back said of these requests, in place of what it said of them before."""
        self._run(run_id).verified.update({one.seq: one for one in verified})

    def verifications(self, run_id: str) -> Iterator[Verification]:
        """What reading back said last of every request that was read back, in sheet order."""
        verified = self._run(run_id).verified
        return (verified[seq] for seq in sorted(verified))

    def record_snapshot(self, run_id: str, snapshots: Sequence[Snapshot]) -> None:
        """Record what was there of these requests' numbers before anything was sent to them."""
        self._run(run_id).snapshots.update({one.seq: one for one in snapshots})

    def snapshots(self, run_id: str) -> Iterator[Snapshot]:
        """What was there before the run, of every request for which it was read, in sheet order."""
        snapshots = self._run(run_id).snapshots
        return (snapshots[seq] for seq in sorted(snapshots))

    def settle(self) -> None:
        """Let the fleet know what was sent by runs whose process died."""
        self._settle()

    def _settle(self, *, but_for: str | None = None) -> None:
        for run in self._runs.values():
            if run.record.state is RunState.RUNNING and run.record.id != but_for:
                self._fleets[_scope(run)].fold(self._changes(run))

    def applied(self, target: str, account: str = "") -> Applied:
        """What is in force at every number of a target."""
        held = self._held((target, account))
        payloads = [one.in_force.payload for one in held.values()]
        return applied(held, {p.sha256: _intern(self._payloads, p) for p in payloads})

    def fleet(self, target: str, account: str = "") -> Iterator[FleetEntry]:
        """The same, with the requests that did it, by key."""
        for key, (in_force, change) in sorted(self._held((target, account)).items()):
            run = self._run(change.run_id)
            request = run.requests[change.seq]
            yield FleetEntry(
                key >> 1,
                key & 1,
                self._templates[request.template_id],
                _intern(self._payloads, in_force.payload),
                in_force.doubt,
                change.at,
                change.run_id,
                run.record.sheets[request.sheet_id].name,
                request.row,
            )

    def touches(self, run_id: str) -> Iterator[Touch]:
        """What a run did to its numbers, and what became of that, in sheet order."""
        run = self._run(run_id)
        fleet = self._fleets[_scope(run)]
        for request in run.requests:
            deed = fleet.deeds.get((request.key, run_id))
            if deed is None or deed.change.seq != request.seq:
                continue
            before, now = deed.before, fleet.held[request.key]
            yield Touch(
                request.seq,
                request.number,
                request.direction,
                request.sheet_id,
                request.row,
                self._templates[request.template_id],
                request.payload_id,
                None if before is None else _intern(self._payloads, before.in_force.payload),
                before.in_force.doubt if before else (),
                self._template_of(before.change) if before else "",
                before.change.run_id if before else "",
                _intern(self._payloads, now.in_force.payload),
                now.in_force.doubt,
                now.change.run_id,
            )

    def history(self, number: int) -> list[Chapter]:
        """Every request that there ever was for a number, at any target, in the order of the runs."""
        return [
            self._chapter(run, request, row)
            for run in self._runs.values()
            for request, row in zip(run.requests, self.results(run.record.id), strict=True)
            if request.number == number
        ]

    def _chapter(self, run: _Run, request: _Request, row: ResultRow) -> Chapter:
        fleet = self._fleets[_scope(run)].copy()
        fleet.fold(self._changes(run))
        deed = fleet.deeds.get((request.key, run.record.id)) if request.is_touched else None
        before = deed.before.in_force if deed is not None and deed.before is not None else None
        return Chapter(
            run.record.id,
            row,
            tuple(request.log),
            request.payload_id,
            request.is_touched,
            None if before is None else _intern(self._payloads, before.payload),
            before.doubt if before else (),
        )

    def _template_of(self, change: Change) -> str:
        return self._templates[self._run(change.run_id).requests[change.seq].template_id]

    def _held(self, scope: tuple[str, str]) -> dict[int, Held]:
        """What is in force, with what runs that are going did since they were folded in."""
        fleet = self._fleets[scope].copy()
        going = (
            run
            for run in self._runs.values()
            if _scope(run) == scope and run.record.state is RunState.RUNNING
        )
        changes = [change for run in going for change in self._changes(run)]
        fleet.fold(sorted(changes, key=lambda change: change.at))
        return fleet.held

    def _changes(self, run: _Run) -> list[Change]:
        """What a run did to its numbers, or may have."""
        return [
            Change(
                request.key,
                run.record.id,
                request.seq,
                self._payloads[request.payload_id],
                request.sends + is_in_flight,
                at,
                request.state is RequestState.SUCCEEDED,
            )
            for request in run.requests
            if request.is_touched
            for is_in_flight in [request.state is RequestState.IN_FLIGHT]
            for at in [request.claimed_at if is_in_flight else request.last_sent_at]
            if at is not None
        ]

    def close(self) -> None:
        """Nothing to let go of."""


def _scope(run: _Run) -> tuple[str, str]:
    return run.record.target, run.record.account


def _earlier(plan: Plan, seq: int) -> str | None:
    at = -1 if plan.unchanged_since is None else int(plan.unchanged_since[seq])
    return None if at < 0 else plan.earlier_runs[at]


def _intern(known: list[_T], value: _T) -> int:
    if value not in known:
        known.append(value)
    return known.index(value)


def _claimable(
    run: _Run,
    want: int,
    shards: Sequence[Shard],
    now: float,
    max_retries: int | None,
    barred: Collection[int],
) -> list[_Request]:
    retries_left = want if max_retries is None else max_retries
    retrying = (run.requests[seq] for seq in run.retrying)
    due = [r for r in retrying if r.due_at is not None and r.due_at <= now and _may_be_had(r, shards, barred)]
    found: list[_Request] = []
    for request in sorted(due, key=lambda r: (r.due_at or 0.0, r.seq)):
        if not request.is_free:
            if retries_left <= 0:
                continue
            retries_left -= 1
        found.append(request)
    ahead = (run.requests[seq] for seq in range(run.pending_from, len(run.requests)))
    pending = (r for r in ahead if r.state is RequestState.PENDING)
    first = next(pending, None)
    run.pending_from = len(run.requests) if first is None else first.seq
    if first is not None:
        pending_ones = (r for r in chain((first,), pending) if _may_be_had(r, shards, barred))
        found += islice(pending_ones, max(0, want - len(found)))
    return found[:want]


def _may_be_had(request: _Request, shards: Sequence[Shard], barred: Collection[int]) -> bool:
    return request.template_id not in barred and any(
        shard.first <= request.seq < shard.end for shard in shards
    )
