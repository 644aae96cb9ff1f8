"""Every attempt of a run, counted over time and by what was answered: what the page draws of the sending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

import numpy as np
import numpy.typing as npt

from batch.journal.protocol import AttemptRow
from batch.target import Verdict

#: Attempts are taken up so many at a time.
_BATCH = 1 << 15

#: The widths of bins in seconds; each divides the next, so that full bins are joined without a remainder.
_BIN_WIDTHS_S = (1, 5, 15, 60, 300, 900, 3_600, 21_600, 86_400, 604_800)

#: Bins that are held before they are joined: five hours of sending, second by second.
_MOST_BINS = 20_000

#: The widths of bars in seconds that a reader can make sense of.
_BAR_WIDTHS_S = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400),
    *(172_800, 604_800, 1_209_600),
)

#: A silence of at least this, and of this share of the time that is left without it, cuts the time axis.
_LEAST_BREAK_S = 1_200
_BREAK_SHARE = 0.2

#: Parts that the time axis is cut into at long breaks.
_MOST_STRETCHES = 4

#: Statuses by which an API asks everyone to wait.
_WAITS = (429, 503)


class Answer(StrEnum):
    """What came of an attempt, as the page tells them apart."""

    ACCEPTED = "accepted"  #: applied
    REFUSED = "refused"  #: the API said no
    FAULT = "fault or no answer"  #: nothing that can be relied on came back
    WAIT = "told to wait"  #: 429 or 503


_ANSWERS = tuple(Answer)


def answer_of(verdict: str, http_status: int | None) -> Answer:
    """What an attempt with this verdict and status came to."""
    if verdict == Verdict.ACCEPTED:
        return Answer.ACCEPTED
    if verdict == Verdict.REFUSED:
        return Answer.REFUSED
    return Answer.WAIT if http_status in _WAITS else Answer.FAULT


@dataclass(frozen=True, slots=True)
class Bar:
    """A span of time, UTC in seconds since the epoch, and how many attempts of each kind began in it."""

    from_at: float
    to_at: float
    counts: dict[Answer, int]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time of sending without a long break; `bars` are as wide as those of the other stretches.

    Bars in which nothing was sent are left out. `to_at` is the end of the last bar.
    """

    from_at: float
    to_at: float
    bars: tuple[Bar, ...]


