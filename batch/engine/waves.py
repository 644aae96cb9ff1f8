"""Which requests go first: the canary and the waves of a run, as a pure value.

A wave is all that is sent between two looks at how it went. The first one holds at least one request of
every template, direction and country that the run has left, so that whatever can be wrong with one of
them shows while little is at stake; the others grow, in sheet order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Literal

import numpy as np

from batch.errors import UsageError
from batch.journal.protocol import Left, Shard, merged
from batch.plans import Int64s

#: `--canary`: so many requests, or a few of each template, direction and country.
Canary = int | Literal["auto"]

#: How many of each template, direction and country an automatic canary takes, where there are so many:
#: one may fail for a reason of its own, or succeed by luck.
FEW = 3


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a wave goes: so many of all requests of the run, or so large a share of them."""

    count: int | None = None
    share: float | None = None

    def of(self, total: int) -> int:
        """How many of `total` requests have been sent when the wave is through."""
        if self.count is not None:
            return min(self.count, total)
        assert self.share is not None
        # A share of floats must not round 10 % of 1,000 up to 101.
        return min(ceil(round(self.share * total, 6)), total)

    def __str__(self) -> str:
        return f"{self.count}" if self.share is None else f"{self.share * 100:g}%"


def parse_canary(text: str) -> Canary:
    """`50` or `auto`; `UsageError` says what is accepted."""
    word = text.strip().lower()
    if word == "auto":
        return "auto"
    if re.fullmatch(r"[0-9]{1,9}", word) and int(word) > 0:
        return int(word)
    raise UsageError(
        f'--canary "{text}" is not understood: write a number of requests such as 50, or auto, which takes '
        "a few of every template, direction and country"
    )


def parse_waves(text: str) -> tuple[Reach, ...]:
    """`1%,10%,100%`, or `100,1000,100%`: how far each wave goes, counted from the beginning of the run.

    The last wave takes what is left, whether it is named or not. `UsageError` says what is accepted.
    """
    reaches: list[Reach] = []
    for part in text.split(","):
        found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(%?)", part.strip())
        share = float(found[1]) / 100 if found and found[2] else None
        is_count = found is not None and not found[2] and "." not in found[1] and int(found[1]) > 0
        if found is None or not (is_count or (share is not None and 0 < share <= 1)):
            raise UsageError(
                f'--waves "{text}" is not understood: write how far each wave goes, as shares of all '
                "requests or as numbers of them, such as 1%,10%,100% or 100,1000,100%"
            )
        reaches.append(Reach(share=share) if share is not None else Reach(count=int(found[1])))
    for before, after in pairwise(reaches):
        is_alike = (before.share is None) == (after.share is None)
        if is_alike and (after.share or after.count or 0) <= (before.share or before.count or 0):
            raise UsageError(
                f'--waves "{text}": {after} goes no further than {before} before it. Each says how much of '
                "the whole run is sent when the wave is through, so they must grow"
            )
    return tuple(reaches)


@dataclass(frozen=True, slots=True)
class Waves:
    """What a run has left, cut into waves.

    `order` holds the seqs in the order of the waves: those of the first, then all others, each in sheet
    order. `ends` says where in it each wave ends; the last ends with it. `first_count` is how many
    of them the first wave picked out of the sheet; 0 where waves simply go on in sheet order. `is_canary`
    says that all of the first wave must succeed. `passed` counts the waves before these.
    """

    order: Int64s
    ends: tuple[int, ...]
    first_count: int
    is_canary: bool
    passed: int = 0

    @property
    def widths(self) -> tuple[int, ...]:
        """How many requests each wave has."""
        return tuple(end - begin for begin, end in pairwise((0, *self.ends)))

    def spans(self, end: int) -> list[Shard]:
        """The first `end` requests of the order; a span may hold others that have ended, or are skipped.

        Beyond the first wave, those of it that stand later in the sheet are left out: they have ended.
        """
        if end >= len(self.order):
            return [Shard(0, 1 << 62)]
        if end > self.first_count:
            return [Shard(0, int(self.order[end - 1]) + 1)]
        return _runs(self.order[:end])

    def between(self, begin: int, end: int) -> list[Shard]:
        """The requests of the order from `begin` to before `end`, and no others."""
        return _runs(np.sort(self.order[begin:end]))


