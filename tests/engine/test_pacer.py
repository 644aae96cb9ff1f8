"""What the pacer promises: even spacing, no burst, no window too full, one pause for all, a slow return."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import pairwise

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.engine.pacer import Pacer, Rate, parse_rates
from batch.engine.seeking import SeekingPacer
from batch.errors import UsageError
from tests.simulation.virtual_time import run_virtual, stall

TEN_A_SECOND = (Rate(10, 1.0),)


class HandClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def sent(
    rates: Sequence[Rate],
    count: int,
    *,
    workers: int = 1,
    late_by: Sequence[float] = (),
    stalls: Sequence[tuple[float, float]] = (),
) -> list[float]:
    """When `count` sends left, in seconds from the first call on.

    `workers` others take slots whenever they find one free. Before each wait the process is late by one of
    `late_by`; `stalls` are moments at which it is stopped, and for how long.
    """
    times: list[float] = []
    look_again_s = max(rate.per_s / rate.sends for rate in rates) / 33

    async def main() -> None:
        began_s = anyio.current_time()
        pacer = Pacer(rates, now=anyio.current_time)

        async def work() -> None:
            while len(times) < count:
                if pacer.take_now():
                    times.append(anyio.current_time() - began_s)
                await anyio.sleep(look_again_s)

        async def stop_and_go(at_s: float, for_s: float) -> None:
            await anyio.sleep(at_s)
            stall(for_s)

        async with anyio.create_task_group() as tasks:
            for _ in range(workers - 1):
                tasks.start_soon(work)
            for at_s, for_s in stalls:
                tasks.start_soon(stop_and_go, at_s, for_s)
            while len(times) < count:
                if late_by:
                    stall(late_by[len(times) % len(late_by)])
                await pacer.wait()
                times.append(anyio.current_time() - began_s)
            tasks.cancel_scope.cancel()

    run_virtual(main, backend="trio")
    return sorted(times)


def fullest(times: Sequence[float], per_s: float) -> int:
    """The most sends in any window of `per_s` seconds, its end left out."""
    return max(sum(first <= at < first + per_s - 1e-9 for at in times) for first in times)


# --- spacing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 7, 50])
def test_ten_a_second_means_100_ms_apart_however_many_workers(workers: int) -> None:
    """Who else wants to send makes no difference to how far apart the sends are."""
    gaps = [after - before for before, after in pairwise(sent(TEN_A_SECOND, 60, workers=workers))]
    assert min(gaps) > 0.1 - 0.025
    assert sum(gaps) / len(gaps) == pytest.approx(0.1008, abs=0.002)


def test_the_first_send_leaves_at_once_and_the_second_waits() -> None:
    """There is no burst at the start: the first second has no more sends than any other."""
    times = sent(TEN_A_SECOND, 31)
    assert times[0] == 0.0
    assert times[1] == pytest.approx(0.1008, abs=1e-4)
    assert [sum(second <= at < second + 1 for at in times) for second in (0, 1, 2)] == [10, 10, 10]


@pytest.mark.parametrize(("rate", "sends"), [(1, 100), (10, 1_000), (600, 20_000)])
def test_the_mean_is_the_rate_less_a_hundredth(rate: int, sends: int) -> None:
    """What is kept back for the network's sake is less than a hundredth, also when timers fire late."""
    late = random.Random(rate)
    times = sent((Rate(rate, 1.0),), sends, late_by=[late.uniform(0, 0.002) for _ in range(997)])
    assert 0.99 * rate <= (sends - 1) / (times[-1] - times[0]) <= rate


@pytest.mark.parametrize("for_s", [0.5, 1.0, 60.0, 3_600.0])
def test_a_process_that_was_stopped_does_not_burst(for_s: float) -> None:
    """After SIGCONT, slots that passed are gone: the sends go on one spacing apart."""
    times = sent(TEN_A_SECOND, 60, stalls=[(2.02, for_s)])
    assert fullest(times, 1.0) <= 10
    after = [at for at in times if at > 2.0 + for_s]
    assert min(b - a for a, b in pairwise(after)) > 0.099


