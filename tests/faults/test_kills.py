"""SIGKILL at any moment: nothing is lost, nothing is invented, and `resume` does the rest."""

from __future__ import annotations

import sys
import time

import pytest

from batch.journal.protocol import NewRun
from tests.faults.accounts import assert_all_agree, audited, report_rows
from tests.faults.stage import Stage, seeded, until
from tests.small_plans import small_plan

CONCURRENCY = 8
KILLS = 20

SENDING = ("--rate", "400/s", "--concurrency", str(CONCURRENCY), "--max-attempts", "9")


def test_killed_twenty_times_within_one_run(stage: Stage) -> None:
    """Twenty kills at random moments: all applied once for good, at most 2 × concurrency re-sent per kill."""
    chance = seeded()
    wanted = stage.sheet(500)
    faults = ("500=2%", "reset_before=1%", "reset_after=1%", "truncated=1%", "504+applied=1%")
    server = stage.sandbox_process(
        "--latency", "5ms..25ms", "--seed", str(chance.randrange(1000)), *(f"--fault={f}" for f in faults)
    )
    run = ("run", "numbers.csv", "--yes", "--quiet", *SENDING)
    command = stage.start(*run, environ=server.environ)
    until(stage.records, "the run is pinned")
    run_id = stage.newest.id
    for kill in range(KILLS):
        # The moment: while it starts, or some sends after that.
        before, more = server.record.received(), chance.choice((0, 1, 6, 20))
        if more:
            seen = until(
                lambda: server.record.received() >= before + more or not command.is_going,  # noqa: B023
                f"{more} more sends after kill {kill}",
            )
            assert seen
        time.sleep(chance.random() * (0.03 if more else 0.6))
        command.killed()
        counts = audited(stage, run_id)
        assert counts.requests == len(wanted)
        assert counts.in_flight <= 2 * CONCURRENCY
        # Whatever was answered well and came again was lost to a kill, and no kill costs more than this.
        assert server.record.read().needless() <= 2 * CONCURRENCY * kill
        command = stage.start("resume", "--quiet", environ=server.environ)
    done = command.done()
    assert done.code == 0, done.err
    account = server.record.read()
    assert_all_agree(stage, run_id, account, wanted)
    lost = lost_to_kills(stage, run_id)
    assert max(lost) <= 2 * CONCURRENCY
    assert account.needless() <= sum(lost)


def lost_to_kills(stage: Stage, run_id: str) -> list[int]:
    """How many claims each beginning of the run took back from a dead process."""
    with stage.journal() as journal:
        begun = [event for event in journal.events(run_id) if event.kind == "began"]
    return [int(str(event.detail["lost"])) for event in begun]


@pytest.mark.parametrize("way_back", ["rollback", "reconcile"])
def test_what_a_killed_run_has_sent_is_taken_back(stage: Stage, way_back: str) -> None:
    """By a rollback or by the sheet of before: what is known of a dead process's sends is enough for both."""
    other = stage.sheet(80, hosts=5, name="other.csv")
    wanted = stage.sheet(80)
    server = stage.sandbox()
    fast = ("--yes", "--quiet", "--rate", "2000/s")
    assert stage.here("run", "numbers.csv", *fast, environ=server.environ).code == 0
    words = ("run", "other.csv", "--yes", "--quiet", "--rate", "50/s", "--concurrency", "4")
    command = stage.start(*words, environ=server.environ)
    until(lambda: len(stage.records()) == 2, "the run is pinned")
    stage.is_sending(command, 20)
    command.killed()
    changed = {key for key, digests in server.record.read().applied.items() if digests[-1] != wanted[key[0]]}
    assert changed
    assert {server.record.read().applied[key][-1] for key in changed} <= set(other.values())

    back = [stage.newest.id] if way_back == "rollback" else ["numbers.csv", "--max-changed", "100%"]
    done = stage.here(way_back, *back, *fast, environ=server.environ)
    assert done.code == 0, done.err
    assert all(digests[-1] == wanted[key[0]] for key, digests in server.record.read().applied.items())


