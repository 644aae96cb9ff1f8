"""Where a run stands now, read beside whoever is sending it: the value behind `status` and `runs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batch.journal.events import Event
from batch.journal.protocol import Counts, Journal, RunRecord
from batch.json_schema import list_schema_of, says
from batch.states import RunState
from batch.timestamps import utc
from batch.waiting import Waiting, waiting_for
from batch.workspace import Holder


@dataclass(frozen=True, slots=True)
class StandingCounts:
    """How many: requests = succeeded + failed + unknown + skipped + left."""

    requests: int = field(metadata=says("Requests, skipped ones included."))
    pending: int = field(metadata=says("Planned, not sent yet."))
    in_flight: int = field(metadata=says("Being sent, or were when the process died."))
    retrying: int = field(metadata=says("Sent without success, to be sent again."))
    succeeded: int = field(metadata=says("The API accepted them."))
    failed: int = field(metadata=says("The API refused them, or no attempt was left."))
    unknown: int = field(metadata=says("No answer, and no attempt left: they may have been applied."))
    skipped: int = field(metadata=says("Nothing to send: a duplicate of another row, or unchanged."))
    left: int = field(metadata=says("pending + in_flight + retrying."))
    rejected: int = field(metadata=says("Rows that could not become requests."))


@dataclass(frozen=True, slots=True)
class HolderPart:
    """The process that sends the run now."""

    pid: int = field(metadata=says("Its process id."))
    host: str = field(metadata=says("The machine that it is on."))
    command: str = field(metadata=says("Its command, such as run or resume."))
    run: str | None = field(metadata=says("The run that it sends; null if it has not pinned one yet."))
    since: str = field(metadata=says("Since when (UTC, ISO 8601)."))


@dataclass(frozen=True, slots=True)
class EventPart:
    """Something that happened to the run as a whole."""

    at: str = field(metadata=says("When (UTC, ISO 8601)."))
    kind: str = field(metadata=says("What: began, throttled, outage, outage_over, stopped, ..."))
    detail: dict[str, object] = field(metadata=says("More about it; what there is depends on the kind."))


@dataclass(frozen=True, slots=True)
class StandingPart:
    """Where one run stands; one of `sipbatch runs --json`."""

    run: str = field(metadata=says("The run's id."))
    state: str = field(metadata=says("planned, running, completed, interrupted or halted."))
    reason: str | None = field(metadata=says("Why it is no longer going; null while it is."))
    is_going: bool = field(metadata=says("Whether a process sends it now."))
    target: str = field(metadata=says("What the requests are sent to."))
    parent: str | None = field(metadata=says("The run that it repeats a part of, if any."))
    sheets: tuple[str, ...] = field(metadata=says("The names of the sheets that were planned."))
    created_at: str = field(metadata=says("When it was planned (UTC, ISO 8601)."))
    started_at: str | None = field(metadata=says("When it first began to send."))
    ended_at: str | None = field(metadata=says("When it last stopped; null while it goes."))
    counts: StandingCounts = field(metadata=says("How many requests and rows, by state."))
    rate_per_s: float | None = field(
        metadata=says(
            "Requests that end per second: of late with --watch, else since sending began; null if "
            "nobody sends."
        )
    )
    eta_s: float | None = field(
        metadata=says("Seconds until nothing is left, pauses included; null if nothing can be said.")
    )
    waiting_for: str = field(metadata=says("What the run waits for, in words; empty for nothing."))
    wait_s: float = field(metadata=says("How many seconds more it waits; 0 where nobody knows."))
    holder: HolderPart | None = field(metadata=says("The process that sends it; null if none does."))
    last_event: EventPart | None = field(metadata=says("The last that happened to the run as a whole."))


@dataclass(frozen=True, slots=True)
class Standing:
    """One run at one moment; `now` is UTC in seconds since the epoch.

    `holder` is the process that sends it, None if none does. `rate_per_s` (requests ended since it was last
    begun), `eta_s` (how long the rest takes at that, after what is waited for) and `waiting` are told only
    while it goes.
    """

    run: RunRecord
    counts: Counts
    holder: Holder | None
    rate_per_s: float | None
    eta_s: float | None
    waiting: Waiting | None
    last_event: Event | None
    now: float

    @property
    def is_going(self) -> bool:
        """Whether a process sends it now, or writes its report."""
        return self.holder is not None

    @property
    def is_left_behind(self) -> bool:
        """Whether its process died: the journal says running, and nobody is."""
        return self.run.state is RunState.RUNNING and not self.is_going

    def part(self) -> StandingPart:
        """As it is told in JSON."""
        return StandingPart(**self.fields())

    def fields(self) -> dict[str, Any]:
        """The fields of `StandingPart`."""
        run, event, holder, counts = self.run, self.last_event, self.holder, self.counts
        waiting = self.waiting or Waiting("")
        return {
            "run": run.id,
            "state": run.state.value,
            "reason": None if run.reason is None else run.reason.value,
            "is_going": self.is_going,
            "target": run.target,
            "parent": run.parent,
            "sheets": tuple(sheet.name for sheet in run.sheets),
            "created_at": utc(run.created_at),
            "started_at": _utc(run.started_at),
            "ended_at": _utc(run.ended_at),
            "counts": StandingCounts(
                requests=counts.requests,
                pending=counts.pending,
                in_flight=counts.in_flight,
                retrying=counts.retrying,
                succeeded=counts.succeeded,
                failed=counts.failed,
                unknown=counts.unknown,
                skipped=counts.skipped,
                left=counts.left,
                rejected=counts.rejected,
            ),
            "rate_per_s": None if self.rate_per_s is None else round(self.rate_per_s, 3),
            "eta_s": None if self.eta_s is None else round(self.eta_s, 1),
            "waiting_for": waiting.text,
            "wait_s": round(waiting.wait_s, 1),
            "holder": None
            if holder is None
            else HolderPart(holder.pid, holder.host, holder.command, holder.run, holder.since),
            "last_event": None if event is None else EventPart(utc(event.at), event.kind, dict(event.detail)),
        }


def runs_schema() -> dict[str, Any]:
    """The JSON Schema of what `sipbatch runs --json` prints."""
    return list_schema_of(StandingPart, title="what `sipbatch runs --json` prints: the runs, newest first")


def standing(journal: Journal, run: RunRecord, holder: Holder | None, *, now: float) -> Standing:
    """Where a run stands; `holder` is whoever holds the workspace, for this run or another."""
    counts = journal.counts(run.id)
    events = journal.events(run.id)
    mine = holder if holder is not None and _is_of(holder, run) else None
    rate_per_s = _rate_per_s(events, counts, now) if mine is not None and _is_begun(run) else None
    waiting = None
    if mine is not None:
        is_all_retrying = 0 < counts.retrying == counts.left
        next_due = journal.next_due(run.id) if is_all_retrying else None
        waiting = waiting_for(run, events, counts, next_due=next_due, now=now)
    wait_s = waiting.wait_s if waiting is not None else 0.0
    return Standing(
        run=run,
        counts=counts,
        holder=mine,
        rate_per_s=rate_per_s,
        eta_s=wait_s + counts.left / rate_per_s if rate_per_s else None,
        waiting=waiting,
        last_event=events[-1] if events else None,
        now=now,
    )


def _is_of(holder: Holder, run: RunRecord) -> bool:
    """Whether it holds the workspace for this run; it may not have said yet for which."""
    return holder.run == run.id or (holder.run is None and _is_begun(run))


def _is_begun(run: RunRecord) -> bool:
    return run.state in (RunState.PLANNED, RunState.RUNNING)


def _rate_per_s(events: Sequence[Event], counts: Counts, now: float) -> float | None:
    """Requests that ended per second since the run was last begun, which the journal notes."""
    for event in reversed(events):
        left = _left(event.detail)
        if event.kind == "began" and left is not None:
            return (left - counts.left) / (now - event.at) if now > event.at else None
    return None


def _left(detail: Mapping[str, object]) -> int | None:
    left = detail.get("left")
    return left if isinstance(left, int) else None


def _utc(at: float | None) -> str | None:
    return None if at is None else utc(at)
