"""Canary, waves, windows and live control as operators use them: real processes, a real sandbox over HTTP."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from batch.errors import JournalError, UsageError
from batch.journal.events import Event
from tests.sending import SIPBATCH, Desk, Done, Server, clean_environ, finished, main, serving

T = TypeVar("T")
Invoke = Callable[..., Done]
Start = Callable[..., "subprocess.Popen[str]"]

SANDBOX = ("--sandbox", "--yes", "--rate", "1000/s")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with a template in it."""
    folder = tmp_path / "desk"
    folder.mkdir()
    return Desk(folder)


@pytest.fixture
def invoke(desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs a command in this process, in the desk's folder, without a terminal."""
    monkeypatch.chdir(desk.folder)

    def invoke_here(*arguments: str) -> Done:
        code = main(*arguments)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return invoke_here


@pytest.fixture
def start(desk: Desk) -> Iterator[Start]:
    """Starts commands as processes of their own; none of them outlives the test."""
    with ExitStack() as stack:

        def start_here(*arguments: str, **environ: str) -> subprocess.Popen[str]:
            process = stack.enter_context(desk.start(*arguments, **environ))
            stack.callback(process.kill)
            return process

        yield start_here


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A sandbox of its own."""
    with serving(tmp_path) as running:
        yield running


def until(seen: Callable[[], T], what: str, *, timeout_s: float = 30.0) -> T:
    """The first true thing that is seen."""
    ends_s = time.monotonic() + timeout_s
    while not (found := seen()):
        assert time.monotonic() < ends_s, f"waited {timeout_s:g} s in vain: {what}"
        time.sleep(0.02)
    return found


def events(desk: Desk) -> list[Event]:
    """What happened to the newest run so far."""
    try:
        with closing(desk.workspace.reader()) as journal:
            return journal.events(journal.runs()[-1].id)
    except (UsageError, JournalError, IndexError):  # it is being made
        return []


def kinds(desk: Desk) -> list[str]:
    return [event.kind for event in events(desk)]


def receives(server: Server, count: int) -> bool:
    return len(server.seen("applied")) >= count


# --- orders from another terminal -------------------------------------------------------------------


def test_a_run_is_steered_from_another_terminal(
    desk: Desk, server: Server, start: Start, invoke: Invoke
) -> None:
    """Paused, made faster, and let go on: the sandbox sees it, the journal and `status` tell of it."""
    desk.sheet(300)
    process = start("run", "numbers.csv", "--yes", "--rate", "20/s", **server.environ)
    until(lambda: receives(server, 10), "the run sends")
    run = desk.workspace.records()[-1].id

    paused = desk.run("pause")
    assert (paused.code, paused.err) == (0, "")
    assert paused.out.startswith(f"Run {run}: paused")
    # What was in flight ends at once here; then nothing more comes.
    until(lambda: server.seen("received") == server.seen("applied"), "what was in flight has ended")
    before = server.seen("applied").total()
    assert "paused by the operator" in invoke("status").out
    assert invoke("pause").out == f"Run {run}: it is paused already.\n"
    assert server.seen("applied").total() == before

    assert invoke("rate", "500/s", run).out == f"Run {run}: sending at 500/s; it was 20/s.\n"
    assert server.seen("applied").total() == before
    assert invoke("continue", run[:-1]).out == f"Run {run}: going on.\n"
    done = finished(process)
    assert done.code == 0
    assert set(server.seen("applied").values()) == {1}
    assert len(server.seen("applied")) == 300
    assert kinds(desk) == ["began", "paused", "rate_changed", "continued"]
    summary = json.loads((desk.workspace.run_folder(run) / "summary.json").read_text(encoding="utf-8"))
    assert [one["text"] for one in summary["happenings"]] == [
        "Sending began: 300 requests were left, at 20/s.",
        "Paused: by the operator.",
        "Rate changed: by the operator, from 20/s to 500/s.",
        "Continued: by the operator.",
    ]
    assert not desk.workspace.control_path.exists()


def test_a_run_is_stopped_from_another_terminal_and_resumed_at_its_last_rate(
    desk: Desk, server: Server, start: Start, invoke: Invoke
) -> None:
    """As by Ctrl-C: 130, interrupted, a report; `resume` goes on at the rate that it was given meanwhile."""
    desk.sheet(600)
    process = start("run", "numbers.csv", "--yes", "--rate", "20/s", **server.environ)
    until(lambda: receives(server, 5), "the run sends")
    assert invoke("rate", "30/s").code == 0
    stopped = invoke("stop")
    assert (stopped.code, "stopping" in stopped.out) == (0, True)
    done = finished(process)
    assert done.code == 130
    assert "stopped from another terminal" in done.err
    assert (desk.workspace.run_folder(desk.workspace.records()[-1].id) / "results.csv").exists()

    resumed = start("resume", **server.environ)
    until(lambda: kinds(desk).count("began") == 2, "the run goes on")
    assert events(desk)[-1].detail["rate"] == "30/s"
    assert invoke("rate", "1000/s").code == 0
    assert finished(resumed).code == 0
    assert len(server.seen("applied")) == 600


def test_an_order_where_nothing_is_going_says_so(desk: Desk, invoke: Invoke) -> None:
    """With where the newest run stands; and nothing is made."""
    assert "there are no runs here" in invoke("pause").err
    desk.sheet(2)
    invoke("run", "numbers.csv", *SANDBOX)
    run = desk.workspace.records()[-1].id
    for order in (("pause",), ("continue",), ("rate", "5/s"), ("stop", run)):
        done = invoke(*order)
        assert done.code == 2
        assert "no run is going here" in done.err
        assert f"Run {run} is completed." in done.err
    assert not desk.workspace.control_path.exists()


def test_an_order_to_a_run_that_was_killed_says_so(
    desk: Desk, server: Server, start: Start, invoke: Invoke
) -> None:
    """Its box is still there, and nobody looks into it."""
    desk.sheet(600)
    process = start("run", "numbers.csv", "--yes", "--rate", "20/s", **server.environ)
    until(lambda: receives(server, 3) and desk.workspace.control_path.exists(), "the run sends")
    process.kill()
    finished(process)
    done = invoke("stop")
    assert done.code == 2
    assert "no run is going here" in done.err
    assert "is running" in done.err or "sipbatch status" in done.err
    # What it might have left is nobody's any more.
    assert desk.run("resume", "--rate", "1000/s", **server.environ).code == 0


def test_an_order_to_another_run_than_the_one_that_is_going_is_refused(
    desk: Desk, server: Server, start: Start, invoke: Invoke
) -> None:
    """The one that goes is named."""
    desk.sheet(2)
    invoke("run", "numbers.csv", *SANDBOX)
    done_before = desk.workspace.records()[-1].id
    desk.sheet(600)
    process = start("run", "numbers.csv", "--yes", "--rate", "20/s", **server.environ)
    until(lambda: receives(server, 3), "the run sends")
    refused = invoke("stop", done_before)
    assert refused.code == 2
    assert f"Run {done_before} is not going; it is completed." in refused.err
    assert process.poll() is None
    assert invoke("stop").code == 0
    assert finished(process).code == 130


def test_a_run_that_does_not_answer_is_not_waited_for_for_ever(
    desk: Desk, server: Server, start: Start, monkeypatch: pytest.MonkeyPatch, invoke: Invoke
) -> None:
    """A process that is suspended keeps the workspace and answers nothing; the order is taken back."""
    monkeypatch.setattr("batch.engine.mailbox.order_and_wait.__kwdefaults__", _short_patience())
    desk.sheet(100)
    process = start("run", "numbers.csv", "--yes", "--rate", "20/s", **server.environ)
    until(lambda: receives(server, 3), "the run sends")
    process.send_signal(signal.SIGSTOP)
    try:
        done = invoke("pause")
    finally:
        process.send_signal(signal.SIGCONT)
    assert done.code == 75
    assert "does not answer" in done.err
    assert "paused" not in kinds(desk)
    assert invoke("stop").code == 0
    assert finished(process).code == 130
    assert "paused" not in kinds(desk)


def _short_patience() -> dict[str, object]:
    from batch.engine.mailbox import order_and_wait

    return {**(order_and_wait.__kwdefaults__ or {}), "timeout_s": 1.0}


# --- canary and waves -------------------------------------------------------------------------------


def test_waves_go_out_one_after_the_other(desk: Desk, server: Server) -> None:
    """The first has a number of every country; what it says of them is in the journal."""
    desk.sheet(200, extra=["+4930901820,codecs", "+442079460000,codecs"])
    done = desk.run(
        "run", "numbers.csv", "--yes", "--rate", "500/s", "--canary", "3", "--waves", "10%", **server.environ
    )
    assert done.code == 0
    assert "It is sent in 3 waves, of 3, 18 and 181." in done.err
    order = [
        json.loads(line)["phone_number"]
        for line in server.record.read_text(encoding="utf-8").splitlines()
        if '"applied"' in line
    ]
    assert {number[:3] for number in order[:3]} == {"+14", "+49", "+44"}
    assert kinds(desk) == ["began", "wave_ended", "canary_passed", "wave_ended", "wave_passed"]
    assert len(server.seen("applied")) == 202


def test_a_wave_that_fails_stops_the_run_and_resume_goes_on(desk: Desk, tmp_path: Path) -> None:
    """Exit 4 with what was counted; `resume` sends the waves that are left."""
    desk.sheet(100)
    with serving(tmp_path, faults={"400": 1.0}, fault_first=3) as server:
        run = ("run", "numbers.csv", "--yes", "--rate", "500/s", "--waves", "10%,100%")
        done = desk.run(*run, **server.environ)
        assert done.code == 4
        assert "3 of the 10 requests of wave 1 did not succeed" in done.err
        assert server.seen("received").total() == 10
        resumed = desk.run("resume", **server.environ)
        assert resumed.code == 3
        assert len(server.seen("applied")) == 97


def test_even_a_bad_last_wave_costs_no_more_than_may_fail(desk: Desk, server: Server, start: Start) -> None:
    """The sandbox refuses everything after the canary: five may fail, and the sixth stops the run."""
    desk.sheet(200)
    options = ("--rate", "1000/s", "--canary", "4", "--max-failures", "5", "--soak", "3")
    process = start("run", "numbers.csv", "--yes", *options, **server.environ)
    until(lambda: "wave_ended" in kinds(desk), "the canary has ended")
    _turn_bad(server)
    done = finished(process)
    assert done.code == 4
    assert "--max-failures allows 5" in done.err
    assert server.seen("received").total() <= 4 + 6


def _turn_bad(server: Server) -> None:
    body = json.dumps({"faults": {"400": 1.0}}).encode()
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(
        urllib.request.Request(f"{server.url}/_sandbox", body, headers), timeout=10
    ).close()


def test_an_operator_is_asked_between_the_waves(desk: Desk, server: Server) -> None:
    """On the terminal; yes sends the next wave, no stops with 4."""
    desk.sheet(50)
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [*SIPBATCH, "run", "numbers.csv", "--rate", "500/s", "--canary", "5", "--waves", "50%"],
        cwd=desk.folder,
        env={**clean_environ(), **server.environ},
        stdin=secondary,
        stdout=subprocess.DEVNULL,
        stderr=secondary,
    )
    os.close(secondary)
    shown = b""

    def answer(when: bytes, text: bytes) -> None:
        nonlocal shown
        while when not in shown:
            shown += os.read(primary, 65_536)
        shown = shown.partition(when)[2]
        os.write(primary, text)

    answer(b"Send 50 requests", b"y\n")
    answer(
        b"Wave 1 of 3, the canary: 5 requests, all of them succeeded. Go on with the next 20? [y/N]:", b"y\n"
    )
    answer(b"Wave 2 of 3: 20 requests, all of them succeeded. Go on with the next 25? [y/N]:", b"\n")
    while True:
        try:
            if not os.read(primary, 65_536):
                break
        except OSError:
            break
    os.close(primary)
    assert process.wait(timeout=30) == 4
    assert len(server.seen("applied")) == 25


# --- windows ----------------------------------------------------------------------------------------


def _window(from_min: int, to_min: int) -> str:
    now = datetime.now(UTC)
    opens, closes = (now + timedelta(minutes=minutes) for minutes in (from_min, to_min))
    return f"{opens:%H:%M}-{closes:%H:%M}@UTC"


def test_a_run_in_its_window_is_sent(desk: Desk, invoke: Invoke) -> None:
    """The plan says that it fits."""
    desk.sheet(20)
    done = invoke("run", "numbers.csv", *SANDBOX, "--window", _window(-5, 60))
    assert done.code == 0
    assert "All of it fits in there" in done.err


def test_a_run_outside_of_its_window_waits_until_it_is_stopped(
    desk: Desk, server: Server, start: Start, invoke: Invoke
) -> None:
    """It sends nothing, says until when, and can be stopped; resumed with another window it goes on."""
    desk.sheet(20)
    process = start("run", "numbers.csv", "--yes", "--window", _window(120, 240), **server.environ)
    until(lambda: "window_closed" in kinds(desk), "the run waits")
    assert "the window is closed" in invoke("status").out
    assert invoke("stop").code == 0
    assert finished(process).code == 130
    assert not server.seen("received")
    resumed = desk.run("resume", "--window", "00:00-24:00@UTC", "--rate", "500/s", **server.environ)
    assert resumed.code == 0
    assert len(server.seen("applied")) == 20


def test_a_run_outside_of_its_window_may_end_at_once(desk: Desk, invoke: Invoke) -> None:
    """75, with the time to come back."""
    desk.sheet(20)
    done = invoke("run", "numbers.csv", *SANDBOX, "--window", _window(120, 240), "--window-exit")
    assert done.code == 75
    assert "the window is closed until" in done.err
    assert "come back then" in done.err


def test_the_plan_says_which_row_the_window_does_not_reach(desk: Desk, invoke: Invoke) -> None:
    """For people and for scripts, and the command it leads to has the window."""
    desk.sheet(10_000)
    window = ("--window", _window(60, 70), "--rate", "1/s")
    done = invoke("plan", "numbers.csv", *window)
    assert (
        "569 of 10,000 requests fit in there. The first row that is not reached then is numbers.csv:571"
        in (done.out)
    )
    assert "--window" in done.out.splitlines()[-1]
    told = json.loads(invoke("plan", "numbers.csv", *window, "--json").out)["schedule"]
    assert (told["fits"], told["reached"], told["first_row_not_reached"]) == (False, 569, "numbers.csv:571")
    # So long before it closes nothing more is sent.
    patient = json.loads(invoke("plan", "numbers.csv", *window, "--deadline", "300", "--json").out)
    assert patient["schedule"]["reached"] == 299


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--window", "22:00-05:00"), "such as 22:00-05:00@Europe/Berlin"),
        (("--window", "22:00-05:00@Mars/Olympus"), "no time zone"),
        (("--window", "22:00-22:01@UTC"), "too short"),
        (("--waves", "10%,5%"), "goes no further than"),
        (("--canary", "some"), "such as 50, or auto"),
    ],
)
def test_what_is_not_understood_is_told_before_anything_is_planned(
    desk: Desk, invoke: Invoke, option: tuple[str, ...], says: str
) -> None:
    """A usage error; nothing is made."""
    desk.sheet(1)
    done = invoke("run", "numbers.csv", *SANDBOX, *option)
    assert done.code == 2
    assert says in done.err
    assert not desk.workspace.path.exists()
