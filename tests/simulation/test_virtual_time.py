"""What the virtual event loops promise to the tests that are built on them."""

from __future__ import annotations

import time

import anyio
import anyio.lowlevel
import pytest

from tests.simulation.virtual_time import BACKENDS, BusyLoopError, NothingToWaitForError, run_virtual, stall

pytestmark = pytest.mark.parametrize("backend", BACKENDS)


def test_a_day_passes_at_once(backend: str) -> None:
    """A sleep takes exactly its time on the loop's clock, and none on the wall."""

    async def main() -> float:
        began_s = anyio.current_time()
        await anyio.sleep(86_400)
        return anyio.current_time() - began_s

    really_began_s = time.perf_counter()
    assert run_virtual(main, backend=backend) == 86_400
    assert time.perf_counter() - really_began_s < 5


def test_timers_fire_in_order_at_their_own_instants(backend: str) -> None:
    """Each sleeper wakes at its own due time, earliest first, whatever the order of starting."""
    woke: list[tuple[float, float]] = []

    async def sleeper(delay_s: float, began_s: float) -> None:
        await anyio.sleep(delay_s)
        woke.append((delay_s, anyio.current_time() - began_s))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for delay_s in (3.0, 0.125, 60.0, 2.5):
                tasks.start_soon(sleeper, delay_s, anyio.current_time())

    run_virtual(main, backend=backend)
    assert woke == [(0.125, 0.125), (2.5, 2.5), (3.0, 3.0), (60.0, 60.0)]


def test_a_timeout_cuts_a_wait_short(backend: str) -> None:
    """A cancel scope's deadline holds in virtual time too."""

    async def main() -> float:
        began_s = anyio.current_time()
        with anyio.move_on_after(7):
            await anyio.sleep_forever()
        return anyio.current_time() - began_s

    assert run_virtual(main, backend=backend) == 7


def test_a_stalled_process_finds_its_timers_long_due(backend: str) -> None:
    """`stall` is a process that was stopped: time has gone by, and every timer is late at once."""

    async def main() -> tuple[float, float]:
        began_s = anyio.current_time()
        stall(60)
        stalled_s = anyio.current_time() - began_s
        await anyio.sleep(0.5)
        return stalled_s, anyio.current_time() - began_s

    assert run_virtual(main, backend=backend) == (60, 60.5)


def test_a_loop_that_turns_idle_hot_is_told_of(backend: str) -> None:
    """Who goes round without time moving is stopped, not waited for."""

    async def main() -> None:
        while True:
            await anyio.lowlevel.checkpoint()

    with pytest.raises(BusyLoopError):
        run_virtual(main, backend=backend)


def test_a_deadlock_is_told_of(backend: str) -> None:
    """When everyone waits and no timer is set, the run ends with an error and not with a hang."""
    with pytest.raises(NothingToWaitForError):
        run_virtual(anyio.sleep_forever, backend=backend)


def test_the_same_seed_gives_the_same_order(backend: str) -> None:
    """Tasks that are ready at one instant run in an order that the seed alone decides."""

    def order(seed: int) -> list[int]:
        seen: list[int] = []

        async def task(number: int) -> None:
            for _ in range(3):
                await anyio.sleep(1)
                seen.append(number)

        async def main() -> None:
            async with anyio.create_task_group() as tasks:
                for number in range(8):
                    tasks.start_soon(task, number)

        run_virtual(main, backend=backend, seed=seed)
        return seen

    assert order(1) == order(1)


def test_cancelled_tasks_are_told_in_an_order_that_does_not_depend_on_memory(backend: str) -> None:
    """A cancelled scope reaches its tasks in the same order in every run of one seed."""

    def order() -> list[int]:
        seen: list[int] = []

        async def task(number: int) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                seen.append(number)

        async def main() -> None:
            async with anyio.create_task_group() as tasks:
                for number in range(40):
                    tasks.start_soon(task, number)
                await anyio.sleep(1)
                tasks.cancel_scope.cancel()

        run_virtual(main, backend=backend, seed=5)
        return seen

    orders = [order() for _ in range(5)]
    assert all(one == orders[0] for one in orders)
