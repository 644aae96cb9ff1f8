"""Writes a run's report from the journal alone, whole or not at all; it can be written again at any time."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from batch.errors import JournalError, UsageError, WorkbookError
from batch.journal.protocol import Counts, Journal, RunRecord
from batch.page import document as page
from batch.report import manifest, results_csv, results_jsonl, results_xlsx
from batch.report.formats import FORMATS, MOST_BOOK_LINES, names, usual
from batch.report.lines import NOT_TRUSTED, Lines
from batch.report.summary import Summary, summary_of
from batch.report.tally import Tally
from batch.schema import did_you_mean
from batch.staging import FileDigest, Staging
from batch.states import RequestState

SUMMARY_NAME = "summary.json"


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """A report that was written: its files by name, and the summary in them.

    `left_out` says why it has no workbook, where it would have had one; it is empty otherwise.
    """

    folder: Path
    paths: dict[str, Path]
    summary: Summary
    left_out: str = ""

    @property
    def results(self) -> Path:
        """Where `results.csv` is."""
        return self.paths[results_csv.NAME]


def write_report(
    journal: Journal,
    run_id: str,
    folder: Path,
    *,
    formats: Collection[str] | None = None,
    has_charts: bool | None = None,
) -> ReportFiles:
    """Write the report of a run, which may be going, into a folder of its own.

    `formats` are keys of `FORMATS`; None is all of them, but no workbook where that cannot be put together or
    would have more than `MOST_BOOK_LINES`. A file of an earlier report that is not among them is written
    anew too, so that no two files in the folder tell of different times. Nothing in the folder changes
    before all files are whole and the counts add up. `has_charts` None draws the page's charts if it can.

    Raises `ReportError` if a file cannot be written, `JournalError` if the journal cannot be read or
    contradicts itself, `UsageError` for a format that there is not.
    """
    if formats is not None:
        return _write(journal, run_id, folder, names(_checked(formats), folder), has_charts=has_charts)
    counts = journal.counts(run_id)
    lines = counts.requests + counts.rejected
    wanted = names(usual(lines), folder)
    left_out = ""
    if lines > MOST_BOOK_LINES and results_xlsx.NAME not in wanted:
        left_out = f"it would have {lines:,} lines. `sipbatch report {run_id} --format xlsx` writes it"
    try:
        return _write(journal, run_id, folder, wanted, has_charts=has_charts, left_out=left_out)
    except WorkbookError as error:
        wanted = tuple(name for name in wanted if name != results_xlsx.NAME)
        why = str(error).rstrip(".")
        return _write(journal, run_id, folder, wanted, has_charts=has_charts, left_out=why)


def _write(
    journal: Journal,
    run_id: str,
    folder: Path,
    names: tuple[str, ...],
    *,
    has_charts: bool | None,
    left_out: str = "",
) -> ReportFiles:
    run = journal.run(run_id)
    before = journal.counts(run_id)
    way_on = (
        "Nothing is lost: the journal has every result. Mend that, then write the report with"
        f" `sipbatch report {run_id}`."
    )
    with ExitStack() as stack:
        staging = stack.enter_context(Staging(folder, way_on=way_on))
        lines = Lines(journal, run)
        tally = Tally()
        csv = results_csv.ResultsCsv(staging.file(results_csv.NAME), lines.header)
        jsonl = xlsx = html = None
        if results_jsonl.NAME in names:
            attempts = journal.attempts(run_id)
            jsonl = results_jsonl.ResultsJsonl(staging.file(results_jsonl.NAME), run, attempts)
        if results_xlsx.NAME in names:
            staged = staging.file(results_xlsx.NAME)
            xlsx = stack.enter_context(results_xlsx.ResultsXlsx(staged, lines.header, run))
        if page.NAME in names:
            html = page.ResultsPage(staging.file(page.NAME), lines.header, run, has_charts=has_charts)
        for line in lines:
            csv.add(line)
            if line.result is not None:
                tally.add_result(line.result)
                if line.verification is not None:
                    tally.proofs.add(line.result, line.verification)
            elif line.reject is not None:
                tally.add_reject(line.reject)
            if jsonl is not None:
                jsonl.add(line)
            if xlsx is not None:
                xlsx.add(line)
            if html is not None:
                html.add(line)
        _check_sums(run, lines, tally.counts, before, journal.counts(run_id))
        csv.close()
        if jsonl is not None:
            jsonl.close()
        files = (*names, SUMMARY_NAME, manifest.NAME)
        events = journal.events(run_id)
        summary = summary_of(run, tally, events, files=files)
        if xlsx is not None:
            xlsx.finish(summary)
        if html is not None:
            html.finish(summary, tally, events, journal.attempts(run_id))
        staging.file(SUMMARY_NAME).write(summary.to_json())
        # It comes last, here and among the renames: a folder with a new manifest has all that it names.
        listed = manifest.Manifest.of(run, summary, staging.finish())
        staging.file(manifest.NAME).write(listed.to_json())
        staging.commit()
        for name in FORMATS.values():
            if name not in names:
                staging.remove(name)
    return ReportFiles(folder, {name: folder / name for name in files}, summary, left_out)


def check_report(journal: Journal, run_id: str, folder: Path) -> list[str]:
    """Derive a report again from the journal, and say what in the folder differs; nothing if all is well.

    The report is not changed. Raises `JournalError` if the journal cannot be read, `ReportError` if there
    is no room for temporary files, `UsageError` if the library is missing that the page's charts need.
    """
    path = folder / manifest.NAME
    try:
        text = path.read_bytes()
        listed = orjson.loads(text)
        files = {str(name): FileDigest(**digest) for name, digest in listed["files"].items()}
    except OSError as error:
        return [f"{path}: cannot be read ({error.strerror}): there is no whole report to check"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [f"{path}: is not a manifest of sipbatch: it was changed, or is damaged"]

    found = [f"{path}: says it is of run {listed.get('run')}"] if listed.get("run") != run_id else []
    found += _differing_digests(folder, files)
    with TemporaryDirectory(prefix="sipbatch-") as temporary:
        again = Path(temporary)
        formats = [key for key, name in FORMATS.items() if name in files]
        has_charts = page.NAME in files and page.has_charts(folder / page.NAME)
        write_report(journal, run_id, again, formats=formats, has_charts=has_charts)
        derived = (again / manifest.NAME).read_bytes()
        if derived == text:
            return found
        differing = _differing_fields(listed, orjson.loads(derived))
        if "state" in differing or "counts" in differing or "attempts" in differing:
            went_on = f"the run went on after it was written: write it again with `sipbatch report {run_id}`"
            return [*found, f"{path}: is not what the journal gives now; perhaps {went_on}"]
        for name in files:
            if (again / name).exists() and FileDigest.of(again / name) != files[name]:
                found.append(
                    f"{folder / name}: is not what the journal gives{_first_line(folder, again, name)}"
                )
        found += [f"{path}: {name} is not what the journal gives" for name in differing if name != "files"]
        return found or [f"{path}: its bytes are not those that were written, though it says the same"]


def _differing_digests(folder: Path, files: dict[str, FileDigest]) -> list[str]:
    """The files that are gone, that were changed, or that the report does not have."""
    found = []
    for name, digest in files.items():
        try:
            if FileDigest.of(folder / name) != digest:
                found.append(f"{folder / name}: was changed after it was written")
        except OSError as error:
            found.append(f"{folder / name}: cannot be read ({error.strerror})")
    others = (name for name in (*FORMATS.values(), SUMMARY_NAME) if name not in files)
    return found + [f"{folder / name}: is not of this report" for name in others if (folder / name).exists()]


def _differing_fields(listed: dict[str, Any], derived: dict[str, Any]) -> list[str]:
    return [name for name in {**derived, **listed} if listed.get(name) != derived.get(name)]


def _first_line(folder: Path, again: Path, name: str) -> str:
    """Where two files of text first differ: `, from line 7 on`."""
    if name == results_xlsx.NAME or not (folder / name).is_file():
        return ""
    with (folder / name).open("rb") as one, (again / name).open("rb") as other:
        for number, (mine, theirs) in enumerate(zip_longest(one, other), start=1):
            if mine != theirs:
                return f", from line {number} on"
    return ""


def _checked(formats: Collection[str]) -> Collection[str]:
    for chosen in formats:
        if chosen not in FORMATS:
            raise UsageError(
                f'there is no report format "{chosen}": it is one of {", ".join(FORMATS)}.'
                f"{did_you_mean(chosen, FORMATS)}"
            )
    return formats


def _ended(counts: Counts) -> tuple[int, ...]:
    return tuple(counts.of(state) for state in RequestState if state.is_final)


def _check_sums(run: RunRecord, lines: Lines, told: Counts, before: Counts, after: Counts) -> None:
    """The law of conservation: every request and every row is told of, once, in the state it is in."""
    if (told.requests, told.rejected) != (after.requests, after.rejected):
        raise JournalError(
            f"run {run.id} has {after.requests:,} requests and {after.rejected:,} rejects, and the report"
            f" would tell of {told.requests:,} and {told.rejected:,}. {NOT_TRUSTED}"
        )
    # While the run is going, requests end from one look to the next, and what is left is claimed and let go.
    if _ended(before) == _ended(after) != _ended(told):
        raise JournalError(f"run {run.id} has {after}, and the report would tell of {told}. {NOT_TRUSTED}")
    if run.parent is not None:
        return  # a part of another run's sheets
    for sheet, rows in zip(run.sheets, lines.rows, strict=True):
        if rows != sheet.row_count:
            raise JournalError(
                f"{sheet.name} was planned with {sheet.row_count:,} rows, and the report would tell of"
                f" {rows:,}. {NOT_TRUSTED}"
            )
