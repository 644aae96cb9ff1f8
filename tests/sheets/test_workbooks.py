"""Promises of `batch.sheets.workbooks`: values are read as they are shown, and every damage is named."""

from __future__ import annotations

import datetime
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl.worksheet.worksheet import Worksheet

from batch.sheets.chunks import SheetOptions
from batch.sheets.opening import open_sheets
from tests.fixtures.sheets.make_fixtures import CARRIER, HERE
from tests.ods_writer import write_ods
from tests.sheet_reading import BLOCKS, found_in, messages_of, open_one, refusal, rows_of
from tests.workbook_making import HEADER, MAIN, SHEET_XML, MakeBook, book, rewrite
from tests.xlsb_writer import Error, write_xlsb

__all__ = ["book"]

#: Texts that XML can hold; what it cannot is no text of a workbook.
TEXTS = st.text(alphabet=st.sampled_from("ab01+,;\"'<>&= \u00a0é☎\n"), max_size=8)


@pytest.mark.parametrize("suffix", ["xlsx", "xls", "ods", "xlsb"])
def test_one_sheet_reads_the_same_in_every_format(suffix: str) -> None:
    """The same rows, saved in each format, are the same texts under the same row numbers."""
    sheet = open_one(HERE / f"carrier.{suffix}")
    expected = {
        row: ["" if cell is None else str(cell) for cell in cells] for row, cells in enumerate(CARRIER[1:], 2)
    }
    assert sheet.header == tuple(CARRIER[0])
    assert rows_of(sheet) == expected
    assert found_in(sheet) == set()
    [chunk] = sheet.chunks()
    assert chunk.numeric is not None
    assert chunk.numeric.tolist() == [False, True, False, False]


@pytest.mark.parametrize(("suffix", "share"), [("xlsx", "20%"), ("ods", "20%"), ("xls", "0.2")])
def test_every_damage_is_named_in_every_format(suffix: str, share: str) -> None:
    """What LibreOffice saved broken is named by row and column, alike in all its formats."""
    sheet = open_one(HERE / f"damaged.{suffix}")
    assert (sheet.name, sheet.header_row) == (f"damaged.{suffix}#Numbers", 3)
    assert found_in(sheet) == {
        (4, "", "~sheet.hidden_worksheets"),
        (4, "", "~sheet.titles"),
        (4, "DID", "cell.error"),
        (7, "", "~row.hidden"),
        (9, "template", "cell.merged"),
        (9, "note", "~cell.date"),
        (11, "note", "cell.error"),
    }
    rows = rows_of(sheet)
    assert list(rows) == list(range(4, 12))
    assert (rows[4][0], rows[5][0], rows[11][3]) == ("#DIV/0!", "2026-01-31", "#N/A")
    assert rows[10][4] == share
    assert "B8:B9" in str(messages_of(sheet.chunks(), "cell.merged"))
    assert '"Old numbers"' in str(messages_of(sheet.chunks(), "sheet.hidden_worksheets"))


def test_a_workbook_under_another_suffix_is_named(tmp_path: Path) -> None:
    """A workbook called .csv is refused by what it is; one called .xls is read, being a workbook."""
    content = (HERE / "carrier.xlsx").read_bytes()
    for name in ("numbers.csv", "numbers.xls"):
        (tmp_path / name).write_bytes(content)
    assert "is in truth an Excel workbook (.xlsx)" in refusal(tmp_path / "numbers.csv")
    assert len(rows_of(open_one(tmp_path / "numbers.xls"))) == len(CARRIER) - 1