def test_a_timer_that_fires_a_little_late_is_caught_up() -> None:
    """20 ms of lateness at every send lowers the mean by nothing, and still no window is too full."""
    times = sent(TEN_A_SECOND, 500, late_by=[0.02])
    assert (len(times) - 1) / (times[-1] - times[0]) >= 9.9
    assert fullest(times, 1.0) <= 10


def test_an_idle_minute_earns_nothing() -> None:
    """Slots that nobody wanted do not pile up."""
    clock = HandClock()
    pacer = Pacer(TEN_A_SECOND, now=clock)
    assert pacer.take_now()
    clock.now_s += 60
    assert pacer.take_now()
    assert not pacer.take_now()
    clock.now_s += 0.1009
    assert pacer.take_now()


# --- windows ------------------------------------------------------------------------------------


def test_several_rates_hold_at_once() -> None:
    """`20/s,300/m`: the slower one spaces the sends, and every window of both is kept."""
    times = sent(parse_rates("20/s,300/m"), 700, late_by=[0.0, 0.01])
    assert fullest(times, 1.0) <= 20
    assert fullest(times, 60.0) <= 300
    assert len(times) / times[-1] >= 0.99 * 5


rates = st.lists(
    st.builds(Rate, st.sampled_from([1, 2, 2.5, 7, 20, 0.4, 90, 600]), st.sampled_from([1.0, 60.0])),
    min_size=1,
    max_size=3,
)


@settings(max_examples=60)
@given(
    rates=rates,
    late_by=st.lists(st.sampled_from([0.0, 0.0, 0.001, 0.01, 0.03, 0.2, 1.5]), min_size=1, max_size=9),
    stalls=st.lists(st.tuples(st.floats(0, 20), st.sampled_from([0.05, 1.0, 61.0])), max_size=3),
    workers=st.integers(1, 3),
)
def test_no_window_ever_holds_more_than_its_rate(
    rates: list[Rate], late_by: list[float], stalls: list[tuple[float, float]], workers: int
) -> None:
    """Whatever the rates, however late the timers, whoever sends: every window of every rate is kept."""
    times = sent(rates, 80, workers=workers, late_by=late_by, stalls=stalls)
    for rate in rates:
        assert fullest(times, rate.per_s) <= max(1, math.floor(rate.sends))


def test_a_send_that_was_answered_late_counts_when_it_may_have_arrived() -> None:
    """The far end counts a request when it comes: the window that it may fall into has room for it."""
    clock = HandClock()
    pacer = Pacer((Rate(4, 1.0),), now=clock)
    left: list[float] = []

    def take(took_s: float) -> None:
        while not pacer.take_now():
            clock.now_s += 0.001
        left.append(pacer.last_left_s)
        clock.now_s += took_s
        pacer.answered(pacer.last_left_s)

    for _ in range(40):
        take(0.01)
    take(0.09)  # nine times the usual: it may have been counted 70 ms after it left
    for _ in range(4):
        take(0.01)
    assert left[44] - left[40] >= 1.004 + 0.06
    assert left[39] - left[35] <= 1.02


# --- pauses -------------------------------------------------------------------------------------


def test_a_pause_holds_for_everyone_and_ends_without_a_burst() -> None:
    """Nobody sends before its end; after it, the sends are as far apart as ever."""
    times: list[float] = []

    async def main() -> None:
        pacer = Pacer(TEN_A_SECOND, now=anyio.current_time)
        began_s = anyio.current_time()
        for nth in range(30):
            await pacer.wait()
            times.append(anyio.current_time() - began_s)
            if nth == 9:
                pacer.pause_until(anyio.current_time() + 7.5)
                pacer.pause_until(anyio.current_time() + 2.0)

    run_virtual(main, backend="trio")
    assert times[10] == pytest.approx(times[9] + 7.5, abs=1e-6)
    assert min(b - a for a, b in pairwise(times[10:])) > 0.1
    assert fullest(times[10:], 1.0) <= 10


