"""The library: what `import batch` offers, and that it is the same engine."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import batch
from batch.errors import JournalError, LockedError, RejectedError, UsageError
from batch.states import RunState
from batch.workspace import Workspace
from tests.sending import Desk
from tests.small_plans import small_plan
from tests.told_target import NOT_FOUND, ToldTarget, answers


def test_surface_is_what_was_decided() -> None:
    """A name that is offered stays; a new one is added here on purpose."""
    assert sorted(batch.__all__) == [
        "Advice",
        "BatchError",
        "Counts",
        "Finished",
        "Outcome",
        "Plan",
        "Progress",
        "RequestState",
        "RunState",
        "StopReason",
        "Target",
        "Verdict",
        "__version__",
        "api",
        "errors",
        "plan",
        "resume",
        "retry",
        "run",
        "sandbox",
    ]


@pytest.mark.parametrize("name", sorted(batch.__all__))
def test_every_name_is_there(name: str) -> None:
    """What `dir(batch)` shows can be had."""
    assert name in dir(batch)
    assert getattr(batch, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no attribute 'plna'"):
        batch.plna  # noqa: B018 (looking it up is the test)


def test_importing_costs_nothing() -> None:
    """`import batch` loads none of the libraries that it needs later."""
    code = (
        "import sys, batch; "
        "print(*sorted({'pandas', 'numpy', 'pydantic', 'httpx', 'aiohttp', 'click'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_type_checker_sees_the_surface(tmp_path: Path) -> None:
    """A user's own mypy, in strict mode, knows what is returned, and that a wrong name is wrong."""
    (tmp_path / "user.py").write_text(
        "import batch\n"
        'plan = batch.plan("numbers.csv")\n'
        "reveal_type(plan)\n"
        "reveal_type(batch.run(plan, target=batch.sandbox()).counts.failed)\n"
        "batch.plna\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "user.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    assert 'user.py:3: note: Revealed type is "batch.plans.Plan"' in lines
    assert 'user.py:4: note: Revealed type is "int"' in lines
    assert [line for line in lines if ": error:" in line] == [
        'user.py:5: error: Module has no attribute "plna"  [attr-defined]'
    ]


def test_target_of_ones_own_gets_the_plan(tmp_path: Path) -> None:
    """Anything with `send` is a target; the results are a DataFrame."""
    target = ToldTarget(answers(NOT_FOUND, to=frozenset({2})))
    finished = batch.run(small_plan(10), target=target, workspace=tmp_path / "ws", rate="2000/s")
    assert len(target.sent) == 10
    assert finished.exit_code == 3
    assert finished.results["result_state"].value_counts().to_dict() == {"succeeded": 9, "failed": 1}


def test_failures_are_retried_as_a_run_of_their_own(tmp_path: Path) -> None:
    """`retry` sends just what failed, and the results are those of the new run."""
    broken = ToldTarget(answers(NOT_FOUND, to=frozenset({2})))
    first = batch.run(small_plan(10), target=broken, workspace=tmp_path / "ws", rate="2000/s")
    mended = ToldTarget()
    second = batch.retry(first.id, target=mended, workspace=tmp_path / "ws")
    assert mended.sent == [broken.sent[1]]
    assert (second.exit_code, second.counts.requests) == (0, 1)
    assert second.id != first.id


def test_halted_run_is_resumed(tmp_path: Path) -> None:
    """A canary that fails halts the run; what is left is sent by `resume`."""
    halted = batch.run(
        small_plan(30),
        target=ToldTarget(answers(NOT_FOUND, to=frozenset({1}))),
        workspace=tmp_path / "ws",
        rate="2000/s",
        canary=2,
    )
    assert halted.exit_code == 4
    assert "canary" in halted.message
    assert Workspace(tmp_path / "ws").records()[0].state is RunState.HALTED
    again = ToldTarget()
    finished = batch.resume(workspace=tmp_path / "ws", target=again, rate="2000/s")
    assert finished.id == halted.id
    assert finished.counts.succeeded + finished.counts.failed == 30


@pytest.mark.parametrize("again", [batch.resume, batch.retry])
def test_journal_that_says_something_else_sends_nothing(tmp_path: Path, again: Callable[..., object]) -> None:
    """As for the commands: what would be sent is compared with what was planned."""
    target = ToldTarget(answers(NOT_FOUND, to=frozenset({1})))
    batch.run(small_plan(5), target=target, workspace=tmp_path / "ws", rate="2000/s", canary=1)
    with contextlib.closing(sqlite3.connect(tmp_path / "ws" / "journal.db")) as journal:
        journal.execute("UPDATE requests SET number = number + 7 WHERE seq = 3")
        journal.commit()
    untold = ToldTarget()
    with pytest.raises(JournalError, match="those that were planned"):
        again(target=untold, workspace=tmp_path / "ws")
    assert not untold.sent


def test_run_is_not_resumed_against_another_target(tmp_path: Path) -> None:
    """What is done at one target says nothing of another."""
    target = ToldTarget(answers(NOT_FOUND, to=frozenset({1})))
    batch.run(small_plan(5), target=target, workspace=tmp_path / "ws", rate="2000/s", canary=1)
    with pytest.raises(UsageError, match="was sent to told, and this is sandbox"):
        batch.resume(workspace=tmp_path / "ws", target=batch.sandbox())


def test_completed_run_is_not_resumed(tmp_path: Path) -> None:
    """There is nothing left, and that is said."""
    finished = batch.run(small_plan(1), target=ToldTarget(), workspace=tmp_path / "ws")
    with pytest.raises(UsageError, match="nothing is left to send"):
        batch.resume(finished.id, target=ToldTarget(), workspace=tmp_path / "ws")


def test_rejects_stop_a_run_before_it_begins(tmp_path: Path) -> None:
    """Nothing is sent and nothing is made, unless the rejects are skipped on purpose."""
    target = ToldTarget()
    with pytest.raises(RejectedError, match=r"2 rows are rejected, the first at numbers\.csv:5") as caught:
        batch.run(small_plan(3, rejects=2), target=target, workspace=tmp_path / "ws")
    assert caught.value.exit_code == 65
    assert not target.sent
    assert not (tmp_path / "ws").exists()
    finished = batch.run(
        small_plan(3, rejects=2), target=target, workspace=tmp_path / "ws", skip_rejects=True
    )
    assert (finished.exit_code, len(target.sent)) == (3, 3)


def test_workspace_that_is_held_is_refused(tmp_path: Path) -> None:
    """The library takes the same lock as the command."""
    with Workspace(tmp_path).lock("run"), pytest.raises(LockedError):
        batch.run(small_plan(1), target=ToldTarget(), workspace=tmp_path)


def test_wrong_sandbox_option_is_refused_at_once() -> None:
    """Before there is a plan, and in words."""
    with pytest.raises(UsageError, match="latency"):
        batch.sandbox(latency="soon")


def test_rate_that_is_not_understood_is_refused_at_once(tmp_path: Path) -> None:
    """Before anything is pinned."""
    with pytest.raises(UsageError, match="rate"):
        batch.run(small_plan(1), target=ToldTarget(), workspace=tmp_path / "ws", rate="fast")
    assert not (tmp_path / "ws").exists()


def test_sheet_is_planned_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The three lines of the README: plan a sheet, run it against the sandbox, look at the results."""
    monkeypatch.chdir(tmp_path)
    Desk(tmp_path).sheet(4, extra=["(415) 555-0199,codecs", "12,codecs"])
    plan = batch.plan("numbers.csv", templates="templates", region="US")
    assert (plan.request_count, len(plan.rejects)) == (5, 1)
    finished = batch.run(plan, target=batch.sandbox(), workspace="runs", rate="1000/s", skip_rejects=True)
    assert (finished.exit_code, finished.counts.succeeded) == (3, 5)
    assert finished.results["phone_number"].tolist()[-2:] == ["+14155550199", "12"]
    assert finished.folder.parent == Path("runs")


def test_sheet_is_narrowed(tmp_path: Path) -> None:
    """`where` and `columns` say which rows, and which column is what."""
    Desk(tmp_path).sheet(0)
    sheet = tmp_path / "numbers.csv"
    sheet.write_text("Main DID,template,site\n+14155550100,codecs,sfo\n+14155550101,codecs,sea\n")
    plan = batch.plan(
        sheet,
        templates=tmp_path / "templates",
        columns={"phone_number": "Main DID"},
        where={"site": "sea"},
    )
    assert plan.numbers.tolist() == [14155550101]


def test_nothing_to_plan_is_said() -> None:
    """A call without a sheet is no empty plan."""
    with pytest.raises(UsageError, match="no sheet"):
        batch.plan()
