"""What blocks runs off the event loop, and the journal belongs to one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import anyio

_T = TypeVar("_T")


class RunBlocking(Protocol):
    """Runs what blocks off the event loop; in virtual time, inline."""

    async def __call__(self, work: Callable[[], _T]) -> _T: ...


async def in_thread(work: Callable[[], _T]) -> _T:
    """Run what blocks in a worker thread, to its end even if the caller is cancelled."""
    return await anyio.to_thread.run_sync(work)


class InTurn:
    """Runs what blocks one at a time: between two waves, sending and reading back share the journal.

    Who does several things to the journal that belong together holds `turn`, and calls `run_blocking` itself.
    """

    def __init__(self, run_blocking: RunBlocking) -> None:
        self.run_blocking = run_blocking
        self.turn = anyio.Lock(fast_acquire=True)

    @classmethod
    def of(cls, run_blocking: RunBlocking) -> InTurn:
        """In turn with all who were given the same; made for it if it is none yet."""
        return run_blocking if isinstance(run_blocking, InTurn) else cls(run_blocking)

    async def __call__(self, work: Callable[[], _T]) -> _T:
        """As `RunBlocking`."""
        async with self.turn:
            return await self.run_blocking(work)
