"""Who carries requests: one worker for each that is in flight, how many there may be, and for how long."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import anyio

from batch.engine.pacer import Pacer
from batch.engine.run_options import FEWEST_WORKERS, MOST_WORKERS
from batch.journal.protocol import Claim


class Departure(NamedTuple):
    """A request on its way: its claim, its body, and when the pacer let it go."""

    claim: Claim
    payload: bytes
    left_at_s: float


class Worker:
    """One of the requests in flight at a time; waits here for the next.

    `since_s` is when its request left, and infinite while there is none; `scope` is what its sending is
    cancelled by when that was too long ago.
    """

    __slots__ = ("_departure", "_event", "_new_event", "scope", "since_s")

    def __init__(self, departure: Departure) -> None:
        self.scope = anyio.CancelScope()
        self.since_s = math.inf
        self._departure: Departure | None = departure
        self._event: anyio.Event | None = None
        # Asked for by its class's name, each event would look anew for the library whose event loop this is.
        self._new_event = type(anyio.Event())

    def hand(self, departure: Departure) -> None:
        """Give it a request to send."""
        self._departure = departure
        if self._event is not None:
            self._event.set()

    async def handed(self) -> Departure:
        """The next request to send, once there is one."""
        if self._departure is None:
            self._event = self._new_event()
            await self._event.wait()
            self._event = None
        departure, self._departure = self._departure, None
        assert departure is not None
        return departure

    @property
    def missed(self) -> Departure | None:
        """What it was handed in the very moment in which its waiting was cancelled."""
        return self._departure


class Deadlines:
    """Cancels what takes too long: one task for all workers, since a timer for each request would cost more.

    All have the same time, so that what leaves while this sleeps is due after it wakes.
    """

    def __init__(self, deadline_s: float, now: Callable[[], float]) -> None:
        self.workers: set[Worker] = set()
        self._deadline_s = deadline_s
        self._now = now

    async def keep(self) -> None:
        """Watch the workers for as long as the run goes on."""
        while True:
            now = self._now()
            next_at_s = now + self._deadline_s
            for worker in self.workers:
                due_at_s = worker.since_s + self._deadline_s
                if due_at_s <= now:
                    worker.since_s = math.inf
                    worker.scope.cancel()
                else:
                    next_at_s = min(next_at_s, due_at_s)
            await anyio.sleep(next_at_s - now)


class Crew:
    """How many requests may be in flight: `concurrency`, or as many as the rate and the latency need."""

    def __init__(self, concurrency: int | None, pacer: Pacer) -> None:
        self._concurrency = concurrency
        self._pacer = pacer
        self._latency_s = 0.0
        self.limit = 0
        self.begin()

    def begin(self) -> None:
        """Guess by the rate, while nobody knows how long requests take at it."""
        needed = math.ceil(self._pacer.asked_per_s / 2)
        self.limit = self._concurrency or _bounded(needed)

    def told(self, took_s: float) -> None:
        """A request took so long."""
        self._latency_s = 0.9 * self._latency_s + 0.1 * took_s if self._latency_s else took_s

    def fit(self) -> bool:
        """As many as the rate keeps busy at this latency, and some to spare; whether that was looked at."""
        if self._concurrency is not None or not self._latency_s:
            return False
        self.limit = _bounded(math.ceil(self._pacer.rate_per_s * self._latency_s * 1.5) + 2)
        return True


def _bounded(needed: int) -> int:
    return min(MOST_WORKERS, max(FEWEST_WORKERS, needed))
