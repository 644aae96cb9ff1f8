"""The first worksheet of the workbook: what happened, why, and what to do next, on one page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any

from batch.guard import guard
from batch.journal.verification import Proof
from batch.report.causes import SANDBOX
from batch.report.lines import REJECTED
from batch.report.summary import Summary
from batch.report.workbook_formats import Formats, clean
from batch.states import RequestState
from batch.timestamps import lasted

#: Widths of the columns in characters: what it is, how many, then texts, and commands.
_WIDTHS = (30, 11, 38, 27, 32, 56)
_RAGGED = 1.2  #: lines are broken between words, and so are not full
_LINE_HEIGHT = 15  #: in points, of text of 11 points

#: In the order in which people ask.
_STATES = (
    RequestState.SUCCEEDED,
    RequestState.FAILED,
    RequestState.UNKNOWN,
    RequestState.SKIPPED,
    RequestState.RETRYING,
    RequestState.IN_FLIGHT,
    RequestState.PENDING,
)

_Cell = tuple[str | int, Any]
_Row = Sequence[_Cell]


def write_summary(sheet: Any, formats: Formats, summary: Summary, *, notes: tuple[str, ...]) -> None:
    """Fill the worksheet; `notes` are what else is to be said of the workbook."""
    sheet.hide_gridlines(2)
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    for column, width in enumerate(_WIDTHS):
        sheet.set_column(column, column, width)
    sheet.set_row(0, 2 * _LINE_HEIGHT)
    for row, cells in enumerate(_rows(formats, summary, notes)):
        lines = [
            ceil(len(str(value)) / width * _RAGGED)
            for (value, look), width in zip(cells, _WIDTHS, strict=False)
            if look in (formats.wrapped, formats.command)
        ]
        # Not every spreadsheet finds out by itself how high wrapped text is.
        if max(lines, default=1) > 1:
            sheet.set_row(row, max(lines) * _LINE_HEIGHT)
        for column, (value, look) in enumerate(cells):
            if isinstance(value, int):
                sheet.write_number(row, column, value, look)
            elif value:
                sheet.write_string(row, column, guard(clean(value)), look)


def _rows(formats: Formats, summary: Summary, notes: tuple[str, ...]) -> Iterator[_Row]:
    yield [(f"Run {summary.run.id}", formats.title)]
    where = "Results" if summary.counts.requests else "Rejects"
    yield [(summary.headline.replace("See results.csv.", f"See the worksheet {where}."), formats.headline)]
    if summary.run.message:
        yield [(summary.run.message, formats.text)]
    yield from _counts(formats, summary)
    yield from _causes(formats, summary)
    if summary.rejects:
        yield from _heading(formats, "Rejected rows", "Rows", "Why", "For example")
        for problem in summary.rejects:
            place = f"{problem.sheet}:{problem.row} {problem.column}".rstrip()
            yield [
                (problem.kind, formats.wrapped),
                (problem.count, formats.count),
                (_sentence(problem.message), formats.wrapped),
                (place, formats.wrapped),
            ]
    yield from _heading(formats, "What to do next", "", "", "")
    told = {cause.command for cause in summary.causes} if len(summary.causes) > 1 else set()
    if told & {step.command for step in summary.next_steps}:
        yield [("Deal with the causes above one by one; each has its command.", formats.text)]
    for step in summary.next_steps:
        if step.command in told:
            continue
        yield [(step.text, formats.text)]
        if step.command:
            yield [(step.command, formats.indented)]
    yield from _facts(formats, summary)
    for note in notes:
        yield []
        yield [(note, formats.text)]


def _counts(formats: Formats, summary: Summary) -> Iterator[_Row]:
    counts = summary.counts
    yield from _heading(formats, "Requests", "Count")
    for state in _STATES:
        if count := getattr(counts, state.value):
            yield [(state.value, formats.states[state.value]), (count, formats.count)]
    yield [("in all", formats.label), (counts.requests, formats.count)]
    for proof in Proof:
        if count := getattr(summary.verification, proof.value):
            label = f"read back: {proof.value.replace('_', ' ')}"
            yield [(label, formats.label), (count, formats.count)]
    if counts.rejected:
        yield [("rejected rows", formats.states[REJECTED]), (counts.rejected, formats.count)]


def _causes(formats: Formats, summary: Summary) -> Iterator[_Row]:
    if summary.causes:
        failures = sum(cause.count for cause in summary.causes)
        explain = "cause explains" if len(summary.causes) == 1 else "causes explain"
        title = f"{len(summary.causes):,} {explain} {failures:,} {'failure' if failures == 1 else 'failures'}"
        names = (title, "Requests", "What was said", "For example", "What to do", "Command")
        yield from _heading(formats, *names)
    for cause in summary.causes:
        example = cause.example
        yield [
            (cause.title.partition(": ")[0], formats.wrapped),
            (cause.count, formats.count),
            (cause.message, formats.wrapped),
            (f"{example.sheet}:{example.row} {example.phone_number} {example.direction}", formats.wrapped),
            (_sentence(cause.what_to_do), formats.wrapped),
            (cause.command, formats.command),
        ]


def _facts(formats: Formats, summary: Summary) -> Iterator[_Row]:
    run, sending = summary.run, summary.sending
    yield from _heading(formats, "The run", "", "", "")
    facts: list[tuple[str, str | None]] = [
        ("State", run.state if run.reason in (None, "done") else f"{run.state} ({run.reason})"),
        ("Target", "the embedded sandbox: nothing real was changed" if run.target == SANDBOX else run.target),
        ("Sheets", ", ".join(sheet.name for sheet in summary.sheets)),
        ("Started (UTC)", _moment(run.started_at)),
        ("Ended (UTC)", _moment(run.ended_at)),
        ("Duration", None if run.duration_s is None else lasted(run.duration_s)),
        ("Sends", f"{sending.sends:,}"),
        ("Sends a second", None if sending.sends_per_s is None else f"{sending.sends_per_s:,.1f}"),
        ("Latency, median", None if sending.latency_p50_ms is None else f"{sending.latency_p50_ms:,.0f} ms"),
        ("Latency, 95 %", None if sending.latency_p95_ms is None else f"{sending.latency_p95_ms:,.0f} ms"),
        ("Repeats a part of run", run.parent),
        ("Plan digest", run.plan_digest),
        ("Version of sipbatch", run.version),
    ]
    yield from (((label, formats.label), (value, formats.text)) for label, value in facts if value)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _moment(at: str | None) -> str | None:
    """`2026-07-28 01:14:05`, as people read it."""
    return None if at is None else at[:19].replace("T", " ")


def _heading(formats: Formats, *names: str) -> Iterator[_Row]:
    yield []
    yield [(name or " ", formats.heading) for name in names]