def test_a_pause_begun_while_someone_waits_holds_for_them() -> None:
    """A slot that was being waited for when the pause came is waited for until its end."""

    async def main() -> float:
        pacer = Pacer(TEN_A_SECOND, now=anyio.current_time)
        began_s = anyio.current_time()
        await pacer.wait()

        async def pause() -> None:
            await anyio.sleep(0.05)
            pacer.pause_until(began_s + 3)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pause)
            await pacer.wait()
        return anyio.current_time() - began_s

    assert run_virtual(main, backend="trio") == pytest.approx(3, abs=1e-6)


def test_a_run_that_goes_on_keeps_one_spacing_from_the_one_before() -> None:
    """And the pause that it was in, unless that is longer than is sat out."""
    clock = HandClock()
    pacer = Pacer((Rate(30, 60.0),), now=clock)
    pacer.go_on(0.0, most_s=120)
    clock.now_s += 2.0
    assert not pacer.take_now()
    clock.now_s += 0.02
    assert pacer.take_now()

    pacer.go_on(90.0, most_s=120)
    assert pacer.paused_until_s == clock.now_s + 90
    other = Pacer((Rate(2, 3_600.0),), now=clock)
    other.go_on(9_000.0, most_s=120)
    clock.now_s += 119
    assert not other.take_now()
    clock.now_s += 2
    assert other.take_now()


# --- the rate, lowered and regained ---------------------------------------------------------------


def test_a_throttle_cuts_the_rate_to_seven_tenths_once_a_storm() -> None:
    """Ten answers of one storm are one cut; what left after the cut and is throttled too is the next one."""
    clock = HandClock()
    pacer = Pacer((Rate(100, 1.0),), now=clock)
    left_s = clock.now_s
    clock.now_s += 0.5
    assert [pacer.throttled(left_s + i / 100) for i in range(10)] == [True] + [False] * 9
    assert pacer.rate_per_s == pytest.approx(70)
    assert not pacer.throttled(clock.now_s)
    assert pacer.throttled(clock.now_s + 0.01)
    assert pacer.rate_per_s == pytest.approx(49)


def test_the_rate_never_falls_to_nothing() -> None:
    """A hundredth of what was asked for is left, or a run would never find out that the storm is over."""
    clock = HandClock()
    pacer = Pacer((Rate(100, 1.0),), now=clock)
    for _ in range(50):
        clock.now_s += 0.001
        pacer.throttled(clock.now_s)
    assert pacer.rate_per_s == pytest.approx(1, rel=0.01)


def test_the_rate_is_regained_slowly_and_no_further_than_asked_for() -> None:
    """A hundredth of the asked rate a second: thirty seconds after a cut it is whole again."""
    clock = HandClock()
    pacer = Pacer((Rate(100, 1.0),), now=clock)
    pacer.throttled(clock.now_s)
    for _ in range(10):
        clock.now_s += 1
        pacer.take_now()
    assert pacer.rate_per_s == pytest.approx(80)
    for _ in range(60):
        clock.now_s += 1
        pacer.take_now()
    assert pacer.rate_per_s == pacer.asked_per_s == pytest.approx(100)


def test_the_rate_does_not_climb_during_a_pause() -> None:
    """Waiting is no sign that the far end can take more."""
    clock = HandClock()
    pacer = Pacer((Rate(100, 1.0),), now=clock)
    pacer.throttled(clock.now_s)
    pacer.pause_until(clock.now_s + 100)
    for _ in range(100):
        clock.now_s += 1
        pacer.take_now()
    assert pacer.rate_per_s == pytest.approx(70)
    clock.now_s += 10
    pacer.take_now()
    assert pacer.rate_per_s == pytest.approx(80)


