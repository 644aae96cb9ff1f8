"""Promises of `batch.reporting`: every request and every row is told of, once, and as the journal has it.

The golden files in `golden/report` are what is expected to the letter; `REWRITE_GOLDEN=1` in the environment
writes them anew.
"""

from __future__ import annotations

import csv
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.guard import unguard
from batch.journal.memory import MemoryJournal
from batch.journal.protocol import Journal, NewRun, Pick
from batch.journal.sqlite import SqliteJournal
from batch.plans import Problem
from batch.report import manifest
from batch.report.summary_text import render_summary
from batch.reporting import write_report
from batch.sheets.columns import RESULT_COLUMNS
from batch.states import RequestState, StopReason
from tests.report_runs import (
    MIXED,
    NO_KEY,
    START,
    SUCCEEDED,
    Draft,
    Step,
    assert_conserved,
    contents,
    create,
    mixed_draft,
    mixed_run,
    play,
    read,
)

GOLDEN = Path(__file__).parent / "golden" / "report"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ALL_FORMATS = ("csv", "jsonl", "xlsx")


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    journal: Journal = (
        MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal.db")
    )
    yield journal
    journal.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "run"


def test_golden(journal: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are these, to the byte, whichever journal they come from."""
    monkeypatch.setattr(manifest, "__version__", "1.2.4")
    report = write_report(journal, mixed_run(journal), folder)
    found = {**contents(folder), "summary.txt": render_summary(report.summary, Path("runs/run")).encode()}
    if os.environ.get("REWRITE_GOLDEN"):
        for name, content in found.items():
            (GOLDEN / name).write_bytes(content)
    assert found == contents(GOLDEN)


def test_columns(journal: Journal, folder: Path) -> None:
    """First the sheets' own columns in order of appearance, then exactly the results' columns."""
    write_report(journal, mixed_run(journal), folder)
    header = (folder / "results.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    # `Customer` of the workbook is `customer` of the other sheet: templates take them for one.
    own = ["phone_number", "template", "direction", "customer", "backup_host", "phone_number_to", "site"]
    assert header == [*own, *RESULT_COLUMNS]


def test_every_row_is_there_in_sheet_order(journal: Journal, folder: Path) -> None:
    """One line a request and one a reject, in the order of the sheets."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, folder)
    places = [(line["result_sheet"], int(line["result_row"])) for line in read(folder / "results.csv")]
    book = "book.xlsx#Main"
    assert places == [
        *(("numbers.csv", row) for row in (2, 3, 3, 3, 4, 5, 7, 8)),
        *((book, row) for row in (2, 2, 3, 4, 5)),
    ]
    assert_conserved(journal, run_id, folder)


def test_a_block_and_both_directions_are_expanded(journal: Journal, folder: Path) -> None:
    """Each request has a line with its own number, direction and template; the block's end is blank."""
    write_report(journal, mixed_run(journal), folder)
    lines = read(folder / "results.csv")
    expanded = [(line["phone_number"], line["direction"], line["template"]) for line in lines]
    assert expanded[1:4] == [(f"+1415555011{i}", "outbound", "voice") for i in range(3)]
    assert expanded[8:10] == [("+4930123456", way, "voice") for way in ("inbound", "outbound")]
    assert {line["phone_number_to"] for line in lines if line["result_state"] != "rejected"} == {""}


def test_a_rejected_row_keeps_its_cells(journal: Journal, folder: Path) -> None:
    """What is in a rejected row stays as it was, so that it can be mended in the report and run again."""
    write_report(journal, mixed_run(journal), folder)
    first, second = (line for line in read(folder / "results.csv") if line["result_state"] == "rejected")
    assert (first["phone_number"], first["template"], first["customer"], first["backup_host"]) == (
        "1.41556E+10",
        "nobody",
        "'=quoted",
        "-5",
    )
    assert first["result_error"] == (
        'phone_number: "1.41556E+10" has lost digits: write it as text; '
        'template: there is no template "nobody"'
    )
    assert first["result_next_action"] == "mend the sheet: phone_number, template"
    assert second["phone_number_to"] == "+4930123400"
    assert second["result_error"] == "the block ends before it begins"


def test_times_are_utc_with_milliseconds(journal: Journal, folder: Path) -> None:
    """Times are ISO 8601 in UTC, to the millisecond, and blank where nothing was sent."""
    write_report(journal, mixed_run(journal), folder)
    for line in read(folder / "results.csv"):
        times = [line["result_first_sent_at"], line["result_last_sent_at"]]
        was_sent = line["result_state"] not in ("rejected", "skipped")
        assert [bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", at)) for at in times] == [
            was_sent
        ] * 2
        assert times == sorted(times)


def test_the_file_is_plain(journal: Journal, folder: Path) -> None:
    """UTF-8 without a byte order mark; lines end in LF, and only quoted cells hold a CR."""
    write_report(journal, mixed_run(journal), folder)
    content = (folder / "results.csv").read_bytes()
    assert content.startswith(b"phone_number,")
    assert b"\r\n" not in content
    assert content.endswith(b"\n")
    assert b'"a\rb"' in content
    content.decode("utf-8")


def test_a_success_shows_no_error(journal: Journal, folder: Path) -> None:
    """What went wrong on the way to a success is told by results.jsonl, not beside the success."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, folder)
    lines = [line for line in read(folder / "results.csv") if line["result_state"] == "succeeded"]
    assert {
        (line["result_error_code"], line["result_error"], line["result_next_action"]) for line in lines
    } == {("", "", "nothing")}
    attempts = [orjson.loads(line) for line in (folder / "results.jsonl").read_bytes().splitlines()]
    assert [a["verdict"] for a in attempts if a["request"] == 7] == ["transient", "accepted"]
    assert [a["error_code"] for a in attempts if a["request"] == 7] == ["TOO_MANY_REQUESTS", ""]
    assert len(attempts) == sum(row.sends for row in journal.results(run_id))


@pytest.mark.parametrize("reason", [None, StopReason.SIGINT, StopReason.CREDENTIALS, StopReason.SAFETY])
def test_an_unfinished_run_has_its_report(journal: Journal, folder: Path, reason: StopReason | None) -> None:
    """However a run stopped, or if it is going, what waits is in the report with what to do about it."""
    run_id = create(journal, mixed_draft().plan())
    script: dict[int, tuple[Step, ...]] = {
        0: SUCCEEDED,
        1: ((RequestState.PENDING, NO_KEY),),
        2: ((RequestState.RETRYING, NO_KEY),),
    }
    play(journal, run_id, script, reason=reason, left_in_flight=(3,))
    write_report(journal, run_id, folder)
    lines = read(folder / "results.csv")
    actions = [(line["result_state"], line["result_next_action"]) for line in lines]
    assert actions[1] == ("pending", "mend the API key, then resume")
    assert actions[3][0] == "in_flight"
    assert actions[3][1].startswith("resume")
    assert actions[6] == ("pending", "resume")
    assert_conserved(journal, run_id, folder)


def test_a_run_that_was_never_begun_has_its_report(journal: Journal, folder: Path) -> None:
    """A planned run can be reported: everything is pending."""
    run_id = create(journal, mixed_draft().plan())
    report = write_report(journal, run_id, folder)
    assert report.summary.counts.pending == 10
    assert report.summary.run.state == "planned"
    assert_conserved(journal, run_id, folder)


def test_an_empty_run_has_its_report(journal: Journal, folder: Path) -> None:
    """A sheet without rows gives a report with a header and nothing else."""
    draft = Draft()
    draft.sheet("numbers.csv", "phone_number", "direction", "template")
    run_id = create(journal, draft.plan())
    write_report(journal, run_id, folder, formats=ALL_FORMATS)
    assert read(folder / "results.csv") == []
    assert (folder / "results.jsonl").read_bytes() == b""
    assert_conserved(journal, run_id, folder)


def test_a_retry_reports_what_it_sent(journal: Journal, folder: Path) -> None:
    """A run that repeats a part of another tells of that part, with the cells of the sheet."""
    parent = mixed_run(journal)
    pick = Pick(frozenset({RequestState.FAILED, RequestState.UNKNOWN}))
    run_id = journal.derive_run(parent, pick, NewRun("https://api.example.com", START + 100))
    play(journal, run_id, dict.fromkeys(range(5), SUCCEEDED))
    report = write_report(journal, run_id, folder)
    lines = read(folder / "results.csv")
    assert [line["result_row"] for line in lines] == ["3", "3", "7", "8", "2"]
    assert [line["customer"] for line in lines][:2] == ['=HYPERLINK("http://x")'] * 2
    assert {line["result_state"] for line in lines} == {"succeeded"}
    assert report.summary.run.parent == parent
    assert_conserved(journal, run_id, folder)


def test_cells_that_were_not_kept_are_left_out(journal: Journal, folder: Path) -> None:
    """Without the sheet's cells there are the expanded columns, and every row still."""
    run_id = create(journal, mixed_draft(keeps_cells=False).plan())
    play(journal, run_id, MIXED)
    write_report(journal, run_id, folder)
    lines = read(folder / "results.csv")
    assert list(lines[0]) == ["phone_number", "direction", "template", *RESULT_COLUMNS]
    assert len(lines) == 13
    assert_conserved(journal, run_id, folder)


def test_a_column_called_like_a_word_stays_a_column_of_its_own(journal: Journal, folder: Path) -> None:
    """`Template` beside the column that --map took for template, and two columns of one name, are kept."""
    draft = Draft()
    draft.sheet("one.csv", "phone_number", "direction", "template", "note", "note")
    draft.row(2, "+14155550100", "", "", "first", "second").request(14155550100)
    draft.sheet("other.csv", "Template", "note", "phone_number", "direction", "template")
    draft.row(2, "gold", "third", "+14155550101", "", "").request(14155550101)
    run_id = create(journal, draft.plan())
    write_report(journal, run_id, folder)
    with (folder / "results.csv").open(newline="") as file:
        header, first, second = csv.reader(file)
    assert header[:6] == ["phone_number", "direction", "template", "note", "note", "Template"]
    assert first[:6] == ["+14155550100", "outbound", "voice", "first", "second", ""]
    assert second[:6] == ["+14155550101", "outbound", "voice", "third", "", "gold"]


def test_a_duplicate_names_the_row_it_repeats(journal: Journal, folder: Path) -> None:
    """A skipped row says of which row it is the duplicate, by the sheet's name if that is another."""
    draft = Draft()
    draft.sheet("one.csv", "phone_number", "direction", "template")
    draft.row(2, "+14155550100", "", "").request(14155550100)
    draft.row(9, "(415) 555-0100", "", "").request(14155550100, duplicate_of=0, note='was "{was}"')
    draft.sheet("other.csv", "phone_number", "direction", "template")
    draft.row(2, "+14155550100", "", "").request(14155550100, duplicate_of=0)
    run_id = create(journal, draft.plan())
    write_report(journal, run_id, folder)
    assert [line["result_note"] for line in read(folder / "results.csv")] == [
        "",
        'duplicate of row 2; was "(415) 555-0100"',
        "duplicate of row one.csv:2",
    ]


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=12),
    st.data(),
)
def test_duplicates_name_their_rows_wherever_those_stand(
    rows: list[tuple[bool, int, int]], data: st.DataObject
) -> None:
    """Over rows that are left out, rows of several requests and several sheets, each is named as it is."""
    draft = Draft()
    header = ("phone_number", "direction", "template")
    draft.sheet("sheet0.csv", *header)
    places: list[tuple[int, int]] = []
    expected: list[str] = []
    row = 1
    for begins_sheet, step, count in rows:
        if begins_sheet and places:
            draft.sheet(f"sheet{len(draft.pins)}.csv", *header)
            row = 1
        row += step
        draft.row(row, "", "", "")
        here = len(draft.pins) - 1, row
        for _ in range(count):
            other = data.draw(st.none() | st.integers(0, len(places) - 1)) if places else None
            draft.request(14155550100 + len(places), duplicate_of=-1 if other is None else other)
            sheet_id, at = here if other is None else places[other]
            of = f"sheet{sheet_id}.csv:{at}" if sheet_id != here[0] else f"{at}"
            expected.append("" if other is None else f"duplicate of row {of}")
            places.append(here)
    journal = MemoryJournal()
    run_id = create(journal, draft.plan())
    with tempfile.TemporaryDirectory() as folder:
        write_report(journal, run_id, Path(folder), formats=["csv"])
        assert [line["result_note"] for line in read(Path(folder) / "results.csv")] == expected


