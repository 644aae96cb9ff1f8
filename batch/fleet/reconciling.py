"""Whether a reconcile may be sent: how much of what is known would change or is missing, and how much may."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from batch.errors import UsageError
from batch.fleet.comparison import Comparison, Difference
from batch.plans import Reject

#: A share of fewer numbers than this says nothing.
SAMPLE = 20


@dataclass(frozen=True, slots=True)
class Threshold:
    """How many numbers may differ in some way: so many, or a share of those that are known.

    `option` is the one that says so. A share is not judged below `SAMPLE` numbers.
    """

    option: str
    count: int | None = None
    share: float | None = None

    @classmethod
    def parse(cls, option: str, text: str) -> Self:
        """`200` or `30%`; `UsageError` says what is accepted."""
        found = re.fullmatch(r"\s*([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*(%?)\s*", text)
        if found and found[2] and float(found[1]) <= 100:
            return cls(option, share=float(found[1]) / 100)
        if found and not found[2] and "." not in found[1]:
            return cls(option, count=int(found[1]))
        raise UsageError(
            f'{option} "{text}" is not understood: write a number such as 200, or a share such as 30%'
        )

    def is_exceeded(self, count: int, known: int) -> bool:
        """Whether `count` of `known` numbers are more than may be."""
        if self.count is not None:
            return count > self.count
        assert self.share is not None
        # A share of floats must not make 30 of 100 more than 30 %.
        return known >= SAMPLE and count > round(self.share * known, 6)

    def __str__(self) -> str:
        return f"{self.count:,}" if self.share is None else f"{self.share * 100:g}%"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How many known numbers may change, and how many may be in no sheet."""

    changed: Threshold
    missing: Threshold

    @classmethod
    def parse(cls, changed: str, missing: str) -> Self:
        """As the operator writes them."""
        return cls(Threshold.parse("--max-changed", changed), Threshold.parse("--max-missing", missing))

    def exceeded_by(self, comparison: Comparison) -> Iterator[str]:
        """Says of each one that is exceeded what was counted, of what, and the option that allows it.

        Counted are numbers, each once whatever its directions.
        """
        changed, known = _changed(comparison)
        if self.changed.is_exceeded(changed, known):
            what = f"{changed:,} of the {known:,} known numbers in the sheets would change"
            yield f"{what} {_allowed(self.changed, changed, known)}"
        missing, partly, known = _missing(comparison)
        if self.missing.is_exceeded(missing, known):
            what = f"{missing:,} of the {known:,} known numbers are in no sheet"
            but = f" ({partly:,} of them are there, without one of their directions)" if partly else ""
            allowed = _allowed(self.missing, missing, known)
            yield f"{what} {allowed}{but}{_unread(comparison.plan.rejects)}"


def _allowed(threshold: Threshold, count: int, known: int) -> str:
    return (
        f"({100 * count / known:.1f}%), and {threshold.option} allows {threshold}: if that is meant, "
        f"say {threshold.option} {count}"
    )


def _unread(rejects: Sequence[Reject]) -> str:
    """Which of the missing numbers may be there after all."""
    unread = sum(not reject.first for reject in rejects)
    if not unread:
        return ""
    rows = "1 rejected row" if unread == 1 else f"{unread:,} rejected rows"
    return f" (the number of {rows} cannot be read, and may be one of them)"


def _changed(comparison: Comparison) -> tuple[int, int]:
    """How many numbers would change, of how many that are known and in the sheets."""
    numbers = comparison.plan.numbers
    is_changed = comparison.are(Difference.CHANGED) | comparison.are(Difference.DRIFTED)
    changed = np.unique(numbers[is_changed])
    return len(changed), len(np.unique(numbers[comparison.places >= 0]))


def _missing(comparison: Comparison) -> tuple[int, int, int]:
    """How many numbers have a direction that is in no sheet; how many of these another that is; all known."""
    numbers = comparison.applied.keys >> 1
    missing = np.unique(numbers[comparison.missing])
    partly = np.isin(missing, comparison.plan.numbers)
    return len(missing), int(np.count_nonzero(partly)), len(np.unique(numbers))
