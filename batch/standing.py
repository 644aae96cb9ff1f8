"""Where a run stands now, read beside whoever is sending it: the value behind `status` and `runs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from batch.journal import Counts, Event, Journal, RunRecord
from batch.states import RequestState, RunState
from batch.timestamps import utc
from batch.workspace import Holder


@dataclass(frozen=True, slots=True)
class Standing:
    """One run at one moment; `now` is UTC in seconds since the epoch.

    `holder` is the process that sends it, None if none does. `rate_per_s` and `eta_s` are told only while
    it goes: requests ended since it was last begun, and how long the rest takes at that.
    """

    run: RunRecord
    counts: Counts
    holder: Holder | None
    rate_per_s: float | None
    eta_s: float | None
    last_event: Event | None
    now: float

    @property
    def is_going(self) -> bool:
        """Whether a process sends it now."""
        return self.holder is not None

    @property
    def is_left_behind(self) -> bool:
        """Whether its process died: the journal says running, and nobody is."""
        return self.run.state is RunState.RUNNING and not self.is_going

    def to_json(self) -> dict[str, object]:
        """As JSON values; field names are stable.

        `run`, `state`, `reason`, `is_going`, `target`, `parent`, `sheets`, `created_at`, `started_at`,
        `ended_at` (UTC, ISO 8601, or null), `counts` by state with `requests`, `left` and `rejected`,
        `rate_per_s`, `eta_s`, `holder` (`pid`, `host`, `command`, `run`, `since`), `last_event` (`at`,
        `kind`, `detail`).
        """
        run, event = self.run, self.last_event
        return {
            "run": run.id,
            "state": run.state.value,
            "reason": None if run.reason is None else run.reason.value,
            "is_going": self.is_going,
            "target": run.target,
            "parent": run.parent,
            "sheets": [sheet.name for sheet in run.sheets],
            "created_at": utc(run.created_at),
            "started_at": _utc(run.started_at),
            "ended_at": _utc(run.ended_at),
            "counts": {
                "requests": self.counts.requests,
                **{state.value: self.counts.of(state) for state in RequestState},
                "left": self.counts.left,
                "rejected": self.counts.rejected,
            },
            "rate_per_s": None if self.rate_per_s is None else round(self.rate_per_s, 3),
            "eta_s": None if self.eta_s is None else round(self.eta_s, 1),
            "holder": None if self.holder is None else asdict(self.holder),
            "last_event": None
            if event is None
            else {"at": utc(event.at), "kind": event.kind, "detail": dict(event.detail)},
        }


def standing(journal: Journal, run: RunRecord, holder: Holder | None, *, now: float) -> Standing:
    """Where a run stands; `holder` is whoever holds the workspace, for this run or another."""
    counts = journal.counts(run.id)
    events = journal.events(run.id)
    mine = holder if holder is not None and holder.run in (run.id, None) and _is_begun(run) else None
    rate_per_s = _rate_per_s(events, counts, now) if mine is not None else None
    return Standing(
        run=run,
        counts=counts,
        holder=mine,
        rate_per_s=rate_per_s,
        eta_s=counts.left / rate_per_s if rate_per_s else None,
        last_event=events[-1] if events else None,
        now=now,
    )


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
