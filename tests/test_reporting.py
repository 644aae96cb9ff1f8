"""Promises of `batch.reporting`: every request and every row is told of, once, and as the journal has it.

The golden files in `golden/report` are what is expected to the letter; `REWRITE_GOLDEN=1` in the environment
writes them anew.
"""

from __future__ import annotations

import csv
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch import manifest
from batch.columns import RESULT_COLUMNS
from batch.errors import JournalError, ReportError, UsageError
from batch.guard import unguard
from batch.journal import AttemptRow, Counts, Journal, NewRun, Pick, ResultRow
from batch.memory_journal import MemoryJournal
from batch.plans import CellChunk, Problem, Reject
from batch.reporting import check_report, write_report
from batch.sqlite_journal import SqliteJournal
from batch.states import RequestState, StopReason
from batch.summary_text import render_summary
from tests.report_runs import MIXED, NO_KEY, START, SUCCEEDED, Draft, Step, create, mixed_draft, play

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


def mixed_run(journal: Journal) -> str:
    run_id = create(journal, mixed_draft().plan())
    play(journal, run_id, MIXED)
    return run_id


def read(path: Path) -> list[dict[str, str]]:
    """The lines of a report, with the guards taken off."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: unguard(cell) for name, cell in line.items()} for line in csv.DictReader(file)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_conserved(journal: Journal, run_id: str, folder: Path) -> None:
    """The law of conservation, from the file alone: every request and reject once, in its state."""
    counts = journal.counts(run_id)
    states = Counter(line["result_state"] for line in read(folder / "results.csv"))
    expected = Counter({state.value: counts.of(state) for state in RequestState})
    expected["rejected"] = counts.rejected
    assert states == +expected
    assert check_report(journal, run_id, folder) == []


# --- what is in it ------------------------------------------------------------------------------


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


# --- what it refuses ----------------------------------------------------------------------------


class LostRequest(MemoryJournal):
    def results(self, run_id: str) -> Iterator[ResultRow]:
        return (row for row in super().results(run_id) if row.seq != 5)


class WrongState(MemoryJournal):
    def results(self, run_id: str) -> Iterator[ResultRow]:
        wrong = RequestState.SUCCEEDED
        return (row._replace(state=wrong) if row.seq == 5 else row for row in super().results(run_id))


class OutOfOrder(MemoryJournal):
    def results(self, run_id: str) -> Iterator[ResultRow]:
        return iter(sorted(super().results(run_id), key=lambda row: -row.row))


class LostReject(MemoryJournal):
    def rejects(self, run_id: str) -> Iterator[Reject]:
        return iter(list(super().rejects(run_id))[1:])


class ExtraRow(MemoryJournal):
    def cells(self, run_id: str) -> Iterator[CellChunk]:
        yield from super().cells(run_id)
        yield CellChunk.pack(1, [99], [["+1"]] * 6)


class StrayAttempt(MemoryJournal):
    def attempts(self, run_id: str) -> Iterator[AttemptRow]:
        yield from super().attempts(run_id)
        yield AttemptRow(99, 1, START, 0.1, "accepted", 200, "", "", "")


class UnknownAttempt(MemoryJournal):
    def attempts(self, run_id: str) -> Iterator[AttemptRow]:
        return (a._replace(seq=-1) if a.seq == 5 else a for a in super().attempts(run_id))


@pytest.mark.parametrize(
    "kind", [LostRequest, WrongState, OutOfOrder, LostReject, ExtraRow, StrayAttempt, UnknownAttempt]
)
def test_a_journal_that_contradicts_itself_gets_no_report(kind: type[MemoryJournal], folder: Path) -> None:
    """Where the counts do not add up, that is said, and the report that was there stays as it was."""
    honest, lying = MemoryJournal(), kind()
    write_report(honest, mixed_run(honest), folder)
    before = contents(folder)
    run_id = mixed_run(lying)
    with pytest.raises(JournalError, match="The counts do not add up, so the report was left as it was"):
        write_report(lying, run_id, folder)
    assert contents(folder) == before


def test_a_sheet_of_which_rows_are_missing_gets_no_report(folder: Path) -> None:
    """More rows planned than told of is a contradiction, even if the sheet's cells were not kept."""
    journal = MemoryJournal()
    plan = mixed_draft(keeps_cells=False).plan()
    first = replace(plan.sheets[0], row_count=7)
    run_id = create(journal, replace(plan, sheets=(first, *plan.sheets[1:])))
    with pytest.raises(JournalError, match=r"numbers.csv was planned with 7 rows, .* tell of 6"):
        write_report(journal, run_id, folder)


