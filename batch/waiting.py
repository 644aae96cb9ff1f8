"""What a run that is going waits for, told by what it wrote down: for those who look on from beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batch.journal.events import Event
from batch.journal.protocol import Counts, RunRecord
from batch.report.lines import printable
from batch.states import RunState


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is waited for, in words for the operator, and for how many seconds more; 0 where nobody knows.

    `is_hold` says that nothing is sent meanwhile.
    """

    text: str
    wait_s: float = 0.0
    is_hold: bool = True


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
        return Waiting(f"stopping: {_text(last['stopped'], 'message')}")
    return (
        _steered(last, now)
        or _between_waves(last, now)
        or _for_the_api(last, now)
        or _for_the_canary(run, events)
        or _for_the_next_retry(counts, next_due, now)
    )


def _steered(last: Mapping[str, Event], now: float) -> Waiting | None:
    """What an operator, or the clock on the wall, has said."""
    if _is_open(last, "paused", "continued"):
        return Waiting("paused by the operator")
    if _is_open(last, "window_closed", "window_opened"):
        closed = last["window_closed"]
        until = _text(closed, "opens_at")
        return Waiting(f"the window is closed until {until}", _left_s(closed, "wait_s", now))
    return None


def _between_waves(last: Mapping[str, Event], now: float) -> Waiting | None:
    if not _is_open(last, "wave_ended", "wave_passed", "canary_passed"):
        return None
    ended = last["wave_ended"]
    wave = f"wave {_text(ended, 'wave')} of {_text(ended, 'of')}"
    soak_s = _left_s(ended, "wait_s", now)
    return Waiting(f"soaking after {wave}", soak_s) if soak_s else Waiting(f"looking at how {wave} went")


def _for_the_api(last: Mapping[str, Event], now: float) -> Waiting | None:
    if _is_open(last, "outage", "outage_over"):
        outage = last["outage"]
        said = f"the API does not answer as it should ({_text(outage, 'message')}), trying again"
        return Waiting(said, _left_s(outage, "pause_s", now))
    wait_s = _left_s(last["throttled"], "wait_s", now) if "throttled" in last else 0.0
    return Waiting("the API asked to wait", wait_s) if wait_s else None


def _for_the_canary(run: RunRecord, events: Sequence[Event]) -> Waiting | None:
    canary = run.options.get("canary")
    if canary is None or any(event.kind == "canary_passed" for event in events):
        return None
    return Waiting("the canary: all of it must succeed before the others are sent", is_hold=False)


def _for_the_next_retry(counts: Counts, next_due: float | None, now: float) -> Waiting | None:
    if counts.retrying < counts.left or next_due is None or next_due <= now:
        return None
    return Waiting("the next retry", next_due - now)


def _last_of_each(events: Sequence[Event]) -> Mapping[str, Event]:
    """The last event of each kind since the run was last begun."""
    last: dict[str, Event] = {}
    for event in events:
        if event.kind == "began":
            last.clear()
        last[event.kind] = event
    return last


def _is_open(last: Mapping[str, Event], begin: str, *ends: str) -> bool:
    """Whether what one kind of event began was not ended yet by one of the others."""
    began = last.get(begin)
    if began is None:
        return False
    return not any(end in last and last[end].at >= began.at for end in ends)


def _text(event: Event, name: str) -> str:
    return printable(str(event.detail.get(name, "")))


def _left_s(event: Event, name: str, now: float) -> float:
    """How much of the pause that an event tells of is left."""
    pause_s = event.detail.get(name)
    return max(0.0, event.at + pause_s - now) if isinstance(pause_s, int | float) else 0.0