@dataclass(frozen=True, slots=True)
class Passage:
    """How a wave ended: the `wave`th of `of`, with so many requests that ended, so many of them not well.

    `ahead` is how many requests the next wave has; what lies in between is yet to be decided.
    """

    wave: int
    of: int
    requests: int
    failed: int
    is_canary: bool
    ahead: int

    @property
    def fault(self) -> str:
        """Why not to go on, as far as the wave alone tells, for the operator; empty if it went well.

        `--max-failures` is not looked at: it stops a run in the middle of a wave.
        """
        if self.is_canary and self.failed:
            some = f"{self.failed:,} of the {self.requests:,} canary requests"
            return f"{some} did not succeed; nothing else was sent"
        if self.failed and self.failed == self.requests:
            return f"none of the {self.requests:,} requests of wave {self.wave} succeeded"
        return ""

    def over(self, share: float) -> str:
        """Why not to go on if more than this share of a wave may not fail; empty if that is kept."""
        if self.failed <= share * self.requests:
            return ""
        return (
            f"{self.failed:,} of the {self.requests:,} requests of wave {self.wave} did not succeed, and "
            f"without --max-failures a wave may have {share * 100:g}%"
        )

    def __str__(self) -> str:
        how = f"{self.failed:,} of them did not succeed" if self.failed else "all of them succeeded"
        name = f"wave {self.wave} of {self.of}" + (", the canary" if self.is_canary else "")
        return f"{name}: {self.requests:,} requests, {how}"


def choose(
    left: Left,
    *,
    canary: Canary | None,
    reaches: Sequence[Reach],
    total: int,
    is_begun: bool = False,
) -> Waves | None:
    """Cut what is left of a run into waves; None if neither canary nor waves are wanted, or nothing is left.

    `total` is how many requests the run has to send in all. `is_begun` says that its first wave has passed:
    then the others go on from where they are.
    """
    if (canary is None and not reaches) or not len(left.seqs):
        return None
    ended = total - len(left.seqs)
    targets = [reach.of(total) - ended for reach in reaches]
    passed = 0
    first = np.zeros(0, dtype=np.int64)
    if is_begun:
        passed = canary is not None
    else:
        first = _first(left, canary, 0 if canary is not None else targets[0])
        targets = [len(first), *(targets if canary is not None else targets[1:])]
    ends: list[int] = []
    for target in [*targets, len(left.seqs)]:
        if target > (ends[-1] if ends else 0):
            ends.append(min(target, len(left.seqs)))
        else:
            passed += not ends
    picked = np.zeros(len(left.seqs), dtype=np.bool_)
    picked[first] = True
    return Waves(
        order=np.concatenate([left.seqs[picked], left.seqs[~picked]]),
        ends=tuple(ends),
        first_count=len(first),
        is_canary=canary is not None and not is_begun,
        passed=int(passed),
    )


def groups_of(left: Left) -> Int64s:
    """A number for each request, equal where template, direction and country calling code are."""
    codes = calling_codes(left.numbers)
    return (left.template_ids.astype(np.int64) * 2 + left.directions) * 1_000 + codes


def calling_codes(numbers: Int64s) -> Int64s:
    """The country calling code of each E.164 number; 0 where there is no such country."""
    # Here, and not above: the numbering plans take a tenth of a second to load.
    from batch.phone.numbering import code_of

    digits = np.searchsorted(10 ** np.arange(1, 19, dtype=np.int64), numbers, side="right") + 1
    heads, places = np.unique(numbers // 10 ** np.maximum(digits - 3, 0), return_inverse=True)
    codes = np.array([code_of(str(head)) or 0 for head in heads.tolist()], dtype=np.int64)
    return codes[places] if len(numbers) else np.zeros(0, dtype=np.int64)


def within(spans: Sequence[Shard], shards: Iterable[Shard]) -> list[Shard]:
    """What lies both in one of the spans and in one of the shards, in order; both without overlaps."""
    found: list[Shard] = []
    inner = sorted(spans)
    at = 0
    for shard in merged(shards):
        while at < len(inner) and inner[at].end <= shard.first:
            at += 1
        ahead = at
        while ahead < len(inner) and inner[ahead].first < shard.end:
            found.append(Shard(max(inner[ahead].first, shard.first), min(inner[ahead].end, shard.end)))
            ahead += 1
    return found


def _first(left: Left, canary: Canary | None, wanted: int) -> Int64s:
    """The places of the first wave's requests: of every group at least one, and as many as are wanted.

    A few of each group come before more of any, and more of all in sheet order: a canary of fifty is not
    the fifty numbers of the customer who stands first.
    """
    groups = groups_of(left)
    order = np.argsort(groups, kind="stable")
    is_new = np.append(True, groups[order][1:] != groups[order][:-1])
    starts = np.maximum.accumulate(np.where(is_new, np.arange(len(order)), 0))
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - starts
    match canary:
        case "auto":
            count = int(np.count_nonzero(ranks < FEW))
        case None:
            count = wanted
        case number:
            count = number
    count = max(count, int(np.count_nonzero(ranks == 0)))
    by_rank = np.lexsort((np.arange(len(ranks)), np.minimum(ranks, FEW)))
    return np.sort(by_rank[:count])


def _runs(seqs: Int64s) -> list[Shard]:
    """The same seqs, which are in order, as spans."""
    if not len(seqs):
        return []
    breaks = np.flatnonzero(np.diff(seqs) != 1)
    firsts = seqs[np.append(0, breaks + 1)].tolist()
    lasts = seqs[np.append(breaks, len(seqs) - 1)].tolist()
    return [Shard(first, last + 1) for first, last in zip(firsts, lasts, strict=True)]
