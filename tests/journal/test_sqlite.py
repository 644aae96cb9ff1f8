"""The journal as a file: who may read it, what damage it refuses, what a cut or a full disk leaves of it."""

from __future__ import annotations

import random
import re
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from batch.errors import BusyJournalError, JournalError
from batch.journal import sql as journal_sql
from batch.journal.audit import JournalAudit
from batch.journal.events import Event
from batch.journal.protocol import Journal, Shard
from batch.journal.reader import SqliteReader
from batch.journal.sqlite import SqliteJournal
from batch.states import RequestState, StopReason
from tests.journal_promises.play import (
    REFUSED,
    START,
    begun,
    claim,
    ended,
    look,
    new_run,
    retrying,
    seqs,
)
from tests.small_plans import small_plan

Open = Callable[[Path], SqliteReader]


@pytest.fixture
def journal(journal_path: Path) -> Iterator[SqliteJournal]:
    """A new journal in a file."""
    with closing(SqliteJournal(journal_path)) as journal:
        yield journal


def files_of(path: Path) -> dict[str, bytes]:
    """The database and all that SQLite keeps beside it, with what is in it."""
    return {file.name: file.read_bytes() for file in sorted(path.parent.glob(path.name + "*"))}


def story(journal: Journal) -> list[Any]:
    """All that can be read of all runs."""
    return [(run, look(journal, run.id)) for run in journal.runs()]


def walk(journal: SqliteJournal, steps: int, dice: random.Random) -> Iterator[None]:
    """A run that goes on and on, one commit at a time: claims, results of every kind, releases."""
    run_id = begun(journal, small_plan(200, templates=3, rejects=1))
    open_claims = list(claim(journal, run_id, 4))
    for step in range(steps):
        yield
        dice.shuffle(open_claims)
        one, *open_claims = open_claims
        results = [
            ended(one, at=START + step),
            ended(one, RequestState.FAILED, REFUSED, at=START + step),
            retrying(one, START + step + 1, at=START + step),
        ]
        open_claims += claim(journal, run_id, 1, ended=[dice.choice(results)], now=START + step)


# --- the file -------------------------------------------------------------------------------------


def test_only_its_owner_can_read_a_journal(journal: SqliteJournal, journal_path: Path) -> None:
    """Mode 0600, whatever the umask says, and so are the log and its index beside it."""
    begun(journal, small_plan(3))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in journal_path.parent.glob("journal.db*")}
    assert modes == {"journal.db": 0o600, "journal.db-wal": 0o600, "journal.db-shm": 0o600}


def test_every_commit_is_synced(journal: SqliteJournal) -> None:
    """A write-ahead log, and `synchronous=FULL`: what a method returned survives a power cut."""
    settings = [journal._db.execute(f"PRAGMA {name}").fetchone() for name in ("journal_mode", "synchronous")]
    assert settings == [("wal",), (2,)]


def test_what_one_process_wrote_the_next_one_reads(journal_path: Path) -> None:
    """Closed and opened again, it tells the same, and goes on where it was."""
    with closing(SqliteJournal(journal_path)) as first:
        run_id = begun(first, small_plan(9))
        claims = claim(first, run_id, 4)
        first.exchange(run_id, ended=[ended(claims[0])], released=[claims[1].seq])
        before = story(first)
    with closing(SqliteJournal(journal_path)) as second:
        assert story(second) == before
        assert seqs(claim(second, run_id, 3)) == [1, 4, 5]


def test_a_million_payloads_that_are_alike_are_one(journal: SqliteJournal) -> None:
    """Content is stored once, across runs."""
    for _ in range(3):
        journal.create_run(small_plan(1_000, payloads=5), new_run())
    assert journal._db.execute("SELECT COUNT(*) FROM payloads").fetchone() == (5,)


def test_a_journal_may_be_used_from_any_thread(journal: SqliteJournal) -> None:
    """Opened in one, used in another, by one at a time."""
    done: list[int] = []
    thread = threading.Thread(
        target=lambda: done.extend(seqs(claim(journal, begun(journal, small_plan(3)), 2)))
    )
    thread.start()
    thread.join()
    assert done == [0, 1]


# --- exchanges in two steps -----------------------------------------------------------------------


def test_what_is_not_committed_nobody_else_sees(journal: SqliteJournal, journal_path: Path) -> None:
    """Nor does it survive its process: the next one finds what was committed, and gives that out."""
    run_id = begun(journal, small_plan(9))
    claims = claim(journal, run_id, 3)
    with closing(SqliteReader(journal_path)) as reader:
        before = look(reader, run_id)
        claim(journal, run_id, 3, ended=[ended(one) for one in claims], commit=False)
        assert look(reader, run_id) == before
    journal.close()
    with closing(SqliteJournal(journal_path)) as next_one:
        assert look(next_one, run_id) == before
        assert next_one.begin(run_id, START + 1) == 3
        assert seqs(claim(next_one, run_id, 4)) == [0, 1, 2, 3]


