"""Time as the engine sees it: one steady clock, so that a jump of the wall clock moves nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio


class Clock:
    """A monotonic clock, and UTC derived from it.

    The wall clock is read once, when the clock is made; from then on UTC moves with the steady clock.
    Only windows ask what the wall clock shows now, by `wall`: they are times of a place, however often its
    clock is set. In tests `now` is the virtual clock of the event loop.
    """

    def __init__(
        self, now: Callable[[], float] = anyio.current_time, wall: Callable[[], float] = time.time
    ) -> None:
        self.now = now
        self.wall = wall
        self._offset_s = wall() - now()

    def utc(self) -> float:
        """UTC in seconds since the epoch."""
        return self.now() + self._offset_s

    def utc_of(self, now_s: float) -> float:
        """A time of the steady clock, as UTC in seconds since the epoch."""
        return now_s + self._offset_s


def real_clock() -> Clock:
    """The clock of this machine, asked without a detour over the event loop: it is asked very often."""
    return Clock(now=time.monotonic)
