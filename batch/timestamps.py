"""Times as files and messages write them: UTC, ISO 8601, milliseconds, `Z`; and lengths of time."""

from __future__ import annotations

import time
from functools import lru_cache


def utc(at: float) -> str:
    """`2026-07-27T09:30:00.250Z` for seconds since the epoch."""
    second, millisecond = divmod(round(at * 1000), 1000)
    return f"{_whole(second)}.{millisecond:03d}Z"


def as_told(at: float) -> float:
    """The moment that `utc` writes for it, to the millisecond: what is compared with a time that was read."""
    return round(at * 1000) / 1000


@lru_cache(maxsize=4096)  # a fast run has a thousand sends in one second
def _whole(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def lasted(duration_s: float) -> str:
    """`22.9 s`, `3 min 20 s`, `8 h 5 min`."""
    minutes, seconds = divmod(duration_s, 60)
    if minutes < 1:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds:.0f} s"
