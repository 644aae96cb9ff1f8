"""What happened to a run as a whole, and who had decided it: orders, waves, windows, beginnings and ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from batch.journal.events import Event
from batch.json_schema import says
from batch.report.lines import printable
from batch.timestamps import lasted, utc

#: What comes by the hundred where an API is slow, and is counted elsewhere.
_MANY = frozenset({"throttled", "outage", "outage_over"})


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened to the run as a whole; waits and outages are not among it."""

    at: str = field(metadata=says("When (UTC, ISO 8601)."))
    kind: str = field(metadata=says("What: began, paused, continued, rate_changed, wave_ended, stopped, ..."))
    text: str = field(metadata=says("The same in words."))
    detail: dict[str, object] = field(metadata=says("More about it; what there is depends on the kind."))


def happenings(events: Sequence[Event]) -> Iterator[Happening]:
    """The events of a run that are few, oldest first."""
    for event in events:
        if event.kind not in _MANY:
            yield Happening(utc(event.at), event.kind, told(event), dict(event.detail))


def told(event: Event) -> str:
    """An event in one line: `Rate changed: by the operator, from 5/s to 10/s.`"""
    title, text = in_words(event)
    return f"{title}: {text[:1].lower()}{text[1:]}" if text else title


def in_words(event: Event) -> tuple[str, str]:
    """A few words, and a sentence that may be empty; a kind that is not known here is told by its name."""
    match event.kind, event.detail:
        case "began", {"left": int(left), "rate": rate}:
            return "Sending began", printable(f"{left:,} requests were left, at {rate}.")
        case "canary_passed", {"requests": int(requests)}:
            return "Canary passed", f"All of its {requests:,} requests succeeded."
        case "paused", _:
            return "Paused", "By the operator."
        case "continued", _:
            return "Continued", "By the operator."
        case "rate_changed", {"rate": rate, "was": was}:
            return "Rate changed", printable(f"By the operator, from {was} to {rate}.")
        case "throttled", {"wait_s": float() | int() as wait_s}:
            return "Told to wait", f"For {lasted(wait_s)}, by the API."
        case "window_closed", {"opens_at": opens_at}:
            return "Window closed", printable(f"Nothing is sent until {opens_at}.")
        case "window_opened", {"closes_at": closes_at}:
            return "Window opened", printable(f"It closes at {closes_at}.")
        case "wave_ended", {"wave": wave, "of": of, "requests": int(requests), "failed": int(failed)}:
            how_many = f"{failed:,}" if failed else "none"
            return f"Wave {wave} of {of} ended", f"Of {requests:,} requests {how_many} failed."
        case "wave_passed", {"wave": wave, "of": of}:
            return f"Wave {wave} of {of} passed", "The next followed."
        case kind, {"message": str(message)} if message:
            return _named(kind), printable(f"{message[:1].upper()}{message[1:]}.")
        case kind, _:
            return _named(kind), ""


def _named(kind: str) -> str:
    return printable(kind).replace("_", " ").capitalize()
