"""Windows: when sending is allowed, by the wall clock of a place, also in the nights when it is changed."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.engine.windows import Opening, Window, Windows
from batch.errors import UsageError

BERLIN = "Europe/Berlin"


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def told(opening: Opening | None) -> tuple[str, str] | None:
    """An opening as UTC, to read."""
    if opening is None:
        return None
    opens_at, closes_at = (datetime.fromtimestamp(at, UTC).isoformat(" ", "minutes")[:16] for at in opening)
    return opens_at, closes_at


def on(text: str, day: str) -> tuple[str, str] | None:
    return told(Window.parse(text).on(date.fromisoformat(day)))


# --- as they are written ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("22:00-05:00@Europe/Berlin", "22:00-05:00@Europe/Berlin"),
        (" 9:30 - 17:00 @ America/New_York ", "09:30-17:00@America/New_York"),
        ("00:00-24:00@UTC", "00:00-24:00@UTC"),
        ("23:59-00:00@Etc/GMT+5", "23:59-00:00@Etc/GMT+5"),
    ],
)
def test_a_window_is_two_times_and_a_place(text: str, shown: str) -> None:
    """As people write it, and told back in one form."""
    assert str(Window.parse(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "22:00-05:00",
        "22-5@Europe/Berlin",
        "22:60-05:00@UTC",
        "24:01-05:00@UTC",
        "24:00-05:00@UTC",
        "night@UTC",
        "",
        "22:00-05:00@",
        "25:00-26:00@UTC",
    ],
)
def test_any_other_window_is_refused_with_what_is_accepted(text: str) -> None:
    """A window without a place would mean another night on every machine."""
    with pytest.raises(UsageError, match="such as 22:00-05:00@Europe/Berlin"):
        Window.parse(text)


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "CEST", "../etc/passwd", "Europe", "/etc/localtime"])
def test_an_unknown_place_is_named(zone: str) -> None:
    """With how places are written; a path is no place."""
    with pytest.raises(UsageError, match=r"no time zone|not understood"):
        Window.parse(f"22:00-05:00@{zone}")


def test_a_window_of_no_length_is_refused() -> None:
    """Never, or always? Nobody can tell."""
    with pytest.raises(UsageError, match="opens and closes at the same time"):
        Window.parse("22:00-22:00@UTC")


# --- on an ordinary night ---------------------------------------------------------------------------


def test_a_window_over_midnight_closes_on_the_next_day() -> None:
    """22:00 to 05:00 in Berlin's summer is 20:00 to 03:00 UTC."""
    assert on("22:00-05:00@Europe/Berlin", "2026-07-28") == ("2026-07-28 20:00", "2026-07-29 03:00")


def test_a_window_of_a_day_closes_on_that_day() -> None:
    """In New York's winter, five hours behind."""
    assert on("09:00-17:00@America/New_York", "2026-01-15") == ("2026-01-15 14:00", "2026-01-15 22:00")


# --- when the clock is changed ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "day", "opening"),
    [
        # Berlin, 29 March 2026: at 01:00 UTC the clock goes from 02:00 to 03:00.
        ("22:00-05:00", "2026-03-28", ("2026-03-28 21:00", "2026-03-29 03:00")),
        ("02:30-05:00", "2026-03-29", ("2026-03-29 01:00", "2026-03-29 03:00")),
        ("22:00-02:30", "2026-03-28", ("2026-03-28 21:00", "2026-03-29 01:00")),
        ("02:10-02:50", "2026-03-29", None),
        ("02:00-03:00", "2026-03-29", None),
        ("01:00-02:00", "2026-03-29", ("2026-03-29 00:00", "2026-03-29 01:00")),
        ("03:00-04:00", "2026-03-29", ("2026-03-29 01:00", "2026-03-29 02:00")),
        # Berlin, 25 October 2026: at 01:00 UTC the clock goes from 03:00 back to 02:00.
        ("22:00-05:00", "2026-10-24", ("2026-10-24 20:00", "2026-10-25 04:00")),
        ("02:30-05:00", "2026-10-25", ("2026-10-25 01:30", "2026-10-25 04:00")),
        ("22:00-02:30", "2026-10-24", ("2026-10-24 20:00", "2026-10-25 00:30")),
        ("02:10-02:50", "2026-10-25", ("2026-10-25 01:10", "2026-10-25 01:50")),
        ("01:30-02:30", "2026-10-25", ("2026-10-24 23:30", "2026-10-25 00:30")),
        ("03:00-04:00", "2026-10-25", ("2026-10-25 02:00", "2026-10-25 03:00")),
    ],
)
def test_a_window_in_the_night_of_a_change_of_time(
    window: str, day: str, opening: tuple[str, str] | None
) -> None:
    """It opens late and closes early where a time comes twice; one that does not exist is at the change."""
    assert on(f"{window}@{BERLIN}", day) == opening


