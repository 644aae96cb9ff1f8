"""`report.html`: the run as one page for people, which needs neither a network nor another file.

It is filled in by Jinja2 with every value escaped; its style and its script are the package's own and are the
only ones that the page lets run, by their digests. The charts need vl-convert, which is an optional part of
the installation: without it the tables behind them stand open in their place.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch.errors import UsageError
from batch.journal.events import Event
from batch.journal.protocol import AttemptRow, RunRecord
from batch.page import drawing as page_drawing
from batch.page.attempts import Answer, AttemptTally
from batch.page.figures import Figures
from batch.page.shares import ShareTally, country
from batch.page.table import LineKeeper, Table
from batch.page.timeline import Timeline, timeline_of
from batch.page.words import clock, date, day, many, milliseconds, per_second, percent, span
from batch.report.causes import SANDBOX
from batch.report.formats import FORMATS
from batch.report.lines import REJECTED, Line, printable
from batch.report.next_steps import NextStep
from batch.report.summary import Summary
from batch.report.tally import Tally
from batch.staging import StagedFile
from batch.states import RequestState
from batch.version import __version__

if TYPE_CHECKING:
    import jinja2

NAME = FORMATS["html"]

#: How many causes, kinds of problems, episodes and sheets are told in full; the others are counted.
_MOST = {"causes": 12, "problems": 12, "episodes": 60, "sheets": 12}

#: The states in the order in which the page tells of them, with the word and the colour of each.
_STATES = (
    (RequestState.SUCCEEDED.value, "succeeded", "the API accepted them"),
    (RequestState.FAILED.value, "failed", "the API refused them, or no attempt was left"),
    (RequestState.UNKNOWN.value, "unknown", "no answer: they may have been applied"),
    ("left", "still to send", "planned or waiting for another attempt"),
    (RequestState.SKIPPED.value, "skipped", "duplicates, or nothing changed"),
    (REJECTED, "rows rejected", "nothing was sent for them"),
)


#: The states whose count leads to their lines in the table, in which they are numbered so.
_LINKED = (RequestState.FAILED.value, RequestState.UNKNOWN.value, REJECTED)
_TABLE_STATES = (*(state.value for state in RequestState), REJECTED)

_ANSWERS = (
    (Answer.ACCEPTED, "succeeded"),
    (Answer.REFUSED, "failed"),
    (Answer.FAULT, "unknown"),
    (Answer.WAIT, "wait"),
)


@dataclass(frozen=True, slots=True)
class _Fact:
    """One figure at the top of the page."""

    state: str
    count: str
    name: str
    meaning: str
    link: str = ""


class ResultsPage:
    """Takes in the report's lines as they go by, then writes the page; its memory is bounded."""

    def __init__(
        self, file: StagedFile, header: Sequence[str], run: RunRecord, *, has_charts: bool | None = None
    ) -> None:
        """`has_charts` None draws them if they can be drawn."""
        self._has_charts = page_drawing.is_available() if has_charts is None else has_charts
        self._file = file
        self._run = run
        self._shares = ShareTally()
        self._keeper = LineKeeper(header, run)

    def add(self, line: Line) -> None:
        """Count one line, and keep it if the table is to hold it."""
        if line.result is not None:
            self._shares.add(line.result)
        self._keeper.add(line)

    def finish(
        self, summary: Summary, tally: Tally, events: Sequence[Event], attempts: Iterable[AttemptRow]
    ) -> None:
        """Write the page; `ReportError` if the disk does not take it."""
        answers = AttemptTally()
        answers.add_all(attempts)
        timeline = timeline_of(self._run, events, self._shares.states)
        table = self._keeper.table(summary.causes)
        figures = Figures(summary, answers, timeline, self._shares, tally.durations_s)
        drawings = page_drawing.draw(figures.charts) if self._has_charts and figures.charts else {}
        context = _context(self._run, summary, timeline, answers, table, figures)
        context["drawings"] = drawings
        context["charts_note"] = page_drawing.NOT_DRAWN if figures.charts and not drawings else ""
        for text in _template().generate(context):
            # Half a surrogate pair, out of a damaged sheet, has no UTF-8.
            self._file.write(text.encode("utf-8", errors="backslashreplace"))