class Moving(MemoryJournal):
    """A journal of a run that goes on while its report is being written."""

    going: Callable[[], None] = staticmethod(lambda: None)

    def results(self, run_id: str) -> Iterator[ResultRow]:
        for row in super().results(run_id):
            if row.seq == 1:
                self.going()
            yield row


def test_a_run_that_is_going_can_be_reported(folder: Path) -> None:
    """Requests that end while the report is written are in it as they were, or as they are."""
    journal = Moving()
    run_id = create(journal, mixed_draft().plan())
    play(journal, run_id, {0: SUCCEEDED}, reason=None)
    journal.going = lambda: play(journal, run_id, {1: SUCCEEDED, 2: SUCCEEDED}, reason=None)
    report = write_report(journal, run_id, folder)
    assert report.summary.counts.requests == 11
    assert report.summary.counts.succeeded >= 1
    assert report.summary.run.exit_code is None


def test_an_unknown_format_is_a_usage_error(journal: Journal, folder: Path) -> None:
    """A format that there is not is named, with those that there are, and nothing is written."""
    with pytest.raises(
        UsageError, match=r'no report format "xslx": .* csv, jsonl, xlsx. Did you mean "xlsx"'
    ):
        write_report(journal, mixed_run(journal), folder, formats=("xslx",))
    assert not folder.exists()


def test_the_journal_error_of_an_unknown_run_comes_through(journal: Journal, folder: Path) -> None:
    """A run that there is not is the journal's error, and no folder is made."""
    with pytest.raises(JournalError, match="there is no run 7"):
        write_report(journal, "7", folder)
    assert not folder.exists()


# --- the disk -----------------------------------------------------------------------------------

SCRIPT = """
import os, resource, signal, sys
from pathlib import Path
from batch.errors import ReportError
from batch.reporting import write_report
from batch.sqlite_journal import SqliteJournal

class Killing(SqliteJournal):
    def events(self, run_id):
        os.kill(os.getpid(), signal.SIGKILL)

how, path, run_id, folder = sys.argv[1:]
journal = (Killing if how == "killed" else SqliteJournal)(Path(path))
if how == "limited":
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
try:
    write_report(journal, run_id, Path(folder))
except ReportError as error:
    sys.exit(str(error))
"""


def run_script(how: str, journal: Path, run_id: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, how, journal, run_id, folder]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_full_disk_leaves_the_old_report(tmp_path: Path, folder: Path) -> None:
    """When the disk takes no more, no half file is left, the error names the way on, and that way works."""
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    run_id = create(journal, mixed_draft().plan())
    write_report(journal, run_id, folder)
    before = contents(folder)
    play(journal, run_id, MIXED)
    journal.close()

    done = run_script("limited", path, run_id, folder)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"{folder}/results.csv: cannot be written (File too large). Nothing is lost: the journal has every"
        f" result. Mend that, then write the report with `sipbatch report {run_id}`."
    )
    assert contents(folder) == before

    journal = SqliteJournal(path)
    write_report(journal, run_id, folder)
    assert_conserved(journal, run_id, folder)
    journal.close()


def test_a_kill_leaves_the_old_report(tmp_path: Path, folder: Path) -> None:
    """After kill -9 in the middle, all files are the old ones, and the next report leaves nothing behind."""
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path)
    run_id = create(journal, mixed_draft().plan())
    write_report(journal, run_id, folder)
    before = contents(folder)
    play(journal, run_id, MIXED)
    journal.close()

    assert run_script("killed", path, run_id, folder).returncode == -signal.SIGKILL
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert len(after) > len(before)

    journal = SqliteJournal(path)
    write_report(journal, run_id, folder)
    assert contents(folder).keys() == before.keys()
    assert_conserved(journal, run_id, folder)
    journal.close()


def test_files_are_for_their_owner_alone(journal: Journal, folder: Path) -> None:
    """A report has customers' numbers in it: nobody else can read it."""
    report = write_report(journal, mixed_run(journal), folder, formats=ALL_FORMATS)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in report.paths.values()}
    assert modes == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


