"""The durable record of all runs: the Protocol that the engine speaks, and the values that it passes.

Every method blocks and is called off the event loop, by one thread at a time; `exchange` says when it may
be called in it. What a method returns is on disk. Times are UTC, in seconds since the epoch. A PostgreSQL
journal may stand behind the same Protocol; `tests/journal_promises` is what any must pass.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from batch.journal.events import Event
from batch.journal.in_force import Blocks
from batch.journal.known import Applied, FleetEntry, Touch
from batch.journal.verification import Snapshot, Verification
from batch.plans import CellChunk, Int64s, Plan, Reject, SheetPin, UInt8s, Warned
from batch.states import RequestState, RunState, StopReason
from batch.target import Outcome


@dataclass(frozen=True, slots=True)
class NewRun:
    """What a run is created with, beside its plan.

    `target` is the identity that keys carry. `options` is what `resume` needs to go on the same way
    (rate, limits, base URL), as JSON values; it holds no secret. `parent` is the run whose sheets the
    plan's rows are of, for a plan that was made of a run: it has no cells of its own.
    """

    target: str
    created_at: float
    options: Mapping[str, object] = field(default_factory=dict)
    account: str = ""
    version: str = ""
    parent: str | None = None


class Shard(NamedTuple):
    """A slice of a run's requests, `first ≤ seq < end`: the unit that a worker takes."""

    first: int
    end: int


#: One shard that holds every request of any run.
EVERYTHING = (Shard(0, 1 << 62),)


def merged(shards: Iterable[Shard]) -> list[Shard]:
    """The same requests in as few shards as can be, in order."""
    spans: list[Shard] = []
    for shard in sorted(shards):
        if spans and spans[-1].end == shard.first:
            spans[-1] = Shard(spans[-1].first, shard.end)
        else:
            spans.append(shard)
    return spans


class Claim(NamedTuple):
    """A request that this process may send: claimed on disk before it is."""

    seq: int
    number: int
    direction: int
    payload_id: int
    template_id: int
    attempts: int  #: attempts that counted before this one
    sends: int  #: all sends before this one, those that were throttled or lost included
    in_doubt: bool  #: an earlier attempt was ambiguous: it may have been applied
    is_retry: bool  #: it was `retrying`, not `pending`
    is_free: bool  #: this retry takes nothing from the run's retry budget

    @property
    def is_paid(self) -> bool:
        """Whether sending it takes something from the run's retry budget."""
        return self.is_retry and not self.is_free


class Ended(NamedTuple):
    """How a claimed request's attempt ended, and what that makes of the request.

    `counted` says whether the attempt uses up one of the request's attempts (a wait for a throttling
    API does not). `due_at` is set exactly if `state` is `retrying`. `is_free` says that the retry
    takes nothing from the run's retry budget.
    """

    claim: Claim
    state: RequestState
    outcome: Outcome
    sent_at: float
    duration_s: float
    counted: bool = True
    due_at: float | None = None
    is_free: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """How many requests of a run are in each state, and how many rows were rejected."""

    pending: int = 0
    in_flight: int = 0
    retrying: int = 0
    succeeded: int = 0
    failed: int = 0
    unknown: int = 0
    skipped: int = 0
    rejected: int = 0

    @property
    def requests(self) -> int:
        """All requests: the law of conservation's left side."""
        return self.left + self.succeeded + self.failed + self.unknown + self.skipped

    @property
    def left(self) -> int:
        """Requests that have not ended."""
        return self.pending + self.in_flight + self.retrying

    def of(self, state: RequestState) -> int:
        """The count of one state."""
        return int(getattr(self, state.value))


#: Under this name a run's options say which run it takes back.
ROLLS_BACK = "rolls_back"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as the journal knows it."""

    id: str
    state: RunState
    reason: StopReason | None
    target: str
    account: str
    plan_digest: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    options: Mapping[str, object]
    parent: str | None
    version: str
    sheets: tuple[SheetPin, ...]
    template_digests: Mapping[str, str]
    warnings: tuple[Warned, ...]

    @property
    def rolls_back(self) -> str | None:
        """The run that this one takes back, if it does."""
        run_id = self.options.get(ROLLS_BACK)
        return str(run_id) if run_id is not None else None


class ResultRow(NamedTuple):
    """One request as the report tells of it, with its last attempt."""

    seq: int
    sheet_id: int
    row: int
    number: int
    direction: int
    template: str
    state: RequestState
    attempts: int
    sends: int
    http_status: int | None
    error_code: str
    error: str
    first_sent_at: float | None
    last_sent_at: float | None
    duration_s: float | None
    request_id: str
    payload_sha256: str
    note: str
    duplicate_of: int | None  #: the seq of the request that this one repeats
    due_at: float | None
    unchanged_since: str | None = None  #: the run that put in force what this request says


class AttemptRow(NamedTuple):
    """One attempt of one request."""

    seq: int
    send: int  #: 1 for the first
    sent_at: float
    duration_s: float
    verdict: str
    http_status: int | None
    error_code: str
    message: str
    request_id: str


class Chapter(NamedTuple):
    """One request of a number's history, with what was in force before it."""

    run_id: str
    result: ResultRow
    attempts: tuple[AttemptRow, ...]
    payload_id: int
    is_touched: bool  #: whether it changed what is in force, or may have
    before_id: int | None  #: what was in force before; None: nothing is known of it
    before_doubt: Blocks


class Left(NamedTuple):
    """The requests of a run that have not ended, in sheet order; arrays are parallel."""

    seqs: Int64s
    numbers: Int64s
    directions: UInt8s
    template_ids: Int64s


