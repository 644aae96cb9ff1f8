"""`--rate auto`: finds the rate that the far end allows, and stays just below it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence

from batch.engine.pacer import CATCH_UP_S, Pacer, Rate

#: Where the search begins when nothing is known, and the most that it tries, in sends a second.
_START_PER_S = 2.0
_MOST_PER_S = 2_000.0

#: Until it is told that it is too fast, the rate doubles in so many seconds.
_DOUBLING_S = 2.0

#: It never runs further ahead of what was accepted in the last second than this: a client that is slow
#: itself learns nothing from asking for more.
_AHEAD = 1.5

#: Of what was let through in the second before a throttle, so much is taken as the rate.
_BELOW = 0.95

#: A throttle never takes more than this away at once: one that has another cause must not end the run's pace.
_CUT = 0.7

#: A throttle that comes so long after the one before says that the rate has crept up to what is allowed, or
#: that the network has bunched some sends: a small step back is enough.
_SETTLED_S = 10.0
_STEP_BACK = 0.97

#: How far sends may fall behind once the rate is found. No second has more sends than the rate for all that;
#: a machine that is busy with other things would else stay far below it.
_CATCH_UP_S = 0.25
_SECOND_S = 1.02

#: Once found, the rate creeps up by this share a second, in case the far end now allows more.
_CREEP_PER_S = 0.001

#: A rate that was found by an earlier run is begun with at this share.
_TRUST = 0.9


class SeekingPacer(Pacer):
    """Starts low, rises until it is told, and settles just below what was let through.

    `known_per_s` is what an earlier run settled at, if one did. A far end that counts a second lets
    through in it exactly what it allows: the count of that second is the measure.
    """

    def __init__(self, *, now: Callable[[], float], known_per_s: float | None = None) -> None:
        super().__init__((), now=now)
        self._per_s = _START_PER_S if known_per_s is None else max(_START_PER_S, known_per_s * _TRUST)
        self._is_found = False
        self._adjusted_at_s = -math.inf
        self._accepted = deque[float]()
        self._left = deque[float]()

    @property
    def rate_per_s(self) -> float:
        """The rate now, in sends a second."""
        return super().rate_per_s if self.rates else self._per_s

    @property
    def asked_per_s(self) -> float:
        """The rate now: none was asked for."""
        return super().asked_per_s if self.rates else self._per_s

    @property
    def found_per_s(self) -> float | None:
        """What it has settled at, or None while nothing has told it to."""
        return self._per_s if self._is_found else None

    def change(self, rates: Sequence[Rate]) -> None:
        """Send at these rates from now on; without any, go on finding one."""
        if rates:
            super().change(rates)
            self._catch_up_s = CATCH_UP_S
        else:
            self.rates = ()
            self._windows = []
            self._catch_up_s = _CATCH_UP_S if self._is_found else CATCH_UP_S
            self._adjusted_at_s = self._now()
            self._slot_s = self._now() + self._spacing_s()

    def accepted(self, sent_at_s: float) -> None:
        """A send that left at `sent_at_s` was let through."""
        self._accepted.append(sent_at_s)
        while self._accepted[0] <= sent_at_s - 2.0:
            self._accepted.popleft()

    def throttled(self, sent_at_s: float) -> bool:
        """A send that left at `sent_at_s` was not let through: settle below what was."""
        if self.rates:
            return super().throttled(sent_at_s)
        if sent_at_s <= self._cut_at_s:
            return False
        if self._is_found and sent_at_s > self._cut_at_s + _SETTLED_S:
            per_s = self._per_s * _STEP_BACK
        else:
            let_through = sum(1 for at in self._accepted if sent_at_s - 1.0 < at <= sent_at_s)
            per_s = max(self._per_s * _CUT, min(self._per_s, let_through) * _BELOW)
        self._settle(max(_START_PER_S / 10, per_s))
        self._cut_at_s = self._adjusted_at_s = self._now()
        return True

    def at_most(self, rate_per_s: float) -> None:
        """The far end named its rate."""
        if self.rates:
            super().at_most(rate_per_s)
        elif 0 < rate_per_s * _BELOW < self._per_s:
            self._settle(rate_per_s * _BELOW)

    def _settle(self, per_s: float) -> None:
        self._per_s = per_s
        self._is_found = True
        self._catch_up_s = _CATCH_UP_S

    def _ready_at(self, now: float) -> float:
        ready = super()._ready_at(now)
        most = math.ceil(self._per_s)
        if self.rates or not self._is_found or len(self._left) < most:
            return ready
        return max(ready, self._left[-most] + _SECOND_S)

    def _leave(self, now: float) -> None:
        super()._leave(now)
        self._left.append(now)
        while self._left[0] <= now - _SECOND_S:
            self._left.popleft()

    def _spacing_s(self) -> float:
        return super()._spacing_s() if self.rates else 1.0 / self._per_s

    def _adjust(self, now: float) -> None:
        """Rise: fast while searching, hardly at all once found, and not at all while paused."""
        if self.rates:
            super()._adjust(now)
            return
        since_s = max(self._adjusted_at_s, self._paused_until_s)
        self._adjusted_at_s = now
        if not 0.0 < now - since_s < math.inf:
            return
        if self._is_found:
            # A long time without a send says nothing of what the far end allows.
            sending_s = min(now - since_s, max(1.0, 1.0 / self._per_s))
            self._per_s *= 1.0 + _CREEP_PER_S * sending_s
            return
        in_last_second = sum(1 for at in self._accepted if at > now - 1.0)
        allowed = max(self._per_s, in_last_second * _AHEAD + 2.0)
        self._per_s = min(_MOST_PER_S, allowed, self._per_s * 2.0 ** ((now - since_s) / _DOUBLING_S))
