"""Event loops whose clock jumps instead of waiting: trio with a seeded scheduler, and asyncio.

In both, time moves only when nothing is left to do at this instant, so an hour takes as long as what
happens in it, and the same seed gives the same order of events. A loop that goes round without time
moving is told of, because it would turn a processor idle-hot for as long as a real wait lasts.
"""

from __future__ import annotations

import asyncio
import math
import random
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import anyio
import anyio._backends._asyncio as anyio_asyncio
import trio

_T = TypeVar("_T")

BACKENDS = ("trio", "asyncio")

#: The loops' clocks start here, not at 0, so that what takes 0 for "never" is found out.
_START_S = 1_000.0

#: Rounds of the event loop at one instant that no honest work of these tests needs.
_MOST_ROUNDS = 20_000


class BusyLoopError(BaseException):
    """The event loop went round and round while time stood still."""


class NothingToWaitForError(BaseException):
    """Everyone waits, and no timer is set: in real time this would hang for ever."""


def run_virtual(main: Callable[[], Coroutine[Any, Any, _T]], *, backend: str, seed: int = 0) -> _T:
    """Run `main` to its end in virtual time; on trio `seed` chooses the order of tasks at one instant."""
    time = _Time()
    match backend:
        case "trio":
            return _run_on_trio(time, main, seed)
        case "asyncio":
            options = {"loop_factory": lambda: _VirtualLoop(time)}
            with _cancelled_in_order():
                return anyio.run(time.watch, main, backend="asyncio", backend_options=options)
        case _:
            raise ValueError(f"there is no backend {backend}, only {BACKENDS}")


def stall(by_s: float) -> None:
    """The process was stopped for so long: time has moved, and nothing else has."""
    _running.get().now_s += by_s


class _Time:
    """What the clock says, and a watch on whether it moves.

    Neither loop can take an exception from its clock, so a fault of timing cancels the work first.
    """

    def __init__(self) -> None:
        self.now_s = _START_S
        self._round_at_s = -math.inf
        self._rounds = 0
        self._fault: BaseException | None = None
        self._scope: anyio.CancelScope | None = None

    async def watch(self, main: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        _running.set(self)
        result: list[_T] = []
        with anyio.CancelScope() as self._scope:
            result.append(await main())
        self._scope = None
        if self._fault is not None:
            raise self._fault
        return result[0]

    def went_round(self) -> None:
        self._rounds = self._rounds + 1 if self.now_s == self._round_at_s else 0
        self._round_at_s = self.now_s
        if self._rounds == _MOST_ROUNDS:
            self._end(BusyLoopError(f"at {self.now_s:.6f} s"))
        if self._rounds > 2 * _MOST_ROUNDS:
            raise BusyLoopError(f"at {self.now_s:.6f} s, and it cannot be cancelled")

    def jump_to(self, next_s: float) -> None:
        if next_s == math.inf:
            self._end(NothingToWaitForError())
        else:
            self.now_s = max(self.now_s, next_s)

    def _end(self, fault: BaseException) -> None:
        if self._scope is not None:
            self._fault = fault
            self._scope.cancel()


_running: ContextVar[_Time] = ContextVar("the running loop's time")


# --- trio ---------------------------------------------------------------------------------------


def _run_on_trio(time: _Time, main: Callable[[], Coroutine[Any, Any, _T]], seed: int) -> _T:
    core = trio._core._run
    was = core._ALLOW_DETERMINISTIC_SCHEDULING, core._r
    core._ALLOW_DETERMINISTIC_SCHEDULING, core._r = True, random.Random(seed)
    try:
        clock = _JumpingClock(time)
        options = {"clock": clock, "instruments": [clock]}
        return anyio.run(time.watch, main, backend="trio", backend_options=options)
    finally:
        core._ALLOW_DETERMINISTIC_SCHEDULING, core._r = was


class _JumpingClock(trio.abc.Clock, trio.abc.Instrument):
    """Like trio's `MockClock` with `autojump_threshold=0`, but that it lands on the deadline itself."""

    def __init__(self, time: _Time) -> None:
        self._time = time

    def start_clock(self) -> None:
        """Nothing: it stands until there is nothing to do."""

    def current_time(self) -> float:
        return self._time.now_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Called when no task can run: whatever comes next is at `deadline`."""
        self._time.jump_to(deadline)
        return 0.0

    def after_io_wait(self, timeout: float) -> None:
        """Called once a round of the loop."""
        self._time.went_round()


# --- asyncio ------------------------------------------------------------------------------------


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, time: _Time) -> None:
        self._virtual = time
        super().__init__(_JumpingSelector(self._wait))

    def time(self) -> float:
        return self._virtual.now_s

    def _wait(self, timeout: float | None) -> None:
        self._virtual.went_round()
        if timeout is None:
            self._virtual.jump_to(math.inf)
        elif timeout > 0:
            self._virtual.jump_to(self._scheduled[0].when())


class _JumpingSelector(selectors.SelectSelector):
    """Asks what is ready now, and lets the clock jump where there was a wait."""

    def __init__(self, wait: Callable[[float | None], None]) -> None:
        super().__init__()
        self._wait = wait

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            self._wait(timeout)
        return found


class _InOrder(dict[Any, None]):
    """A set that gives its members in the order in which they came."""

    def add(self, member: object) -> None:
        self[member] = None

    def discard(self, member: object) -> None:
        self.pop(member, None)

    remove = dict.__delitem__


@contextmanager
def _cancelled_in_order() -> Iterator[None]:
    """Let cancel scopes cancel in the order of their making: else it depends on where in memory they lie."""
    scope = anyio_asyncio.CancelScope
    make = scope.__init__

    def make_in_order(self: Any, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        self._child_scopes, self._tasks = _InOrder(), _InOrder()

    scope.__init__ = make_in_order
    try:
        yield
    finally:
        scope.__init__ = make