def has_charts(path: Path) -> bool:
    """Whether a page was written with charts; `UsageError` if it was, and none could be drawn again."""
    try:
        found = b'<svg class="chart' in path.read_bytes()
    except OSError:
        return False
    if found and not page_drawing.is_available():
        raise UsageError(page_drawing.NEEDED)
    return found


def headline(summary: Summary) -> str:
    """What happened, in a sentence that hides nothing: `4,851 of 5,000 requests succeeded; 143 failed.`"""
    counts = summary.counts
    sent = counts.requests - counts.skipped
    left = counts.pending + counts.retrying + counts.in_flight
    rejected = many(counts.rejected, "row was rejected", "rows were rejected")
    if not counts.requests:
        return f"Nothing could be sent: {rejected}." if counts.rejected else "There was nothing to send."
    if not sent:
        nothing = "Nothing had to be sent: every request was a duplicate or unchanged"
        return f"{nothing}, and {rejected}." if counts.rejected else f"{nothing}."
    if counts.succeeded == sent:
        all_of = "The one request" if sent == 1 else f"All {sent:,} requests"
        return f"{all_of} succeeded, and {rejected}." if counts.rejected else f"{all_of} succeeded."
    others = [f"{counts.failed:,} failed"] if counts.failed else []
    if counts.unknown:
        others.append(f"{counts.unknown:,} may or may not have been applied")
    if left:
        others.append(f"{left:,} {'is' if left == 1 else 'are'} still to be sent")
    ending = others[0] if len(others) == 1 else f"{', '.join(others[:-1])} and {others[-1]}"
    said = f"{counts.succeeded:,} of {many(sent, 'request', 'requests')} succeeded; {ending}."
    return f"{said} {rejected}." if counts.rejected else said


def _context(
    run: RunRecord,
    summary: Summary,
    timeline: Timeline,
    answers: AttemptTally,
    table: Table,
    figures: Figures,
) -> dict[str, Any]:
    """Everything that the template is filled in with."""
    from markupsafe import Markup

    times = [run.started_at, run.ended_at, *(episode.from_at for episode in timeline.episodes)]
    days = {day(at) for at in times if at is not None}
    style, script = _part("page.css"), _part("page.js")
    return {
        # Both are files of this package; the table's JSON has every character escaped that could end it.
        "style": Markup(style),  # noqa: S704
        "script": Markup(script),  # noqa: S704
        "table_json": Markup(table.json),  # noqa: S704
        "policy": _policy(style, script),
        "summary": summary,
        "headline": headline(summary),
        "lead": _lead(run),
        "stopped": _stopped(summary),
        "steps": _steps(summary),
        "facts": _facts(summary),
        "sending": _sending(summary, timeline, answers, run),
        "figures": figures,
        "episodes": [
            (clock(episode.from_at, with_day=len(days) > 1), _lasted(episode.from_at, episode.to_at), episode)
            for episode in timeline.episodes[: _MOST["episodes"]]
        ],
        "episodes_more": max(0, len(timeline.episodes) - _MOST["episodes"]),
        "causes": list(enumerate(summary.causes[: _MOST["causes"]])),
        "causes_more": max(0, len(summary.causes) - _MOST["causes"]),
        "failures": sum(cause.count for cause in summary.causes),
        "most": _MOST,
        "table": table,
        "version": __version__,
        "time_legend": _time_legend(answers, timeline),
        "failure_legend": (("failed", "failed"), ("unknown", "unknown")) if summary.counts.unknown else (),
        "templates": sorted(run.template_digests.items()),
    }


def _lead(run: RunRecord) -> str:
    """When it was, and where it went."""
    if run.started_at is None:
        return f"Planned on {date(run.created_at)} for {run.target}; not started."
    began = f"{date(run.started_at)}, {clock(run.started_at)}"
    if run.ended_at is None:
        return f"Under way since {began} UTC, sending to {run.target}."
    to = "the embedded sandbox: nothing real was changed" if run.target == SANDBOX else run.target
    same = day(run.started_at) == day(run.ended_at)
    ended = clock(run.ended_at, with_day=not same)
    lasted = span(run.ended_at - run.started_at)
    return f"{began} to {ended} UTC ({lasted}), sent to {to}."