def test_the_change_is_found_where_it_is_half_an_hour() -> None:
    """On Lord Howe Island, 4 October 2026, 02:00 becomes 02:30 at 15:30 UTC of the day before."""
    assert on("02:15-05:00@Australia/Lord_Howe", "2026-10-04") == ("2026-10-03 15:30", "2026-10-03 18:00")


def test_a_day_that_a_place_left_out_is_put_up_with() -> None:
    """Samoa had no 30 December 2011: a window of that day is no stretch at all."""
    assert on("09:00-17:00@Pacific/Apia", "2011-12-30") is None
    window = Windows((Window.parse("09:00-17:00@Pacific/Apia"),))
    assert told(window.at(utc("2011-12-30T12:00"))) == ("2011-12-30 19:00", "2011-12-31 03:00")


# --- several, and which is now ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "opening"),
    [
        ("2026-07-28T12:00", ("2026-07-28 20:00", "2026-07-29 03:00")),
        ("2026-07-28T20:00", ("2026-07-28 20:00", "2026-07-29 03:00")),
        ("2026-07-29T02:59:59", ("2026-07-28 20:00", "2026-07-29 03:00")),
        ("2026-07-29T03:00", ("2026-07-29 20:00", "2026-07-30 03:00")),
    ],
)
def test_the_opening_of_a_moment_is_its_own_or_the_next(now: str, opening: tuple[str, str]) -> None:
    """A window's first second is inside, its last is not."""
    assert told(Windows.parse(["22:00-05:00@Europe/Berlin"]).at(utc(now))) == opening


def test_windows_that_touch_are_one_stretch() -> None:
    """Nothing has to be drained where one goes over into the next."""
    windows = Windows.parse(["22:00-00:00@UTC", "00:00-02:00@UTC", "01:00-05:00@UTC", "09:00-10:00@UTC"])
    assert [told(opening) for opening in windows.after(utc("2026-07-28T12:00"), 2)] == [
        ("2026-07-28 22:00", "2026-07-29 05:00"),
        ("2026-07-29 09:00", "2026-07-29 10:00"),
    ]


def test_a_whole_day_never_closes_for_long() -> None:
    """00:00-24:00 is one stretch of many days."""
    opening = Windows.parse(["00:00-24:00@UTC"]).at(utc("2026-07-28T12:00"))
    assert opening.closes_at - utc("2026-07-28T12:00") > 86_400


def test_a_moment_is_shown_by_the_clock_of_the_place() -> None:
    """For whoever waits for it."""
    windows = Windows.parse(["22:00-05:00@Europe/Berlin"])
    assert windows.shown(utc("2026-07-28T20:00")) == "22:00 on Tue 28 July, Europe/Berlin"


@given(
    st.integers(0, 24 * 60 - 1),
    st.integers(1, 24 * 60 - 1),
    st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
    st.floats(utc("2025-01-01"), utc("2027-12-31")),
)
def test_whoever_sends_inside_is_never_seen_outside(opens: int, length: int, zone: str, at: float) -> None:
    """At every moment of an opening the wall clock shows a time of the window."""
    window = Window(opens, opens + length, zone)
    opening = Windows((window,)).at(at)
    assert opening.closes_at > at
    for inside in (opening.opens_at, (opening.opens_at + opening.closes_at) / 2, opening.closes_at - 1):
        shown = datetime.fromtimestamp(inside, ZoneInfo(zone))
        minutes = shown.hour * 60 + shown.minute
        assert opens <= minutes < opens + length or opens <= minutes + 24 * 60 < opens + length
