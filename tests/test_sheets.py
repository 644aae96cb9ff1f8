"""Promises of `batch.sheets` for text: every encoding, delimiter and damage is read right or named."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from batch.chunks import CHUNK_ROWS, Bounds, Chunk, Condition, Sheet, SheetOptions
from batch.errors import SheetError, UsageError
from batch.guard import guard
from batch.sheets import open_sheets, parse_condition

BLOCKS = ("failover_config", "codec_config", "alert_config")

#: Cells as they are in a CSV, with all that is awkward there.
CELLS = st.text(alphabet=st.sampled_from("ab,;\t|\"\n\r \u00a0é☎=+-@'0"), max_size=8)

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of text or bytes, by name."""

    def write(content: str | bytes, name: str = "numbers.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def open_one(path: Path | str, **options: object) -> Sheet:
    [sheet] = open_sheets([path], SheetOptions(**options), blocks=BLOCKS)
    return sheet


def rows_of(sheet: Sheet) -> dict[int, list[str]]:
    """The cells of every row, by the number that the spreadsheet shows."""
    return {
        row: [cells[at] for cells in chunk.cells]
        for chunk in sheet.chunks()
        for at, row in enumerate(chunk.rows.tolist())
    }


def found_in(chunks: list[Chunk], kind: str) -> dict[int, str]:
    """Problems and warnings of one kind, by row, with the column before the message."""
    return {
        chunk.rows[at]: f"{problem.column}: {problem.message}"
        for chunk in chunks
        for found in (chunk.problems, chunk.warnings)
        for at, problems in found.items()
        for problem in problems
        if problem.kind == kind
    }


def refusal(path: Path | str, **options: object) -> str:
    """The message with which a sheet is refused, when it is opened or read."""
    with pytest.raises(SheetError) as caught:
        list(open_one(path, **options).chunks())
    return str(caught.value)


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


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.tsv", "A.CSV", "export"])
def test_the_name_of_a_text_does_not_matter(write: Write, name: str) -> None:
    """A text is read as one under any suffix that texts have, or under none."""
    assert rows_of(open_one(write("number,site\n+14155550100,x\n", name))) == {2: ["+14155550100", "x"]}


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
    found = found_in(chunks, "row.ragged")
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
    assert list(found_in(chunks, "row.ragged")) == [bad_row + 2]
    assert sum(len(chunk.rows) for chunk in chunks) == len(lines)
    assert [str(number) for chunk in chunks for number in chunk.cells[0]] == [
        f"+{at}" for at in range(len(lines))
    ]


def test_a_header_narrower_than_all_rows_loses_nothing(write: Write) -> None:
    """Where every row has more cells than the header, every row is a problem."""
    sheet = open_one(write("number\n+1,,x\n+2,,y\n"))
    assert list(found_in(list(sheet.chunks()), "row.ragged")) == [2, 3]


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
    found = found_in(list(open_one(path).chunks()), "row.quote")
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
    assert list(found_in(list(sheet.chunks()), "cell.nul")) == [2]
    assert rows_of(sheet) == {2: ["+1", "a\0b"], 3: ["+2", "c"]}


@pytest.mark.parametrize("length", [32_768, 40_000, 60_000, 300_000, 600_000])
@pytest.mark.parametrize("before", [0, 250_000])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_long_cell_is_named(write: Write, length: int, before: int, quote: str) -> None:
    """A cell beyond the bound is a problem that names the option, and what is kept of it is cut."""
    padding = "+1,\n" * (before // 4)
    path = write(f"number,site\n{padding}+2,{quote}{'x' * length}{quote}\n+3,ok\n")
    chunks = list(open_one(path).chunks())
    found = found_in(chunks, "cell.too_long")
    assert list(found) == [before // 4 + 2]
    assert f"has {length:,} characters; --max-cell-chars 32767" in next(iter(found.values()))
    assert max(len(cell) for chunk in chunks for cell in chunk.cells[1]) == 32_767


def test_the_bound_of_a_cell_is_an_option(write: Write) -> None:
    """--max-cell-chars moves the bound in both directions."""
    path = write(f"number,site\n+1,{'x' * 50}\n+2,{'x' * 40_000}\n")
    short = open_one(path, bounds=Bounds(cell_chars=49))
    assert list(found_in(list(short.chunks()), "cell.too_long")) == [2, 3]
    long = open_one(path, bounds=Bounds(cell_chars=40_000))
    assert list(found_in(list(long.chunks()), "cell.too_long")) == []


def test_a_line_without_end_is_refused(write: Write) -> None:
    """A file that is one endless line is refused before it fills the memory."""
    assert "line of more than" in refusal(write("number\n" + "x" * 9_000_000))
    assert "line of more than" in refusal(write("x" * 9_000_000))


def test_a_sheet_too_wide_is_refused(write: Write) -> None:
    """A header of too many columns is refused with the option that allows more."""
    path = write("number" + ",x" * 1_000 + "\n")
    assert "--max-columns 1000" in refusal(path)


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"", "a.csv", "is empty"),
        (b"\xef\xbb\xbf", "a.csv", "is empty"),
        (b"\n \n\t\n", "a.csv", "is empty"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "a.csv", "is in truth a web page"),
        (b"\n<html><table><tr><td>number</td></tr></table>", "a.xls", "is in truth a web page"),
        (b'<?xml version="1.0"?><Workbook></Workbook>', "a.xls", "is in truth an XML file"),
        (b"PK\x05\x06" + bytes(18), "a.csv", "is in truth a zip archive"),
        (b"%PDF-1.7", "a.csv", "is in truth a PDF"),
        (b'{"phone_number": "+1"}', "a.csv", "is in truth a JSON file"),
        (b"number\n+1\n", "a.xlsx", "is in truth a text file"),
        (b"number\n+1\n", "a.xls", "is in truth a text file"),
        (gzip.compress(b"number\n"), "a.csv", "add .gz to its name"),
        (gzip.compress(b"<html>"), "a.csv.gz", "unpacks to a web page"),
        (gzip.compress(b"PK\x03\x04 and so on"), "a.csv.gz", "unpacks to a zip archive"),
        (gzip.compress(b"number\n" * 99)[:-9], "a.csv.gz", "damaged or was cut short"),
        (gzip.compress(b""), "a.csv.gz", "is empty"),
        (b"\x1f\x8bnothing", "a.csv.gz", "damaged or was cut short"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_sheet_says_what_it_is(write: Write, content: bytes, name: str, said: str) -> None:
    """A file that is not what its name says is refused by what it is in truth."""
    message = refusal(write(content, name))
    assert message.startswith(name)
    assert said in message


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    """A path that leads to no file is refused with what is there."""
    assert "there is no such file" in refusal(tmp_path / "nothing.csv")
    assert "is a folder" in refusal(tmp_path)


def test_a_gzip_bomb_is_refused(write: Write) -> None:
    """A gzip file that unpacks to many times its size is refused by ratio or size, with the option."""
    path = write(gzip.compress(b"number\n" + b"+14155550100\n" * 6_000_000), "bomb.csv.gz")
    assert "--max-ratio 200" in refusal(path)
    assert "--max-unpacked-mb 10" in refusal(path, bounds=Bounds(unpacked_mb=10))


def test_titles_above_the_header_are_left_out(write: Write) -> None:
    """Rows above the header are found to be no header, and left out with a warning."""
    path = write("Numbers of Example Ltd\n\nphone_number,template\n+1,alerts\n+2,alerts\n")
    sheet = open_one(path)
    assert (sheet.header_row, rows_of(sheet)) == (3, {4: ["+1", "alerts"], 5: ["+2", "alerts"]})
    found = found_in(list(sheet.chunks()), "sheet.titles")
    assert list(found) == [4]
    assert "rows 1 to 2 are left out" in found[4]


@pytest.mark.parametrize(
    "content",
    [
        "Phone\n\nphone_number,template,direction\n+1,a,both\n",
        "Report of DID\n,,\nphone_number,template,direction\n+1,a,both\n",
        "\n\nphone_number,template,direction\n+14155550100,number,both\n",
    ],
)
def test_the_header_is_the_row_that_knows_most_words(write: Write, content: str) -> None:
    """A title or a cell that happens to be a known name is not taken for the header."""
    assert open_one(write(content)).header_row == 3


def test_a_header_can_be_named(write: Write) -> None:
    """--header-row says where the header is, whatever stands above and in it."""
    path = write("number,template\nMain DID,x\n+1,y\n")
    sheet = open_one(path, header_row=2, columns={"phone_number": "Main DID"})
    assert (sheet.header, rows_of(sheet)) == (("Main DID", "x"), {3: ["+1", "y"]})
    assert "there is no row 9" in refusal(path, header_row=9)
    with pytest.raises(UsageError, match="--header-row"):
        open_one(path, header_row=0)


def test_a_sheet_without_rows_is_a_sheet(write: Write) -> None:
    """A header alone is a sheet of no rows."""
    assert list(open_one(write("number,template")).chunks()) == []


def test_a_header_is_in_one_line(write: Write) -> None:
    """A header with line breaks and blanks in it is named in one line."""
    assert open_one(write('"Phone\nNumber", Backup  Host \n')).header == ("Phone Number", "Backup Host")


def test_faults_of_the_header_name_the_sheet(write: Write) -> None:
    """What is wrong with the columns is said with the sheet's name before it."""
    assert refusal(write("number,phone\n")).startswith("numbers.csv: columns")


def test_rows_are_narrowed(write: Write) -> None:
    """--where takes rows by the text of any column, several together, and --limit the first of those."""
    path = write("number,Site Name,x\n+1,Rome,1\n+2, Rome ,2\n+3,Oslo,1\n+4,,1\n+5,Rome,1\n")
    rome, not_two = parse_condition("site_name=Rome"), parse_condition("X!=2")
    assert list(rows_of(open_one(path, where=(rome,)))) == [2, 3, 6]
    assert list(rows_of(open_one(path, where=(rome, not_two)))) == [2, 6]
    assert list(rows_of(open_one(path, where=(rome, not_two), limit=1))) == [2]
    assert list(rows_of(open_one(path, where=(parse_condition("Site Name="),)))) == [5]
    assert list(rows_of(open_one(path, where=(parse_condition("phone_number=+3"),)))) == [4]


def test_a_limit_reads_no_further(write: Write) -> None:
    """With --limit what stands below the last row taken is not even looked at."""
    path = write("number\n+1\n" + "+2\n" * CHUNK_ROWS + '"')
    assert list(rows_of(open_one(path, limit=1))) == [2]


def test_a_condition_must_name_a_column(write: Write) -> None:
    """--where with a column that is not there says which was near."""
    message = refusal(write("number,site\n"), where=(Condition("sites", "=", "x"),))
    assert 'no column "sites", which --where names. Did you mean "site"?' in message


@pytest.mark.parametrize("text", ["", "site", "=x", "!=x", " =x"])
def test_a_condition_must_be_one(text: str) -> None:
    """--where that is neither COLUMN=VALUE nor COLUMN!=VALUE is an error of usage."""
    with pytest.raises(UsageError, match="--where"):
        parse_condition(text)


def test_a_value_may_hold_signs() -> None:
    """The first sign ends the column; the value may hold more of them."""
    assert parse_condition("a=b=c!=d") == Condition("a", "=", "b=c!=d")
    assert parse_condition("a != b") == Condition("a", "!=", "b")


def test_a_limit_below_one_is_an_error_of_usage(write: Write) -> None:
    """--limit 0 would plan nothing, which nobody means."""
    with pytest.raises(UsageError, match="--limit"):
        open_one(write("number\n"), limit=0)


def test_a_report_reads_back(write: Write) -> None:
    """The guards of a report come off, and those of no other sheet do."""
    cells = ["=1+1", "'=1", "@x", "\tx", "plain", "'plain", "-5", "+1 415"]
    report = [["phone_number", "note", "result_state"], *(["+1", guard(cell), "failed"] for cell in cells)]
    text = io.StringIO()
    csv.writer(text).writerows(report)
    assert [row[1] for row in rows_of(open_one(write(text.getvalue()))).values()] == cells
    plain = text.getvalue().replace("result_state", "state")
    assert rows_of(open_one(write(plain)))[2][1] == "'=1+1"


def test_a_reported_number_of_a_block_is_one_number(write: Write) -> None:
    """In a report the end of a block counts for rejects only: requests have one number each."""
    path = write(
        "phone_number,phone_number_to,result_state\n+14155550101,0199,failed\n+14155550200,0299,rejected\n"
    )
    assert rows_of(open_one(path)) == {
        2: ["+14155550101", "", "failed"],
        3: ["+14155550200", "0299", "rejected"],
    }


def test_sheets_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Sheets are called by their files' names, and by their paths where two are called the same."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "n.csv").write_text("number\n")
    (tmp_path / "m.csv").write_text("number\n")
    paths = [tmp_path / "a" / "n.csv", tmp_path / "b" / "n.csv", tmp_path / "m.csv"]
    names = [sheet.name for sheet in open_sheets(paths, blocks=BLOCKS)]
    assert names == [str(paths[0]), str(paths[1]), "m.csv"]


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is standard input, which can be read more than once and has a digest."""
    content = b"number,site\n+1,x\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    sheet = open_one("-")
    assert (sheet.name, sheet.path, sheet.sha256) == ("stdin", "-", hashlib.sha256(content).hexdigest())
    assert rows_of(sheet) == rows_of(sheet) == {2: ["+1", "x"]}


def test_standard_input_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes in without end is refused at the bound, with the option."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"number\n" * 300_000)))
    assert "--max-unpacked-mb" in refusal("-", bounds=Bounds(unpacked_mb=1))


def test_standard_input_is_one_sheet() -> None:
    """`-` twice is an error of usage."""
    with pytest.raises(UsageError, match="standard input"):
        open_sheets(["-", "-"], blocks=BLOCKS)


def test_a_pipe_is_read(tmp_path: Path) -> None:
    """A named pipe, as a shell makes of <(...), is read like a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"number\n+1\n",))
    writer.start()
    sheet = open_one(pipe)
    writer.join()
    assert rows_of(sheet) == {2: ["+1"]}


def test_a_sheet_that_changes_is_refused(write: Write) -> None:
    """A file that was edited since it was opened is refused: its digest would be another's."""
    path = write("number\n+1\n")
    sheet = open_one(path)
    path.write_text("number\n+2\n+3\n")
    with pytest.raises(SheetError, match="changed while it was being read"):
        list(sheet.chunks())


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
