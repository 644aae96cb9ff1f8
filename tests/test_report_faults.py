"""Promises of `batch.reporting` when the journal, the disk, the process or the request for it is at fault."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from batch.errors import JournalError, ReportError, UsageError
from batch.journal.memory import MemoryJournal
from batch.journal.protocol import AttemptRow, Counts, Journal, ResultRow
from batch.journal.sqlite import SqliteJournal
from batch.plans import CellChunk, Reject
from batch.reporting import write_report
from batch.states import RequestState
from tests.report_runs import (
    MIXED,
    START,
    SUCCEEDED,
    Draft,
    assert_conserved,
    contents,
    create,
    mixed_draft,
    mixed_run,
    play,
)

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
        UsageError, match=r'no report format "xslx": .* csv, jsonl, xlsx\b.* Did you mean "xlsx"'
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
from batch.journal.sqlite import SqliteJournal

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
        for start in range(2, self.rows + 2, 500):
            yield CellChunk.pack(0, range(start, start + 500), [["text"] * 500] * 3)

    def counts(self, run_id: str) -> Counts:
        return replace(super().counts(run_id), succeeded=self.rows)


def test_memory_does_not_grow_with_rows(folder: Path) -> None:
    """More lines take hardly more memory: a few bytes each, where one line as such is thousands."""

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

    peak(500)  # what is loaded and cached at the first time is not counted
    # Both are beyond what is gathered before it is written; the collector of cycles makes it vary.
    assert peak(5_000) - peak(2_000) < 3_000 * 300


def test_an_error_is_a_report_error_with_its_exit_code(journal: Journal, folder: Path) -> None:
    """A folder where results.csv should be ends in exit code 74, and in no file at all."""
    (folder / "results.csv").mkdir(parents=True)
    with pytest.raises(ReportError, match="there is a folder of that name") as caught:
        write_report(journal, mixed_run(journal), folder)
    assert caught.value.exit_code == 74
    assert [path.name for path in folder.iterdir()] == ["results.csv"]
