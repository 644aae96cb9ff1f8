"""What an operator does to a run that is going: by signals, or by orders from another terminal."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from batch.engine.pacer import Rate, parse_rates
from batch.errors import UsageError
from batch.states import StopReason

#: Why a run ended that was stopped by an order.
STOPPED = "stopped from another terminal"


class Verb(StrEnum):
    """What an order asks for."""

    PAUSE = "pause"  #: send nothing more until told to go on; what is in flight ends
    CONTINUE = "continue"  #: go on
    RATE = "rate"  #: go on at another rate
    STOP = "stop"  #: as the first SIGINT does


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator asks of a run; `value` is the rate for `RATE`, as people write it."""

    verb: Verb
    value: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an order, in words for the operator; `is_done` says whether the run is now as asked."""

    is_done: bool
    text: str


class Stoppable(Protocol):
    """What is going on, and can be stopped: sending, or what reads before and after it."""

    def stop(self, reason: StopReason, message: str) -> None:
        """Begin nothing more; the first reason stands."""

    def abort(self) -> None:
        """Cancel what is in flight."""


@runtime_checkable
class Controlled(Stoppable, Protocol):
    """Sending, as an operator can handle it; each method takes effect before it returns."""

    @property
    def is_stopping(self) -> bool:
        """Whether it has a reason to send nothing more, or has ended."""

    @property
    def in_flight(self) -> int:
        """How many requests are on their way."""

    def pause(self) -> bool:
        """Send nothing until told to go on; false if that is so already."""

    def go_on(self) -> bool:
        """Send again; false if there was no pause."""

    def change_rate(self, rates: tuple[Rate, ...]) -> str:
        """Send at other rates from now on, none at all: find it; returns what they were.

        `UsageError` if it cannot be changed to that.
        """


class Controls:
    """What an operator does to a run that is going; before it is, a stop is kept for it."""

    def __init__(self) -> None:
        self._run: Stoppable | None = None
        self._waiting: StopReason | None = None

    @property
    def is_attached(self) -> bool:
        """Whether the run has begun."""
        return self._run is not None

    def attach(self, run: Stoppable) -> None:
        """The run begins; a stop that was asked for before takes effect now."""
        self._run = run
        if self._waiting is not None:
            self.drain(self._waiting)

    def drain(self, reason: StopReason) -> None:
        """Send nothing more, let what is in flight end: the first signal."""
        self._waiting = reason
        if self._run is not None:
            self._run.stop(reason, f"interrupted by {reason.upper()}")

    def abort(self) -> None:
        """Cancel what is in flight: the second signal."""
        if self._run is not None:
            self._run.abort()

    def obey(self, order: Order) -> Answer:
        """Do what another terminal asks, and say what became of it."""
        run = self._run
        if run is None:
            return Answer(is_done=False, text="it has not begun to send")
        if not isinstance(run, Controlled):
            if order.verb is not Verb.STOP:
                return Answer(
                    is_done=False, text="it is not sending but reading back, and can only be stopped"
                )
            run.stop(StopReason.SIGINT, STOPPED)
            return Answer(is_done=True, text="stopping")
        if run.is_stopping:
            return Answer(order.verb is Verb.STOP, f"it is stopping already{_in_flight(run)}")
        match order.verb:
            case Verb.PAUSE:
                text = "paused" if run.pause() else "it is paused already"
                return Answer(is_done=True, text=f"{text}{_in_flight(run)}")
            case Verb.CONTINUE:
                return Answer(is_done=True, text="going on" if run.go_on() else "it is not paused")
            case Verb.RATE:
                try:
                    rates = parse_rates(order.value)
                    was = run.change_rate(rates)
                except UsageError as error:
                    return Answer(is_done=False, text=str(error))
                return Answer(is_done=True, text=f"sending at {in_words(rates)}; it was {was}")
            case Verb.STOP:
                run.stop(StopReason.SIGINT, STOPPED)
                return Answer(is_done=True, text=f"stopping{_in_flight(run)}")


def in_words(rates: tuple[Rate, ...]) -> str:
    """Rates as people write them: `20/s, 600/m`, or `auto` where it is to be found."""
    return ", ".join(map(str, rates)) or "auto"


def _in_flight(run: Controlled) -> str:
    if not run.in_flight:
        return ""
    return f"; {run.in_flight:,} request{'s' * (run.in_flight != 1)} in flight may still end"
