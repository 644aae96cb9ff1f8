"""What a run does when it is told to stop, is stopped for a while, or loses its terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import signal
import termios
import time
from collections import Counter

import pytest

from batch.states import RunState
from tests.faults.accounts import assert_all_agree, audited, report_rows
from tests.faults.stage import Command, Server, Stage, until

CONCURRENCY = 6
RUN = ("run", "numbers.csv", "--yes", "--rate", "1000/s", "--concurrency", str(CONCURRENCY))


def begun(stage: Stage, server: Server, rows: int, *, after: int = 12) -> tuple[Command, dict[str, str]]:
    """A run that is in the middle of its sending, and what each number must get."""
    wanted = stage.sheet(rows)
    command = stage.start(*RUN, environ=server.environ)
    stage.is_sending(command, after)
    return command, wanted


def assert_drained(stage: Stage, server: Server, signalled_at: float, rows: int) -> None:
    """What was in flight ended and is journaled, nothing was sent after that, and the report says so."""
    record = stage.newest
    assert record.state is RunState.INTERRUPTED
    counts = audited(stage, record.id)
    assert counts.requests == rows
    assert counts.in_flight == counts.unknown == counts.failed == 0
    assert 0 < counts.succeeded < rows
    account = server.record.read()
    # All that arrived was answered to a process that still listened.
    assert len(account.arrivals) == counts.succeeded
    assert max(account.times) <= signalled_at + 1.0
    states = Counter(row["result_state"] for row in report_rows(stage.workspace.run_folder(record.id)))
    assert states == {"succeeded": counts.succeeded, "pending": counts.pending}


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_first_signal_drains(stage: Stage, number: signal.Signals, code: int) -> None:
    """It stops sending, waits for what is in flight, journals, reports, and says how to go on."""
    server = stage.sandbox(latency="150ms")
    command, wanted = begun(stage, server, 400)
    signalled_at = time.time()
    command.signal(number)
    done = command.done(timeout_s=20)
    assert (done.code, done.out) == (code, "")
    assert "sipbatch resume" in done.err
    assert_drained(stage, server, signalled_at, len(wanted))


def test_resume_after_a_signal_repeats_nothing(stage: Stage) -> None:
    """A drained run has no doubts: `resume` sends each of the others once, and nothing twice."""
    server = stage.sandbox(latency="20ms")
    command, wanted = begun(stage, server, 150)
    command.signal(signal.SIGTERM)
    assert command.done().code == 143
    assert stage.here("resume", environ=server.environ).code == 0
    account = server.record.read()
    assert_all_agree(stage, stage.newest.id, account, wanted)
    assert len(account.arrivals) == len(wanted)


def test_second_signal_ends_it_at_once(stage: Stage) -> None:
    """A server that hangs holds nobody: what was in flight is journaled as in doubt, and reported."""
    server = stage.sandbox(faults={"hang": 1.0}, fault_after=20)
    command, _ = begun(stage, server, 60, after=20)
    command.signal(signal.SIGINT)
    until(lambda: "stopping" in command.err or not command.is_going, "the first signal is heeded")
    at_s = time.monotonic()
    command.signal(signal.SIGINT)
    done = command.done(timeout_s=20)
    assert time.monotonic() - at_s < 10
    assert done.code == 130
    counts = audited(stage, stage.newest.id)
    assert counts.succeeded == 20
    assert 1 <= counts.retrying <= CONCURRENCY
    assert counts.in_flight == 0
    in_doubt = [
        row
        for row in report_rows(stage.workspace.run_folder(stage.newest.id))
        if row["result_state"] == "retrying"
    ]
    assert len(in_doubt) == counts.retrying
    assert all("may have been applied" in row["result_error"] for row in in_doubt)


def test_stopped_process_does_not_burst_when_it_goes_on(stage: Stage) -> None:
    """The slots that pass while it is stopped are lost: afterwards it sends at its rate, as before."""
    rate = 50
    server = stage.sandbox(latency="5ms")
    stage.sheet(2_000)
    command = stage.start("run", "numbers.csv", "--yes", "--rate", f"{rate}/s", environ=server.environ)
    stage.is_sending(command, 30)
    command.signal(signal.SIGSTOP)
    stopped_at = time.time()
    # The time itself is what is tested: sixty slots go by.
    time.sleep(1.2)
    before = server.record.received()
    went_on_at = time.time()
    command.signal(signal.SIGCONT)
    until(lambda: server.record.received() >= before + 2 * rate, "it goes on for two seconds")
    account = server.record.read()
    asleep = [at for at in account.times if stopped_at + 0.2 < at < went_on_at]
    assert asleep == []
    # A burst would be sixty in the first moment; what is allowed beside the rate is what the network delayed.
    first = sum(went_on_at <= at < went_on_at + 0.5 for at in account.times)
    assert first <= rate * 0.5 + 8
    assert account.busiest() <= rate + 4


# --- the terminal goes ------------------------------------------------------------------------------


def on_a_terminal(stage: Stage, server: Server, *words: str) -> tuple[Command, int]:
    """A command that leads the session of a terminal of its own; with the terminal's other end."""
    ours, theirs = pty.openpty()

    def lead() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    command = stage.launch(
        words, environ=server.environ, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=lead
    )
    os.close(theirs)
    return command, ours


