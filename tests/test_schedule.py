"""What a run will do and when, foreseen: its waves, and which rows its window does not reach."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from batch.engine.pacer import Rate
from batch.engine.waves import parse_waves
from batch.engine.windows import Windows
from batch.runner import RunOptions
from batch.schedule import MOST_STRETCHES, Schedule, foresee
from tests.small_plans import small_plan

NOON = datetime(2026, 7, 28, 12, tzinfo=UTC).timestamp()
NIGHT = "22:00-05:00@Europe/Berlin"  # 20:00 to 03:00 UTC: 25,200 s


def foreseen(count: int, *windows: str, at: float = NOON, **more: Any) -> Schedule:
    options = {"rates": (Rate(1, 1.0),), "deadline_s": 30.0, **more}
    options["windows"] = Windows.parse(windows) if windows else None
    return foresee(small_plan(count), RunOptions(**options), at=at)


def utc(at: float | None) -> str:
    assert at is not None
    return datetime.fromtimestamp(at, UTC).isoformat(" ", "seconds")[:19]


def test_without_waves_and_windows_there_is_nothing_to_say() -> None:
    """Neither for people nor for scripts."""
    schedule = foreseen(9)
    assert list(schedule.lines()) == []
    assert schedule.to_json() is None
    assert schedule.fits is None


def test_waves_are_told_by_their_widths() -> None:
    """With the pause between them."""
    schedule = foreseen(1_000, canary=20, waves=parse_waves("10%,100%"), soak_s=60.0)
    assert schedule.waves == (20, 80, 900)
    assert list(schedule.lines()) == [
        "It is sent in 3 waves, of 20, 80 and 900, with 60 s of nothing after each but the last."
    ]


def test_what_fits_is_said_to_fit() -> None:
    """With when the last request is sent."""
    schedule = foreseen(3_601, NIGHT)
    assert schedule.fits is True
    assert utc(schedule.ends_at) == "2026-07-28 21:00:00"
    assert list(schedule.lines()) == [
        f"It is sent only in {NIGHT}: from 22:00 on Tue 28 July to 05:00 on Wed 29 July.",
        "All of it fits in there; the last request is sent at about 23:00 on Tue 28 July.",
    ]


def test_the_last_seconds_of_a_window_are_for_what_is_in_flight() -> None:
    """A request of 30 s that must have ended by 05:00 is not sent at 04:59:40."""
    most = 25_200 - 30 - 2 + 1
    assert foreseen(most, NIGHT).fits is True
    assert foreseen(most + 1, NIGHT).fits is False


def test_what_does_not_fit_is_told_by_its_first_row() -> None:
    """With how much does, and on which later night it ends."""
    schedule = foreseen(60_000, NIGHT)
    assert schedule.fits is False
    assert [stretch.requests for stretch in schedule.stretches] == [25_169, 25_169, 9_662]
    assert schedule.missed == "numbers.csv:25171"
    assert list(schedule.lines())[1] == (
        "25,169 of 60,000 requests fit in there. The first row that is not reached then is "
        "numbers.csv:25171; the last request is sent at about 00:41 on Fri 31 July."
    )
    told = schedule.to_json()
    assert told is not None
    assert (told["reached"], told["fits"]) == (25_169, False)
    assert told["first_row_not_reached"] == "numbers.csv:25171"
    assert told["ends_at"] == "2026-07-30T22:41:01.000Z"


def test_a_window_that_is_open_has_only_what_is_left_of_it() -> None:
    """Begun half an hour before it closes, there is half an hour."""
    schedule = foreseen(5_000, NIGHT, at=NOON + 14.5 * 3_600)
    assert schedule.stretches[0].requests == 1_800 - 32 + 1


def test_a_window_about_to_close_takes_nothing() -> None:
    """The first row is not reached in it, and the next night takes all."""
    schedule = foreseen(10, NIGHT, at=NOON + 15 * 3_600 - 20)
    assert [stretch.requests for stretch in schedule.stretches] == [0, 10]
    assert schedule.missed == "numbers.csv:2"


def test_pauses_between_waves_take_their_time() -> None:
    """Two soaks of three hours leave one of seven hours for sending."""
    options = {"waves": parse_waves("10%,20%,100%"), "soak_s": 3 * 3_600.0}
    assert foreseen(3_500, NIGHT, **options).fits is True
    assert foreseen(3_700, NIGHT, **options).fits is False


def test_the_first_row_that_is_not_reached_is_by_the_sheet() -> None:
    """What a first wave takes from further below is sent, and leaves no gap before it."""
    plain = foreseen(30_000, NIGHT)
    waved = foreseen(30_000, NIGHT, canary=5_000)
    assert waved.stretches[0].requests == plain.stretches[0].requests
    assert waved.missed == plain.missed


def test_rows_that_are_skipped_take_no_time() -> None:
    """A duplicate is neither sent nor missed."""
    plan = small_plan(30_000, duplicates=dict.fromkeys(range(100, 10100), 0))
    options = RunOptions(rates=(Rate(1, 1.0),), windows=Windows.parse([NIGHT]))
    assert foresee(plan, options, at=NOON).fits is True


def test_the_slowest_of_several_rates_decides() -> None:
    """20/s and 1,800 an hour are one every two seconds."""
    schedule = foreseen(20_000, NIGHT, rates=(Rate(20, 1.0), Rate(1_800, 3_600.0)))
    assert schedule.stretches[0].requests == (25_200 - 32) // 2 + 1


def test_nobody_knows_how_far_a_rate_comes_that_is_yet_to_be_found() -> None:
    """That is said, and nothing is made up."""
    schedule = foreseen(10, NIGHT, rates=())
    assert schedule.fits is None
    assert list(schedule.lines()) == [
        f"It is sent only in {NIGHT}; how far it comes, the rate that is found decides."
    ]


def test_what_takes_years_is_not_reckoned_to_its_end() -> None:
    """It is said to take longer than a year."""
    schedule = foreseen(3_000, NIGHT, rates=(Rate(1, 3_600.0),))
    assert len(schedule.stretches) == MOST_STRETCHES
    assert schedule.ends_at is None
    assert "later than in a year" in list(schedule.lines())[1]


def test_a_plan_of_nothing_says_nothing_of_windows() -> None:
    """There is nothing to fit."""
    assert list(foreseen(0, NIGHT).lines()) == []


@pytest.mark.parametrize("count", [1, 2, 500, 25_169, 25_170, 100_000])
def test_every_request_is_in_one_stretch(count: int) -> None:
    """However many there are, and in whatever waves."""
    for waves in ((), parse_waves("1%,33%,100%")):
        schedule = foreseen(count, NIGHT, "12:30-13:00@UTC", waves=waves, soak_s=100.0)
        assert sum(stretch.requests for stretch in schedule.stretches) == count
