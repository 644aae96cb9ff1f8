"""How a run is sent: what the engine is told, in numbers that it need not read any more."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field

from batch.engine.breaker import FailureLimit
from batch.engine.pacer import Rate
from batch.engine.retrying import RetryPolicy
from batch.engine.waves import Canary, Reach
from batch.engine.windows import Windows

#: The most requests in flight when the number is chosen by the engine, and the fewest.
MOST_WORKERS = 256
FEWEST_WORKERS = 4

#: What journal, report, sheets and Python itself may have open beside the connections.
_OTHER_FILES = 48


def fitting(concurrency: int | None) -> int | None:
    """The concurrency that was asked for (None: as the engine finds it), or less if files are scarce here.

    Every connection is an open file, and of those a process may have only so many (`ulimit -n`). One that
    ran out of them could no longer write its journal.
    """
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return concurrency
    room = max(1, allowed - _OTHER_FILES)
    if concurrency is not None:
        return min(concurrency, room)
    room = max(1, room // 2)  # an embedded sandbox has the other end of each
    return None if room >= MOST_WORKERS else room


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is sent; times in seconds.

    No `rates` at all means that the rate is to be found. `concurrency` None takes what the rate and the
    measured latency need. `canary` is how many requests are sent, and must succeed, before the others;
    `waves` is how far each wave goes that follows, and `soak_s` how long nothing is sent after a wave before
    it is judged. Outside of `windows` nothing is in flight; with `leaves_window` the run then ends, and
    without it waits. `drain_s` is how long a stopped run waits for what is in flight, and `outage_s` how
    long an outage is sat out.
    """

    rates: tuple[Rate, ...] = (Rate(5, 1.0),)
    concurrency: int | None = None
    deadline_s: float = 30.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    max_failures: FailureLimit | None = None
    canary: Canary | None = None
    drain_s: float = 30.0
    outage_s: float = 900.0
    waves: tuple[Reach, ...] = ()
    soak_s: float = 0.0
    windows: Windows | None = None
    leaves_window: bool = False

    @property
    def most_workers(self) -> int:
        """The most requests that can be in flight: what a target needs connections for."""
        return self.concurrency or MOST_WORKERS