def test_standard_input_may_be_a_workbook(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workbook that comes in on standard input is read as one."""
    stream = io.BytesIO((HERE / "carrier.ods").read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
    sheet = open_one("-")
    assert sheet.name == "stdin"
    assert len(rows_of(sheet)) == len(CARRIER) - 1


def test_values_are_shown_plainly(book: MakeBook) -> None:
    """Numbers have no needless fraction and no more than 15 digits; truths and dates are texts."""
    values = [
        14155550100,
        5061.5,
        0.1 + 0.2,
        1e21,
        True,
        1,
        datetime.date(2026, 1, 31),
        datetime.time(12, 30),
    ]
    values += [datetime.datetime(2026, 1, 31, 12, 30, tzinfo=None)]  # noqa: DTZ001 - a workbook has no zones
    path = book(lambda sheet: [sheet.append(["+1", "t", value]) for value in values])
    notes = [cells[2] for cells in rows_of(open_one(path)).values()]
    assert notes == [
        "14155550100",
        "5061.5",
        "0.3",
        "1E+21",
        "TRUE",
        "1",
        "2026-01-31",
        "12:30:00",
        "2026-01-31 12:30:00",
    ]


def test_percentages_are_shown_as_such(book: MakeBook) -> None:
    """A number that the workbook shows as 20% is not read as 0.2."""

    def fill(sheet: Worksheet) -> None:
        for at, (value, shown) in enumerate([(0.2, "0%"), (0.125, "0.0%"), (0.2, "0.0"), (5, '0"%"')], 2):
            sheet.append(["+1", "t", value])
            sheet.cell(at, 3).number_format = shown

    assert [cells[2] for cells in rows_of(open_one(book(fill))).values()] == ["20%", "12.5%", "0.2", "5"]


@pytest.mark.parametrize("code", ["#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!"])
def test_error_cells_are_named(book: MakeBook, code: str) -> None:
    """A cell that shows an error is a problem, and its text is what it shows."""
    path = book(lambda sheet: [sheet.append(["+1", "t", "x"]), sheet.append(["+2", code, code])])
    sheet = open_one(path)
    assert found_in(sheet) == {(3, "template", "cell.error"), (3, "note", "cell.error")}
    assert rows_of(sheet)[3] == ["+2", code, code]


def test_formulas_without_value_are_named(book: MakeBook) -> None:
    """A formula that no spreadsheet program has calculated yet is a problem, not a blank cell."""
    path = book(lambda sheet: [sheet.append(["+1", "=A1", '="a"&"b"']), sheet.append(["=1+1", None, None])])
    assert found_in(open_one(path)) == {
        (2, "template", "cell.no_value"),
        (2, "note", "cell.no_value"),
        (3, "phone_number", "cell.no_value"),
    }


def test_formulas_with_a_value_are_their_value(tmp_path: Path) -> None:
    """A formula that was saved with its value is that value, be it a text of no letters."""
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path) as workbook:
        sheet = workbook.add_worksheet("Main")
        sheet.write_row(0, 0, HEADER)
        sheet.write_string(1, 0, "+14155550100")
        sheet.write_formula(1, 1, '="al"&"erts"', None, "alerts")
        sheet.write_formula(1, 2, '=""', None, "")
    # The writer leaves out that the value is a text; spreadsheet programs do not.
    rewrite(path, SHEET_XML, lambda xml: xml.replace('<c r="C2">', '<c r="C2" t="str">'))
    sheet = open_one(path)
    assert rows_of(sheet) == {2: ["+14155550100", "alerts", ""]}
    assert found_in(sheet) == set()


def test_merged_cells_are_named(book: MakeBook) -> None:
    """The blank cells of a merged area are problems where a column is known, warnings elsewhere."""

    def fill(sheet: Worksheet) -> None:
        for number in range(4):
            sheet.append([f"+{number}", "a", "n"])
        sheet.merge_cells("B2:C3")

    sheet = open_one(book(fill))
    assert found_in(sheet) == {
        (2, "note", "~cell.merged"),
        (3, "template", "cell.merged"),
        (3, "note", "~cell.merged"),
    }
    assert "B2:C3" in str(messages_of(sheet.chunks(), "cell.merged"))


@pytest.mark.parametrize("suffix", ["xlsx", "xls", "ods"])
@pytest.mark.parametrize("named", [None, 2, 3])
def test_a_header_of_two_rows_is_read_as_one(suffix: str, named: int | None) -> None:
    """Where cells of the header are merged with those below, the lower row names the other columns."""
    sheet = open_one(HERE / f"tall.{suffix}", header_row=named)
    assert (sheet.header_row, sheet.header) == (
        3,
        ("Phone Number", "Template", "backup_host", "port", "Note"),
    )
    assert rows_of(sheet) == {4: ["+14155550100", "alerts", "a.example.com", "5061", "x"]}
    assert found_in(sheet) == (set() if named else {(4, "", "~sheet.titles")})


@pytest.mark.parametrize("number", ["+14155550100", "+1 (415) 555-0100"])
def test_rows_of_data_are_no_header(book: MakeBook, number: str) -> None:
    """Rows that are merged with the header by mistake are still rows, and named as such."""

    def fill(sheet: Worksheet) -> None:
        sheet.append([number, "a", "n"])
        sheet.merge_cells("C1:C2")

    sheet = open_one(book(fill))
    assert (sheet.header_row, rows_of(sheet)) == (1, {2: [number, "a", ""]})
    assert found_in(sheet) == {(2, "note", "~cell.merged")}


def test_hidden_rows_are_counted(book: MakeBook) -> None:
    """Rows that a filter hides are read, and each is a warning."""

    def fill(sheet: Worksheet) -> None:
        for number in range(5):
            sheet.append([f"+{number}", "a", "n"])
        for row in (3, 5, 99):
            sheet.row_dimensions[row].hidden = True

    sheet = open_one(book(fill))
    assert found_in(sheet) == {(3, "", "~row.hidden"), (5, "", "~row.hidden")}
    assert len(rows_of(sheet)) == 5


def test_a_worksheet_must_be_picked(book: MakeBook) -> None:
    """Of several visible worksheets one must be named; the message has them all."""

    def fill(sheet: Worksheet) -> None:
        assert sheet.parent is not None
        other = sheet.parent.create_sheet("Old Numbers")
        other.append(["number"])
        other.append(["+5"])

    path = book(fill)
    assert 'book.xlsx has 2 worksheets, "Main", "Old Numbers": pick one with --worksheet' in refusal(path)
    assert 'Did you mean "Main"?' in refusal(path, worksheet="Mian")
    sheet = open_one(path, worksheet="old numbers")
    assert (sheet.name, rows_of(sheet)) == ("book.xlsx#Old Numbers", {2: ["+5"]})


def test_a_worksheet_can_be_named_with_its_workbook(book: MakeBook, tmp_path: Path) -> None:
    """`book.xlsx#Main`, as messages have it, is one worksheet: two of one workbook make two sheets."""

    def fill(sheet: Worksheet) -> None:
        assert sheet.parent is not None
        sheet.append(["+1", "a", "n"])
        sheet.parent.create_sheet("Old Numbers").append(["number"])

    path = book(fill)
    named = [f"{path}#Main", f"{path}#old numbers"]
    main, old = open_sheets(named, SheetOptions(worksheet="Other"), blocks=BLOCKS)
    assert (main.name, main.path, rows_of(main)) == ("book.xlsx#Main", str(path), {2: ["+1", "a", "n"]})
    assert (old.name, old.path, rows_of(old)) == ("book.xlsx#Old Numbers", str(path), {})
    assert "or as book.xlsx#Main" in refusal(path)
    assert 'has no worksheet "Mian"' in refusal(f"{path}#Mian")


def test_a_text_has_no_worksheets(tmp_path: Path) -> None:
    """A worksheet cannot be named of a text, and a # in a file's own name names none."""
    (tmp_path / "numbers.csv").write_text("number\n+1\n")
    assert 'is a text file and has no worksheets: leave out "#Main"' in refusal(tmp_path / "numbers.csv#Main")
    (tmp_path / "numbers.csv#Main").write_text("number\n+2\n")
    assert rows_of(open_one(tmp_path / "numbers.csv#Main")) == {2: ["+2"]}


def test_hidden_worksheets_are_not_picked(book: MakeBook) -> None:
    """A hidden worksheet is no choice, unless it is named; that there is one is a warning."""

    def fill(sheet: Worksheet) -> None:
        assert sheet.parent is not None
        sheet.append(["+1", "a", "n"])
        for title, state in (("Hidden", "hidden"), ("Very", "veryHidden")):
            other = sheet.parent.create_sheet(title)
            other.sheet_state = state
            other.append(["number"])

    path = book(fill)
    sheet = open_one(path)
    assert rows_of(sheet) == {2: ["+1", "a", "n"]}
    assert '"Hidden", "Very"' in str(messages_of(sheet.chunks(), "sheet.hidden_worksheets"))
    assert open_one(path, worksheet="Hidden").header == ("number",)


def test_row_numbers_are_the_workbooks(book: MakeBook) -> None:
    """Rows keep their numbers where rows or columns before them are blank."""
    path = book(lambda sheet: [sheet.insert_rows(1, 4), sheet.insert_cols(1, 2)])
    workbook = openpyxl.load_workbook(path)
    workbook["Main"].cell(9, 3).value = "+1"
    workbook.save(path)
    sheet = open_one(path)
    assert (sheet.header_row, sheet.header) == (5, ("", "", *HEADER))
    assert rows_of(sheet) == {9: ["", "", "+1", "", ""]}


def test_cells_right_of_the_header_are_named(book: MakeBook) -> None:
    """A cell under no header is a problem of its row."""
    sheet = open_one(book(lambda sheet: [sheet.append(["+1", "a", "n", None, 0]), sheet.append(["+2"])]))
    assert found_in(sheet) == {(2, "", "row.ragged")}
    assert '"0" in column E' in str(messages_of(sheet.chunks(), "row.ragged"))


def test_an_empty_worksheet_is_refused(tmp_path: Path) -> None:
    """A worksheet without a cell is refused as empty."""
    path = tmp_path / "book.xlsx"
    openpyxl.Workbook().save(path)
    assert "is empty" in refusal(path)


def prefixed(xml: str) -> str:
    xml = re.sub(r"<(/?)(c|row|v|is|t|f)\b", r"<\1x:\2", xml)
    return xml.replace(" xmlns=", f' xmlns:x="{MAIN}" xmlns=')


@pytest.mark.parametrize(
    "change",
    [
        lambda xml: re.sub(r'(<(?:c|row)[^>]*?) r="[^"]*"', r"\1", xml),
        prefixed,
        lambda xml: xml.replace('"', "'"),
        lambda xml: re.sub(r'<c r="([A-Z]+\d+)"([^>]*?)(/?)>', r'<c\2 r="\1"\3>', xml),
        lambda xml: xml.replace("><", ">\n  <"),
    ],
    ids=["no references", "prefixes", "single quotes", "order", "indented"],
)
def test_xml_of_any_form_is_looked_through(book: MakeBook, change: Callable[[str], str]) -> None:
    """Errors, formulas without value and hidden rows are found, however the XML is written."""

    def fill(sheet: Worksheet) -> None:
        sheet.append(["+1", "#N/A", "n"])
        sheet.append(["+2", "=A1", "n"])
        sheet.append(["+3", "a", "n"])
        sheet.row_dimensions[4].hidden = True

    path = book(fill)
    rewrite(path, SHEET_XML, change)
    assert found_in(open_one(path)) == {
        (2, "template", "cell.error"),
        (3, "template", "cell.no_value"),
        (4, "", "~row.hidden"),
    }


def test_an_xlsb_says_what_is_broken(tmp_path: Path) -> None:
    """Errors, hidden rows and merged cells of an .xlsb are named."""
    path = tmp_path / "book.xlsb"
    rows = [HEADER, ["+1", Error(0x2A), "n"], ["+2", "a", Error(0x07)], ["+3", "a", True], ["+4", None, 0.5]]
    write_xlsb(path, rows, hidden=frozenset({3}), merged=[(3, 4, 1, 1)])
    sheet = open_one(path)
    assert found_in(sheet) == {
        (2, "template", "cell.error"),
        (3, "note", "cell.error"),
        (4, "", "~row.hidden"),
        (5, "template", "cell.merged"),
    }
    assert rows_of(sheet) == {
        2: ["+1", "#N/A", "n"],
        3: ["+2", "a", "#DIV/0!"],
        4: ["+3", "a", "TRUE"],
        5: ["+4", "", "0.5"],
    }


def test_a_workbook_comes_in_chunks(tmp_path: Path) -> None:
    """A long worksheet comes in chunks whose rows, problems and warnings keep their numbers."""
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path, {"constant_memory": True}) as workbook:
        sheet = workbook.add_worksheet("Main")
        sheet.write_row(0, 0, HEADER)
        for row in range(1, 50_101):
            sheet.write_row(row, 0, [f"+{row}", "a"])
        sheet.set_row(50_101, None, None, {"hidden": True})
        sheet.write_row(50_101, 0, ["+9", "a"])
        sheet.write_string(50_102, 0, "+8")
        sheet.write_formula(50_102, 1, "=NA()", None, "#N/A")
    chunks = list(open_one(path).chunks())
    assert [len(chunk.rows) for chunk in chunks] == [50_000, 102]
    assert chunks[1].rows.tolist()[-3:] == [50_101, 50_102, 50_103]
    assert {kind for _, _, kind in found_in(open_one(path))} == {"~row.hidden", "cell.error"}
    assert set(chunks[1].problems) == {101}
    assert set(chunks[1].warnings) == {100}


