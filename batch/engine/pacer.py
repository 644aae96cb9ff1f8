"""Spreads sends over time: evenly, without a burst, never more than the rate in any window."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

import anyio

from batch.errors import UsageError

#: Sends are spread at this share of the rate: the rest keeps a send that the network delays out of
#: the window of the sends after it, so that the far end too never counts more than the rate.
_SHARE = 0.992

#: A window is kept a little longer than it is, for the same reason.
_WINDOW = 1.004

#: The far end counts a request when it arrives, somewhere between its leaving and its answer. An answer that
#: took more than so many times the usual says that it may have been counted late; up to so many seconds of
#: it are believed.
_LATE = 2.0
_LATE_S = 0.1

#: How far sends may fall behind their slots before the slots are given up. Less than this is caught
#: up (a timer that fires late must not lower the mean); more is lost (a stopped process must not burst).
CATCH_UP_S = 0.025

#: The rate after a throttle, as a share of the one before, and its floor as a share of the one asked for.
_CUT = 0.7
_FLOOR = 0.01

#: How much of the asked rate is regained in a second without a throttle.
_CLIMB_PER_S = 0.01

_UNITS_S = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*([a-z]+)")


class Rate(NamedTuple):
    """At most `sends` in any window of `per_s` seconds."""

    sends: float
    per_s: float

    def __str__(self) -> str:
        unit = {1.0: "s", 60.0: "m", 3600.0: "h"}[self.per_s]
        return f"{self.sends:g}/{unit}"


def parse_rates(text: str) -> tuple[Rate, ...]:
    """`20/s`, `600/m`, `20/s, 600/m`: all of them hold at once; `auto` is no rate at all: find it.

    `UsageError` says what is accepted.
    """
    if text.strip().lower() == "auto":
        return ()
    rates = []
    for part in re.split(r"[\s,;+]+(?=\d)", text.strip().lower()):
        found = _RATE.fullmatch(part.strip())
        if not found or found[2] not in _UNITS_S or float(found[1]) <= 0:
            raise UsageError(
                f'rate "{text}" is not understood: write a number of requests and s, m or h, '
                'such as 5/s or 300/m; several are joined by a comma, such as "20/s,600/m"; '
                "auto finds the rate that the API allows"
            )
        rates.append(Rate(float(found[1]), _UNITS_S[found[2]]))
    return tuple(rates)


class _Window:
    """The last sends of one rate, as many as its window holds: the next waits for the first to leave it.

    They are held as a ring of the times at which the far end may have counted them at the latest.
    """

    def __init__(self, rate: Rate) -> None:
        self._per_s = rate.per_s * _WINDOW
        self._counted_at_s = array("d", [-math.inf]) * max(1, math.floor(rate.sends))
        self._next = 0
        self._unanswered: dict[float, int] = {}

    @property
    def free_at_s(self) -> float:
        """When the next may be sent."""
        return self._counted_at_s[self._next] + self._per_s

    def left(self, now: float) -> None:
        """One more was sent."""
        self._counted_at_s[self._next] = now
        self._unanswered[now] = self._next
        self._next = (self._next + 1) % len(self._counted_at_s)

    def answered(self, left_at_s: float, late_s: float) -> None:
        """One that left at `left_at_s` was answered, and may have been counted so much after it left."""
        place = self._unanswered.pop(left_at_s, None)
        if place is not None and self._counted_at_s[place] == left_at_s:
            self._counted_at_s[place] += late_s


class Pacer:
    """Gives out the right to send, one slot at a time.

    `now` is a monotonic clock in seconds. The slot is reserved before the sleep, so that however many
    wait there is no race. A window longer than its spacing is kept by remembering when its last sends left.
    `last_left_s` is when the last slot was taken.
    """

    def __init__(self, rates: Sequence[Rate], *, now: Callable[[], float]) -> None:
        self.rates = tuple(rates)
        self._now = now
        self._share = 1.0
        self._slot_s = -math.inf
        self._catch_up_s = CATCH_UP_S
        self._paused_until_s = -math.inf
        self.last_left_s = -math.inf
        self._usual_s = 0.0
        self._cut_at_s = -math.inf
        self._climbed_at_s = -math.inf
        self._windows = [_Window(rate) for rate in rates]
        self._base_s = max((rate.per_s / rate.sends for rate in rates), default=0.0) / _SHARE

    @property
    def rate_per_s(self) -> float:
        """The rate now, in sends a second: what was asked for, or less after a throttle."""
        return self._share * self.asked_per_s

    @property
    def asked_per_s(self) -> float:
        """The rate that was asked for, in sends a second."""
        return 1.0 / (_SHARE * self._base_s)

    @property
    def paused_until_s(self) -> float:
        """When the shared pause ends, by the pacer's clock; in the past if there is none."""
        return self._paused_until_s

    def change(self, rates: Sequence[Rate]) -> None:
        """Send at other rates from now on, beginning one spacing from now; a pause goes on.

        `UsageError` for none: a pacer that was given a rate has learnt nothing by which to find one.
        """
        if not rates:
            raise UsageError(
                "a run that was begun at a rate cannot find one: stop it, and resume with --rate auto"
            )
        self.rates = tuple(rates)
        self._share = 1.0
        self._windows = [_Window(rate) for rate in rates]
        self._base_s = max(rate.per_s / rate.sends for rate in rates) / _SHARE
        self._slot_s = self._now() + self._spacing_s()

    def go_on(self, paused_for_s: float, *, most_s: float) -> None:
        """Another process has sent until just now: keep one spacing from it, and the pause it was in.

        `paused_for_s` is how much longer that pause lasts; it and the spacing count up to `most_s`.
        """
        now = self._now()
        self._slot_s = now + min(self._spacing_s(), most_s)
        if 0.0 < paused_for_s <= most_s:
            self.pause_until(now + paused_for_s)

    def take_now(self) -> bool:
        """Take the next slot if its time has come; never waits."""
        now = self._now()
        if self._ready_at(now) > now:
            return False
        self._leave(now)
        return True

    async def wait(self) -> None:
        """Wait for the next slot and take it. One waiter at a time."""
        while not self.take_now():  # noqa: ASYNC110 - the clock is what is waited for
            await anyio.sleep(max(self._ready_at(now := self._now()) - now, 0.0))

    def pause_until(self, until_s: float) -> None:
        """Nobody sends before `until_s`; a pause is never shortened."""
        self._paused_until_s = max(self._paused_until_s, until_s)

    def throttled(self, sent_at_s: float) -> bool:
        """The far end said that it was too fast: lower the rate, once for all sends that saw the same rate.

        `sent_at_s` is when the throttled request left. Returns whether the rate was lowered.
        """
        if sent_at_s <= self._cut_at_s:
            return False
        now = self._now()
        self._share = max(self._share * _CUT, _FLOOR)
        self._cut_at_s = self._climbed_at_s = now
        return True

    def answered(self, left_at_s: float) -> None:
        """A send that left at `left_at_s` was answered now, or given up."""
        took_s = self._now() - left_at_s
        late_s = min(max(0.0, took_s - _LATE * self._usual_s), _LATE_S)
        # Quick to fall and slow to rise: what is usual is how the far end answers when nothing is wrong.
        self._usual_s += (took_s - self._usual_s) * (0.05 if 0.0 < self._usual_s < took_s else 0.3)
        for window in self._windows:
            window.answered(left_at_s, late_s)

    def accepted(self, sent_at_s: float) -> None:
        """The far end accepted a send that left at `sent_at_s`: nothing to learn where the rate is given."""

    def at_most(self, rate_per_s: float) -> None:
        """The far end named its rate: stay below it. It can only lower the rate, never raise it."""
        if 0 < rate_per_s < self.rate_per_s:
            self._share = max(rate_per_s / self.asked_per_s, _FLOOR)
            self._climbed_at_s = self._now()

    def _ready_at(self, now: float) -> float:
        self._adjust(now)
        ready = max(self._slot_s, self._paused_until_s)
        for window in self._windows:
            ready = max(ready, window.free_at_s)
        return ready

    def _leave(self, now: float) -> None:
        kept = self._slot_s if now - self._slot_s <= self._catch_up_s else now
        self._slot_s = kept + self._spacing_s()
        self.last_left_s = now
        for window in self._windows:
            window.left(now)

    def _spacing_s(self) -> float:
        return self._base_s / self._share

    def _adjust(self, now: float) -> None:
        """Climb back to the rate that was asked for."""
        if self._share < 1.0 and now > self._paused_until_s:
            since = max(self._climbed_at_s, self._paused_until_s)
            self._share = min(1.0, self._share + (now - since) * _CLIMB_PER_S)
            self._climbed_at_s = now
