"""Progress: what is shown, when, and that showing it never harms the run."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.journal.protocol import Counts
from batch.progress import (
    JsonProgress,
    LineProgress,
    Pace,
    Progress,
    Silent,
    TqdmProgress,
    aside,
    default_progress,
    duration_text,
)
from tests.sending import clean_environ


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at_s = 100.0

    def __call__(self) -> float:
        return self.at_s

    def move(self, seconds: float) -> None:
        self.at_s += seconds


def counts(succeeded: int, *, total: int = 100, **others: int) -> Counts:
    return Counts(pending=total - succeeded - sum(others.values()), succeeded=succeeded, **others)


def test_pace_is_that_of_the_last_seconds() -> None:
    """What was fast at the start does not colour what is slow now."""
    clock = Clock()
    pace = Pace(now=clock, window_s=10)
    for ended in (*range(0, 1000, 100), *range(1000, 1030)):
        pace.told(ended, waiting=False)
        clock.move(1.0)
    assert pace.rate_per_s == pytest.approx(1.0)


def test_long_pause_hardly_lowers_the_pace() -> None:
    """While everyone waits for the API, the pace before stands: of a minute's wait two seconds count."""
    clock = Clock()
    pace = Pace(now=clock)
    pace.told(0, waiting=False)
    clock.move(10.0)
    pace.told(100, waiting=True)
    clock.move(60.0)
    pace.told(100, waiting=False)
    clock.move(10.0)
    pace.told(200, waiting=False)
    assert pace.rate_per_s == pytest.approx(200 / 22)


def test_short_pauses_are_part_of_the_pace() -> None:
    """An API that makes us wait every other second is half as fast."""
    clock = Clock()
    pace = Pace(now=clock)
    for second in range(20):
        pace.told(second // 2 * 10, waiting=second % 2 == 1)
        clock.move(1.0)
    assert pace.rate_per_s == pytest.approx(5.0, rel=0.1)


def test_eta_is_the_rest_of_the_pause_and_then_the_pace() -> None:
    """A pause of 30 s makes the end 30 s later, not an hour."""
    clock = Clock()
    pace = Pace(now=clock)
    pace.told(0, waiting=False)
    clock.move(10.0)
    pace.told(100, waiting=True)
    assert pace.eta_s(200, allowed_per_s=99.0, wait_s=30.0) == pytest.approx(50.0)


def test_eta_before_the_first_result_is_by_the_rate() -> None:
    """At 5/s, 100 requests take 20 s; without a rate nothing is claimed; with nothing left, none."""
    pace = Pace(now=Clock())
    assert pace.eta_s(100, allowed_per_s=5.0) == pytest.approx(20.0)
    assert pace.eta_s(100, allowed_per_s=0.0) is None
    assert pace.eta_s(0, allowed_per_s=0.0) == 0.0


def test_lines_come_every_few_seconds_and_at_the_end() -> None:
    """However often it is told, a log gets a line every five seconds, and the last state once."""
    clock, stream = Clock(), io.StringIO()
    progress = LineProgress(stream, now=clock)
    for done in range(101):
        progress.update(counts(done), 10.0, "")
        clock.move(0.125)
    progress.close()
    progress.close()
    lines = stream.getvalue().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["0", "40", "80", "100"]
    assert lines[1] == "40 of 100 done: 40 succeeded, 8.0/s, 8 s left"
    assert lines[-1] == "100 of 100 done: 100 succeeded"


def test_line_counts_every_state_and_says_what_is_waited_for() -> None:
    """Counts by state, and the reason of a pause as soon as it begins."""
    clock, stream = Clock(), io.StringIO()
    progress = LineProgress(stream, now=clock)
    progress.update(counts(1), 10.0, "")
    clock.move(2.0)
    progress.update(
        counts(11, failed=2, unknown=1, retrying=3, skipped=4), 10.0, "the API said 429", wait_s=7.0
    )
    last = stream.getvalue().splitlines()[-1]
    assert last.startswith("18 of 100 done: 11 succeeded, 2 failed, 1 unknown, 3 retrying, 4 skipped, ")
    assert last.endswith("left, waiting 7 s: the API said 429")


def test_json_is_one_event_a_line() -> None:
    """Every line is an object with the counts of all states, which add up."""
    clock, stream = Clock(), io.StringIO()
    progress = JsonProgress(stream, now=clock, wall=lambda: 1_800_000_000.5)
    progress.update(counts(10, failed=1), 10.0, "")
    clock.move(1.0)
    progress.update(counts(20, failed=1), 10.0, "")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["at"] == "2027-01-15T08:00:00.500Z"
    assert second["event"] == "progress"
    assert (second["rate_per_s"], second["allowed_per_s"], second["eta_s"]) == (10.0, 10.0, 7.9)
    states = ("pending", "in_flight", "retrying", "succeeded", "failed", "unknown", "skipped")
    assert sum(second[state] for state in states) == second["requests"] == 100


def test_bar_shows_counts_rate_and_what_is_left() -> None:
    """The bar on a terminal says as much as a line."""
    clock, stream = Clock(), io.StringIO()
    progress = TqdmProgress(stream, now=clock)
    progress.update(counts(0), 10.0, "")
    clock.move(5.0)
    progress.update(counts(50), 10.0, "")
    progress.close()
    progress.close()
    shown = re.split(r"[\r\n]+", stream.getvalue().strip())[-1]
    assert "50%" in shown
    assert "50/100, 50 succeeded, 10.0/s, 5 s left" in shown


def drawn(columns: int, *updates: tuple[Counts, str, float]) -> list[str]:
    """What a bar draws on a terminal of this width, a line each time it is told something."""
    above, below = pty.openpty()
    fcntl.ioctl(below, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    clock = Clock()
    with os.fdopen(below, "w") as stream, os.fdopen(above, "rb", buffering=0) as screen:
        progress = TqdmProgress(stream, now=clock)
        shown = b""
        for counted, note, wait_s in updates:
            progress.update(counted, 10.0, note, wait_s=wait_s)
            clock.move(2.0)
            shown += screen.read(65_536)
        progress.close()
        shown += screen.read(65_536)
    return [line for line in re.split(r"[\r\n]+", shown.decode()) if line.strip()]


@given(
    columns=st.integers(20, 200),
    numbers=st.lists(st.integers(0, 500_000), min_size=6, max_size=6),
    note=st.sampled_from(
        ["", "the API asked to wait", "the API does not answer as it should (HTTP 503 漢字)"]
    ),
    wait_s=st.sampled_from([0.0, 12.0, 4000.0]),
)
def test_bar_never_wraps(columns: int, numbers: list[int], note: str, wait_s: float) -> None:
    """However narrow the terminal and however much there is to say, the bar stays on one line."""
    succeeded, failed, unknown, retrying, skipped, pending = numbers
    counted = Counts(pending, 0, retrying, succeeded, failed, unknown, skipped)
    for line in drawn(columns, (counts(0), "", 0.0), (counted, note, wait_s)):
        assert len(line.encode("utf-16-le")) // 2 + sum(line.count(wide) for wide in "漢字") <= columns


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (
            120,
            " 63%|████████████▌       | 631/1000, 620 succeeded, 9 failed, 2 unknown, 7 retrying, "
            "40 s left, waiting 3 s",
        ),
        (80, " 63%|██████▎   | 631/1000, 9 failed, 2 unknown, 40 s left, waiting 3 s"),
    ],
)
def test_bar_leaves_out_what_matters_least(columns: int, line: str) -> None:
    """A narrow terminal still shows what failed, how long it takes, and that it waits."""
    counted = counts(620, total=1000, failed=9, unknown=2, retrying=7)
    last = drawn(columns, (counted, "the API asked to wait", 3.0))[-1]
    assert last.rstrip() == line