def test_lost_terminal_drains_the_run(stage: Stage) -> None:
    """When an ssh connection breaks, the run ends as by SIGTERM: nothing in doubt, a report, and `resume`."""
    server = stage.sandbox(latency="100ms")
    wanted = stage.sheet(400)
    sipbatch = shlex.join((*stage.sipbatch, *RUN, "--json"))
    code_path = stage.folder / "code"
    # A shell in between, as there is one behind ssh: it too is told of the hang-up, and tells us again.
    shell = f"trap 'kill -HUP $!' HUP; {sipbatch} & wait $!; wait $!; echo $? > {shlex.quote(str(code_path))}"
    command, terminal = on_a_terminal(stage, server, "bash", "-c", shell)
    stage.is_sending(command, 12)
    hung_up_at = time.time()
    os.close(terminal)
    until(lambda: code_path.exists() and code_path.read_text().strip(), "the run ends")
    assert code_path.read_text().strip() == "143"
    assert_drained(stage, server, hung_up_at, len(wanted))
    assert stage.here("resume", "--rate", "1000/s", environ=server.environ).code == 0
    assert_all_agree(stage, stage.newest.id, server.record.read(), wanted)


def test_nohup_outlives_its_terminal(stage: Stage) -> None:
    """`nohup sipbatch run ...` goes on to its end when the terminal goes."""
    server = stage.sandbox(latency="20ms")
    wanted = stage.sheet(200)
    command, terminal = on_a_terminal(stage, server, "nohup", *stage.sipbatch, *RUN)
    stage.is_sending(command, 12)
    os.close(terminal)
    assert command.process.wait(timeout=30) == 0
    assert_all_agree(stage, stage.newest.id, server.record.read(), wanted)


def test_reader_of_stderr_may_leave(stage: Stage) -> None:
    """`sipbatch run ... 2>&1 | head -1`: whoever stops reading stops nothing, nor changes the exit code."""
    server = stage.sandbox(latency="5ms")
    wanted = stage.sheet(60)
    reading, writing = os.pipe()
    os.close(reading)
    command = stage.start(*RUN, "--json", environ=server.environ, stdout=writing, stderr=writing)
    os.close(writing)
    assert command.process.wait(timeout=30) == 0
    assert_all_agree(stage, stage.newest.id, server.record.read(), wanted)


def test_closed_streams_lead_nowhere(stage: Stage) -> None:
    """`sipbatch run ... <&- >&- 2>&-`: no file takes their places, and it ends as it would have."""
    server = stage.sandbox(latency="5ms")
    wanted = stage.sheet(60)
    told = stage.folder / "told"
    hook = f"echo out; echo err >&2; cat; echo $SIPBATCH_EXIT_CODE > {shlex.quote(str(told))}"
    words = (*RUN, "--json", "--on-finish", hook)
    command = stage.start(*words, environ=server.environ, preexec_fn=lambda: os.closerange(0, 3))
    assert command.process.wait(timeout=30) == 0
    assert_all_agree(stage, stage.newest.id, server.record.read(), wanted)
    assert told.read_text(encoding="utf-8") == "0\n"


def test_hang_up_is_heeded_once(stage: Stage) -> None:
    """Told of it twice, by the terminal and by its shell, it still lets what is in flight finish."""
    server = stage.sandbox(latency="400ms")
    command, wanted = begun(stage, server, 100)
    signalled_at = time.time()
    for _ in range(3):
        command.signal(signal.SIGHUP)
        time.sleep(0.05)  # apart enough to be told apart
    assert command.done(timeout_s=20).code == 143
    assert_drained(stage, server, signalled_at, len(wanted))
