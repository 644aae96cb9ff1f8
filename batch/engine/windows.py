"""When sending is allowed: windows of the night by the wall clock of a place, through its changes of time.

    22:00-05:00@Europe/Berlin

A window is one stretch a day. Where the clock is put back, a time of day comes twice: a window opens at
the second of them and closes at the first, so that nothing is sent at a time that could be read as outside
of it. Where the clock is put forward over an opening or a closing, that is at the moment of the change.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from batch.errors import UsageError

_WINDOW = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s*@\s*([A-Za-z0-9_+\-/]+)")

_DAY = timedelta(days=1)
_MINUTES = 24 * 60

#: A window whose opening never comes within so many days does not exist: its zone skips it for good.
_DAYS = 10


class Opening(NamedTuple):
    """One stretch in which sending is allowed, from `opens_at` to before `closes_at`; UTC in seconds."""

    opens_at: float
    closes_at: float


@dataclass(frozen=True)
class Window:
    """A stretch of every day; times are minutes since midnight on the wall clock of `zone`.

    `closes` is above `opens`, by up to a day: 05:00 after 22:00 is 29 hours.
    """

    opens: int
    closes: int
    zone: str

    @classmethod
    def parse(cls, text: str) -> Window:
        """`22:00-05:00@Europe/Berlin`; `UsageError` says what is accepted."""
        found = _WINDOW.fullmatch(text.strip())
        opens, closes = (
            (_minutes(found[1], found[2]), _minutes(found[3], found[4])) if found else (None, None)
        )
        if found is None or opens is None or closes is None or opens == _MINUTES:
            raise UsageError(
                f'--window "{text}" is not understood: write when it opens and closes, and where, such as '
                "22:00-05:00@Europe/Berlin"
            )
        if opens == closes:
            raise UsageError(
                f'--window "{text}" opens and closes at the same time: leave it out to send at any time'
            )
        _zone(found[5])
        return cls(opens, closes if closes > opens else closes + _MINUTES, found[5])

    def on(self, day: date) -> Opening | None:
        """The stretch that begins on this day of its zone; None if the clock skips all of it."""
        opens_at = self._moment(day, self.opens, is_later=True)
        closes_at = self._moment(day, self.closes, is_later=False)
        if closes_at <= opens_at:  # both within the hour that comes twice
            closes_at = self._moment(day, self.closes, is_later=True)
        return Opening(opens_at, closes_at) if opens_at < closes_at else None

    def near(self, at: float) -> list[Opening]:
        """The stretches of the days around a moment, in order; UTC in seconds."""
        today = datetime.fromtimestamp(at, self._zone).date()
        days = (today + offset * _DAY for offset in range(-2, _DAYS))
        return [opening for day in days if (opening := self.on(day)) is not None]

    @cached_property
    def _zone(self) -> ZoneInfo:
        return _zone(self.zone)

    def _moment(self, day: date, minutes: int, *, is_later: bool) -> float:
        """When the wall clock shows this, in UTC; of two times the later or the earlier."""
        shown = datetime.combine(day, time()) + timedelta(minutes=minutes)
        early, late = (shown.replace(tzinfo=self._zone, fold=fold).timestamp() for fold in (0, 1))
        if early <= late:
            return late if is_later else early
        # The clock never shows it: it was put forward somewhere between the two.
        return _jump(self._zone, late, early)

    def __str__(self) -> str:
        closes = "24:00" if (self.opens, self.closes) == (0, _MINUTES) else _clock(self.closes)
        return f"{_clock(self.opens)}-{closes}@{self.zone}"


@dataclass(frozen=True)
class Windows:
    """All windows of a run: sending is allowed in any of them."""

    windows: tuple[Window, ...]

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Windows:
        """Each as `Window.parse` takes it."""
        return cls(tuple(Window.parse(text) for text in texts))

    def at(self, at: float) -> Opening:
        """The stretch that a moment lies in, or the next one; windows that touch are one stretch.

        `UsageError` if none comes within days.
        """
        stretches = sorted(opening for window in self.windows for opening in window.near(at))
        ahead = [opening for opening in stretches if opening.closes_at > at]
        if not ahead:
            raise UsageError(
                f"--window {self}: the clock there skips it; it does not open within {_DAYS} days"
            )
        opens_at, closes_at = ahead[0]
        for opening in ahead[1:]:
            if opening.opens_at > closes_at:
                break
            closes_at = max(closes_at, opening.closes_at)
        return Opening(opens_at, closes_at)

    def after(self, at: float, count: int) -> list[Opening]:
        """The stretch that a moment lies in, and those that follow, `count` in all."""
        found: list[Opening] = []
        while len(found) < count:
            found.append(self.at(at))
            at = found[-1].closes_at
        return found

    def shown(self, at: float) -> str:
        """A moment by the clock of the first window's place: `22:00 on Tue 28 July, Europe/Berlin`."""
        return f"{self.clock(at)}, {self.windows[0].zone}"

    def clock(self, at: float) -> str:
        """The same without the place."""
        shown = datetime.fromtimestamp(at, _zone(self.windows[0].zone))
        return f"{shown:%H:%M} on {shown:%a} {shown.day} {shown:%B}"

    def __str__(self) -> str:
        return ", ".join(map(str, self.windows))


def _minutes(hours: str, minutes: str) -> int | None:
    """Minutes since midnight, up to 24:00; None if no clock shows that."""
    total = int(hours) * 60 + int(minutes)
    return total if int(minutes) < 60 and total <= _MINUTES else None


def _clock(minutes: int) -> str:
    hours, rest = divmod(minutes % _MINUTES, 60)
    return f"{hours:02}:{rest:02}"


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    try:
        ZoneInfo("Europe/Berlin")
    except (ZoneInfoNotFoundError, OSError):
        raise UsageError(
            f'--window: this machine knows no time zones, "{name}" neither: install its tzdata package, or '
            "`pip install tzdata`"
        ) from None
    raise UsageError(
        f'--window: there is no time zone "{name}": write it as Europe/Berlin, America/New_York or UTC'
    )


def _jump(zone: ZoneInfo, before: float, after: float) -> float:
    """The moment between two, to the second, at which the clock of a zone is put forward."""

    def offset(at: float) -> timedelta | None:
        return datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset()

    was, low, high = offset(before), int(before), int(after)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(middle) == was else (low, middle)
    return float(high)