def test_a_sheet_is_narrowed_in_a_workbook_too(book: MakeBook) -> None:
    """--limit and blank rows are the same in a workbook; problems keep their rows."""
    path = book(
        lambda sheet: [
            sheet.append(["+1", "a"]),
            sheet.append([]),
            sheet.append(["+2", "#N/A"]),
            sheet.append(["+3"]),
        ]
    )
    sheet = open_one(path, limit=2)
    assert list(rows_of(sheet)) == [2, 4]
    assert found_in(sheet) == {(4, "template", "cell.error")}


def write_openpyxl(path: Path, rows: list[list[str]]) -> None:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert isinstance(sheet, Worksheet)
    for row, cells in enumerate(rows, 1):
        for column, cell in enumerate(cells, 1):
            sheet.cell(row, column, cell).data_type = "s"
    workbook.save(path)


def write_xlsxwriter(path: Path, rows: list[list[str]]) -> None:
    with xlsxwriter.Workbook(path, {"in_memory": True}) as workbook:
        sheet = workbook.add_worksheet()
        for row, cells in enumerate(rows):
            for column, cell in enumerate(cells):
                sheet.write_string(row, column, cell)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_openpyxl, "any.xlsx"),
        (write_xlsxwriter, "any.xlsm"),
        (write_ods, "any.ods"),
        (write_xlsb, "any.xlsb"),
    ],
    ids=["openpyxl", "XlsxWriter", "ods", "xlsb"],
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(TEXTS, min_size=3, max_size=3), max_size=5))
def test_any_workbook_reads_back(
    tmp_path: Path, write: Callable[[Path, list[list[str]]], None], name: str, rows: list[list[str]]
) -> None:
    """Whatever texts are written into a workbook, by any writer, are read as the same rows."""
    # Not every writer tells a reader to keep the blanks of a cell that has nothing else.
    rows = [[cell if cell.strip() else "" for cell in row] for row in rows]
    path = tmp_path / name
    write(path, [HEADER, *rows])
    sheet = open_one(path)
    expected = {at: row for at, row in enumerate(rows, 2) if any(row)}
    assert rows_of(sheet) == expected
    assert found_in(sheet) == set()