class Long(MemoryJournal):
    """Gives one row again and again, as it is asked for: the journal's own memory does not count."""

    rows = 0

    def results(self, run_id: str) -> Iterator[ResultRow]:
        (first,) = super().results(run_id)
        for seq in range(self.rows):
            yield first._replace(seq=seq, row=seq + 2, number=14155500000 + seq)

    def attempts(self, run_id: str) -> Iterator[AttemptRow]:
        (first,) = super().attempts(run_id)
        return (first._replace(seq=seq) for seq in range(self.rows))

    def cells(self, run_id: str) -> Iterator[CellChunk]:
        for start in range(2, self.rows + 2, 1_000):
            yield CellChunk.pack(0, range(start, start + 1_000), [["text"] * 1_000] * 3)

    def counts(self, run_id: str) -> Counts:
        return replace(super().counts(run_id), succeeded=self.rows)


def test_memory_does_not_grow_with_rows(folder: Path) -> None:
    """Four times the lines take hardly more memory: at most 100 bytes a line, all formats together."""

    def peak(rows: int) -> int:
        draft = Draft()
        draft.sheet("numbers.csv", "phone_number", "direction", "template")
        draft.row(2, "", "", "").request(14155500000)
        plan = draft.plan()
        journal = Long()
        journal.rows = rows
        run_id = create(journal, replace(plan, sheets=(replace(plan.sheets[0], row_count=rows),)))
        play(journal, run_id, {0: SUCCEEDED})
        tracemalloc.start()
        try:
            report = write_report(journal, run_id, folder, formats=ALL_FORMATS)
            assert report.summary.counts.succeeded == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1_000)  # what is loaded and cached at the first time is not counted
    assert peak(8_000) - peak(2_000) < 6_000 * 100


# --- writing again, and checking ----------------------------------------------------------------


