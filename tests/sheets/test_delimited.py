"""Promises of `batch.sheets.delimited`: text of any encoding, delimiter and damage is read right or named."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from batch.errors import SheetError, UsageError
from batch.sheets.chunks import CHUNK_ROWS, Bounds
from tests.sheet_reading import Write, messages_of, open_one, refusal, rows_of, write

__all__ = ["write"]

#: Cells as they are in a CSV, with all that is awkward there.
CELLS = st.text(alphabet=st.sampled_from("ab,;\t|\"\n\r \u00a0é☎=+-@'0"), max_size=8)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encoding_delimiter_and_line_ends_are_found(
    write: Write, encoding: str, delimiter: str, line_end: str
) -> None:
    """Encodings by their mark, delimiters by the header, and line ends of every system are found."""
    lines = [
        delimiter.join(row) for row in (["number", "Größe"], ["+14155550100", "☎"], ["+14155550101", "é"])
    ]
    sheet = open_one(write(line_end.join(lines).encode(encoding)))
    assert sheet.header == ("number", "Größe")
    assert rows_of(sheet) == {2: ["+14155550100", "☎"], 3: ["+14155550101", "é"]}


def test_gzip_is_unpacked(write: Write) -> None:
    """A `.csv.gz` is read as the text in it, and its digest is that of the file as it is."""
    packed = gzip.compress(b"number;site\n+14155550100;x\n")
    sheet = open_one(write(packed, "numbers.csv.gz"))
    assert rows_of(sheet) == {2: ["+14155550100", "x"]}
    assert sheet.sha256 == hashlib.sha256(packed).hexdigest()


def test_other_encodings_are_named(write: Write) -> None:
    """A text in another encoding is refused with its first such line and the option, and read with it."""
    path = write("number,site\n+1,a\n+2,Zürich\n".encode("cp1252"))
    message = refusal(path)
    assert "line 3 of the file is not UTF-8" in message
    assert "--encoding" in message
    assert rows_of(open_one(path, encoding="cp1252"))[3] == ["+2", "Zürich"]


def test_a_late_wrong_byte_is_named_by_line(write: Write) -> None:
    """A byte that is not in the encoding is named by its line, however far down it stands."""
    path = write(b"number\n" + b"+14155550100\n" * 200_000 + b"\xff\n")
    assert "line 200002 of the file is not UTF-8" in refusal(path)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_its_mark_is_recognised(write: Write, encoding: str) -> None:
    """UTF-16 without a byte order mark is refused with the option that reads it."""
    path = write("number,site\n+14155550100,x\n".encode(encoding))
    assert f"--encoding {encoding}" in refusal(path)
    assert rows_of(open_one(path, encoding=encoding)) == {2: ["+14155550100", "x"]}


def test_a_mark_is_believed(write: Write) -> None:
    """A byte order mark says more of a file than the option does."""
    assert rows_of(open_one(write("\ufeffnumber\né\n"), encoding="cp1252")) == {2: ["é"]}


@pytest.mark.parametrize("encoding", ["latin9000", "base64"])
def test_an_unknown_encoding_is_an_error_of_usage(write: Write, encoding: str) -> None:
    """An encoding that does not exist, or makes no text, is an error of usage."""
    with pytest.raises(UsageError, match="no such encoding"):
        open_one(write("number\n"), encoding=encoding)


def test_rows_are_counted_as_a_spreadsheet_does(write: Write) -> None:
    """A quoted line break ends no row, a blank line is one, and blank rows are left out."""
    path = write('number,note\n+1,"two\nlines"\n\n , \n+2,"a\r\nb"\n+3,"say ""hi"""\n')
    assert rows_of(open_one(path)) == {2: ["+1", "two\nlines"], 5: ["+2", "a\r\nb"], 6: ["+3", 'say "hi"']}


def test_a_separator_line_is_no_row(write: Write) -> None:
    """The line `sep=;` that Excel understands says the delimiter, and is not counted."""
    path = write("sep=|\r\nnumber|a;b;c\r\n+1|x\r\n")
    assert rows_of(open_one(path)) == {2: ["+1", "x"]}


def test_the_delimiter_is_the_headers(write: Write) -> None:
    """Commas in a header's names or in cells do not make a sheet of semicolons one of commas."""
    path = write("Name, full;phone_number;codec_config.codecs\nA, B, C;+1;PCMU,PCMA\n")
    assert open_one(path).header == ("Name, full", "phone_number", "codec_config.codecs")
    assert rows_of(open_one(path)) == {2: ["A, B, C", "+1", "PCMU,PCMA"]}


def test_a_delimiter_can_be_named(write: Write) -> None:
    """--delimiter takes any one character, and nothing else."""
    path = write("number~site\n+1~x\n")
    assert rows_of(open_one(path, delimiter="~")) == {2: ["+1", "x"]}
    with pytest.raises(UsageError, match="--delimiter"):
        open_one(path, delimiter="~~")


