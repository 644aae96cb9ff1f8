"""What happened to a run as a whole, told in episodes: a hundred pauses in a row are one line."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from batch.journal.events import FOUND_RATE, Event
from batch.journal.protocol import RunRecord
from batch.page.words import many, span
from batch.report.happenings import in_words
from batch.report.lines import printable
from batch.states import RequestState, RunState, StopReason

#: Waits that the API asked for within this many seconds of each other are one episode; outages likewise.
_SAME_EPISODE_S = 60.0

#: An answer with its status said twice, `HTTP 502 HTTP_502 HTTP 502 Bad Gateway`, and a code before words.
_TWICE = re.compile(r"^(HTTP [0-9]{3}) [A-Z][A-Z0-9_]* (?=\1)")
_CODE = re.compile(r"^((?:HTTP [0-9]{3} )?[A-Z][A-Z0-9]*_[A-Z0-9_]+) (?=\S)")

#: A template all of whose first requests were refused had at least so many of them.
_QUARANTINE_SAMPLE = 10


class Tone(StrEnum):
    """How an episode is to be taken; the page colours its mark by this."""

    PLAIN = "plain"
    GOOD = "good"
    WAIT = "wait"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Episode:
    """Something that happened at a time, or over a time; UTC in seconds since the epoch.

    `title` is a few words, `text` a sentence that may be empty.
    """

    from_at: float
    to_at: float | None
    tone: Tone
    title: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which nothing was sent, or one probe at a time; UTC in seconds since the epoch."""

    from_at: float
    to_at: float
    is_outage: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """The episodes in order, and the pauses among them; `paused_s` is how long the pauses were in all."""

    episodes: tuple[Episode, ...]
    pauses: tuple[Pause, ...]

    @property
    def paused_s(self) -> float:
        """Seconds in which the run did nothing but wait; times that overlap count once."""
        return _length_s(self.pauses)


def timeline_of(
    run: RunRecord, events: Sequence[Event], templates: Mapping[str, Counter[RequestState]]
) -> Timeline:
    """The timeline of a run by its events; `templates` are the counts by state of each template.

    Events of a kind that is not known here are told by their name.
    """
    teller = _Teller(templates)
    for event in events:
        teller.tell(event)
    teller.finish()
    if run.state is RunState.COMPLETED and run.ended_at is not None:
        teller.episodes.append(
            Episode(run.ended_at, None, Tone.GOOD, "Completed", "Nothing was left to send.")
        )
    return Timeline(
        tuple(sorted(teller.episodes, key=lambda episode: episode.from_at)),
        tuple(sorted(teller.pauses, key=lambda pause: pause.from_at)),
    )


@dataclass(frozen=True, slots=True)
class _Outage:
    """One time in which the API did not answer as it should; `is_over` says that its end was seen."""

    pause: Pause
    message: str
    failed_probes: int
    is_over: bool


class _Teller:
    """Takes in events in order; waits and outages are kept until it is known which belong together."""

    def __init__(self, templates: Mapping[str, Counter[RequestState]]) -> None:
        self.episodes: list[Episode] = []
        self.pauses: list[Pause] = []
        self._templates = templates
        self._waits: list[Event] = []
        self._outage: list[Event] = []
        self._outages: list[_Outage] = []
        self._begun = False

    def tell(self, event: Event) -> None:
        """Take in the next event."""
        match event.kind:
            case "throttled":
                last = self._waits[-1] if self._waits else None
                if last is not None and event.at > last.at + _number(last, "wait_s") + _SAME_EPISODE_S:
                    self._end_waits()
                self._waits.append(event)
            case "outage":
                before = self._outages[-1] if self._outages and not self._outage else None
                if before is not None and event.at > before.pause.to_at + _SAME_EPISODE_S:
                    self._end_outages()
                self._outage.append(event)
            case "outage_over":
                self._end_outage(event.at)
            case "began":
                # What the process before did not see the end of ended with it.
                self.finish()
                self.episodes.append(_began(event, is_first=not self._begun))
                self._begun = True
            case "canary_passed":
                self.episodes.append(_canary(event))
            case "template_quarantined":
                self.episodes.append(_quarantined(event, self._templates))
            case "stopped":
                self.episodes.append(_stopped(event))
            case kind if kind == FOUND_RATE:
                said = f"It settled at {_rate(_number(event, 'rate_per_s'))}."
                self.episodes.append(Episode(event.at, None, Tone.PLAIN, "Rate found", said))
            case _:
                self.episodes.append(Episode(event.at, None, Tone.PLAIN, *in_words(event)))

    def finish(self) -> None:
        """Nothing more is to come of what is still open."""
        self._end_waits()
        self._end_outage(None)
        self._end_outages()

    def _end_waits(self) -> None:
        if self._waits:
            pauses = [Pause(wait.at, wait.at + _number(wait, "wait_s")) for wait in self._waits]
            self.episodes.append(_throttled(self._waits, pauses))
            self.pauses += pauses
            self._waits = []

    def _end_outage(self, over_at: float | None) -> None:
        """The pause that an outage began is kept, even if an answer that was late ends the outage before."""
        if not self._outage:
            return
        first, last = self._outage[0], self._outage[-1]
        to_at = max(over_at or 0.0, last.at + _number(last, "pause_s"))
        pause = Pause(first.at, to_at, is_outage=True)
        said = _said(str(first.detail.get("message", "")))
        self._outages.append(_Outage(pause, said, len(self._outage) - 1, over_at is not None))
        self.pauses.append(pause)
        self._outage = []

    def _end_outages(self) -> None:
        if self._outages:
            self.episodes.append(_outage(self._outages))
            self._outages = []


