"""Who carries requests: one worker for each that is in flight, and how many there may be."""

from __future__ import annotations

import math
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
    """One of the requests in flight at a time; waits here for the next."""

    __slots__ = ("_departure", "_event")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._departure: Departure | None = None

    def hand(self, departure: Departure) -> None:
        """Wake it with a request to send."""
        self._departure = departure
        self._event.set()

    async def handed(self) -> Departure:
        """Wait for a request to send."""
        await self._event.wait()
        self._event = anyio.Event()
        assert self._departure is not None
        return self._departure


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
