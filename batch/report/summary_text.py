"""A run's summary for people: what happened, why, where the files are, and what to type next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from batch.report.causes import Cause
from batch.report.formats import FORMATS
from batch.report.proofs import VerificationPart
from batch.report.summary import ProblemPart, Summary
from batch.states import RequestState
from batch.timestamps import lasted

#: How many causes, and how many kinds of problems, are told in full.
_MOST = 8

_RESULTS = "results.csv"

_NUMBER = re.compile(r"\+[0-9]{8,15}")


def render_summary(summary: Summary, folder: Path, *, options: Sequence[str] = ()) -> str:
    """The summary as lines of text that end with a line break; nothing in it is coloured.

    `folder` is where the report is, as the operator would type it. `options` are put into every command
    after its first word (`--workspace`, where it is not the default one). No phone number is in it as a
    whole, since what commands say ends up in logs; the rows that are named have them.
    """
    return "\n".join(_lines(summary, folder, options)) + "\n"


def _lines(summary: Summary, folder: Path, options: Sequence[str]) -> Iterator[str]:
    results = str(folder / _RESULTS)
    yield _title(summary)
    yield ""
    yield summary.headline.replace(f"See {_RESULTS}.", f"See {results}.")
    yield from _to_hand_on(summary, folder)
    yield ""
    yield from _counts(summary)
    if summary.causes:
        yield ""
        yield from _causes(summary, results, options)
    if summary.verification.requests:
        yield ""
        yield from _verification(summary.verification)
    if summary.rejects:
        yield ""
        rows = summary.counts.rejected
        yield f"{_many(rows, 'row was', 'rows were')} rejected:"
        yield ""
        yield from _problems(summary.rejects)
    if summary.warnings:
        yield ""
        yield "Noticed while planning:"
        yield ""
        yield from _problems(summary.warnings)
    yield ""
    yield "What to do next:"
    yield ""
    told = {cause.command for cause in summary.causes[:_MOST]} if len(summary.causes) > 1 else set()
    if told & {step.command for step in summary.next_steps}:
        yield "  Deal with the causes above one by one; each has its command."
    for step in summary.next_steps:
        if step.command in told:
            continue
        yield f"  {step.text}"
        if step.command:
            yield f"    {command_line(step.command, results, options)}"


def render_verification(summary: Summary, folder: Path, *, options: Sequence[str] = ()) -> str:
    """What reading back a run found, and what to do about it; otherwise as `render_summary`."""
    run, results = summary.run, str(folder / _RESULTS)
    lines = [f"Run {run.id} · {run.target}", "", *_verification(summary.verification), ""]
    steps = [step for step in summary.next_steps if step.command] or [*summary.next_steps]
    for step in steps:
        lines.append(step.text)
        lines += [f"  {command_line(step.command, results, options)}"] if step.command else []
    return "\n".join(lines) + "\n"


def command_line(command: str, results: str, options: Sequence[str] = ()) -> str:
    """A command of the summary as it is typed from where the operator stands."""
    program, name, *words = shlex.split(command)
    return shlex.join([program, name, *options, *(results if word == _RESULTS else word for word in words)])


def masked(text: str) -> str:
    """The text with the middle of every E.164 number left out: `+14155…11`."""
    return _NUMBER.sub(lambda number: f"{number[0][:6]}…{number[0][-2:]}", text)


def _title(summary: Summary) -> str:
    run, sending = summary.run, summary.sending
    parts = [f"Run {run.id}", run.state, run.target]
    if run.duration_s is not None:
        parts.append(lasted(run.duration_s))
    if sending.sends_per_s is not None:
        parts.append(f"{sending.sends_per_s:,.1f} sends/s")
    title = " · ".join(part for part in parts if part)
    return f"{title}\n{run.message}" if run.message else title


def _to_hand_on(summary: Summary, folder: Path) -> Iterator[str]:
    """Where the files for people are."""
    page, book = FORMATS["html"], FORMATS["xlsx"]
    if page in summary.files:
        also = f", and {book} beside it" if book in summary.files else ""
        yield f"To look at and hand on: {folder / page}{also}."
    elif book in summary.files:
        yield f"To look at and hand on: {folder / book}."


def _counts(summary: Summary) -> Iterator[str]:
    counts = summary.counts
    by_state = {state.value: getattr(counts, state.value) for state in RequestState}
    shown = {name: count for name, count in {**by_state, "rejected": counts.rejected}.items() if count}
    width = max((len(f"{count:,}") for count in shown.values()), default=0)
    for name in (*_ORDER, "rejected"):
        if name in shown:
            yield f"  {name:<10} {shown[name]:>{width},}"


_ORDER = ("succeeded", "failed", "unknown", "skipped", "retrying", "in_flight", "pending")


def _causes(summary: Summary, results: str, options: Sequence[str]) -> Iterator[str]:
    failures = sum(cause.count for cause in summary.causes)
    causes = len(summary.causes)
    yield (f"{_many(causes, 'cause explains', 'causes explain')} {_many(failures, 'failure', 'failures')}:")
    for cause in summary.causes[:_MOST]:
        yield ""
        yield from _cause(cause, results, options)
    if causes > _MOST:
        yield ""
        yield f"  and {_many(causes - _MOST, 'cause', 'causes')} more: see summary.json"


def _cause(cause: Cause, results: str, options: Sequence[str]) -> Iterator[str]:
    example = cause.example
    said = f": {masked(example.error)}" if example.error != cause.message else ""
    yield f"  {cause.count:,} × {cause.title}"
    yield f"      {_shares('template', cause.templates)}; {_shares('country', cause.countries)}"
    yield f"      for example {example.sheet}:{example.row} {example.direction}{said}"
    yield f"      {cause.what_to_do[:1].upper()}{cause.what_to_do[1:]}:"
    yield f"        {command_line(cause.command, results, options)}"
    if cause.command_count > cause.count:
        yield f"        (that sends {cause.command_count:,}: it cannot tell these from others)"


def _shares(word: str, shares: Mapping[str, int]) -> str:
    if len(shares) == 1:
        return f"{word} {next(iter(shares))}"
    shown = [f"{name} {count:,}" for name, count in list(shares.items())[:3]]
    return f"{word} {', '.join(shown)}{', ...' if len(shares) > len(shown) else ''}"


def _verification(part: VerificationPart) -> Iterator[str]:
    differing = part.drifted + part.missing
    checked = part.requests - part.replaced - part.unread
    if not checked - part.not_readable:
        yield "Read back: nothing could be verified."
    elif differing:
        yield f"Read back: {_many(differing, 'request is', 'requests are')} not there as sent:"
    else:
        yield f"Read back: {part.verified:,} of {_many(part.requests, 'request', 'requests')} verified."
    for drift in part.drifts[:_MOST]:
        yield f"  {drift.count:,} × {drift.path}"
        yield (
            f"      for example {drift.sheet}:{drift.row} {drift.direction}: "
            f"sent {drift.sent}, there is {drift.there}"
        )
    if len(part.drifts) > _MOST:
        yield f"  and {_many(len(part.drifts) - _MOST, 'place', 'places')} more: see summary.json"
    if part.missing:
        yield f"  {part.missing:,} × the number or its direction is not there"
    if part.unread:
        yield f"  {part.unread:,} × could not be read: see result_drift in results.csv"
    if part.not_shown:
        shown = ", ".join(f"{name} of {count:,}" for name, count in part.not_shown.items())
        yield f"  The API does not show {shown}: what was sent is known from the journal alone."
    if part.replaced:
        yield f"  {part.replaced:,} × a later run has sent something else: verify that one"
    if part.unknown_verified:
        yield f"  {part.unknown_verified:,} of the unknown were applied after all: they are there as sent."


def _problems(problems: Sequence[ProblemPart]) -> Iterator[str]:
    for problem in problems[:_MOST]:
        column = f" {problem.column}" if problem.column else ""
        yield f"  {problem.count:,} × {problem.sheet}:{problem.row}{column}: {masked(problem.message)}"
    if len(problems) > _MOST:
        yield f"  and {_many(len(problems) - _MOST, 'kind', 'kinds')} more: see summary.json"


def _many(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"
