"""Status: what a run waits for, what has failed so far, and looking on until it ends."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from batch.commands.screen import cut
from batch.errors import UsageError
from batch.journal.events import Event
from batch.journal.protocol import Counts, RunRecord
from batch.journal.sqlite import SqliteJournal
from batch.states import RequestState, StopReason
from batch.waiting import waiting_for
from batch.watching import Watch
from batch.workspace import Workspace
from tests.report_runs import MIXED, START, create, mixed_draft, mixed_run, play
from tests.sending import SIPBATCH, Desk, Done, clean_environ, finished, main

BEGAN = Event(0.0, "began", {"left": 100})
THROTTLED = Event(10.0, "throttled", {"wait_s": 30.0, "rate_per_s": 5.0})
OUTAGE = Event(20.0, "outage", {"pause_s": 8.0, "message": "HTTP 502", "failed_probes": 1})
OUTAGE_OVER = Event(25.0, "outage_over", {})
PAUSED = Event(11.0, "paused", {})
CONTINUED = Event(15.0, "continued", {})
CLOSED = Event(12.0, "window_closed", {"opens_at": "2026-07-28T22:00:00.000Z", "wait_s": 100.0})
OPENED = Event(112.0, "window_opened", {"closes_at": "2026-07-29T04:00:00.000Z"})
WAVE_ENDED = Event(13.0, "wave_ended", {"wave": 1, "of": 3, "requests": 10, "wait_s": 60.0})
WAVE_PASSED = Event(80.0, "wave_passed", {"wave": 1, "of": 3})
STOPPED = Event(26.0, "stopped", {"reason": "sigint", "message": "interrupted by SIGINT"})
CANARY_PASSED = Event(5.0, "canary_passed", {"requests": 3})


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace whose folder is there."""
    (tmp_path / "ws").mkdir()
    return Workspace(tmp_path / "ws")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with a template in it."""
    (tmp_path / "desk").mkdir()
    return Desk(tmp_path / "desk")


def running(options: dict[str, object] | None = None) -> RunRecord:
    """A run that is going."""
    from batch.journal.memory import MemoryJournal

    journal = MemoryJournal()
    run_id = create(journal, mixed_draft().plan())
    journal.begin(run_id, 0.0)
    record = journal.run(run_id)
    return RunRecord(
        **{name: getattr(record, name) for name in record.__slots__} | {"options": options or {}}
    )


# --- what is waited for -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "now", "said"),
    [
        ([BEGAN], 30.0, None),
        ([BEGAN, THROTTLED], 30.0, ("the API asked to wait", 10.0)),
        ([BEGAN, THROTTLED], 41.0, None),
        (
            [BEGAN, THROTTLED, OUTAGE],
            22.0,
            ("the API does not answer as it should (HTTP 502), trying again", 6.0),
        ),
        ([BEGAN, OUTAGE, OUTAGE_OVER], 26.0, None),
        ([BEGAN, THROTTLED, PAUSED], 12.0, ("paused by the operator", 0.0)),
        ([BEGAN, PAUSED, CONTINUED], 16.0, None),
        ([BEGAN, CLOSED], 22.0, ("the window is closed until 2026-07-28T22:00:00.000Z", 90.0)),
        ([BEGAN, CLOSED, OPENED], 113.0, None),
        ([BEGAN, WAVE_ENDED], 23.0, ("soaking after wave 1 of 3", 50.0)),
        ([BEGAN, WAVE_ENDED], 75.0, ("looking at how wave 1 of 3 went", 0.0)),
        ([BEGAN, WAVE_ENDED, WAVE_PASSED], 81.0, None),
        ([BEGAN, THROTTLED, STOPPED], 27.0, ("stopping: interrupted by SIGINT", 0.0)),
        ([BEGAN, THROTTLED, STOPPED, Event(30.0, "began", {})], 31.0, None),
    ],
)
def test_waits_are_told_from_the_events(
    events: list[Event], now: float, said: tuple[str, float] | None
) -> None:
    """A pause is told with what is left of it, until it is over; what was before a resume is over."""
    told = waiting_for(running(), events, Counts(pending=90, succeeded=10), next_due=None, now=now)
    assert (told and (told.text, told.wait_s)) == said


def test_canary_is_waited_for_until_it_has_passed() -> None:
    """A run with a canary says so, and no longer once it has passed, before a resume or after."""
    run, counts = running({"canary": 3}), Counts(pending=90, in_flight=3)
    told = waiting_for(run, [BEGAN], counts, next_due=None, now=1.0)
    assert told is not None
    assert told.text == "the canary: all of it must succeed before the others are sent"
    assert not told.is_hold
    passed = [BEGAN, CANARY_PASSED, Event(9.0, "began", {})]
    assert waiting_for(run, passed, counts, next_due=None, now=10.0) is None


def test_last_retries_are_waited_for() -> None:
    """Where nothing is left but retries that are not due yet, it says how long until the next."""
    told = waiting_for(running(), [BEGAN], Counts(retrying=2, succeeded=9), next_due=47.0, now=40.0)
    assert told is not None
    assert (told.text, told.wait_s) == ("the next retry", 7.0)
    assert waiting_for(running(), [BEGAN], Counts(1, 0, 2), next_due=47.0, now=40.0) is None


# --- looking on -------------------------------------------------------------------------------------


class Time:
    """Clocks that stand still until they are moved; each reading of `clock` may cost something."""

    def __init__(self) -> None:
        self.at = START
        self.cost_s = 0.0

    def now(self) -> float:
        return self.at

    def clock(self) -> float:
        self.at += self.cost_s
        return self.at


@contextmanager
def watching(workspace: Workspace, time: Time, wanted: str | None = None) -> Iterator[Watch]:
    with closing(Watch(workspace, wanted, now=time.now, clock=time.clock)) as watch:
        yield watch


@contextmanager
def going(workspace: Workspace) -> Iterator[tuple[SqliteJournal, str]]:
    """A run that this process holds the workspace for."""
    with workspace.lock("run") as lock, closing(workspace.journal()) as journal:
        run_id = create(journal, mixed_draft().plan())
        lock.name_run(run_id)
        yield journal, run_id


def test_causes_so_far_are_told(workspace: Workspace) -> None:
    """What failed or is unknown is told by cause, most first, with no number in it."""
    with going(workspace) as (journal, run_id):
        play(journal, run_id, MIXED, reason=None)
        with watching(workspace, Time()) as watch:
            seen = watch.look()
    first, *_ = seen.causes
    assert (first.count, first.title) == (2, "NOT_FOUND (HTTP 404): no such number <number>")
    counts = seen.standing.counts
    assert sum(cause.count for cause in seen.causes) == counts.failed + counts.unknown


def test_rate_and_time_left_are_those_of_late(workspace: Workspace) -> None:
    """The rate is that of the last looks; what is waited for comes before what is left."""
    time = Time()
    with going(workspace) as (journal, run_id), watching(workspace, time) as watch:
        journal.begin(run_id, START)
        journal.exchange(run_id, events=[Event(START, "began", {"left": 10})])
        watch.look()
        time.at += 4
        play_some(journal, run_id, 2)
        seen = watch.look()
        assert seen.standing.rate_per_s == pytest.approx(0.5)
        assert seen.standing.eta_s == pytest.approx(seen.standing.counts.left / 0.5)
        journal.exchange(run_id, events=[Event(time.at, "throttled", {"wait_s": 60.0})])
        waiting = watch.look().standing
        assert waiting.eta_s == pytest.approx(seen.standing.eta_s + 60)
        assert waiting.waiting is not None
        assert waiting.waiting.text == "the API asked to wait"


def play_some(journal: SqliteJournal, run_id: str, count: int) -> None:
    """So many requests succeed."""
    from batch.journal.protocol import EVERYTHING, Ended
    from tests.report_runs import ACCEPTED

    claims = journal.exchange(run_id, want=count, shards=EVERYTHING, now=START)
    ended = [Ended(claim, RequestState.SUCCEEDED, ACCEPTED, START, 0.05) for claim in claims]
    journal.exchange(run_id, ended=ended)


def test_dear_looks_are_spaced(workspace: Workspace) -> None:
    """A journal that takes long to read is read seldom, at most a twentieth of the time."""
    time = Time()
    with going(workspace), watching(workspace, time) as watch:
        watch.look()
        assert watch.pause_s(2.0) == 2.0
        time.cost_s, began = 0.4, time.at
        watch.look()
        assert 20 * 0.4 <= watch.pause_s(2.0) <= 20 * (time.at - began)


def test_run_is_going_until_its_report_is_written(workspace: Workspace) -> None:
    """Whoever waits for the end finds the report there."""
    with going(workspace) as (journal, run_id), watching(workspace, Time()) as watch:
        play(journal, run_id, MIXED)
        during = watch.look().standing
        assert during.is_going
        assert during.waiting is not None
        assert during.waiting.text == "the report is being written"
        assert during.rate_per_s is None
    with watching(workspace, Time()) as watch:
        assert not watch.look().standing.is_going


def test_run_that_was_killed_is_not_going(workspace: Workspace) -> None:
    """Its process gone, a run that says that it is running is left behind."""
    with closing(workspace.journal()) as journal:
        run_id = create(journal, mixed_draft().plan())
        play(journal, run_id, {}, reason=None)
    with watching(workspace, Time()) as watch:
        seen = watch.look().standing
    assert seen.is_left_behind
    assert (seen.rate_per_s, seen.eta_s, seen.waiting) == (None, None, None)


def test_no_runs_is_usage(tmp_path: Path) -> None:
    """Where nothing was run yet, it says so and makes nothing."""
    with pytest.raises(UsageError, match="there are no runs here"):
        Watch(Workspace(tmp_path / "none"), None)
    assert list(tmp_path.iterdir()) == []


# --- the command ------------------------------------------------------------------------------------

SLOW = ("--sandbox", "--yes", "--rate", "20/s", "--quiet")


@contextmanager
def slow_run(desk: Desk) -> Iterator[subprocess.Popen[str]]:
    """A run of three seconds, which has begun; it is ended with the block."""
    desk.sheet(60)
    process = desk.start("run", "numbers.csv", *SLOW)
    try:
        while not (desk.workspace.journal_path.exists() and is_begun(desk)):
            assert process.poll() is None
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        finished(process)


def is_begun(desk: Desk) -> bool:
    from batch.errors import JournalError

    try:
        return any(record.started_at is not None for record in desk.workspace.records())
    except JournalError:  # it is being made
        return False


def test_watch_stays_until_the_run_has_ended(desk: Desk) -> None:
    """Without a terminal it is a line each time, then the whole status; the exit code is 0."""
    with slow_run(desk):
        done = desk.run("status", "--watch", "0.2")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert re.match(r"20\S+Z \d+ of 60 done: \d+ succeeded, \d+\.\d/s, \d s left", lines[1])
    assert any("60 of 60 requests done (100%)" in line for line in lines)
    assert any(line.endswith("results.csv") for line in lines)


def test_watch_in_json_is_an_object_a_line(desk: Desk) -> None:
    """For scripts, each look is a line; the last says how it ended."""
    with slow_run(desk):
        done = desk.run("status", "--watch", "0.2", "--json")
    seen = [json.loads(line) for line in done.out.splitlines()]
    assert len(seen) > 2
    assert [seen[0]["is_going"], seen[-1]["is_going"]] == [True, False]
    assert [seen[-1]["state"], seen[-1]["counts"]["left"]] == ["completed", 0]
    assert sorted(seen, key=lambda one: one["counts"]["succeeded"]) == seen


def test_ctrl_c_leaves_quietly(desk: Desk) -> None:
    """Leaving stops nothing and says nothing; the exit code tells a script that the run had not ended."""
    with slow_run(desk) as run:
        process = desk.start("status", "--watch", "60")
        assert process.stdout is not None
        assert "of 60 done" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        done = finished(process)
        assert (done.code, done.out, done.err) == (130, "", "")
        assert run.poll() is None


def on_terminal(desk: Desk, *arguments: str, columns: int, rows: int = 24) -> str:
    """What a command writes to a terminal of this size."""
    above, below = pty.openpty()
    fcntl.ioctl(below, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        [*SIPBATCH, *arguments],
        cwd=desk.folder,
        env={**clean_environ(), "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=below,
        stderr=subprocess.PIPE,
    )
    os.close(below)
    shown = b""
    with os.fdopen(above, "rb", buffering=0) as screen:
        while True:
            try:
                read = screen.read(65_536)
            except OSError:  # how Linux says that the other side is closed
                break
            shown += read
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    return shown.decode()


def test_terminal_is_drawn_in_place(desk: Desk) -> None:
    """Each look goes over the one before, line by line, and none is wider or higher than the terminal."""
    with slow_run(desk):
        shown = on_terminal(desk, "status", "--watch", "0.3", columns=44, rows=8)
    first, *others = re.split("\x1b\\[\\d+A\r", shown)
    ups = [int(up) for up in re.findall("\x1b\\[(\\d+)A\r", shown)]
    frames = [plain(frame).splitlines() for frame in [first, *others[:-1]]]
    assert len(frames) > 2
    assert [len(frame) for frame in frames] == ups
    assert max(ups) < 8
    assert max(len(line) for frame in frames for line in frame) < 44
    assert "60 of 60 requests done (100%)" in others[-1]


def plain(text: str) -> str:
    return re.sub(r"\x1b\[\w+", "", text).replace("\r", "")


@pytest.fixture
def ended(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """`status` of a workspace whose one run has ended."""
    with closing(workspace.journal()) as journal:
        mixed_run(journal)
    monkeypatch.chdir(workspace.path)

    def status(*arguments: str) -> Done:
        code = main("status", *arguments, "--workspace", str(workspace.path))
        return Done(code, *capsys.readouterr())

    return status


def test_run_that_has_ended_is_shown_once(workspace: Workspace, ended: Callable[..., Done]) -> None:
    """There is nothing to wait for: the status, and 0; what stands behind `--watch` may be the run."""
    run = workspace.records()[0].id
    for arguments in (("--watch", run), (run, "--watch"), ("--watch", "5"), (run[:-1], "--watch", "5")):
        done = ended(*arguments)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(f"Run {run}: completed")
        assert done.out.count("requests done") == 1


@pytest.mark.parametrize("interval", ["0", "soon", "nan", "inf", "1e9"])
def test_interval_that_cannot_be_is_usage(ended: Callable[..., Done], interval: str) -> None:
    """It says what can be."""
    done = ended("--watch", interval)
    assert (done.code, done.out) == (2, "")
    assert "write seconds, from 0.2 to" in done.err


def test_status_as_json_has_causes(ended: Callable[..., Done]) -> None:
    """Scripts get what people see."""
    told = json.loads(ended("--json").out)
    assert told["causes"][0]["count"] == 2
    assert told["counts"]["failed"] == 4
    assert (told["waiting_for"], told["wait_s"], told["eta_s"]) == ("", 0.0, None)


def test_what_the_api_said_cannot_move_the_cursor(workspace: Workspace, desk: Desk) -> None:
    """Control characters in a message are shown as escapes, and numbers in it are masked."""
    from batch.commands.status import _lines

    with closing(workspace.journal()) as journal:
        run_id = mixed_run(journal)
        text = "\x1b[2J +14155550111 is busy"
        journal.exchange(run_id, events=[Event(START, "outage", {"message": text, "pause_s": 1})])
    with watching(workspace, Time()) as watch:
        shown = "\n".join(_lines(watch.look(), workspace))
    assert "\x1b" not in shown
    assert r"\x1b[2J +14155…11 is busy" in shown


@pytest.mark.parametrize(
    ("line", "columns", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("漢字漢字", 5, "漢字…"),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
    ],
)
def test_lines_are_cut_by_what_a_terminal_shows(line: str, columns: int, shown: str) -> None:
    """Wide letters take two columns, combining ones none."""
    assert cut(line, columns) == shown


def test_halted_run_says_how_to_go_on(workspace: Workspace) -> None:
    """As before: the reason, and the command."""
    from batch.commands.status import _lines

    with closing(workspace.journal()) as journal:
        run_id = create(journal, mixed_draft().plan())
        play(journal, run_id, {0: MIXED[0]}, reason=StopReason.SAFETY, message="too many failures")
    with watching(workspace, Time()) as watch:
        shown: Any = _lines(watch.look(), workspace)
    assert shown[0] == f"Run {run_id}: halted (safety), to https://api.example.com"
    assert shown[-1].startswith(f"Go on with it: sipbatch resume {run_id} --workspace ")


def test_last_event_is_told_in_words(workspace: Workspace) -> None:
    """What happened last is said in words, not by the names that the journal has for it."""
    from batch.commands.status import _lines

    with closing(workspace.journal()) as journal:
        run_id = create(journal, mixed_draft().plan())
        journal.begin(run_id, START)
        journal.exchange(run_id, events=[Event(START, "throttled", {"wait_s": 90.0, "rate_per_s": 3.5})])
    with watching(workspace, Time()) as watch:
        shown: Any = _lines(watch.look(), workspace)
    assert "  last event at 2026-07-27T09:30:00.000Z: told to wait: for 1 min 30 s, by the API" in shown
