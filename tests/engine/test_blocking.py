"""What blocks runs beside the event loop: in a thread of its own, one at a time, to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from batch.engine.blocking import InTurn, OwnThread, RunBlocking
from batch.errors import JournalError


def in_uvloop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """In the event loop that runs use."""
    anyio.run(main, backend_options={"use_uvloop": True})


def test_work_is_done_in_one_other_thread_and_its_results_come_back() -> None:
    """Whatever is handed to it, from as many tasks as there are; the loop goes on meanwhile."""

    async def main() -> None:
        seen: list[tuple[int, int]] = []
        with OwnThread() as run_blocking:

            async def one(number: int) -> None:
                seen.append(await run_blocking(lambda: (number, threading.get_ident())))

            async with anyio.create_task_group() as tasks:
                for number in range(50):
                    tasks.start_soon(one, number)
        assert sorted(number for number, _ in seen) == list(range(50))
        assert len({thread for _, thread in seen}) == 1
        assert seen[0][1] != threading.get_ident()

    in_uvloop(main)


def test_the_event_loop_goes_on_while_work_blocks() -> None:
    """A disk that takes its time keeps nobody from sending."""

    async def main() -> None:
        turns = 0
        with OwnThread() as run_blocking:
            async with anyio.create_task_group() as tasks:

                async def turn() -> None:
                    nonlocal turns
                    while True:
                        await anyio.sleep(0.001)
                        turns += 1

                tasks.start_soon(turn)
                await run_blocking(lambda: time.sleep(0.2))
                tasks.cancel_scope.cancel()
        assert turns > 10

    in_uvloop(main)


def test_what_work_raises_is_raised_where_it_was_asked_for() -> None:
    """And the thread is there for the next."""

    async def main() -> None:
        def fail() -> None:
            raise JournalError("the disk is full")

        with OwnThread() as run_blocking:
            with pytest.raises(JournalError, match="the disk is full"):
                await run_blocking(fail)
            assert await run_blocking(lambda: 7) == 7

    in_uvloop(main)


def test_work_that_has_begun_is_done_also_if_its_caller_is_cancelled() -> None:
    """A commit is never left half known: the caller is let go when it has ended."""

    async def main() -> None:
        done: list[str] = []

        def work() -> None:
            time.sleep(0.1)
            done.append("committed")

        with OwnThread() as run_blocking, anyio.move_on_after(0.01):
            await run_blocking(work)
            done.append("known")
        assert done == ["committed", "known"]

    in_uvloop(main)


def test_leaving_it_waits_for_the_last_work() -> None:
    """Afterwards the journal may be closed: nobody uses it any more."""
    before = threading.active_count()

    async def main() -> None:
        with OwnThread() as run_blocking:
            await run_blocking(lambda: None)

    in_uvloop(main)
    assert threading.active_count() == before


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_in_turn_one_waits_for_the_other(backend: str) -> None:
    """Between the two steps of one nobody else has the journal, and all who share it are in the same turn."""

    async def inline(work: Callable[[], Any]) -> Any:
        await anyio.sleep(0.001)
        return work()

    async def main() -> None:
        happened: list[str] = []
        given: RunBlocking = InTurn(inline)
        in_turn = InTurn.of(given)
        assert in_turn is given

        async def two_steps() -> None:
            async with in_turn.turn:
                happened.append("first")
                await in_turn.run_blocking(lambda: happened.append("second"))

        async def other() -> None:
            await in_turn(lambda: happened.append("other"))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(two_steps)
                tasks.start_soon(other)
        steps = [happened[at : at + 2] for at, what in enumerate(happened) if what == "first"]
        assert steps == [["first", "second"]] * 5
        assert happened.count("other") == 5

    anyio.run(main, backend=backend)