def test_the_cut_spaces_the_sends() -> None:
    """It is a rate, not a number: after a cut the sends are further apart."""
    clock = HandClock()
    pacer = Pacer(TEN_A_SECOND, now=clock)
    pacer.take_now()
    pacer.throttled(clock.now_s)
    clock.now_s += 0.1009
    assert pacer.take_now()
    clock.now_s += 0.1009
    assert not pacer.take_now()
    clock.now_s += 0.043
    assert pacer.take_now()


def test_a_rate_that_the_far_end_names_can_only_lower_it() -> None:
    """Rate limit headers slow a run down, and are never taken for leave to go faster."""
    pacer = Pacer((Rate(100, 1.0),), now=HandClock())
    pacer.at_most(500)
    assert pacer.rate_per_s == pytest.approx(100)
    pacer.at_most(20)
    assert pacer.rate_per_s == pytest.approx(20)
    pacer.at_most(60)
    assert pacer.rate_per_s == pytest.approx(20)
    pacer.at_most(0)
    pacer.at_most(-3)
    assert pacer.rate_per_s == pytest.approx(20)


def test_a_named_rate_is_kept_to() -> None:
    """Twenty a second is more than 50 ms apart, not less."""
    clock = HandClock()
    pacer = Pacer((Rate(100, 1.0),), now=clock)
    pacer.take_now()
    pacer.at_most(20)
    clock.now_s += 0.0101
    assert pacer.take_now()
    clock.now_s += 0.05
    assert not pacer.take_now()
    clock.now_s += 0.0005
    assert pacer.take_now()


def test_a_found_rate_does_not_grow_while_nothing_is_sent() -> None:
    """An hour of waiting is no sign that the far end allows more; while it sends, it tries a little more."""
    clock = HandClock()
    pacer = SeekingPacer(now=clock, known_per_s=100)
    pacer.at_most(50)
    found_per_s = pacer.rate_per_s
    pacer.take_now()
    clock.now_s += 3_600
    pacer.take_now()
    assert found_per_s <= pacer.rate_per_s <= found_per_s * 1.002
    for _ in range(1_000):
        clock.now_s += 0.1
        pacer.take_now()
    assert found_per_s * 1.09 <= pacer.rate_per_s <= found_per_s * 1.12


# --- as people write rates ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5/s", (Rate(5, 1),)),
        (" 20 / s ", (Rate(20, 1),)),
        ("0.5/s", (Rate(0.5, 1),)),
        ("300/m", (Rate(300, 60),)),
        ("300/MIN", (Rate(300, 60),)),
        ("2/minute", (Rate(2, 60),)),
        ("9000/h", (Rate(9_000, 3_600),)),
        ("1/hour", (Rate(1, 3_600),)),
        ("20/s,600/m", (Rate(20, 1), Rate(600, 60))),
        ("20/s, 600/m; 9000/h", (Rate(20, 1), Rate(600, 60), Rate(9_000, 3_600))),
        ("20/s 600/m", (Rate(20, 1), Rate(600, 60))),
        ("auto", ()),
        (" Auto ", ()),
    ],
)
def test_rates_as_people_write_them(text: str, expected: tuple[Rate, ...]) -> None:
    """A number, a slash, a unit; several of them hold at once."""
    assert parse_rates(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5/",
        "/s",
        "five/s",
        "5/d",
        "5/ms",
        "0/s",
        "0.0/m",
        "-5/s",
        "5/s,",
        "5/s,x",
        "1e3/s",
        "auto,5/s",
    ],
)
def test_what_is_no_rate_is_refused_with_examples(text: str) -> None:
    """The error shows how rates are written."""
    with pytest.raises(UsageError, match=r"5/s or 300/m"):
        parse_rates(text)


@pytest.mark.parametrize("text", ["5/s", "300/m", "9000/h", "0.5/s"])
def test_a_rate_reads_back_as_it_was_written(text: str) -> None:
    """What is pinned in the journal is what the operator wrote."""
    (rate,) = parse_rates(text)
    assert str(rate) == text