def test_claims_of_a_second_step_that_failed_are_given_out_later(journal_path: Path) -> None:
    """The disk filled up between the two: nothing was recorded, and nothing is skipped."""

    class Filling(SqliteJournal):
        is_full = False

        def _commit(self) -> None:
            if self.is_full:
                raise sqlite3.OperationalError("database or disk is full")
            super()._commit()

    with closing(Filling(journal_path)) as journal:
        run_id = begun(journal, small_plan(50))
        (one,) = claim(journal, run_id, 1)
        before = look(journal, run_id)
        claim(journal, run_id, 20, ended=[ended(one)], commit=False)
        journal.is_full = True
        with pytest.raises(JournalError, match="full"):
            journal.commit()
        journal.is_full = False
        assert look(journal, run_id) == before
        assert seqs(claim(journal, run_id, 50, released=[one.seq])) == list(range(50))


def test_an_exchange_in_the_event_loop_waits_for_no_other_process(
    journal: SqliteJournal, journal_path: Path
) -> None:
    """It says at once that another is writing; the same exchange in a thread waits for it."""
    run_id = begun(journal, small_plan(5))
    with closing(sqlite3.connect(journal_path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        began_s = time.monotonic()
        with pytest.raises(BusyJournalError):
            claim(journal, run_id, 2, commit=False)
        assert time.monotonic() - began_s < 5
        let_go = threading.Timer(0.2, other.execute, ["ROLLBACK"])
        let_go.start()
        assert seqs(claim(journal, run_id, 2)) == [0, 1]
        let_go.join()


# --- readers --------------------------------------------------------------------------------------


def test_a_reader_sees_a_run_that_is_going(journal: SqliteJournal, journal_path: Path) -> None:
    """Each look is of what is on disk at that moment; reader and writer are not in each other's way."""
    run_id = begun(journal, small_plan(5))
    with closing(SqliteReader(journal_path)) as reader:
        for left in (4, 3, 2):
            journal.exchange(run_id, ended=[ended(one) for one in claim(journal, run_id, 1)])
            assert reader.counts(run_id).pending == left
            assert reader.counts(run_id) == journal.counts(run_id)


def test_a_reader_tells_one_story_from_beginning_to_end(journal: SqliteJournal, journal_path: Path) -> None:
    """What is committed while results are being read does not show up half-way."""
    run_id = begun(journal, small_plan(5_000))
    with closing(SqliteReader(journal_path)) as reader:
        results = reader.results(run_id)
        rows = [next(results)]
        journal.exchange(run_id, ended=[ended(one) for one in claim(journal, run_id, 5_000)])
        rows += results
        assert {row.state.value for row in rows} == {"pending"}
        assert {row.state.value for row in reader.results(run_id)} == {"succeeded"}


def test_a_reader_changes_nothing(journal_path: Path) -> None:
    """It cannot write, and leaves the files as they were."""
    with closing(SqliteJournal(journal_path)) as journal:
        run_id = begun(journal, small_plan(3))
    before = files_of(journal_path)
    with closing(SqliteReader(journal_path)) as reader:
        assert reader.counts(run_id).pending == 3
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._db.execute("DELETE FROM requests")
    assert files_of(journal_path)["journal.db"] == before["journal.db"]


def test_there_is_nothing_to_read_before_the_first_run(journal_path: Path) -> None:
    """The error says so, and no file is made by looking."""
    with pytest.raises(JournalError, match="nothing was run with this workspace yet"):
        SqliteReader(journal_path)
    assert list(journal_path.parent.iterdir()) == []


# --- what is no journal, or a damaged one -----------------------------------------------------------


def a_text(path: Path) -> None:
    """Somebody's notes, under the journal's name."""
    path.write_text("numbers that I still have to move\n" * 400)


def somebody_elses_database(path: Path) -> None:
    """A database with tables of its own."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE songs (title)")
        db.execute("INSERT INTO songs VALUES ('Ne me quitte pas')")
        db.commit()


def somebody_elses_empty_database(path: Path) -> None:
    """One that is marked as another program's."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA application_id = 1234")


def a_newer_journal(path: Path) -> None:
    """One that a later version of this program made."""
    with closing(SqliteJournal(path)) as journal:
        journal.create_run(small_plan(3), new_run())
        journal._db.execute(f"PRAGMA user_version = {journal_sql.VERSION + 1}")


def a_cut_one(path: Path) -> None:
    """Half of it is gone."""
    with closing(SqliteJournal(path)) as journal:
        journal.create_run(small_plan(3_000), new_run())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("open_it", [SqliteJournal, SqliteReader], ids=["to write", "to read"])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (a_text, "damaged or no journal"),
        (somebody_elses_database, "is not a journal of sipbatch; choose another --workspace"),
        (somebody_elses_empty_database, "is not a journal of sipbatch; choose another --workspace"),
        (
            a_newer_journal,
            "was made by a newer version of sipbatch .* use that version, or another --workspace",
        ),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_what_is_no_journal_is_refused_and_left_alone(
    journal_path: Path, make: Callable[[Path], None], says: str, open_it: Open
) -> None:
    """The error says what it is and what to do; not a byte of it is changed."""
    make(journal_path)
    before = journal_path.read_bytes()
    with pytest.raises(JournalError, match=says):
        open_it(journal_path)
    assert journal_path.read_bytes() == before


def test_a_journal_that_was_cut_is_never_believed(journal_path: Path) -> None:
    """Whoever reads it is told that it is damaged, at the latest when the missing half is needed."""
    a_cut_one(journal_path)
    before = journal_path.read_bytes()
    with pytest.raises(JournalError, match="damaged"):
        read_all(journal_path)
    assert journal_path.read_bytes() == before


def read_all(path: Path) -> list[Any]:
    """Everything that a report needs."""
    with closing(SqliteReader(path)) as reader:
        return [
            (run, look(reader, run.id), list(reader.cells(run.id)), list(reader.rejects(run.id)))
            for run in reader.runs()
        ]


def test_flipped_bytes_are_an_error_or_seen_in_what_is_read_but_never_a_crash(journal_path: Path) -> None:
    """Three hundred damages of one to forty bytes: every failure is a `JournalError`, whoever meets it."""
    with closing(SqliteJournal(journal_path)) as journal:
        for _ in walk(journal, 60, random.Random(7)):
            pass
    whole = journal_path.read_bytes()
    dice = random.Random(4711)
    refused = 0
    for nth in range(300):
        damaged = bytearray(whole)
        at = dice.randrange(len(whole) - 40)
        for place in range(at, at + dice.choice((1, 1, 4, 40))):
            damaged[place] ^= dice.randrange(1, 256)
        path = journal_path.with_name(f"damaged-{nth}.db")
        path.write_bytes(damaged)
        refused += not survives(lambda path=path: read_all(path))
        refused += not survives(lambda path=path: go_on(path))
    assert refused > 40


def survives(work: Callable[[], object]) -> bool:
    """Whether it went well; any error but `JournalError` is raised."""
    try:
        work()
    except JournalError:
        return False
    return True


def go_on(path: Path) -> None:
    """Resume the first run there is, and send something."""
    with closing(SqliteJournal(path)) as journal:
        (run, *_) = journal.runs() or [None]
        if run is not None:
            journal.begin(run.id, START)
            claims = claim(journal, run.id, 5, now=START + 99)
            payloads = [journal.payload(one.payload_id) for one in claims]
            assert len(payloads) == len(claims)
            journal.exchange(run.id, ended=[ended(one) for one in claims])


# --- power, room ------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [b"", None], ids=["an empty file", "an empty database"])
def test_a_process_that_died_while_it_made_the_journal_leaves_room_for_the_next(
    journal_path: Path, left: bytes | None
) -> None:
    """Nothing was in it yet: the next process makes it anew."""
    if left is None:
        with closing(sqlite3.connect(journal_path)) as db:
            db.execute("PRAGMA journal_mode=WAL")
    else:
        journal_path.write_bytes(left)
    with closing(SqliteJournal(journal_path)) as journal:
        assert claim(journal, begun(journal, small_plan(1)), 1)


def test_every_commit_that_was_acknowledged_survives_a_power_cut(journal_path: Path, tmp_path: Path) -> None:
    """What is in the log beyond the last commit may be lost, cut or garbage: the journal is whole, and tells
    the story as it was after that commit."""
    dice = random.Random(2_026)
    database, moments = b"", []
    with closing(SqliteJournal(journal_path)) as journal:
        journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database = journal_path.read_bytes()
        for _ in walk(journal, 40, dice):
            log = journal_path.with_name("journal.db-wal").read_bytes()
            moments.append((log, story(journal)))

    for nth, ((log, told), (later_log, later_told)) in enumerate(pairwise(moments)):
        assert later_log.startswith(log)
        kept = dice.randint(len(log), len(later_log))
        torn = bytes(dice.randrange(256) for _ in range(dice.choice((0, 7, 5_000))))
        path = tmp_path / f"cut-{nth}.db"
        path.write_bytes(database)
        path.with_name(path.name + "-wal").write_bytes(later_log[:kept] + torn)
        with closing(SqliteJournal(path)) as found:
            assert found._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert story(found) == (later_told if kept == len(later_log) else told)


def test_a_log_that_lost_its_end_tells_of_some_commits_and_never_of_a_part_of_one(
    journal_path: Path, tmp_path: Path
) -> None:
    """Cut anywhere at all, what is left is how it was after one of the commits."""
    dice = random.Random(1_999)
    with closing(SqliteJournal(journal_path)) as journal:
        journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database = journal_path.read_bytes()
        stories = [story(journal), *(story(journal) for _ in walk(journal, 30, dice))]
        log = journal_path.with_name("journal.db-wal").read_bytes()

    found_at = set()
    for nth in range(60):
        path = tmp_path / f"cut-{nth}.db"
        path.write_bytes(database)
        path.with_name(path.name + "-wal").write_bytes(log[: dice.randrange(len(log))])
        with closing(SqliteJournal(path)) as found:
            assert found._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            told = story(found)
        # Before its first step the walk makes the run, begins it and claims: three commits of their own.
        is_first = told[0][1][0].pending >= 196 and not told[0][1][2] if told else True
        assert told in stories or is_first
        found_at.add(-1 if is_first else stories.index(told))
    assert len(found_at) > 15


@pytest.mark.parametrize("pages", [1, 2, 5])
def test_a_full_disk_is_an_error_that_loses_nothing(journal: SqliteJournal, pages: int) -> None:
    """What was recorded stays, what did not fit is not there in part, and with room again it goes on."""
    run_id = begun(journal, small_plan(400))
    claims = claim(journal, run_id, 400)
    journal.exchange(run_id, ended=[ended(one) for one in claims[:5]])
    before = story(journal)
    (size,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count = {size + pages}")
    more = [retrying(one, START, REFUSED) for one in claims[5:]]
    with pytest.raises(
        JournalError, match=r"the disk is full\. What was recorded is safe; make room, then resume"
    ):
        journal.exchange(run_id, ended=more)
    with pytest.raises(JournalError, match="the disk is full"):
        journal.create_run(small_plan(5_000), new_run())
    assert story(journal) == before

    journal._db.execute("PRAGMA max_page_count = 1000000")
    journal.exchange(run_id, ended=more)
    assert journal.counts(run_id).retrying == 395


def test_claims_of_a_commit_that_failed_are_given_out_later(journal: SqliteJournal) -> None:
    """Nothing is skipped because there was no room for it to be claimed."""
    run_id = begun(journal, small_plan(50))
    (size,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count = {size}")
    too_much = [Event(START, "told", {"what": "words " * 100_000})]
    with pytest.raises(JournalError, match="the disk is full"):
        claim(journal, run_id, 20, events=too_much)
    journal._db.execute("PRAGMA max_page_count = 1000000")
    assert seqs(claim(journal, run_id, 50)) == list(range(50))


def test_lists_are_given_to_sqlite_as_text(journal: SqliteJournal, journal_path: Path) -> None:
    """As bytes, SQLite 3.45 to 3.47 take some for binary JSON, and say that the journal is malformed."""
    statements: list[str] = []
    run_id = begun(journal, small_plan(2_000))
    journal._db.set_trace_callback(statements.append)
    (one,) = claim(journal, run_id, shards=[Shard(1234, 1240)])
    journal.exchange(run_id, released=[one.seq])
    (one,) = claim(journal, run_id, shards=[Shard(1234, 1240)])
    journal.exchange(run_id, ended=[retrying(one, START)])
    assert seqs(claim(journal, run_id)) == [1234]
    assert journal.begin(run_id, START) == 1
    (one,) = claim(journal, run_id)
    journal.exchange(run_id, ended=[ended(one)])
    journal.end(run_id, StopReason.DONE, START)
    assert len(journal.applied("https://api.test").keys) == 2
    with closing(JournalAudit(journal_path)) as audit:
        audit._db.set_trace_callback(statements.append)
        audit.check_to_be_sent(audit.run(run_id))
    lists = [found for statement in statements for found in re.findall(r"json_each\((.*?)\)", statement)]
    assert {"'[1234]'"} < set(lists)
    assert all(one.startswith("'") for one in lists), lists