def _stopped(summary: Summary) -> str:
    """Why it did not get to its end; empty if it did, or is under way."""
    run = summary.run
    if run.state not in ("interrupted", "halted"):
        return ""
    said = f"{run.message[:1].upper()}{run.message[1:]}" if run.message else run.state.capitalize()
    return f"The run stopped before its end. {said.rstrip('.')}."


def _steps(summary: Summary) -> list[NextStep | None]:
    """What to do next; None stands for the causes, where each of several has a command of its own."""
    told = {cause.command for cause in summary.causes} if len(summary.causes) > 1 else set()
    steps: list[NextStep | None] = []
    for step in summary.next_steps:
        if step.command not in told:
            steps.append(step)
        elif None not in steps:
            steps.append(None)
    return steps


def _facts(summary: Summary) -> list[_Fact]:
    counts = summary.counts
    left = counts.pending + counts.retrying + counts.in_flight
    found = []
    for state, name, meaning in _STATES:
        count = left if state == "left" else getattr(counts, state)
        if count or state == RequestState.SUCCEEDED.value:
            if state == REJECTED and count == 1:
                name = "row rejected"
            # The table has all of these lines, or at least the first of them.
            link = f"#results?state={_TABLE_STATES.index(state)}" if count and state in _LINKED else ""
            found.append(_Fact(state, f"{count:,}", name, meaning, link))
    return found


def _sending(
    summary: Summary, timeline: Timeline, answers: AttemptTally, run: RunRecord
) -> list[tuple[str, str, str]]:
    """What sending was like, as names, values, and what is to be known of them."""
    sending = summary.sending
    rate = run.options.get("rate")
    found = [("Sends", f"{sending.sends:,}", "")]
    # Over breaks the summary's number says nothing; otherwise both are one.
    rate_per_s = sending.sends / answers.sending_s if answers.has_breaks else sending.sends_per_s
    if rate_per_s is not None:
        allowed = f"at most {rate}" if isinstance(rate, str) and rate and rate != "auto" else ""
        breaks = "breaks left out" if answers.has_breaks else ""
        found.append(("Sends a second", per_second(rate_per_s), ", ".join(filter(None, (allowed, breaks)))))
    if sending.latency_p50_ms is not None and sending.latency_p95_ms is not None:
        found.append(("Half answered within", milliseconds(sending.latency_p50_ms), ""))
        found.append(("95 % answered within", milliseconds(sending.latency_p95_ms), ""))
    if waits := answers.answers[Answer.WAIT]:
        found.append(("Told to wait", many(waits, "time", "times"), "by 429 and 503"))
    if timeline.paused_s >= 0.05:
        found.append(("Waited for the API", span(timeline.paused_s), ""))
    return found


def _time_legend(answers: AttemptTally, timeline: Timeline) -> list[tuple[str, str]]:
    """What the colours of the chart over time mean, as far as they are in it."""
    found = [(colour, answer.value) for answer, colour in _ANSWERS if answers.answers[answer]]
    if any(not pause.is_outage for pause in timeline.pauses):
        found.append(("shade-wait", "paused because told to wait"))
    if any(pause.is_outage for pause in timeline.pauses):
        found.append(("shade-outage", "outage"))
    return found


def _policy(style: str, script: str) -> str:
    """The Content-Security-Policy: nothing is loaded, and nothing runs but these two."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src 'sha256-{_digest(style)}'",
            f"script-src 'sha256-{_digest(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _part(name: str) -> str:
    return files("batch").joinpath("page", "files", name).read_text(encoding="utf-8").strip()


@cache
def _template() -> jinja2.Template:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        # What cannot be seen, or would turn text around, is written out wherever it comes from.
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["trusted"] = Markup
    environment.filters["country"] = country
    environment.filters["n"] = lambda count: f"{count:,}"
    environment.filters["many"] = many
    environment.filters["sentence"] = lambda text: f"{text[:1].upper()}{text[1:]}"
    environment.filters["percent"] = percent
    return environment.from_string(_part("page.html"))


def _lasted(from_at: float, to_at: float | None) -> str:
    return "" if to_at is None else span(to_at - from_at)
