"""Promises about which files a report has: all of them unasked, and none that would not be whole or true."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch.errors import WorkbookError
from batch.journal.memory import MemoryJournal
from batch.report import formats, results_xlsx
from batch.reporting import check_report, write_report
from tests.report_runs import assert_conserved, mixed_run

EVERYTHING = {"results.csv", "results.jsonl", "results.xlsx", "report.html", "summary.json", "manifest.json"}


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture(autouse=True)
def _as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an operator has it: the other tests do without charts unless they ask for them."""
    monkeypatch.setattr(formats, "USUAL", tuple(formats.FORMATS))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_everything_is_written_unasked(journal: MemoryJournal, tmp_path: Path) -> None:
    """Who says nothing gets the page and the workbook too, and the manifest vouches for them."""
    run_id = mixed_run(journal)
    report = write_report(journal, run_id, tmp_path)
    assert files(tmp_path) == EVERYTHING == set(report.paths)
    assert report.left_out == ""
    assert check_report(journal, run_id, tmp_path) == []
    assert_conserved(journal, run_id, tmp_path)


def test_a_long_report_has_no_workbook_unasked(
    journal: MemoryJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond so many lines the workbook is for who asks for it; the report says how, and has the rest."""
    run_id = mixed_run(journal)
    counts = journal.counts(run_id)
    lines = counts.requests + counts.rejected
    monkeypatch.setattr(formats, "MOST_BOOK_LINES", lines - 1)
    monkeypatch.setattr("batch.reporting.MOST_BOOK_LINES", lines - 1)
    report = write_report(journal, run_id, tmp_path)
    assert files(tmp_path) == EVERYTHING - {"results.xlsx"}
    assert (
        report.left_out == f"it would have {lines} lines. `sipbatch report {run_id} --format xlsx` writes it"
    )
    assert_conserved(journal, run_id, tmp_path)

    write_report(journal, run_id, tmp_path, formats=("xlsx",))
    again = write_report(journal, run_id, tmp_path)
    assert (files(tmp_path), again.left_out) == (EVERYTHING, "")
    assert_conserved(journal, run_id, tmp_path)


def test_a_workbook_that_cannot_be_costs_no_other_file(
    journal: MemoryJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sheet too wide for a workbook is reported on all the same, and no old workbook stays beside it."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, tmp_path)
    monkeypatch.setattr(results_xlsx, "MOST_COLUMNS", 17)
    report = write_report(journal, run_id, tmp_path)
    assert files(tmp_path) == EVERYTHING - {"results.xlsx"}
    assert "cannot hold" in report.left_out
    assert "results.xlsx" not in report.summary.files
    assert check_report(journal, run_id, tmp_path) == []
    assert_conserved(journal, run_id, tmp_path)


def test_a_workbook_that_was_asked_for_is_an_error(
    journal: MemoryJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for a workbook and cannot have it is told, and the folder stays as it was."""
    monkeypatch.setattr(results_xlsx, "MOST_COLUMNS", 17)
    with pytest.raises(WorkbookError, match="leave the workbook out"):
        write_report(journal, mixed_run(journal), tmp_path, formats=("xlsx",))
    assert files(tmp_path) == set()


def test_only_what_was_asked_for(journal: MemoryJournal, tmp_path: Path) -> None:
    """Formats that are named leave out the others; `results.csv` is in every report."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, tmp_path, formats=("csv",))
    assert files(tmp_path) == {"results.csv", "summary.json", "manifest.json"}
    assert_conserved(journal, run_id, tmp_path)
