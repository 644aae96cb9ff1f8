"""The workspace: private, held by one run at a time, and free the moment its holder is gone."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from batch.errors import JournalError, LockedError, UsageError
from batch.journal.protocol import RunRecord
from batch.states import RunState
from batch.workspace import Workspace, find_run

HOLD = """
import sys
from pathlib import Path
from batch.workspace import Workspace
with Workspace(Path(sys.argv[1])).lock("run") as lock:
    lock.name_run("20260101-000000-1")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holding(tmp_path: Path):
    """Another process that holds the workspace until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "ws")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.communicate()


def record(run_id: str, state: RunState) -> RunRecord:
    return RunRecord(
        id=run_id,
        state=state,
        reason=None,
        target="t",
        account="",
        plan_digest="d",
        created_at=0.0,
        started_at=None,
        ended_at=None,
        options={},
        parent=None,
        version="",
        sheets=(),
        template_digests={},
        warnings=(),
    )


RUNS = [
    record("20260101-100000-1", RunState.INTERRUPTED),
    record("20260101-110000-2", RunState.COMPLETED),
    record("20260102-100000-3", RunState.COMPLETED),
]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    """The folder is 0700 and its files 0600: payloads may hold what others must not see."""
    workspace = Workspace(tmp_path / "a" / "ws")
    with workspace.lock("run"):
        workspace.journal().close()
        modes = [mode(path) for path in (workspace.path, workspace.lock_path, workspace.journal_path)]
    assert modes == [0o700, 0o600, 0o600]


def test_folder_of_the_operator_keeps_its_rights(tmp_path: Path) -> None:
    """A folder that was there before is not ours to close."""
    tmp_path.chmod(0o755)
    with Workspace(tmp_path).lock("run"):
        assert mode(tmp_path) == 0o755


def test_second_process_is_told_who_holds_it(tmp_path: Path, holding: subprocess.Popen[str]) -> None:
    """The second run ends with 75 and names command, run and process of the first."""
    workspace = Workspace(tmp_path / "ws")
    with pytest.raises(LockedError) as caught:
        workspace.lock("run")
    assert caught.value.exit_code == 75
    for part in ("`sipbatch run`", "20260101-000000-1", f"process {holding.pid}", str(workspace.path)):
        assert part in str(caught.value)


def test_it_is_free_at_once_after_a_kill(tmp_path: Path, holding: subprocess.Popen[str]) -> None:
    """SIGKILL leaves no lock behind, though the file that named the holder is still there."""
    workspace = Workspace(tmp_path / "ws")
    holding.send_signal(signal.SIGKILL)
    holding.wait()
    assert workspace.lock_path.exists()
    assert workspace.holder() is None
    workspace.lock("resume").release()


def test_holder_is_seen_by_those_who_only_look(tmp_path: Path, holding: subprocess.Popen[str]) -> None:
    """`status` finds out whether the holder lives without taking the lock from it."""
    workspace = Workspace(tmp_path / "ws")
    holder = workspace.holder()
    assert holder is not None
    assert (holder.pid, holder.command, holder.run) == (holding.pid, "run", "20260101-000000-1")


def test_nobody_holds_a_workspace_that_is_not_there(tmp_path: Path) -> None:
    """Looking makes nothing."""
    workspace = Workspace(tmp_path / "ws")
    assert workspace.holder() is None
    assert not workspace.path.exists()


def test_lock_is_let_go_at_the_end(tmp_path: Path) -> None:
    """Within one process too, the next run can have it."""
    workspace = Workspace(tmp_path / "ws")
    with workspace.lock("run"), pytest.raises(LockedError):
        workspace.lock("run")
    workspace.lock("run").release()


def test_file_in_the_way_is_named(tmp_path: Path) -> None:
    """A workspace that cannot be made is exit 74, before anything is sent."""
    path = tmp_path / "ws"
    path.write_text("", encoding="utf-8")
    with pytest.raises(JournalError, match="this is a file"):
        Workspace(path).lock("run")


def test_reader_of_an_empty_workspace_says_what_to_do(tmp_path: Path) -> None:
    """`status` before the first run is no journal error."""
    with pytest.raises(UsageError, match="there are no runs here"):
        Workspace(tmp_path).reader()


def test_run_is_found_by_its_id_or_the_start_of_it() -> None:
    """An unambiguous beginning is enough."""
    assert find_run(RUNS, "20260101-100000-1").id == "20260101-100000-1"
    assert find_run(RUNS, "20260102").id == "20260102-100000-3"


def test_exact_id_beats_a_longer_one() -> None:
    """An id that begins another can still be named."""
    runs = [record("a-1", RunState.COMPLETED), record("a-12", RunState.COMPLETED)]
    assert find_run(runs, "a-1").id == "a-1"


def test_newest_run_that_fits_is_meant_when_none_is_named() -> None:
    """`resume` alone goes on with the newest that can be resumed."""
    found = find_run(RUNS, None, fits=lambda run: run.state is RunState.INTERRUPTED)
    assert found.id == "20260101-100000-1"


def test_ambiguous_beginning_lists_the_candidates() -> None:
    """Several that fit are an error which names them, and only them."""
    with pytest.raises(UsageError, match="several runs") as caught:
        find_run(RUNS, "20260101")
    assert "20260101-110000-2 (completed), 20260101-100000-1 (interrupted)" in str(caught.value)
    assert "20260102" not in str(caught.value)


def test_unknown_run_lists_what_there_is() -> None:
    """The message shows what could have been meant."""
    with pytest.raises(UsageError, match=r'There is no run "x"\. There are, newest first: 20260102-100000-3'):
        find_run(RUNS, "x")


def test_no_run_that_fits_says_what_was_looked_for() -> None:
    """Nothing to resume is said, not an empty success."""
    with pytest.raises(UsageError, match=r"There is no run that can be resumed\. There are"):
        find_run(RUNS, None, fits=lambda _: False, fitting="that can be resumed")