def test_one_column_needs_no_delimiter(write: Write) -> None:
    """A sheet of numbers alone is a sheet."""
    assert rows_of(open_one(write("number\n+1\n\n+2"))) == {2: ["+1"], 4: ["+2"]}


@pytest.mark.parametrize(
    "cell", ["NA", "null", "NaN", "#N/A", "None", "0", "007", "1e5", "TRUE", "2026-01-05"]
)
def test_every_cell_is_text(write: Write, cell: str) -> None:
    """Nothing in a cell is taken for a number, a date, a truth or a missing value."""
    assert rows_of(open_one(write(f"number,template\n+1,{cell}\n"))) == {2: ["+1", cell]}


def test_ragged_rows_are_named(write: Write) -> None:
    """A row with more cells than the header is a problem by its row number, wherever the first of them is."""
    path = write("number,site\n+1,a,b\n+2\n+3,a,,\n+4,a,,c\n+5,x\n")
    sheet = open_one(path)
    chunks = list(sheet.chunks())
    assert rows_of(sheet)[3] == ["+2", ""]
    found = messages_of(chunks, "row.ragged")
    assert list(found) == [2, 5]
    assert '"b" is left over' in found[2]
    assert '"c" is left over' in found[5]


@pytest.mark.parametrize("bad_row", [0, 1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1])
@pytest.mark.parametrize("cells", [",y", ",,y", ",,,y"])
def test_no_left_over_cell_is_lost(write: Write, bad_row: int, cells: str) -> None:
    """A row with too many cells is found wherever it stands, and no row around it changes."""
    lines = [f"+{at},x" for at in range(CHUNK_ROWS + 10)]
    lines[bad_row] += cells
    sheet = open_one(write("number,site\n" + "\n".join(lines)))
    chunks = list(sheet.chunks())
    assert list(messages_of(chunks, "row.ragged")) == [bad_row + 2]
    assert sum(len(chunk.rows) for chunk in chunks) == len(lines)
    assert [str(number) for chunk in chunks for number in chunk.cells[0]] == [
        f"+{at}" for at in range(len(lines))
    ]


def test_a_header_narrower_than_all_rows_loses_nothing(write: Write) -> None:
    """Where every row has more cells than the header, every row is a problem."""
    sheet = open_one(write("number\n+1,,x\n+2,,y\n"))
    assert list(messages_of(sheet.chunks(), "row.ragged")) == [2, 3]


def test_an_open_quote_is_named_by_its_row(write: Write) -> None:
    """A quote that never closes stops the sheet, with the row and column where it opens."""
    lines = [f"+{at},x" for at in range(CHUNK_ROWS + 5)]
    lines[CHUNK_ROWS + 1] = '+0,"x'
    message = refusal(write("number,site\n" + "\n".join(lines)))
    assert message.startswith(f'numbers.csv:{CHUNK_ROWS + 3} site: a quote (") opens in this row')


def test_an_open_quote_in_a_large_file_is_named(write: Write) -> None:
    """A quote that swallows megabytes is named by its row as well."""
    path = write('number,site\n+1,x\n+2,"x\n' + "+3,y\n" * 1_000_000)
    assert refusal(path).startswith("numbers.csv:3")


def test_rows_that_a_quote_swallowed_are_named(write: Write) -> None:
    """A stray quote that the next one closes is a problem of its row, which says how many it swallowed."""
    path = write('number,site\n+14155550100,"x\n+14155550101,y\n+14155550102,"z\n+14155550103,w\n')
    found = messages_of(open_one(path).chunks(), "row.quote")
    assert list(found) == [2]
    assert "has 2 rows in it" in found[2]


def test_line_breaks_in_notes_are_no_swallowed_rows(write: Write) -> None:
    """An address of several lines with commas in them is a cell like any other."""
    path = write('number,site\n+14155550100,"12 Main St,\nSpringfield, 12345\nUSA"\n')
    assert next(open_one(path).chunks()).problems == {}


def test_a_nul_is_named(write: Write) -> None:
    """A NUL in a cell is a problem of its row; nothing after it is lost."""
    path = write(b"number,site\n+1,a\0b\n+2,c\n")
    sheet = open_one(path)
    assert list(messages_of(sheet.chunks(), "cell.nul")) == [2]
    assert rows_of(sheet) == {2: ["+1", "a\0b"], 3: ["+2", "c"]}


