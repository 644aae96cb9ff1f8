"""What is the same for every part of one simulated run: its steps, its crash, its trace, what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from batch.journal.protocol import Claim


class SimulatedCrash(BaseException):
    """The process is dead: nothing that it still does has an effect."""


class HopelessError(BaseException):
    """So much is broken that there is nothing to learn from the rest of the run."""


#: After so many broken promises a run is given up.
MOST_BROKEN = 3


class World:
    """The thread that runs through all lives of one scenario.

    `trace` is what happened, the same for the same seed. `violations` are broken promises, each a sentence.
    """

    def __init__(self, *, budget_tokens: int, retry_cost: int, now: Callable[[], float]) -> None:
        self.trace: list[tuple[object, ...]] = []
        self.violations: list[str] = []
        self.life = 0
        self.is_dead = False
        self.is_peaceful = False
        self._now = now
        self._steps = 0
        self._crash_at: int | None = None
        self._disk_full_at: int | None = None
        self._acts: dict[int, list[Callable[[], None]]] = {}
        self._stopped_at_s: float | None = None
        self._paused_at_s: float | None = None
        self._budget_tokens, self._retry_cost = budget_tokens, retry_cost
        self._accepted = self._paid_retries = 0
        self._was_given_some = True
        self._unpaid: set[int] = set()

    def begin_life(self, *, crash_at: int | None, disk_full_at: int | None) -> None:
        """A new process; it dies at step `crash_at`, and finds the disk full at step `disk_full_at`."""
        self.life += 1
        self.is_dead = False
        self._steps = 0
        self._crash_at, self._disk_full_at = crash_at, disk_full_at
        self._acts.clear()
        self._stopped_at_s = self._paused_at_s = None
        self._accepted = self._paid_retries = 0
        self._was_given_some = True
        self._unpaid.clear()
        self.tell("life", self.life)

    def at_step(self, step: int | None, act: Callable[[], None]) -> None:
        """Let something happen at a step of this life, in the middle of all that goes on."""
        if step is not None:
            self._acts.setdefault(step, []).append(act)

    def step(self, name: str) -> None:
        """A numbered moment at which the process may die; a dead one does nothing more."""
        if self.is_dead:
            raise SimulatedCrash(name)
        self._steps += 1
        if self._steps == self._crash_at:
            self.is_dead = True
            self.tell("crash", name)
            raise SimulatedCrash(name)
        for act in self._acts.pop(self._steps, ()):
            act()

    def is_disk_full(self) -> bool:
        """Whether a write at this moment finds no room; once it does, so do all that follow."""
        return self._disk_full_at is not None and self._steps >= self._disk_full_at

    def stopped(self) -> None:
        """From here on nothing may be sent in this life."""
        if self._stopped_at_s is None:
            self._stopped_at_s = self._now()

    def paused(self) -> None:
        """From here on nothing may be sent, until it goes on."""
        self._paused_at_s = self._now()

    def continued(self) -> None:
        """The operator lets it go on."""
        self._paused_at_s = None

    @property
    def may_send(self) -> bool:
        """Whether a send at this moment is allowed; what happens at the very moment of a stop is."""
        halts = (at_s for at_s in (self._stopped_at_s, self._paused_at_s) if at_s is not None)
        return all(self._now() <= at_s for at_s in halts)

    def accepted(self) -> None:
        """An answer that earns the run a part of a retry."""
        self._accepted += 1

    def claimed(self, claims: Sequence[Claim], want: int) -> None:
        """What an exchange gave: what of it is to be paid for when it is sent.

        Where the exchange before gave nothing, one may be had on credit, or the run would never end.
        """
        if not want:
            return
        paid = {claim.seq for claim in claims if claim.is_paid}
        self._unpaid -= {claim.seq for claim in claims}
        self._unpaid |= paid
        if paid and not self._was_given_some:
            self._unpaid.remove(max(paid))
        self._was_given_some = bool(claims)

    def sent(self, seq: int) -> None:
        """A request left: retries stay within the budget, but for those that are free or on credit."""
        if seq in self._unpaid:
            self._unpaid.remove(seq)
            self._paid_retries += 1
            if self._paid_retries * self._retry_cost > self._budget_tokens + self._accepted:
                self.broken(f"{self._paid_retries} retries for {self._accepted} requests accepted")

    def tell(self, *happened: Any) -> None:
        """Add to the trace what happened, with its time."""
        self.trace.append((round(self._now(), 6), *happened))

    def broken(self, promise: str) -> None:
        """A promise was not kept."""
        self.violations.append(f"at {self._now():.3f} s, life {self.life}: {promise}")
        self.tell("broken", promise)
        if len(self.violations) >= MOST_BROKEN:
            raise HopelessError
