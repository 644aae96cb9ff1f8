"""Promises of `batch.report.results_xlsx`: a workbook that a manager opens, and that reads back."""

from __future__ import annotations

import csv
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from python_calamine import CalamineWorkbook

from batch.errors import ReportError
from batch.guard import unguard
from batch.journal.memory import MemoryJournal
from batch.plans import Problem
from batch.report import results_xlsx
from batch.reporting import ReportFiles, check_report, write_report
from batch.sheets.columns import RESULT_COLUMNS
from batch.states import RequestState
from tests.report_runs import MIXED, NOT_FOUND, SUCCEEDED, Draft, create, mixed_draft, play


def write(folder: Path, draft: Draft, script: dict[int, Any]) -> ReportFiles:
    journal = MemoryJournal()
    run_id = create(journal, draft.plan())
    play(journal, run_id, script)
    report = write_report(journal, run_id, folder, formats=("xlsx",))
    assert check_report(journal, run_id, folder) == []
    return report


@pytest.fixture
def book(tmp_path: Path) -> Iterator[openpyxl.Workbook]:
    report = write(tmp_path / "run", mixed_draft(), MIXED)
    book = openpyxl.load_workbook(report.paths["results.xlsx"])
    yield book
    book.close()


def numbers_draft(count: int) -> Draft:
    draft = Draft()
    draft.sheet("numbers.csv", "phone_number", "direction", "template")
    for seq in range(count):
        draft.row(seq + 2, f"+{14155550100 + seq}", "", "voice").request(14155550100 + seq)
    return draft


def cells_of(path: Path, worksheet: str) -> list[list[str]]:
    """All rows as text, as a reader of sheets takes them."""
    rows = CalamineWorkbook.from_path(str(path)).get_sheet_by_name(worksheet).to_python()
    return [[str(int(c)) if isinstance(c, float) else str(c) for c in row] for row in rows]


def test_the_worksheets(book: openpyxl.Workbook) -> None:
    """The summary is what opens; the results and the rejects each have a worksheet."""
    assert book.sheetnames == ["Summary", "Results", "Rejects"]
    assert book.active is book["Summary"]
    assert book["Results"].max_row == 12
    assert book["Rejects"].max_row == 3


def test_without_rejects_there_is_no_worksheet_for_them(tmp_path: Path) -> None:
    """An empty worksheet of rejects would only be looked at in vain."""
    report = write(tmp_path, numbers_draft(1), {0: SUCCEEDED})
    book = openpyxl.load_workbook(report.paths["results.xlsx"])
    assert book.sheetnames == ["Summary", "Results"]
    book.close()


@pytest.mark.parametrize("name", ["Results", "Rejects"])
def test_a_table_can_be_worked_with(book: openpyxl.Workbook, name: str) -> None:
    """The header stays in sight, every column has a filter, and columns are as wide as what they hold."""
    sheet = book[name]
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == f"A1:V{sheet.max_row}"
    header = [cell.value for cell in sheet[1]]
    assert header[-15:] == list(RESULT_COLUMNS)
    assert sheet.column_dimensions["A"].width > len("+14155550100")


def test_numbers_are_text_with_their_plus(book: openpyxl.Workbook) -> None:
    """A phone number is text, marked as text, so that no spreadsheet eats its plus sign."""
    for cell in book["Results"]["A"][1:]:
        assert cell.data_type == "s"
        assert cell.number_format == "@"
        assert cell.value.startswith("+")


def test_nothing_runs(book: openpyxl.Workbook) -> None:
    """No cell of the workbook is a formula or a link, whatever the sheet and the API said."""
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert {cell.data_type for cell in cells} == {"s", "n"}
    assert not [cell for cell in cells if cell.hyperlink]
    texts = [cell.value for cell in cells if cell.data_type == "s"]
    dangerous = {text for text in texts if text[0] in "=@+-" and not re.fullmatch(r"\+[0-9]+", text)}
    assert dangerous == {"-5"}


def test_states_are_coloured(book: openpyxl.Workbook) -> None:
    """Every state has a colour of its own, the same on all worksheets."""
    colours: dict[str, set[str]] = {}
    for name in ("Results", "Rejects"):
        header = [cell.value for cell in book[name][1]]
        for row in book[name].iter_rows(min_row=2):
            cell = row[header.index("result_state")]
            colours.setdefault(cell.value, set()).add(cell.fill.fgColor.rgb)
    assert colours.keys() == {"succeeded", "failed", "unknown", "skipped", "rejected"}
    assert all(len(found) == 1 for found in colours.values())
    assert len(set.union(*colours.values())) == 5


def test_counts_can_be_computed_with(book: openpyxl.Workbook) -> None:
    """Attempts, HTTP status, duration and row are numbers; blank where there is none."""
    header = [cell.value for cell in book["Results"][1]]
    for name in ("result_attempts", "result_http_status", "result_duration_ms", "result_row"):
        values = [row[header.index(name)].value for row in book["Results"].iter_rows(min_row=2)]
        assert {type(value) for value in values} <= {int, type(None)}
        assert any(values)


def test_the_summary_says_what_happened(book: openpyxl.Workbook) -> None:
    """Counts, causes with the commands that repeat them, rejects and next steps are on the first page."""
    texts = [cell.value for row in book["Summary"].iter_rows() for cell in row if cell.value is not None]
    assert texts[0] == "Run 20260727-092955-1"
    assert str(texts[1]).startswith("10 requests sent, 3 refused")
    for text in (
        "succeeded",
        "NOT_FOUND (HTTP 404)",
        "no such number <number>",
        "sipbatch retry 20260727-092955-1 --error-code NOT_FOUND",
        "number.lost_digits",
        "What to do next",
    ):
        assert text in texts


