"""A disk that fills up, rights that are missing or lost, a journal that is damaged or of another version."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from batch.states import RunState
from tests.faults.accounts import assert_all_agree, audited
from tests.faults.hardship import bound_by_rights, forbidden, limited, small_disk
from tests.faults.stage import Done, Invoke, Server, Stage, seeded

CONCURRENCY = 8
RUN = ("run", "numbers.csv", "--yes", "--rate", "1000/s", "--concurrency", str(CONCURRENCY))


def assert_stopped_and_told(stage: Stage, server: Server, done: Done) -> None:
    """Exit 74 with the right words: what is recorded is in the journal, the rest is in doubt."""
    assert done.code == 74, done.err
    said = re.search(r"(\d+) results are recorded, (\d+) are in doubt", done.err)
    assert said, done.err
    recorded, in_doubt = map(int, said.groups())
    counts = audited(stage, stage.newest.id)
    assert counts.succeeded == recorded
    assert in_doubt <= counts.in_flight <= 2 * CONCURRENCY
    # What was sent is recorded or in doubt, and nothing was sent after the journal was lost.
    account = server.record.read()
    assert recorded <= len(account.arrivals) <= recorded + in_doubt
    assert account.needless() == 0


# --- the journal's disk is full ---------------------------------------------------------------------


def test_disk_full_in_mid_run(stage: Stage) -> None:
    """Sending stops at once, what is committed is intact, and with room made `resume` finishes."""
    wanted = stage.sheet(500)
    server = stage.sandbox(latency="5ms")
    with small_disk(stage.folder.parent / "disk", 1_100_000) as disk:
        workspace = disk / "runs"
        workspace.mkdir(mode=0o700)
        (stage.folder / "sipbatch-runs").symlink_to(workspace)
        done = stage.run(*RUN, environ=server.environ)
        assert "disk is full" in done.err
        assert "make room" in done.err
        assert_stopped_and_told(stage, server, done)
        # Looking needs no room.
        assert f"{stage.succeeded():,} of" in stage.here("status").out
        assert "disk is full" in stage.here("resume", environ=server.environ).err
        (stage.folder / "sipbatch-runs").unlink()
        shutil.copytree(workspace, stage.folder / "sipbatch-runs")  # room, and the rights as they were
    assert stage.here("resume", environ=server.environ).code == 0
    account = server.record.read()
    assert_all_agree(stage, stage.newest.id, account, wanted)
    assert account.needless() <= 2 * CONCURRENCY


def test_journal_that_may_not_grow_in_mid_run(stage: Stage) -> None:
    """The same for a limit on the size of files, which the system reports in another way."""
    wanted = stage.sheet(500)
    server = stage.sandbox(latency="5ms")
    limit = limited(resource.RLIMIT_FSIZE, 700_000)
    done = stage.run(*RUN, environ=server.environ, preexec_fn=limit)
    assert_stopped_and_told(stage, server, done)
    assert stage.here("resume", environ=server.environ).code == 0
    assert_all_agree(stage, stage.newest.id, server.record.read(), wanted)


def test_disk_full_while_the_plan_is_pinned(stage: Stage) -> None:
    """A plan that does not fit is not pinned, and nothing is sent."""
    stage.sheet(500)
    server = stage.sandbox()
    limit = limited(resource.RLIMIT_FSIZE, 90_000)
    done = stage.run(*RUN, environ=server.environ, preexec_fn=limit)
    assert done.code == 74, done.err
    assert server.record.received() == 0
    assert stage.records() == []
    assert stage.here(*RUN, environ=server.environ).code == 0


# --- the report's disk is full ----------------------------------------------------------------------


def completed(stage: Stage, server: Server, rows: int = 60) -> str:
    """A run that is done, by its id."""
    stage.sheet(rows)
    assert stage.here(*RUN, environ=server.environ).code == 0
    return stage.newest.id


def test_disk_full_in_the_report(stage: Stage) -> None:
    """No half file: the old report stays as it was, the journal is untouched, `report` works later."""
    run_id = completed(stage, stage.sandbox(), rows=400)
    folder = stage.workspace.run_folder(run_id)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    journal = stage.workspace.journal_path.read_bytes()
    done = stage.run("report", preexec_fn=limited(resource.RLIMIT_FSIZE, 40_000))
    assert done.code == 74
    assert "Nothing is lost" in done.err
    assert f"sipbatch report {run_id}" in done.err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert stage.workspace.journal_path.read_bytes() == journal
    assert stage.here("report").code == 0
    assert stage.here("report", "--check").code == 0


def test_full_disk_can_be_looked_at(stage: Stage) -> None:
    """With no byte left, `status` and `runs` still tell; what would write says that the disk is full."""
    server = stage.sandbox()
    run_id = completed(stage, server, rows=30)
    kept = stage.workspace.path
    moved = stage.folder / "kept"
    kept.rename(moved)
    with small_disk(kept, 4_000_000) as disk:
        shutil.copytree(moved, disk, dirs_exist_ok=True)
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        for words in (("status",), ("runs",)):
            done = stage.here(*words)
            assert (done.code, done.err) == (0, "")
            assert run_id in done.out
        for words in (RUN, ("report",)):
            done = stage.here(*words, environ=server.environ)
            assert done.code == 74
            assert "No space left" in done.err or "the disk is full" in done.err
        doctor = stage.here("doctor", "--offline", environ=server.environ)
        assert doctor.code == 74
        assert "make room" in doctor.out
    assert server.record.received() == 30


def test_run_without_the_right_to_report(stage: Stage) -> None:
    """Rights lost in mid-run: sending goes on, the journal has it all, exit 74, and `report` works later."""
    wanted = stage.sheet(150)
    server = stage.sandbox(latency="10ms")
    command = stage.start(*RUN, environ=server.environ, preexec_fn=bound_by_rights)
    stage.is_sending(command, 20)
    with forbidden(stage.workspace.path, 0o500):
        done = command.done()
    assert done.code == 74, done.err
    assert "Nothing is lost" in done.err
    record = stage.newest
    assert record.state is RunState.COMPLETED
    assert not stage.workspace.run_folder(record.id).exists()
    assert stage.here("report").code == 0
    assert_all_agree(stage, record.id, server.record.read(), wanted)


def test_standard_output_that_is_full(stage: Stage) -> None:
    """`sipbatch status --json > FILE` on a full disk says so."""
    completed(stage, stage.sandbox(), rows=1)
    with Path("/dev/full").open("wb") as full:
        command = stage.start("status", "--json", stdout=full)
        done = command.done()
    assert done.code == 74
    assert "standard output cannot be written" in done.err


# --- no right to write ------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "mode"), [(".", 0o500), ("journal.db", 0o400), ("lock", 0o400)])
def test_no_right_to_write_is_told_before_the_first_send(stage: Stage, name: str, mode: int) -> None:
    """Exit 74 names what cannot be written, and nothing is sent or changed; looking needs no such right."""
    server = stage.sandbox()
    completed(stage, server, rows=3)
    with forbidden(stage.workspace.path / name, mode):
        done = stage.run(*RUN, environ=server.environ, preexec_fn=bound_by_rights)
        assert done.code == 74, done
        assert "sipbatch-runs" in done.err
        assert stage.run("status", preexec_fn=bound_by_rights).code == 0
    assert server.record.received() == 3
    assert len(stage.records()) == 1


# --- a journal that cannot be trusted ---------------------------------------------------------------


def commands(run_id: str) -> list[tuple[str, ...]]:
    """Those that look at a journal, and those that write to it."""
    return [("status",), ("runs",), ("report", run_id), ("resume", run_id), ("retry", run_id, "--yes")]


@pytest.fixture
def halted(stage: Stage, invoke: Invoke) -> str:
    """A run against the embedded sandbox that halted with some left, by its id."""
    stage.sheet(300, hosts=40)
    done = invoke(*RUN, "--sandbox", "--sandbox-fault", "422=0.1", "--max-failures", "9", "--quiet")
    assert done.code == 4, done.err
    return stage.newest.id


def test_journal_of_a_newer_version(stage: Stage, invoke: Invoke, halted: str) -> None:
    """It is refused by every command, with what to do, and not a byte of it is changed."""
    path = stage.workspace.journal_path
    with contextlib.closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    for words in (*commands(halted), (*RUN, "--sandbox")):
        done = invoke(*words)
        assert done.code == 74, (words, done)
        assert "a newer version of sipbatch" in done.err
    doctor = invoke("doctor", "--offline")
    assert doctor.code == 74
    assert "use that version" in doctor.out
    assert "backup" not in doctor.out  # it is whole: there is nothing to restore
    assert path.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 100, 5_000, 60_000])
def test_journal_that_is_cut_short(stage: Stage, invoke: Invoke, halted: str, kept: int) -> None:
    """It is refused with a clear message, and what is left of it is kept as it is."""
    path = stage.workspace.journal_path
    os.truncate(path, kept)
    before = path.read_bytes()
    for words in commands(halted):
        done = invoke(*words)
        assert done.code == 74, (words, done)
        assert "journal" in done.err
    assert path.read_bytes() == before


def test_journal_with_flipped_bits(stage: Stage, invoke: Invoke, halted: str) -> None:
    """Whatever bits a disk turns: no command takes it for a bug, and none sends what was not planned."""
    chance = seeded()
    path = stage.workspace.journal_path
    whole = path.read_bytes()
    told = Counter[int]()
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 50))):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        for words in (("status",), ("report", halted, "--quiet"), ("doctor", "--offline", "--json")):
            path.write_bytes(damaged)
            done = invoke(*words)
            told[done.code] += 1
            assert done.code in (0, 2, 74, 77), (words, done)
            assert "bug" not in done.err
            assert path.read_bytes() == damaged
    assert told[74] > 10


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE requests SET number = number + 1 WHERE seq = (SELECT MAX(seq) FROM requests)",
        "UPDATE requests SET direction = 1 - direction WHERE seq = (SELECT MAX(seq) FROM requests)",
        "DELETE FROM requests WHERE seq = (SELECT MAX(seq) FROM requests)",
        "UPDATE payloads SET body = CAST(REPLACE(body, 'backup', 'kcabup') AS BLOB)",
    ],
)
def test_journal_that_says_something_else_sends_nothing(
    stage: Stage, invoke: Invoke, halted: str, damage: str
) -> None:
    """What `resume` would send is compared with what was planned: another number is never configured."""
    path = stage.workspace.journal_path
    with contextlib.closing(sqlite3.connect(path)) as journal:
        journal.execute(damage)
        journal.commit()
    with stage.journal() as journal_before:
        before = journal_before.counts(halted)
    done = invoke("resume", halted)
    assert done.code == 74, done
    assert "damaged" in done.err
    with stage.journal() as journal_after:
        assert journal_after.counts(halted) == before
    assert invoke("doctor", "--offline").code == 74
