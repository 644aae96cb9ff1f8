"""`--rate auto`: the search for the rate that the far end allows, against limits that it does not know."""

from __future__ import annotations

import random
from collections import deque

import pytest

from batch.engine.seeking import SeekingPacer


class Limit:
    """A far end that lets `per_s` through in any second; `pacer` sends to it, a millisecond at a time.

    With `chance` the machine is busy: twice a second the process gets no turn for up to 150 ms.
    """

    def __init__(
        self,
        per_s: int,
        *,
        latency_s: float = 0.03,
        retry_after_s: float = 0.0,
        chance: random.Random | None = None,
    ) -> None:
        self.now_s = 0.0
        self.sent: list[float] = []
        self.turned_away: list[float] = []
        self.per_s = per_s
        self._latency_s = latency_s
        self._retry_after_s = retry_after_s
        self._chance = chance
        self._let_through = deque[float]()
        self._answers = deque[tuple[float, float, bool]]()

    def run(self, pacer: SeekingPacer, until_s: float) -> None:
        """Send whenever the pacer lets go, and hear the answers when they come."""
        while self.now_s < until_s:
            while self._answers and self._answers[0][0] <= self.now_s:
                _, left_at_s, is_let_through = self._answers.popleft()
                pacer.answered(left_at_s)
                if is_let_through:
                    pacer.accepted(left_at_s)
                else:
                    pacer.throttled(left_at_s)
                    pacer.pause_until(self.now_s + self._retry_after_s)
            while pacer.take_now():
                self._arrive()
            self.now_s += 0.001
            if self._chance is not None and self._chance.random() < 0.002:
                self.now_s += self._chance.uniform(0.03, 0.15)

    def _arrive(self) -> None:
        while self._let_through and self._let_through[0] <= self.now_s - 1.0:
            self._let_through.popleft()
        is_let_through = len(self._let_through) < self.per_s
        if is_let_through:
            self._let_through.append(self.now_s)
        else:
            self.turned_away.append(self.now_s)
        self.sent.append(self.now_s)
        self._answers.append((self.now_s + self._latency_s, self.now_s, is_let_through))


@pytest.mark.parametrize("retry_after_s", [0.0, 1.0])
@pytest.mark.parametrize("per_s", [10, 50, 300])
def test_search_settles_just_below_the_limit(per_s: int, retry_after_s: float) -> None:
    """After the first minute at least 90 % of the limit is used, and at most 1 % of answers are 429."""
    limit = Limit(per_s, retry_after_s=retry_after_s)
    limit.run(SeekingPacer(now=lambda: limit.now_s), 180.0)
    late = [at for at in limit.sent if at >= 60.0]
    assert len(late) / 120.0 >= 0.9 * per_s
    assert len(limit.turned_away) <= 0.01 * len(limit.sent)


@pytest.mark.parametrize("retry_after_s", [0.0, 1.0])
@pytest.mark.parametrize("per_s", [10, 50, 300])
def test_search_settles_on_a_busy_machine_too(per_s: int, retry_after_s: float) -> None:
    """Slots that the machine had no time for are made up for, and no second is fuller for it."""
    chance = random.Random(4711)
    limit = Limit(per_s, retry_after_s=retry_after_s, chance=chance)
    limit.run(SeekingPacer(now=lambda: limit.now_s), 180.0)
    late = [at for at in limit.sent if at >= 60.0]
    assert len(late) / 120.0 >= 0.9 * per_s
    assert len(limit.turned_away) <= 0.01 * len(limit.sent)


def test_limit_that_falls_is_followed_at_once() -> None:
    """Where one throttle comes upon the other, what was let through is the measure again."""
    limit = Limit(100)
    pacer = SeekingPacer(now=lambda: limit.now_s)
    limit.run(pacer, 60.0)
    limit.per_s = 20
    limit.run(pacer, 75.0)
    before = len(limit.sent), len(limit.turned_away)
    limit.run(pacer, 135.0)
    sends, turned_away = len(limit.sent) - before[0], len(limit.turned_away) - before[1]
    assert sends >= 0.9 * 20 * 60
    assert turned_away <= 0.01 * sends


def test_stopped_process_fills_no_second_when_it_goes_on() -> None:
    """Stopped for a minute, it catches up with a moment at most, within what a second may hold."""
    limit = Limit(50)
    pacer = SeekingPacer(now=lambda: limit.now_s)
    limit.run(pacer, 20.0)
    turned_away = len(limit.turned_away)
    limit.now_s += 60.0
    limit.run(pacer, 85.0)
    again = [at for at in limit.sent if at >= 80.0]
    assert max(sum(at <= other < at + 1.0 for other in again) for at in again) <= 50
    assert len(limit.turned_away) == turned_away


def test_search_begins_low_and_says_when_it_has_found() -> None:
    """The first second is slow, and nothing is said to be found before the far end has spoken."""
    limit = Limit(50)
    pacer = SeekingPacer(now=lambda: limit.now_s)
    limit.run(pacer, 1.0)
    assert len(limit.sent) <= 4
    assert pacer.found_per_s is None
    limit.run(pacer, 30.0)
    assert pacer.found_per_s == pytest.approx(48, abs=2)


def test_what_an_earlier_run_found_is_begun_with() -> None:
    """A known rate is begun with a little below it, so that nobody has to be told again."""
    limit = Limit(50)
    limit.run(SeekingPacer(now=lambda: limit.now_s, known_per_s=48.0), 20.0)
    assert len(limit.sent) >= 20 * 40
    assert len(limit.turned_away) <= 0.01 * len(limit.sent)


def test_rate_that_the_far_end_names_is_kept() -> None:
    """A named rate ends the search, just below it."""
    limit = Limit(1000)
    pacer = SeekingPacer(now=lambda: limit.now_s)
    pacer.at_most(1.0)
    assert pacer.found_per_s == pytest.approx(0.95)