# --- before anything is sent ------------------------------------------------------------------------


def test_killed_while_it_is_planned_and_pinned(stage: Stage) -> None:
    """A plan is pinned whole or not at all; until it is, nothing is made of it and nothing is sent."""
    chance = seeded()
    wanted = stage.sheet(3_000)
    server = stage.sandbox(latency="50ms")
    pinned = 0
    for _ in range(5):
        command = stage.start("run", "numbers.csv", "--yes", "--rate", "1/s", environ=server.environ)
        until(lambda: stage.is_held_by(command) or not command.is_going, "it holds the workspace")  # noqa: B023
        assert command.is_going, command.err
        time.sleep(chance.random() * 0.15)
        command.killed()
        records = stage.records()
        assert len(records) - pinned in (0, 1)
        pinned = len(records)
        for record in records:
            assert audited(stage, record.id).requests == len(wanted)
    assert server.record.received() <= 5  # one a second, from each run that got so far
    if not pinned:
        stage.run("run", "numbers.csv", "--yes", "--rate", "1000/s", "--canary", "1", environ=server.environ)
    stage.start("resume", "--rate", "2000/s", "--concurrency", "64", environ=server.environ)
    until(lambda: server.record.received() >= 50, "the pinned run goes on")


# --- while the report is written --------------------------------------------------------------------

#: Runs the command, and kills it the moment it is about to give a file its name for the n-th time.
KILLED_AT_RENAME = """
import os, signal, sys
from pathlib import Path
from batch.cli import main
left, replace = int(sys.argv.pop(1)), Path.replace
def killing(self, target):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)
Path.replace = killing
sys.exit(main())
"""


def pinned_run(stage: Stage, count: int) -> str:
    """A run that is pinned, of which a report can be written, without sending it first."""
    with stage.workspace.lock("test"):
        journal = stage.workspace.journal()
        try:
            return journal.create_run(small_plan(count), NewRun("http://127.0.0.1:1", time.time()))
        finally:
            journal.close()


def assert_report_is_whole(stage: Stage, run_id: str, rows: int) -> None:
    """A new report takes the place of whatever was left behind, and is what the journal gives."""
    done = stage.here("report", "--quiet")
    assert done.code == 0, done.err
    assert stage.here("report", "--check", "--quiet").code == 0
    folder = stage.workspace.run_folder(run_id)
    assert len(report_rows(folder)) == rows
    assert not [path.name for path in folder.iterdir() if path.name.endswith(".partial")]


def test_killed_while_the_report_is_written(stage: Stage) -> None:
    """No half file under a report's name, at any moment; the next report sweeps up what was left behind."""
    chance = seeded()
    run_id = pinned_run(stage, 12_000)
    folder = stage.workspace.run_folder(run_id)
    whole = {"results.csv", "results.jsonl", "summary.json", "manifest.json"}
    for _ in range(4):
        command = stage.start("report", "--quiet")
        until(lambda: any(folder.glob(".*.partial")) or not command.is_going, "a file is begun")  # noqa: B023
        time.sleep(chance.random() * 0.3)
        command.killed()
        named = {path.name for path in folder.iterdir() if not path.name.endswith(".partial")}
        assert named <= whole
        if "results.csv" in named:
            assert len(report_rows(folder)) == 12_000
    assert_report_is_whole(stage, run_id, 12_000)


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_killed_between_two_names(stage: Stage, nth: int) -> None:
    """Also between two renames: every file is whole, old or new, and the next report puts it right."""
    run_id = pinned_run(stage, 40)
    folder = stage.workspace.run_folder(run_id)
    assert stage.here("report", "--quiet").code == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    words = (sys.executable, "-c", KILLED_AT_RENAME, str(nth), "report", "--quiet")
    assert stage.launch(words).done().code == -9
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.name in before}
    assert set(after) == set(before)
    assert sum(after[name] != before[name] for name in before) <= nth - 1
    assert_report_is_whole(stage, run_id, 40)
