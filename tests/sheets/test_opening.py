"""Promises of `batch.sheets.opening`: files are what they say, headers are found, rows are narrowed."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import sys
import threading
from pathlib import Path

import pytest

from batch.errors import SheetError, UsageError
from batch.guard import guard
from batch.sheets.chunks import CHUNK_ROWS, Bounds, Condition
from batch.sheets.opening import open_sheets, parse_condition
from tests.fixtures.sheets.make_fixtures import HERE
from tests.sheet_reading import BLOCKS, Write, messages_of, open_one, refusal, rows_of, write

__all__ = ["write"]


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.tsv", "A.CSV", "export"])
def test_the_name_of_a_text_does_not_matter(write: Write, name: str) -> None:
    """A text is read as one under any suffix that texts have, or under none."""
    assert rows_of(open_one(write("number,site\n+14155550100,x\n", name))) == {2: ["+14155550100", "x"]}


def test_a_sheet_too_wide_is_refused(write: Write) -> None:
    """A header of too many columns is refused with the option that allows more."""
    path = write("number" + ",x" * 1_000 + "\n")
    assert "--max-columns 1000" in refusal(path)


CARRIER = (HERE / "carrier.xlsx").read_bytes()


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
        (b'[\r\n    {\r\n        "phone_number" : "+1"}]', "a.csv", "is in truth a JSON file"),
        (b"number\n+1\n", "a.xlsx", "is in truth a text file"),
        (b"number\n+1\n", "a.xls", "is in truth a text file"),
        (gzip.compress(b"number\n", mtime=0), "a.csv", "add .gz to its name"),
        (gzip.compress(b"<html>", mtime=0), "a.csv.gz", "unpacks to a web page"),
        (gzip.compress(b"PK\x03\x04 and so on", mtime=0), "a.csv.gz", "unpacks to a zip archive"),
        (gzip.compress(CARRIER, mtime=0), "a.xlsx.gz", "to an Excel workbook (.xlsx): unpack it, and"),
        (gzip.compress(b"number\n" * 99, mtime=0)[:-9], "a.csv.gz", "damaged or was cut short"),
        (gzip.compress(b"", mtime=0), "a.csv.gz", "is empty"),
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


def test_titles_above_the_header_are_left_out(write: Write) -> None:
    """Rows above the header are found to be no header, and left out with a warning."""
    path = write("Numbers of Example Ltd\n\nphone_number,template\n+1,alerts\n+2,alerts\n")
    sheet = open_one(path)
    assert (sheet.header_row, rows_of(sheet)) == (3, {4: ["+1", "alerts"], 5: ["+2", "alerts"]})
    found = messages_of(sheet.chunks(), "sheet.titles")
    assert list(found) == [4]
    assert "rows 1 and 2 are left out" in found[4]


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


def test_an_unknown_header_is_told_from_the_titles(write: Write) -> None:
    """Where no column of numbers is known, the row with other known words is what the message shows."""
    message = refusal(write("Export from a portal\n\nRufnummer;Profile;Ort\n+14155550100;a;b\n"))
    assert message.startswith("numbers.csv:3: there is no column of phone numbers")
    assert 'the header has "Rufnummer", "Profile", "Ort"' in message


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
    """What is wrong with the columns is said with the sheet's name, and the header's row, before it."""
    assert refusal(write("A title\nnumber,phone\n")).startswith("numbers.csv:2: columns")


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
    message = refusal(write("number,site\n"), where=(Condition("customer", "=", "x"),))
    assert 'which --where names. The header has "number", "site".' in message


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
