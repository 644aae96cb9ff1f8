"""Times as files and messages write them: UTC, ISO 8601, milliseconds, `Z`."""

from __future__ import annotations

import time
from functools import lru_cache


def utc(at: float) -> str:
    """`2026-07-27T09:30:00.250Z` for seconds since the epoch."""
    second, millisecond = divmod(round(at * 1000), 1000)
    return f"{_whole(second)}.{millisecond:03d}Z"


@lru_cache(maxsize=4096)  # a fast run has a thousand sends in one second
def _whole(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