class AttemptTally:
    """Counts attempts as they come, in any order; its memory does not grow with them.

    `statuses` has how many attempts ended with a verdict and an HTTP status, or none.
    """

    def __init__(self) -> None:
        self.statuses: Counter[tuple[str, int | None]] = Counter()
        self._bins: Counter[int] = Counter()  #: by number of the bin × 4 + index of the answer
        self._width = 0

    def add_all(self, attempts: Iterable[AttemptRow]) -> None:
        """Count all of these."""
        stream = iter(attempts)
        while batch := list(islice(stream, _BATCH)):
            ends = [(attempt.verdict, attempt.http_status) for attempt in batch]
            self.statuses.update(ends)
            kinds = {end: _ANSWERS.index(answer_of(*end)) for end in set(ends)}
            at = np.fromiter((attempt.sent_at for attempt in batch), dtype=np.float64, count=len(batch))
            of_kind = np.fromiter((kinds[end] for end in ends), dtype=np.int64, count=len(batch))
            self._add(at, of_kind)

    def _add(self, at: npt.NDArray[np.float64], kinds: npt.NDArray[np.int64]) -> None:
        bins = np.floor(at).astype(np.int64) // _BIN_WIDTHS_S[self._width]
        found, counts = np.unique(bins * len(_ANSWERS) + kinds, return_counts=True)
        self._bins.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
        while len(self._bins) > _MOST_BINS * len(_ANSWERS) and self._width + 1 < len(_BIN_WIDTHS_S):
            by = _BIN_WIDTHS_S[self._width + 1] // _BIN_WIDTHS_S[self._width]
            joined: Counter[int] = Counter()
            for key, count in self._bins.items():
                number, kind = divmod(key, len(_ANSWERS))
                joined[number // by * len(_ANSWERS) + kind] += count
            self._bins = joined
            self._width += 1

    @property
    def answers(self) -> dict[Answer, int]:
        """How many attempts of each kind there were."""
        found = dict.fromkeys(Answer, 0)
        for end, count in self.statuses.items():
            found[answer_of(*end)] += count
        return found

    @property
    def sending_s(self) -> float:
        """Seconds of sending, pauses included and long breaks left out; at least one."""
        return sum(to_at - from_at for from_at, to_at in self._spans()) or 1.0

    @property
    def has_breaks(self) -> bool:
        """Whether sending was broken off for long."""
        return len(self._spans()) > 1

    def stretches(self, most_bars: int) -> tuple[Stretch, ...]:
        """The times of sending, cut at the longest breaks, with at most about `most_bars` bars in all."""
        width_s = _BIN_WIDTHS_S[self._width]
        spans, bar_s = _barred(self._spans(), width_s, most_bars)
        bars: dict[int, Counter[Answer]] = {}
        for key, count in self._bins.items():
            number, kind = divmod(key, len(_ANSWERS))
            bars.setdefault(number * width_s // bar_s, Counter())[_ANSWERS[kind]] += count
        return tuple(
            Stretch(
                from_at=from_at // bar_s * bar_s,
                to_at=((to_at - 1) // bar_s + 1) * bar_s,
                bars=tuple(
                    Bar(number * bar_s, (number + 1) * bar_s, dict(bars[number]))
                    for number in range(from_at // bar_s, (to_at - 1) // bar_s + 1)
                    if number in bars
                ),
            )
            for from_at, to_at in spans
        )

    def _spans(self) -> list[tuple[int, int]]:
        """When sending began and ended, from break to break."""
        width_s = _BIN_WIDTHS_S[self._width]
        numbers = sorted({key // len(_ANSWERS) for key in self._bins})
        if not numbers:
            return []
        cuts = _breaks(np.array(numbers, dtype=np.int64) * width_s, width_s, most=_MOST_STRETCHES - 1)
        return [
            (numbers[first] * width_s, (numbers[last - 1] + 1) * width_s)
            for first, last in zip([0, *cuts], [*cuts, len(numbers)], strict=True)
        ]


def _breaks(starts: npt.NDArray[np.int64], width_s: int, *, most: int) -> list[int]:
    """Where the longest silences end, as indices of `starts`, in order."""
    silent_s = np.diff(starts) - width_s
    rest_s = int(starts[-1] - starts[0]) + width_s
    found: list[int] = []
    for index in np.argsort(-silent_s, kind="stable")[: max(0, most)].tolist():
        rest_s -= int(silent_s[index])
        if silent_s[index] < max(_LEAST_BREAK_S, _BREAK_SHARE * rest_s):
            break
        found.append(index + 1)
    return sorted(found)


def _barred(spans: list[tuple[int, int]], bin_s: int, most_bars: int) -> tuple[list[tuple[int, int]], int]:
    """The spans as bars can show them, and how wide a bar is: spans that would share a bar are one."""
    while True:
        bar_s = _bar_width_s(sum(to_at - from_at for from_at, to_at in spans), bin_s, most_bars)
        joined = spans[:1]
        for from_at, to_at in spans[1:]:
            began_at, ended_at = joined[-1]
            if from_at // bar_s <= (ended_at - 1) // bar_s:
                joined[-1] = began_at, to_at
            else:
                joined.append((from_at, to_at))
        if len(joined) == len(spans):
            return spans, bar_s
        spans = joined  # longer than they were, and so perhaps of wider bars


def _bar_width_s(span_s: int, bin_s: int, most_bars: int) -> int:
    for width_s in _BAR_WIDTHS_S:
        if width_s % bin_s == 0 and span_s / width_s <= most_bars:
            return width_s
    return _BAR_WIDTHS_S[-1]