@pytest.mark.parametrize("length", [32_768, 40_000, 60_000, 300_000, 600_000])
@pytest.mark.parametrize("before", [0, 250_000])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_long_cell_is_named(write: Write, length: int, before: int, quote: str) -> None:
    """A cell beyond the bound is a problem that names the option, and what is kept of it is cut."""
    padding = "+1,\n" * (before // 4)
    path = write(f"number,site\n{padding}+2,{quote}{'x' * length}{quote}\n+3,ok\n")
    chunks = list(open_one(path).chunks())
    found = messages_of(chunks, "cell.too_long")
    assert list(found) == [before // 4 + 2]
    assert f"has {length:,} characters; --max-cell-chars 32767" in next(iter(found.values()))
    assert max(len(cell) for chunk in chunks for cell in chunk.cells[1]) == 32_767


def test_the_bound_of_a_cell_is_an_option(write: Write) -> None:
    """--max-cell-chars moves the bound in both directions."""
    path = write(f"number,site\n+1,{'x' * 50}\n+2,{'x' * 40_000}\n")
    short = open_one(path, bounds=Bounds(cell_chars=49))
    assert list(messages_of(short.chunks(), "cell.too_long")) == [2, 3]
    long = open_one(path, bounds=Bounds(cell_chars=40_000))
    assert list(messages_of(long.chunks(), "cell.too_long")) == []


def test_a_line_without_end_is_refused(write: Write) -> None:
    """A file that is one endless line is refused before it fills the memory."""
    assert "line of more than" in refusal(write("number\n" + "x" * 9_000_000))
    assert "line of more than" in refusal(write("x" * 9_000_000))


def test_a_gzip_bomb_is_refused(write: Write) -> None:
    """A gzip file that unpacks to many times its size is refused by ratio or size, with the option."""
    path = write(gzip.compress(b"number\n" + b"+14155550100\n" * 6_000_000), "bomb.csv.gz")
    assert "--max-ratio 200" in refusal(path)
    assert "--max-unpacked-mb 10" in refusal(path, bounds=Bounds(unpacked_mb=10))


def test_chunks_are_bounded(write: Write) -> None:
    """A long sheet comes in chunks, with row numbers that go on."""
    count = CHUNK_ROWS * 2 + 1
    sheet = open_one(write("number\n" + "+14155550100\n" * count))
    chunks = list(sheet.chunks())
    assert [len(chunk.rows) for chunk in chunks] == [CHUNK_ROWS, CHUNK_ROWS, 1]
    assert [row for chunk in chunks for row in chunk.rows.tolist()] == list(range(2, count + 2))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=6)
    ),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    # The writer quotes no line break that is not its own, unless it quotes everything.
    st.sampled_from([("\r\n", csv.QUOTE_MINIMAL), ("\n", csv.QUOTE_ALL), ("\r", csv.QUOTE_ALL)]),
)
@example([['a"b', "\n"]], ",", "utf-8", ("\r\n", csv.QUOTE_MINIMAL))
def test_any_sheet_reads_back(
    tmp_path: Path, rows: list[list[str]], delimiter: str, encoding: str, style: tuple[str, int]
) -> None:
    """Whatever rows are written as CSV, in any dialect, are read as the same rows under the same numbers."""
    header = ["number", "a", "b", "c"][: len(rows[0]) if rows else 1]
    path = tmp_path / "any.csv"
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=style[0], quoting=style[1])
        writer.writerows([header, *rows])
    expected = {at: row for at, row in enumerate(rows, 2) if any(cell.strip() for cell in row)}
    sheet = open_one(path, delimiter=delimiter)
    assert rows_of(sheet) == expected
    assert all(not chunk.problems for chunk in sheet.chunks())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.binary(max_size=300), st.text(max_size=200).map(str.encode)),
    st.sampled_from([b"", b"number,a\n"]),
)
def test_any_bytes_are_cells_or_a_refusal(tmp_path: Path, content: bytes, header: bytes) -> None:
    """Whatever bytes a file holds, they are read as cells or refused in words; nothing else happens."""
    path = tmp_path / "any.csv"
    path.write_bytes(header + content)
    try:
        rows = rows_of(open_one(path))
    except SheetError as error:
        rows = {0: [str(error)]}
    assert all(isinstance(cell, str) for cells in rows.values() for cell in cells)


def by_csv_module(text: str) -> dict[int, list[str]] | str:
    """The rows of three cells that the csv module reads, or that a quote is not closed."""
    _, *records, last = csv.reader([*io.StringIO(text, newline=""), "the end"])
    if last != ["the end"]:
        return "a quote is not closed"
    return {at: [*row, "", "", ""][:3] for at, row in enumerate(records, 2) if any(map(str.strip, row))}


def by_sheet(path: Path) -> dict[int, list[str]] | str:
    """The rows of a sheet, or that a quote in it is not closed."""
    try:
        return rows_of(open_one(path, encoding="utf-8", delimiter=",", header_row=1))
    except SheetError as error:
        return str(error) if "is not closed" not in str(error) else "a quote is not closed"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(alphabet='ab,"\n\r \0', max_size=12), min_size=1, max_size=8))
def test_sheets_are_read_by_the_rules_of_csv(tmp_path: Path, lines: list[str]) -> None:
    """However cells, quotes and line ends are mixed, rows are those that the csv module finds."""
    text = "number,a,b\n" + "\n".join(lines) + "\n"
    path = tmp_path / "any.csv"
    path.write_text(text, newline="")
    assert by_sheet(path) == by_csv_module(text)
