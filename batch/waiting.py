"""What a run that is going waits for, told by what it wrote down: for those who look on from beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batch.journal import Counts, Event, RunRecord
from batch.lines import printable
from batch.states import RunState


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is waited for, in words for the operator, and for how many seconds more; 0 where nobody knows."""

    text: str
    wait_s: float = 0.0


def waiting_for(
    run: RunRecord, events: Sequence[Event], counts: Counts, *, next_due: float | None, now: float
) -> Waiting | None:
    """What a run that somebody is sending waits for at `now`, or None if it is just sending.

    `events` are all of the run's, oldest first; `next_due` is when the next retry is due. Times are UTC in
    seconds since the epoch.
    """
    if run.state not in (RunState.PLANNED, RunState.RUNNING):
        return Waiting("the report is being written")
    last = _last_of_each(events)
    if "stopped" in last:
        return Waiting(f"stopping: {printable(str(last['stopped'].detail.get('message', '')))}")
    outage = last.get("outage")
    if outage is not None and not _is_after(last.get("outage_over"), outage):
        message = printable(str(outage.detail.get("message", "")))
        said = f"the API does not answer as it should ({message}), trying again"
        return Waiting(said, _left_s(outage, "pause_s", now))
    throttled_s = _left_s(last["throttled"], "wait_s", now) if "throttled" in last else 0.0
    if throttled_s:
        return Waiting("the API asked to wait", throttled_s)
    canary = run.options.get("canary")
    if isinstance(canary, int) and not any(event.kind == "canary_passed" for event in events):
        first = "the first request" if canary == 1 else f"the first {canary:,} requests"
        return Waiting(f"the canary: {first} must succeed before the others are sent")
    if counts.retrying == counts.left and next_due is not None and next_due > now:
        return Waiting("the next retry", next_due - now)
    return None


def _last_of_each(events: Sequence[Event]) -> Mapping[str, Event]:
    """The last event of each kind since the run was last begun."""
    last: dict[str, Event] = {}
    for event in events:
        if event.kind == "began":
            last.clear()
        last[event.kind] = event
    return last


def _is_after(event: Event | None, other: Event) -> bool:
    return event is not None and event.at >= other.at


def _left_s(event: Event, name: str, now: float) -> float:
    """How much of the pause that an event tells of is left."""
    pause_s = event.detail.get(name)
    return max(0.0, event.at + pause_s - now) if isinstance(pause_s, int | float) else 0.0