def _length_s(pauses: Sequence[Pause]) -> float:
    total_s, until = 0.0, float("-inf")
    for pause in sorted(pauses, key=lambda pause: pause.from_at):
        total_s += max(0.0, pause.to_at - max(pause.from_at, until))
        until = max(until, pause.to_at)
    return total_s


def _said(message: str) -> str:
    """What the engine said of an answer, with nothing in it twice and a colon after its code."""
    return _CODE.sub(r"\1: ", _TWICE.sub("", printable(message))).rstrip(".")


def _began(event: Event, *, is_first: bool) -> Episode:
    left, lost = int(_number(event, "left")), int(_number(event, "lost"))
    rate = printable(str(event.detail.get("rate", "")))
    text = f"{many(left, 'request', 'requests')} to send"
    if rate:
        text += f", at most {rate}" if rate != "auto" else ", at the rate that the API allows"
    text += "."
    if lost:
        text += f" {many(lost, 'request', 'requests')} had been in flight when the last process died."
    return Episode(event.at, None, Tone.PLAIN, "Sending began" if is_first else "Sending resumed", text)


def _throttled(waits: Sequence[Event], pauses: Sequence[Pause]) -> Episode:
    rates = [_number(wait, "rate_per_s") for wait in waits if "rate_per_s" in wait.detail]
    times = "" if len(waits) == 1 else f" {len(waits):,} times"
    text = f"The API asked to wait{times}; the whole run paused for {span(_length_s(pauses))}."
    if rates:
        text += f" The rate was lowered to {_rate(min(rates))}."
    until = max(pause.to_at for pause in pauses)
    return Episode(waits[0].at, until, Tone.WAIT, "Told to wait", text)


def _outage(outages: Sequence[_Outage]) -> Episode:
    first, last = outages[0], outages[-1]
    lasted_s = _length_s([outage.pause for outage in outages])
    probes = sum(outage.failed_probes for outage in outages)
    said = f": {first.message}" if first.message else ""
    if len(outages) > 1:
        text = f"{len(outages)} times, several answers in a row were not as they should be"
        text += f", and sending paused for {span(lasted_s)} in all. The first{said}."
    elif not probes and first.is_over:
        text = f"Several answers in a row were not as they should be, so sending paused for {span(lasted_s)}"
        text += f"{said}."
    else:
        text = f"For {span(lasted_s)} the API did not answer as it should{said}."
    if probes:
        text += f" {many(probes, 'probe', 'probes')} failed."
        text += " Then it answered again." if last.is_over else ""
    title = "Outage" if len(outages) == 1 else "Outages"
    return Episode(first.pause.from_at, last.pause.to_at, Tone.BAD, title, text)


def _canary(event: Event) -> Episode:
    first = many(int(_number(event, "requests")), "request", "requests")
    return Episode(
        event.at, None, Tone.GOOD, "Canary passed", f"The first {first} succeeded, and the others followed."
    )


def _quarantined(event: Event, templates: Mapping[str, Counter[RequestState]]) -> Episode:
    named = str(event.detail.get("template", ""))
    if not named:
        # The journal says which by a number of its own; where only one template fits, it is that one.
        fitting = [
            name
            for name, states in templates.items()
            if not states[RequestState.SUCCEEDED] and states[RequestState.FAILED] >= _QUARANTINE_SAMPLE
        ]
        named = fitting[0] if len(fitting) == 1 else ""
    said = _said(str(event.detail.get("message", "")))
    which = f"the template {printable(named)}" if named else "one template"
    text = f"The API refused each of the first requests made from {which}, so no more were sent from it"
    return Episode(
        event.at, None, Tone.BAD, "Template quarantined", f"{text}: {said}." if said else f"{text}."
    )


def _stopped(event: Event) -> Episode:
    message = printable(str(event.detail.get("message", "")))
    was_asked = event.detail.get("reason") in (StopReason.SIGINT, StopReason.SIGTERM)
    title = "Interrupted" if was_asked else "Stopped itself"
    text = f"{message[:1].upper()}{message[1:]}." if message else ""
    return Episode(event.at, None, Tone.WAIT if was_asked else Tone.BAD, title, text)


def _number(event: Event, name: str) -> float:
    value = event.detail.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _rate(rate_per_s: float) -> str:
    return f"{rate_per_s:.3g} a second"