hostile = st.text(alphabet=st.sampled_from("=+-@\t\r\n'\",; 0123456789abcé＝\u00a0\ufeff\0|"), max_size=10)


@given(st.lists(st.tuples(hostile, hostile), min_size=1, max_size=5), hostile)
def test_cells_read_back_as_they_were(rows: list[tuple[str, str]], header: str) -> None:
    """Whatever a sheet's cells hold, the report has them so that they read back unchanged."""
    journal = MemoryJournal()
    draft = Draft()
    draft.sheet("numbers.csv", "phone_number", "direction", "template", f"x{header}", "other")
    for seq, (one, other) in enumerate(rows):
        draft.row(seq + 2, "", "", "", one, other).request(14155550100 + seq)
    run_id = create(journal, draft.plan())
    with tempfile.TemporaryDirectory() as folder:
        report = write_report(journal, run_id, Path(folder), formats=("csv",))
        with report.results.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
    assert [tuple(unguard(cell) for cell in line[3:5]) for line in lines[1:]] == rows
    assert unguard(lines[0][3]) == f"x{header}"


def test_nothing_that_a_report_says_can_run(journal: Journal, folder: Path) -> None:
    """What the API, the sheet and its name say cannot become a formula in the report."""
    draft = Draft()
    draft.sheet("=cmd.csv", "phone_number", "direction", "template", "@x")
    draft.row(2, "+14155550100", "", "", "\t=1").request(14155550100, template="-voice")
    draft.row(3, "=1", "", "", "+1+1").reject(Problem("=x", "=y", "=z"))
    run_id = create(journal, draft.plan())
    hostile = NO_KEY._replace(error_code="=code", message="@message", request_id="-id")
    play(journal, run_id, {0: ((RequestState.FAILED, hostile),)})
    write_report(journal, run_id, folder, formats=("csv",))
    with (folder / "results.csv").open(newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line if cell]
    dangerous = [cell for cell in cells if cell[0] in "=+-@\t\r\n"]
    assert dangerous == ["+14155550100"]
    assert_conserved(journal, run_id, folder)
