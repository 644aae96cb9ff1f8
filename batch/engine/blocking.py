"""What blocks runs off the event loop, and the journal belongs to one at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import anyio

_T = TypeVar("_T")


class RunBlocking(Protocol):
    """Runs what blocks off the event loop; in virtual time, inline."""

    async def __call__(self, work: Callable[[], _T]) -> _T: ...


async def in_thread(work: Callable[[], _T]) -> _T:
    """Run what blocks in a worker thread, to its end even if the caller is cancelled."""
    return await anyio.to_thread.run_sync(work)


class _Job(NamedTuple):
    work: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any]


class OwnThread:
    """One thread for all that blocks: as `in_thread` at less than half of its cost, and in asyncio alone.

    Entered before the first work, and left after the last, which is waited for.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._jobs.put(None)
        self._thread.join()

    async def __call__(self, work: Callable[[], _T]) -> _T:
        """As `RunBlocking`."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_T] = loop.create_future()
        self._jobs.put(_Job(work, loop, done))
        with anyio.CancelScope(shield=True):
            await done
        return done.result()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result: object = None
            error: BaseException | None = None
            try:
                result = job.work()
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
                job.loop.call_soon_threadsafe(_tell, job.done, result, error)


def _tell(done: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if done.done():  # whoever waited for it was cancelled
        return
    if error is not None:
        done.set_exception(error)
    else:
        done.set_result(result)


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