@dataclass(frozen=True, slots=True)
class Pick:
    """Which requests of a run a derived run takes up; None picks all."""

    states: frozenset[RequestState]
    error_code: str | None = None
    template: str | None = None


class Journal(Protocol):
    """The record of all runs in one workspace."""

    # --- runs -----------------------------------------------------------------------------------
    def create_run(self, plan: Plan, new: NewRun) -> str:
        """Pin a plan as a new run, all or nothing, and return the run's id."""
        ...

    def derive_run(self, parent: str, pick: Pick, new: NewRun) -> str:
        """A new run of some requests of another, with their pinned payloads and rows."""
        ...

    def runs(self) -> list[RunRecord]:
        """All runs, oldest first."""
        ...

    def run(self, run_id: str) -> RunRecord:
        """One run by its id; `JournalError` names the runs there are if it is unknown."""
        ...

    # --- the engine -----------------------------------------------------------------------------
    def begin(self, run_id: str, at: float) -> int:
        """Set a run going, and take back what a dead process had claimed.

        Returns how many claims were taken back: each is `pending` again, with an ambiguous attempt
        noted that counts toward nothing. What is to be sent again and was sent after `at`, because the
        clock was set back since, is due as long after `at` as it was after it was sent. What other runs
        sent whose process died is known to the fleet from here on; what this one sent, once it ends.
        """
        ...

    def shards(self, run_id: str, size: int) -> list[Shard]:
        """The run's requests cut into shards of `size`, in order; those with nothing left are left out."""
        ...

    def left(self, run_id: str) -> Left:
        """What has not ended of a run: what its waves are made of."""
        ...

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
        """One durable commit: record results, release claims never sent, claim up to `want` more.

        Claims come from `shards` alone: first those `retrying` that are due at `now`, by due time, then
        those `pending`, in sheet order. At most `max_retries` of the retries are not free, and none has a
        barred template. A move that `REQUEST_MOVES` does not allow is a `JournalError`, and nothing is
        recorded.

        With `commit` false nothing of it counts, and no claim may be sent, before `commit` has returned;
        nothing else may be written before that. It then waits for nobody: `BusyJournalError` if another
        process is writing just now. So it may be called in the event loop, and `commit` beside it.
        """
        ...

    def commit(self) -> None:
        """Put on disk what an exchange without its commit has left open; all of it, or a `JournalError`."""
        ...

    def next_due(
        self, run_id: str, barred_templates: Collection[int] = (), shards: Sequence[Shard] = EVERYTHING
    ) -> float | None:
        """The earliest due time of what is `retrying` in `shards`, barred templates aside, or None."""
        ...

    def end(self, run_id: str, reason: StopReason, at: float) -> None:
        """Record why the run is no longer going; what it applied is known to the fleet from here on."""
        ...

    def found_rate(self, run_id: str) -> float | None:
        """What the newest search for a rate settled at, in sends a second, at the target of this run."""
        ...

    def payload(self, payload_id: int) -> bytes:
        """The body of a payload; `CredentialsError` if a secret in it is not in the environment any more."""
        ...

    def kept(self, payload_id: int) -> bytes:
        """The same as it is kept: `${env:NAME}` stands for what came from the environment."""
        ...

    # --- readers --------------------------------------------------------------------------------
    def counts(self, run_id: str) -> Counts:
        """How many requests are in each state."""
        ...

    def results(self, run_id: str) -> Iterator[ResultRow]:
        """Every request, in sheet order, streamed."""
        ...

    def rejects(self, run_id: str) -> Iterator[Reject]:
        """Every rejected row, in sheet order."""
        ...

    def cells(self, run_id: str) -> Iterator[CellChunk]:
        """The rows of the run's sheets, in sheet order (a derived run has those of its parent)."""
        ...

    def attempts(self, run_id: str) -> Iterator[AttemptRow]:
        """Every attempt, by request and then by send."""
        ...

    def events(self, run_id: str) -> list[Event]:
        """What happened to the run as a whole, oldest first."""
        ...

    # --- what was read back ---------------------------------------------------------------------
    def record_verified(self, run_id: str, verified: Sequence[Verification]) -> None:
        """Record what reading back said of these requests, in place of what it said of them before."""
        ...

    def verifications(self, run_id: str) -> Iterator[Verification]:
        """What reading back said last of every request that was read back, in sheet order."""
        ...

    def record_snapshot(self, run_id: str, snapshots: Sequence[Snapshot]) -> None:
        """Record what was there of these requests' numbers before anything was sent to them."""
        ...

    def snapshots(self, run_id: str) -> Iterator[Snapshot]:
        """What was there before the run, of every request for which it was read, in sheet order."""
        ...

    # --- the fleet ------------------------------------------------------------------------------
    def settle(self) -> None:
        """Let the fleet know what was sent by runs whose process died.

        For whoever has the workspace to himself and is about to decide by what is in force. What reads the
        fleet knows of such runs all the same, but for `touches`, and takes longer for each send.
        """
        ...

    def applied(self, target: str, account: str = "") -> Applied:
        """What is in force at every number of a target."""
        ...

    def fleet(self, target: str, account: str = "") -> Iterator[FleetEntry]:
        """The same, with the requests that did it, by key."""
        ...

    def touches(self, run_id: str) -> Iterator[Touch]:
        """What a run did to its numbers, and what became of that, in sheet order."""
        ...

    def history(self, number: int) -> list[Chapter]:
        """Every request that there ever was for a number, at any target, in the order of the runs."""
        ...

    def close(self) -> None:
        """Let go of the file; nothing is pending, since every method commits."""
        ...
