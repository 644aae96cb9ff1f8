"""Promises of workbook reading on what is damaged, hostile or too large: refused in words, within bounds."""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch.errors import SheetError
from batch.sheets.chunks import Bounds
from tests.fixtures.sheets.make_fixtures import HERE
from tests.ods_writer import write_ods_rows
from tests.sheet_reading import open_one, refusal, rows_of
from tests.workbook_making import HEADER, MAIN, SHEET_XML, MakeBook, book, rewrite
from tests.xlsb_writer import write_xlsb

__all__ = ["book"]


@pytest.mark.parametrize("suffix", ["xlsx", "xls", "ods", "xlsb"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_workbook_cut_short_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    """A workbook of which the end is missing is refused, whatever is missing."""
    whole = (HERE / f"carrier.{suffix}").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert refusal(path).startswith(f"cut.{suffix}")


@pytest.mark.parametrize("suffix", ["xlsx", "xls", "ods", "xlsb"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_are_cells_or_a_refusal(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    """Whatever bytes of a workbook are damaged, it is read as cells or refused; nothing else happens."""
    content = bytearray((HERE / f"carrier.{suffix}").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"flipped.{suffix}"
    path.write_bytes(content)
    assert all(isinstance(cell, str) for cell in cells_or_refusal(path))


def cells_or_refusal(path: Path, **options: object) -> list[str]:
    """All cells of a workbook, or the message with which it is refused."""
    try:
        return [cell for cells in rows_of(open_one(path, **options)).values() for cell in cells]
    except SheetError as error:
        return [str(error)]


def test_blank_rows_by_the_million_are_nothing(tmp_path: Path) -> None:
    """A worksheet that is formatted to its last row is read to its last value."""
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path, {"constant_memory": True}) as workbook:
        grey = workbook.add_format({"bg_color": "#eeeeee"})
        sheet = workbook.add_worksheet("Main")
        sheet.write_row(0, 0, HEADER)
        sheet.write_row(1, 0, ["+14155550100", "alerts", "x"])
        for row in range(2, 200_000):
            sheet.write_blank(row, 0, None, grey)
        sheet.write_blank(1_048_575, 16_383, None, grey)
    assert rows_of(open_one(path)) == {2: ["+14155550100", "alerts", "x"]}


@pytest.mark.parametrize("dimension", ["A1", "A1:XFD1048576", "B7:C9"])
def test_a_lying_dimension_changes_nothing(book: MakeBook, dimension: str) -> None:
    """What a worksheet says of its own size is not believed."""
    path = book(lambda sheet: [sheet.append(["+1", "a", "n"]), sheet.append(["+2", "b", "m"])])
    rewrite(
        path, SHEET_XML, lambda xml: re.sub(r'<dimension ref="[^"]*"', f'<dimension ref="{dimension}"', xml)
    )
    assert rows_of(open_one(path)) == {2: ["+1", "a", "n"], 3: ["+2", "b", "m"]}


@pytest.mark.parametrize(
    ("cell", "option"),
    [
        ('<c r="XFD9"><v>1</v></c>', "--max-columns 1000"),
        ('<c r="AAA1048576"><v>1</v></c>', "--max-cells 30000000"),
        ('<c s="0" r="XFD1048576"><v>1</v></c>', "--max-columns 1000"),
        ("<c r='XFD1048576'><v>1</v></c>", "--max-columns 1000"),
        ('<c r = "XFD1048576"><v>1</v></c>', "--max-columns 1000"),
        ('<c\n r="XFD1048576"><v>1</v></c>', "--max-columns 1000"),
        ('<c r="xfd1048576"><v>1</v></c>', "--max-columns 1000"),
        (f'<x:c xmlns:x="{MAIN}" r="XFD1048576"><v>1</v></x:c>', "--max-columns 1000"),
    ],
)  # fmt: skip
def test_a_far_cell_is_refused(book: MakeBook, cell: str, option: str) -> None:
    """A worksheet whose cells lie too far apart to be held is refused, however it is written."""
    path = book(lambda sheet: sheet.append(["+1", "a", "n"]))
    rewrite(path, SHEET_XML, lambda xml: xml.replace("</sheetData>", f'<row r="9">{cell}</row></sheetData>'))
    assert option in refusal(path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """A small file that unpacks to gigabytes is refused by size, ratio or entries, with the option."""
    path = tmp_path / "bomb.xlsx"
    path.write_bytes((HERE / "carrier.xlsx").read_bytes())
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/bomb.xml", "w") as part,
    ):
        for _ in range(120):
            part.write(bytes(1_000_000))
    assert path.stat().st_size < 400_000
    assert "--max-ratio 200 allows no more" in refusal(path)
    assert "--max-unpacked-mb 100 allows no more" in refusal(path, bounds=Bounds(unpacked_mb=100))
    assert "--max-entries 5 allows no more" in refusal(path, bounds=Bounds(entries=5))


def test_a_lie_about_the_size_is_refused(tmp_path: Path) -> None:
    """An entry that unpacks to more than the archive says is refused."""
    path = tmp_path / "liar.xlsx"
    with zipfile.ZipFile(HERE / "carrier.xlsx") as archive:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    parts[SHEET_XML] += b" " * 10_000
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    content = path.read_bytes()
    size = len(parts[SHEET_XML])
    assert content.count(size.to_bytes(4, "little")) >= 2
    path.write_bytes(content.replace(size.to_bytes(4, "little"), (size - 9_000).to_bytes(4, "little")))
    assert "unpacks to more than it says" in refusal(path)


def test_texts_by_reference_are_added_up(tmp_path: Path) -> None:
    """A text that is kept once, and stands in very many cells, counts as often as it stands there."""
    path = tmp_path / "book.xlsx"
    with xlsxwriter.Workbook(path) as workbook:
        sheet = workbook.add_worksheet("Main")
        sheet.write_row(0, 0, HEADER)
        for row in range(1, 40_000):
            sheet.write_string(row, 2, "x" * 32_000)
    assert path.stat().st_size < 400_000
    assert "the texts of its cells come to 1,28" in refusal(path)


@pytest.mark.parametrize(
    "spelled", [str.upper, lambda name: name.replace("/", "\\")], ids=["case", "slashes"]
)
def test_parts_are_found_however_they_are_spelled(tmp_path: Path, spelled: Callable[[str], str]) -> None:
    """What is looked through is what is read, also where parts are named in another case or style."""
    path = tmp_path / "book.xlsx"
    with zipfile.ZipFile(HERE / "carrier.xlsx") as archive:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    far = b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    parts[SHEET_XML] = parts[SHEET_XML].replace(b"</sheetData>", far)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(spelled(name), data)
    assert re.search(r"--max-columns|damaged", refusal(path))


def test_two_parts_of_one_name_are_refused(tmp_path: Path) -> None:
    """A workbook with two parts whose names differ in case alone is refused: either might be read."""
    path = tmp_path / "book.xlsx"
    path.write_bytes((HERE / "carrier.xlsx").read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("XL/Worksheets/Sheet1.xml", "<worksheet/>")
    assert "two files of one name" in refusal(path)


def test_repeated_cells_are_counted(tmp_path: Path) -> None:
    """Cells and rows that an .ods repeats count as often as they are repeated, in any worksheet."""
    path = tmp_path / "book.ods"
    cell = '<table:table-cell office:value-type="string"{}><text:p>x</text:p></table:table-cell>'
    wide = cell.format(' table:number-columns-repeated="2000"')
    write_ods_rows(path, f"<table:table-row>{wide}</table:table-row>")
    assert "--max-columns 1000" in refusal(path)
    row = f'<table:table-row table:number-rows-repeated="1000000">{cell.format("") * 40}</table:table-row>'
    write_ods_rows(path, row)
    assert "--max-cells" in refusal(path)


@pytest.mark.parametrize(
    ("suffix", "part"),
    [
        ("xlsx", "xl/workbook.xml"),
        ("xlsx", SHEET_XML),
        ("xlsx", "xl/styles.xml"),
        ("xlsx", "[Content_Types].xml"),
        ("ods", "content.xml"),
        ("ods", "styles.xml"),
    ],
)
def test_entities_are_refused(tmp_path: Path, suffix: str, part: str) -> None:
    """XML that declares entities is refused, in whatever part of the workbook it is."""
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    path = tmp_path / f"book.{suffix}"
    path.write_bytes((HERE / f"carrier.{suffix}").read_bytes())
    rewrite(path, part, lambda xml: re.sub(r"^(<\?xml[^>]*\?>)?", lambda head: head[0] + bomb, xml, count=1))
    assert "declares entities" in refusal(path)


@pytest.mark.parametrize("size", [(0x940000, 5, 0, 6), (0, 0x10001, 0, 6), (0, 5, 0, 0xFFFF), (5, 0, 0, 6)])
def test_a_lying_dimension_of_an_xls_is_refused(tmp_path: Path, size: tuple[int, int, int, int]) -> None:
    """An .xls that claims to be larger than one can be is refused before room is made for it."""
    content = (HERE / "carrier.xls").read_bytes()
    honest = struct.pack("<HHIIHH", 0x0200, 14, 0, 5, 0, 6)
    assert content.count(honest) == 1
    path = tmp_path / "book.xls"
    path.write_bytes(content.replace(honest, struct.pack("<HHIIHH", 0x0200, 14, *size)))
    assert "is damaged" in refusal(path)


def test_overlapping_merged_areas_are_refused(book: MakeBook) -> None:
    """Merged areas that lie on each other by the thousand are refused: nobody can have meant them."""
    path = book(lambda sheet: [sheet.append([f"+{number}", "a", "n"]) for number in range(100)])
    areas = '<mergeCell ref="A1:C101"/>' * 5_000
    rewrite(
        path,
        SHEET_XML,
        lambda xml: xml.replace("</sheetData>", f'</sheetData><mergeCells count="5000">{areas}</mergeCells>'),
    )
    assert "merged cells overlap" in refusal(path)


def test_a_far_row_of_an_xlsb_is_refused(tmp_path: Path) -> None:
    """A binary workbook whose cells lie too far apart is refused as well."""
    path = tmp_path / "book.xlsb"
    write_xlsb(path, [["x"] * 100], first_row=1_000_000)
    assert "--max-cells" in refusal(path)


def test_another_zip_is_no_workbook(tmp_path: Path) -> None:
    """A zip archive called .xlsx is refused."""
    path = tmp_path / "book.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("numbers.csv", "number\n")
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("suffix", ["xlsx", "xls", "ods"])
def test_a_protected_workbook_is_named(suffix: str) -> None:
    """A workbook that needs a password is refused by that."""
    assert "is protected by a password" in refusal(HERE / f"protected.{suffix}")