def test_the_same_journal_gives_the_same_bytes(journal: Journal, folder: Path) -> None:
    """A report that is written again is the same to the byte, the workbook included."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, folder, formats=ALL_FORMATS)
    before = contents(folder)
    write_report(journal, run_id, folder, formats=("csv",))
    assert contents(folder) == before


def test_no_file_is_left_behind_the_others(journal: Journal, folder: Path) -> None:
    """A file of an earlier report is written again even if it was not asked for."""
    run_id = create(journal, mixed_draft().plan())
    write_report(journal, run_id, folder, formats=ALL_FORMATS)
    before = contents(folder)
    play(journal, run_id, MIXED)
    report = write_report(journal, run_id, folder, formats=("csv",))
    after = contents(folder)
    assert after.keys() == before.keys()
    assert not {name for name in after if after[name] == before[name]}
    assert report.summary.files == (
        "results.csv",
        "results.jsonl",
        "results.xlsx",
        "summary.json",
        "manifest.json",
    )
    assert_conserved(journal, run_id, folder)


FILES = ("results.csv", "results.jsonl", "results.xlsx", "summary.json", "manifest.json")


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_found(journal: Journal, folder: Path, name: str) -> None:
    """A check names the file in which a single byte is another one."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, folder, formats=ALL_FORMATS)
    assert check_report(journal, run_id, folder) == []
    content = bytearray((folder / name).read_bytes())
    at = content.index(b"e", len(content) // 2)
    content[at] ^= 1
    (folder / name).write_bytes(content)
    found = check_report(journal, run_id, folder)
    assert found
    assert all(line.startswith(f"{folder / name}: ") for line in found)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_found(journal: Journal, folder: Path, name: str) -> None:
    """A check names the file that is gone."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, folder, formats=ALL_FORMATS)
    (folder / name).unlink()
    assert check_report(journal, run_id, folder)[0].startswith(
        f"{folder / name}: cannot be read (No such file"
    )


def test_a_forged_report_is_found(journal: Journal, folder: Path) -> None:
    """Even if the manifest fits the changed file, the journal does not; the first wrong line is named."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, folder)
    content = (folder / "results.csv").read_bytes()
    forged = content.replace(b"failed,1,404", b"succeeded,1,200", 1)
    (folder / "results.csv").write_bytes(forged)
    listed = orjson.loads((folder / "manifest.json").read_bytes())
    digest = manifest.FileDigest.of(folder / "results.csv")
    listed["files"]["results.csv"] = {"sha256": digest.sha256, "size_bytes": digest.size_bytes}
    (folder / "manifest.json").write_bytes(
        orjson.dumps(listed, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    assert check_report(journal, run_id, folder) == [
        f"{folder}/results.csv: is not what the journal gives, from line 4 on"
    ]


def test_a_report_of_an_earlier_time_is_found(journal: Journal, folder: Path) -> None:
    """A check of a report from before the run went on says that it is to be written again."""
    run_id = create(journal, mixed_draft().plan())
    write_report(journal, run_id, folder)
    play(journal, run_id, MIXED)
    (found,) = check_report(journal, run_id, folder)
    assert "the run went on after it was written" in found
    assert f"sipbatch report {run_id}" in found


def test_a_report_of_another_run_is_found(journal: Journal, folder: Path) -> None:
    """A check of a folder with another run's report says which run it is of."""
    run_id = mixed_run(journal)
    other = mixed_run(journal)
    write_report(journal, other, folder)
    assert check_report(journal, run_id, folder)[0] == f"{folder}/manifest.json: says it is of run {other}"


def test_a_file_that_is_not_of_the_report_is_found(journal: Journal, folder: Path) -> None:
    """A results file that the manifest does not know is named."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, folder, formats=("csv",))
    (folder / "results.jsonl").write_text("{}")
    assert check_report(journal, run_id, folder) == [f"{folder}/results.jsonl: is not of this report"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"files": 7}', '{"files": {"a": {"size": 1}}}', "\xff"])
def test_a_damaged_manifest_is_found(journal: Journal, folder: Path, text: str) -> None:
    """A manifest that is none is said to be damaged, whatever is in it."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, folder)
    (folder / "manifest.json").write_text(text, encoding="latin-1")
    (found,) = check_report(journal, run_id, folder)
    assert found == f"{folder}/manifest.json: is not a manifest of sipbatch: it was changed, or is damaged"


def test_counts_in_the_manifest_add_up(journal: Journal, folder: Path) -> None:
    """Lines, rows and attempts of the manifest are those of the files that it lists."""
    write_report(journal, mixed_run(journal), folder, formats=ALL_FORMATS)
    listed = orjson.loads((folder / "manifest.json").read_bytes())
    counts = listed["counts"]
    states = [counts[state.value] for state in RequestState]
    assert counts["requests"] == sum(states)
    assert listed["lines"] == counts["requests"] + counts["rejected"] == len(read(folder / "results.csv"))
    assert listed["attempts"] == len((folder / "results.jsonl").read_bytes().splitlines())
    assert counts["rows"] == sum(sheet["rows"] for sheet in listed["sheets"])
    assert {name: digest["size_bytes"] for name, digest in listed["files"].items()} == {
        name: (folder / name).stat().st_size for name in FILES[:-1]
    }


def test_nothing_that_a_report_says_can_run(journal: Journal, folder: Path) -> None:
    """What the API, the sheet and its name say cannot become a formula in the report."""
    draft = Draft()
    draft.sheet("=cmd.csv", "phone_number", "direction", "template", "@x")
    draft.row(2, "+14155550100", "", "", "\t=1").request(14155550100, template="-voice")
    draft.row(3, "=1", "", "", "+1+1").reject(Problem("=x", "=y", "=z"))
    run_id = create(journal, draft.plan())
    hostile = replace(NO_KEY, error_code="=code", message="@message", request_id="-id")
    play(journal, run_id, {0: ((RequestState.FAILED, hostile),)})
    write_report(journal, run_id, folder, formats=("csv",))
    with (folder / "results.csv").open(newline="") as file:
        cells = [cell for line in csv.reader(file) for cell in line if cell]
    dangerous = [cell for cell in cells if cell[0] in "=+-@\t\r\n"]
    assert dangerous == ["+14155550100"]
    assert_conserved(journal, run_id, folder)


def test_an_error_is_a_report_error_with_its_exit_code(journal: Journal, folder: Path) -> None:
    """A folder where results.csv should be ends in exit code 74, and in no file at all."""
    (folder / "results.csv").mkdir(parents=True)
    with pytest.raises(ReportError, match="there is a folder of that name") as caught:
        write_report(journal, mixed_run(journal), folder)
    assert caught.value.exit_code == 74
    assert [path.name for path in folder.iterdir()] == ["results.csv"]