def cell(*arguments: str) -> list[dict[str, object]]:
    """What a notebook's cell that calls `batch.run` shows at last, and what the run ended with."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.notebook_cell", *arguments],
        cwd=Path(__file__).parent.parent,
        env=clean_environ(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_notebook_has_its_own_bar(tmp_path: Path) -> None:
    """In a notebook's kernel, `batch.run(...)` in a cell shows a widget with all that a bar says."""
    bar, ending = cell(str(tmp_path))
    assert (bar["value"], bar["max"], bar["style"]) == (30, 30, "success")
    assert bar["text"] == "100% 30/30, 30 succeeded"
    assert ending == {"reason": "done", "left": 0}


def test_interrupting_a_cell_drains_the_run(tmp_path: Path) -> None:
    """The button that interrupts a kernel is a Ctrl-C: what is in flight ends, and `resume` goes on."""
    bar, ending = cell(str(tmp_path), "interrupt")
    assert ending["reason"] == "sigint"
    assert 0 < int(str(ending["left"])) < 30
    assert bar["style"] == "danger"


def test_program_that_is_no_notebook_is_shown_nothing() -> None:
    """A script that calls `batch.run` writes what it likes to its terminal; the library adds nothing."""
    assert isinstance(default_progress(), Silent)


def test_bar_stands_back_while_an_operator_is_asked() -> None:
    """A bar that is drawn again and again would write over the question; afterwards it goes on."""
    clock, stream = Clock(), io.StringIO()
    progress = TqdmProgress(stream, now=clock)
    progress.update(counts(9), 10.0, "")
    progress.update(counts(10), 10.0, "")
    with aside(progress):
        shown = stream.getvalue()
        assert "10/100" in shown
        for done in range(10, 20):
            clock.move(1.0)
            progress.update(counts(done), 10.0, "asking whether to go on")
        assert stream.getvalue() == shown
    clock.move(1.0)
    progress.update(counts(30), 10.0, "")
    assert "30/100" in stream.getvalue()
    progress.close()
    with aside(Silent()):
        pass


@pytest.mark.parametrize("make", [LineProgress, JsonProgress, TqdmProgress])
def test_reader_that_has_gone_does_not_stop_the_run(make: type[LineProgress]) -> None:
    """A closed terminal or pipe costs the display, not the run."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", buffering=1)
    progress: Progress = make(stream)
    progress.update(counts(1), 10.0, "")
    progress.close()
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_silent_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """`--quiet` is quiet."""
    progress = Silent()
    progress.update(counts(1), 10.0, "waiting")
    progress.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    """Seconds, minutes or hours, with no more digits than help."""
    assert duration_text(seconds) == text
