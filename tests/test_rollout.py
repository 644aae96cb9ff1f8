"""From plan to report: however a run ends, its report is written, and it can be gone on with."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from batch.bland.credentials import ApiKey
from batch.destinations import EmbeddedSandbox, Given, Live, pinned_destination
from batch.errors import (
    BatchError,
    CredentialsError,
    InterruptedReportError,
    LockedError,
    UnreachableError,
    UsageError,
)
from batch.rollout import Finished, Rollout, Sending, check_reachable, in_event_loop
from batch.states import RunState, StopReason
from batch.target import Outcome
from batch.workspace import Workspace
from tests.small_plans import small_plan
from tests.told_target import ACCEPTED, NOT_FOUND, ToldTarget, answers

FAST = Sending(rate="2000/s", concurrency=4)


def send(workspace: Workspace, target: ToldTarget, *, count: int = 20, rejected: int = 0) -> Finished:
    """Plan, pin and send."""
    destination = Given(target)
    with Rollout(workspace, "run") as rollout:
        run_id = rollout.pin(small_plan(count, rejects=rejected), destination, FAST)
        return rollout.send(run_id, destination, FAST)


def resume(workspace: Workspace, run_id: str, target: ToldTarget) -> Finished:
    with Rollout(workspace, "resume") as rollout:
        return rollout.send(run_id, Given(target), FAST)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


def test_run_ends_with_everything_sent_and_reported(workspace: Workspace) -> None:
    """Every request is sent once, the target is left, and the exit code is 0."""
    target = ToldTarget()
    finished = send(workspace, target)
    assert sorted(target.sent) == sorted(f"+{number}" for number in small_plan(20).numbers.tolist())
    assert not target.is_open
    assert (finished.exit_code, finished.reason) == (0, StopReason.DONE)
    assert finished.counts.succeeded == finished.counts.requests == 20
    assert finished.results_path == workspace.path / finished.id / "results.csv"
    assert finished.results_path.exists()


def test_what_failed_is_exit_3(workspace: Workspace) -> None:
    """One number that the API does not know does not stop the others, and is no success."""
    finished = send(workspace, ToldTarget(answers(NOT_FOUND, to=frozenset({3}))))
    assert finished.exit_code == 3
    assert (finished.counts.succeeded, finished.counts.failed) == (19, 1)


def test_rejected_rows_are_exit_3_and_in_the_report(workspace: Workspace) -> None:
    """Who goes on without some rows is not told that all is well."""
    finished = send(workspace, ToldTarget(), rejected=2)
    assert finished.exit_code == 3
    assert finished.results["result_state"].value_counts().to_dict() == {"succeeded": 20, "rejected": 2}


def test_results_are_a_frame_with_types(workspace: Workspace) -> None:
    """Counts are integers, times are UTC, a number keeps its plus, and what is missing is missing."""
    frame = send(workspace, ToldTarget(answers(NOT_FOUND, to=frozenset({1}))), rejected=1).results_frame()
    assert len(frame) == 21
    assert str(frame["result_http_status"].dtype) == "Int64"
    assert str(frame["result_first_sent_at"].dt.tz) == "UTC"
    assert frame["phone_number"].iloc[0] == "+14155550100"
    assert frame["result_http_status"].isna().tolist() == [False] * 20 + [True]
    assert frame.loc[frame["result_state"] == "failed", "result_error_code"].tolist() == ["NOT_FOUND"]


def test_report_is_written_when_a_bug_ends_the_run(workspace: Workspace) -> None:
    """An error that nobody expected is raised as it is, after the report; and the run can be resumed."""

    async def answer(nth: int) -> Outcome:
        if nth == 5:
            raise ZeroDivisionError
        return ACCEPTED

    with pytest.raises(ZeroDivisionError):
        send(workspace, ToldTarget(answer))
    (record,) = workspace.records()
    assert record.state is RunState.HALTED
    assert (workspace.run_folder(record.id) / "results.csv").exists()
    finished = resume(workspace, record.id, ToldTarget())
    assert (finished.exit_code, finished.counts.succeeded) == (0, 20)


def test_report_that_cannot_be_written_is_exit_74_and_harms_nothing(workspace: Workspace) -> None:
    """The results are in the journal; the report is written when there is room for it."""
    destination = Given(ToldTarget())
    with Rollout(workspace, "run") as rollout:
        run_id = rollout.pin(small_plan(3), destination, FAST)
        workspace.run_folder(run_id).write_text("in the way", encoding="utf-8")
        finished = rollout.send(run_id, destination, FAST)
        assert finished.exit_code == 74
        assert finished.report_error is not None
        assert f"`sipbatch report {run_id}`" in str(finished.report_error)
        assert finished.counts.succeeded == 3
        workspace.run_folder(run_id).unlink()
        assert rollout.report(run_id).results.exists()


@pytest.mark.parametrize("stops_at", [None, 8])
def test_interrupting_the_report_says_where_the_run_stands(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, stops_at: int | None
) -> None:
    """Who presses Ctrl-C twice, and once too late, hears what was sent, and how to have the report."""

    async def answer(nth: int) -> Outcome:
        if nth == stops_at:
            os.kill(os.getpid(), signal.SIGINT)
            await anyio.sleep(0.05)
        return ACCEPTED

    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    destination = Given(ToldTarget(answer))
    with Rollout(workspace, "run") as rollout:
        run_id = rollout.pin(small_plan(500), destination, FAST)
        with monkeypatch.context() as patch:
            patch.setattr("batch.reporting.write_report", interrupted)
            with pytest.raises(InterruptedReportError) as caught:
                rollout.send(run_id, destination, FAST)
        counts = rollout.journal.counts(run_id)
        assert not isinstance(caught.value, BatchError), "a program that goes on after errors would go on"
        assert f"{counts.succeeded} succeeded" in str(caught.value)
        assert f"`sipbatch report {run_id}`" in str(caught.value)
        assert (f"{counts.left} left" in str(caught.value)) is (stops_at is not None)
        assert (f"`sipbatch resume {run_id}`" in str(caught.value)) is (stops_at is not None)
        assert rollout.report(run_id).results.exists()


def test_first_signal_lets_what_is_in_flight_finish(workspace: Workspace) -> None:
    """After SIGINT nothing more is sent, what was sent is recorded, and the rest waits for `resume`."""

    async def answer(nth: int) -> Outcome:
        if nth == 8:
            os.kill(os.getpid(), signal.SIGINT)
            await anyio.sleep(0.05)
        return ACCEPTED

    target = ToldTarget(answer)
    said: list[str] = []
    destination = Given(target)
    with Rollout(workspace, "run") as rollout:
        run_id = rollout.pin(small_plan(500), destination, FAST)
        finished = rollout.send(run_id, destination, FAST, say=said.append)
    assert (finished.reason, finished.exit_code) == (StopReason.SIGINT, 130)
    assert finished.counts.succeeded == len(target.sent) < 500
    assert finished.counts.in_flight == 0
    assert len(said) == 1
    assert workspace.records()[0].state is RunState.INTERRUPTED
    assert resume(workspace, run_id, ToldTarget()).counts.succeeded == 500


def test_second_signal_gives_up_what_is_in_flight(workspace: Workspace) -> None:
    """A server that never answers cannot hold who presses Ctrl-C twice; those rows are sent again."""

    async def answer(nth: int) -> Outcome:
        if nth == 5:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
                await anyio.sleep(0.05)
        if nth >= 5:
            await anyio.sleep(3600)
        return ACCEPTED

    destination = Given(ToldTarget(answer))
    with Rollout(workspace, "run") as rollout:
        run_id = rollout.pin(small_plan(50), destination, FAST)
        finished = rollout.send(run_id, destination, FAST)
    assert (finished.reason, finished.exit_code) == (StopReason.SIGTERM, 143)
    assert finished.counts.succeeded >= 4
    assert finished.counts.requests == 50
    assert resume(workspace, run_id, ToldTarget()).counts.succeeded == 50


def test_workspace_is_held_until_the_end(workspace: Workspace) -> None:
    """While a run goes, another finds the workspace locked, by that run; then it is free."""
    holders: list[str] = []

    async def answer(nth: int) -> Outcome:
        with pytest.raises(LockedError) as caught:
            Rollout(workspace, "run")
        holders.append(str(caught.value))
        return ACCEPTED

    finished = send(workspace, ToldTarget(answer), count=1)
    assert finished.id in holders[0]
    assert workspace.holder() is None


def test_work_runs_from_within_a_running_loop() -> None:
    """A notebook has a loop of its own that is running already."""

    async def work() -> int:
        await anyio.lowlevel.checkpoint()
        return 42

    async def notebook() -> int:
        return in_event_loop(work)

    assert asyncio.run(notebook()) == 42


def test_options_survive_the_journal(workspace: Workspace) -> None:
    """What `resume` goes on with is what the run was begun with, through JSON and back."""
    sending = Sending("20/s,600/m", 7, 3, 12.5, "5%", 10)
    sandbox = EmbeddedSandbox({"limit": "50/s", "faults": {"503": 0.02}})
    with Rollout(workspace, "run") as rollout:
        run_id = rollout.pin(small_plan(1), sandbox, sending, also={"folder": "/srv"})
        options = rollout.journal.run(run_id).options
    assert Sending.from_pinned(options) == sending
    assert pinned_destination(options, "sandbox") == sandbox
    assert options["folder"] == "/srv"


def test_key_is_not_pinned(tmp_path: Path) -> None:
    """The journal says where the key was, never what it is."""
    key = ApiKey("sk-canary-4711", source="a test")
    live = Live("https://api.bland.ai", key, "raw", tmp_path / "key")
    assert dict(live.pinned) == {
        "base_url": "https://api.bland.ai",
        "auth_scheme": "raw",
        "key_file": str(tmp_path / "key"),
        "account": "",
        "transport": "direct",
    }
    assert "canary" not in json.dumps(dict(live.pinned)) + repr(live)


def test_live_api_is_named_as_such() -> None:
    """Before a run, nobody takes the live API for something else."""
    key = ApiKey("sk-canary-4711", source="a test")
    assert Live("https://api.bland.ai", key).in_words == "the live API at https://api.bland.ai"
    assert "live" not in Live("http://127.0.0.1:8080", key).in_words


def test_key_is_looked_for_anew_when_a_run_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run pinned with a key file goes on with that file, and one without it is told what is missing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BLAND_API_KEY", raising=False)
    options = {"base_url": "http://127.0.0.1:9", "auth_scheme": "bearer", "key_file": None}
    with pytest.raises(CredentialsError):
        pinned_destination(options, "http://127.0.0.1:9")
    key_file = tmp_path / "key"
    key_file.write_text("sk-canary-4711", encoding="utf-8")
    key_file.chmod(0o600)
    found = pinned_destination({**options, "key_file": str(key_file)}, "http://127.0.0.1:9")
    assert found.name == "http://127.0.0.1:9"


def test_target_of_a_callers_own_cannot_be_made_again(workspace: Workspace) -> None:
    """`sipbatch resume` of such a run says from where it can be resumed."""
    with pytest.raises(UsageError, match=r"batch\.resume\(RUN, target=...\)"):
        pinned_destination({"rate": "5/s"}, "told")


@pytest.fixture
def unused_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_nobody_there_is_told_before_anything_is_pinned(unused_port: int) -> None:
    """A refused connection is exit 75 and says that nothing was sent."""
    live = Live(f"http://127.0.0.1:{unused_port}", ApiKey("sk-canary-4711", source="a test"))
    with pytest.raises(UnreachableError, match="Nothing was sent") as caught:
        check_reachable(live)
    assert caught.value.exit_code == 75


def test_embedded_sandbox_gets_real_requests(workspace: Workspace, tmp_path: Path) -> None:
    """A run against the sandbox goes over HTTP, and the sandbox' own record says what it applied."""
    record = tmp_path / "record.jsonl"
    sandbox = EmbeddedSandbox({"record": str(record)})
    with Rollout(workspace, "run") as rollout:
        run_id = rollout.pin(small_plan(5), sandbox, FAST)
        finished = rollout.send(run_id, sandbox, FAST)
    assert finished.counts.succeeded == 5
    told = record.read_text(encoding="utf-8")
    assert all(f"+{number}" in told for number in small_plan(5).numbers.tolist())
