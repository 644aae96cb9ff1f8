"""One run at a time in a workspace, whoever starts how many, and free the moment it is gone."""

from __future__ import annotations

import json
import signal

from tests.faults.accounts import assert_all_agree, audited
from tests.faults.stage import Command, Server, Stage, until

RUN = ("run", "numbers.csv", "--yes", "--rate", "1000/s", "--concurrency", "4")


def begun(stage: Stage, server: Server) -> Command:
    """A run that goes on for much longer than any test looks at it."""
    stage.sheet(2_000)
    command = stage.start("run", "numbers.csv", "--yes", "--rate", "20/s", environ=server.environ)
    stage.is_sending(command, 5)
    return command


def assert_undisturbed(stage: Stage, server: Server, command: Command) -> None:
    """It went on all the while, and sent everything once."""
    assert command.is_going
    assert len(stage.records()) == 1
    command.signal(signal.SIGTERM)
    assert command.done().code == 143
    assert audited(stage, stage.newest.id).succeeded == len(server.record.read().arrivals)
    assert server.record.read().needless() == 0


def test_whoever_comes_second_is_told_who_is_first(stage: Stage) -> None:
    """`run`, `resume` and `retry` end with 75 and name the holder, having sent and changed nothing."""
    server = stage.sandbox()
    first = begun(stage, server)
    for words in (RUN, ("resume",), ("retry", "--yes")):
        done = stage.here(*words, environ=server.environ)
        assert done.code == 75, (words, done)
        assert f"process {first.process.pid} on" in done.err
        assert stage.newest.id in done.err
        assert "sipbatch status" in done.err
    assert_undisturbed(stage, server, first)


def test_whoever_only_looks_is_let_in(stage: Stage) -> None:
    """`status`, `runs`, `report`, `plan` and `doctor` work while a run goes, and do not disturb it."""
    server = stage.sandbox()
    first = begun(stage, server)
    done = [
        stage.here(*words, environ=server.environ)
        for words in (
            ("status", "--json"),
            ("runs",),
            ("report", "--quiet"),
            ("plan", "numbers.csv", "--quiet"),
            ("doctor", "--json"),
        )
    ]
    assert [look.code for look in done] == [0] * 5, done
    status = json.loads(done[0].out)
    assert status["is_going"]
    assert status["holder"]["pid"] == first.process.pid
    checks = {check["about"]: check for check in json.loads(done[4].out)["checks"]}
    assert f"process {first.process.pid} on" in checks["lock"]["text"]
    assert_undisturbed(stage, server, first)


def test_overlapping_cron_jobs(stage: Stage) -> None:
    """Of several that start in one instant one runs; the others end with 75, and nothing is sent twice."""
    wanted = stage.sheet(60)
    server = stage.sandbox(faults={"429": 1.0}, retry_after="1")  # whoever is in waits, and does not end
    commands = [stage.start(*RUN, environ=server.environ) for _ in range(4)]
    until(lambda: sum(not command.is_going for command in commands) >= 3, "three of them end")
    assert sorted(command.done().code for command in commands if not command.is_going) == [75] * 3
    server.told(faults={})
    assert sorted(command.done().code for command in commands) == [0, 75, 75, 75]
    assert len(stage.records()) == 1
    account = server.record.read()
    assert_all_agree(stage, stage.newest.id, account, wanted)
    assert account.needless() == 0


def test_killed_holder_leaves_no_lock_behind(stage: Stage) -> None:
    """The instant after SIGKILL the workspace is free, although the lock's file still names the dead."""
    wanted = stage.sheet(120)
    server = stage.sandbox(latency="20ms")
    first = stage.start(*RUN, environ=server.environ)
    stage.is_sending(first, 5)
    first.killed()
    assert str(first.process.pid) in stage.workspace.lock_path.read_text(encoding="utf-8")
    assert stage.workspace.holder() is None
    status = json.loads(stage.here("status", "--json").out)
    assert (status["state"], status["is_going"], status["holder"]) == ("running", False, None)
    assert stage.here("resume", "--quiet", environ=server.environ).code == 0
    assert_all_agree(stage, stage.newest.id, server.record.read(), wanted)


def test_lock_that_was_removed_lets_nobody_in(stage: Stage) -> None:
    """Whoever deletes the lock's file, taking it for left behind, does not get a second run in by that."""
    server = stage.sandbox()
    first = begun(stage, server)
    stage.workspace.lock_path.unlink()
    for words in (RUN, ("resume",)):
        done = stage.here(*words, environ=server.environ)
        assert done.code == 75, done
        assert "another run holds this workspace" in done.err
    assert json.loads(stage.here("status", "--json").out)["is_going"]
    assert_undisturbed(stage, server, first)


def test_two_workspaces_do_not_know_of_each_other(stage: Stage) -> None:
    """Two runs at once are fine in two workspaces."""
    stage.sheet(60)
    server = stage.sandbox(latency="30ms")
    one = stage.start(*RUN, environ=server.environ)
    until(lambda: stage.is_held_by(one) or not one.is_going, "the first holds its workspace")
    assert stage.here(*RUN, "--workspace", "another", environ=server.environ).code == 0
    assert one.done().code == 0