def test_a_command_is_told_once(tmp_path: Path) -> None:
    """Where several causes have a command each, what to do next points to them and repeats none."""
    report = write(tmp_path, mixed_draft(), MIXED)
    sheet = openpyxl.load_workbook(report.paths["results.xlsx"])["Summary"]
    texts = [cell.value for row in sheet.iter_rows() for cell in row if cell.value is not None]
    failures = sum(cause.count for cause in report.summary.causes)
    assert f"{len(report.summary.causes)} causes explain {failures} failures" in texts
    assert "Deal with the causes above one by one; each has its command." in texts
    assert Counter(texts)["sipbatch retry 20260727-092955-1 --error-code NOT_FOUND"] == 1


def test_a_workbook_of_rejects_alone(tmp_path: Path) -> None:
    """Where nothing could be sent, the summary leads to the worksheet that has something in it."""
    draft = Draft()
    draft.sheet("numbers.csv", "phone_number", "direction", "template")
    draft.row(2, "x", "", "").reject(Problem("phone_number", "is no number", "number.letters"))
    report = write(tmp_path, draft, {})
    sheet = openpyxl.load_workbook(report.paths["results.xlsx"])["Summary"]
    texts = [cell.value for row in sheet.iter_rows() for cell in row if cell.value is not None]
    assert str(texts[1]).endswith("See the worksheet Rejects.")
    assert "Is no number" in texts


def test_the_worksheets_read_back_as_the_csv(tmp_path: Path) -> None:
    """Results and rejects together are the lines of results.csv, cell by cell."""
    report = write(tmp_path, mixed_draft(), MIXED)
    path = report.paths["results.xlsx"]
    results, rejects = cells_of(path, "Results"), cells_of(path, "Rejects")
    assert results[0] == rejects[0]
    merged = [[unguard(cell) for cell in row] for row in results[1:] + rejects[1:]]
    with report.results.open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    assert header == results[0]
    assert sorted(merged) == sorted([unguard(cell) for cell in line] for line in lines)


def test_more_rows_than_a_worksheet_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what one worksheet holds the results go on in a second, under the same header."""
    monkeypatch.setattr(results_xlsx, "MOST_ROWS", 4)
    draft = numbers_draft(7)
    for row in range(9, 13):
        draft.row(row, "x", "", "").reject(Problem("phone_number", "is no number", "number.letters"))
    report = write(tmp_path, draft, dict.fromkeys(range(7), SUCCEEDED))
    path = report.paths["results.xlsx"]
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["Summary", "Results", "Results 2", "Results 3", "Rejects", "Rejects 2"]
    assert [book[name].max_row for name in book.sheetnames[1:]] == [4, 4, 2, 4, 2]
    book.close()
    numbers = [row[0] for n in ("Results", "Results 2", "Results 3") for row in cells_of(path, n)[1:]]
    assert numbers == [f"+{14155550100 + seq}" for seq in range(7)]


def test_a_cell_that_is_too_long_is_cut_and_counted(tmp_path: Path) -> None:
    """A cell beyond what a workbook holds is cut there, which the summary says; the CSV has it whole."""
    draft = Draft()
    draft.sheet("numbers.csv", "phone_number", "direction", "template", "notes")
    draft.row(2, "", "", "", "x" * 40_000).request(14155550100)
    report = write(tmp_path, draft, {0: SUCCEEDED})
    path = report.paths["results.xlsx"]
    assert len(cells_of(path, "Results")[1][3]) == 32_767
    assert any("1 cell was cut" in cell for row in cells_of(path, "Summary") for cell in row)
    assert "x" * 40_000 in report.results.read_text()


def test_damaged_text_does_not_damage_the_file(tmp_path: Path) -> None:
    """Control characters and halves of characters leave the workbook and the CSV readable."""
    draft = numbers_draft(1)
    message = "bell\x07 nul\x00 half\ud800 not\uffff _x0041_"
    report = write(
        tmp_path, draft, {0: ((RequestState.FAILED, type(NOT_FOUND)(NOT_FOUND.verdict, message=message)),)}
    )
    assert report.results.read_bytes().decode("utf-8").count("half\\ud800") == 1
    (row,) = cells_of(report.paths["results.xlsx"], "Results")[1:]
    assert "bell\\x07 nul\\x00 half\\ud800 not\\uffff _x0041_" in row


def test_the_time_in_the_file_is_the_runs(tmp_path: Path) -> None:
    """The workbook says when the run was planned, so that the same run always gives the same file."""
    report = write(tmp_path, numbers_draft(1), {0: SUCCEEDED})
    with zipfile.ZipFile(report.paths["results.xlsx"]) as archive:
        assert b"2026-07-27T09:29:55Z" in archive.read("docProps/core.xml")
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def test_more_columns_than_a_worksheet_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sheet that is too wide for a workbook is said to be, and no file is left."""
    monkeypatch.setattr(results_xlsx, "MOST_COLUMNS", 17)
    journal = MemoryJournal()
    run_id = create(journal, numbers_draft(1).plan())
    with pytest.raises(ReportError, match="cannot hold 18 columns"):
        write_report(journal, run_id, tmp_path, formats=("xlsx",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["add", "finish"])
def test_no_room_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """When the disk of temporary files is full, the error names it, and nothing is left anywhere."""

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setattr(results_xlsx._Table, moment, full)
    journal = MemoryJournal()
    run_id = create(journal, numbers_draft(1).plan())
    with pytest.raises(ReportError, match=r"results.xlsx cannot be put together .*No space left.*temporary"):
        write_report(journal, run_id, tmp_path / "run", formats=("xlsx",))
    assert list(temporary.iterdir()) == []
    assert list((tmp_path / "run").iterdir()) == []
