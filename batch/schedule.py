"""What a run will do and when, foreseen before it begins: its waves, and how far its windows let it come."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from batch.engine.run_options import RunOptions
from batch.engine.steering import MARGIN_S
from batch.engine.waves import Waves, choose
from batch.engine.windows import Opening, Windows
from batch.journal.protocol import Left
from batch.plans import Plan
from batch.timestamps import utc

#: So many stretches of a window are looked ahead; what is not done by then is said to take longer.
MOST_STRETCHES = 366


@dataclass(frozen=True, slots=True)
class Stretch:
    """One opening of the windows, and how many requests are sent in it."""

    opening: Opening
    requests: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a run of `count` requests will do, if nothing goes wrong and every answer is quick.

    `waves` are the widths of its waves, none without any; `soak_s` is the pause after each but the last.
    `windows` are those that it keeps to; `stretches` say what is sent when, none without windows or where the
    rate is yet to be found. `ends_at` is when the last request is sent, UTC; None if that is too far ahead.
    `missed` is the first row that the first stretch does not reach, as `numbers.csv:7`; empty if it reaches
    all.
    """

    count: int
    waves: tuple[int, ...] = ()
    soak_s: float = 0.0
    windows: Windows | None = None
    stretches: tuple[Stretch, ...] = ()
    ends_at: float | None = None
    missed: str = ""

    @property
    def fits(self) -> bool | None:
        """Whether all is sent in the first stretch; None without windows, or if nobody knows."""
        return not self.missed if self.stretches else None

    def lines(self) -> Iterator[str]:
        """For the person who decides whether to run it; nothing without waves and windows."""
        if len(self.waves) > 1:
            widths = [f"{width:,}" for width in self.waves]
            soak = f", with {self.soak_s:g} s of nothing after each but the last" if self.soak_s else ""
            yield f"It is sent in {len(widths)} waves, of {', '.join(widths[:-1])} and {widths[-1]}{soak}."
        if self.windows is None or not self.count:
            return
        if not self.stretches:
            yield f"It is sent only in {self.windows}; how far it comes, the rate that is found decides."
            return
        first = self.stretches[0]
        opens, closes = (self.windows.clock(at) for at in first.opening)
        yield f"It is sent only in {self.windows}: from {opens} to {closes}."
        ends = (
            "later than in a year" if self.ends_at is None else f"at about {self.windows.clock(self.ends_at)}"
        )
        if self.fits:
            yield f"All of it fits in there; the last request is sent {ends}."
            return
        yield (
            f"{first.requests:,} of {self.count:,} requests fit in there. The first row that is not reached "
            f"then is {self.missed}; the last request is sent {ends}."
        )

    def to_json(self) -> dict[str, object] | None:
        """As JSON values; None without waves and windows.

        `waves` (widths), `soak_s`, `windows` (as they are written), `opens_at` and `closes_at` of the next
        opening, `reached` (requests sent in it), `fits`, `ends_at` (UTC, ISO 8601, or null),
        `first_row_not_reached` (`numbers.csv:7`, or null).
        """
        if not self.waves and self.windows is None:
            return None
        first = self.stretches[0] if self.stretches else None
        return {
            "waves": list(self.waves),
            "soak_s": self.soak_s,
            "windows": [] if self.windows is None else [str(window) for window in self.windows.windows],
            "opens_at": None if first is None else utc(first.opening.opens_at),
            "closes_at": None if first is None else utc(first.opening.closes_at),
            "reached": None if first is None else first.requests,
            "fits": self.fits,
            "ends_at": None if self.ends_at is None else utc(self.ends_at),
            "first_row_not_reached": self.missed or None,
        }


def foresee(plan: Plan, options: RunOptions, *, at: float) -> Schedule:
    """What a run of this plan will do if it is begun at `at` (UTC)."""
    seqs = np.flatnonzero(~plan.is_skipped).astype(np.int64)
    left = Left(seqs, plan.numbers[seqs], plan.directions[seqs], plan.template_ids[seqs].astype(np.int64))
    waves = choose(left, canary=options.canary, reaches=options.waves, total=len(seqs))
    widths = () if waves is None else waves.widths
    if options.windows is None or not options.rates or not len(seqs):
        return Schedule(len(seqs), widths, options.soak_s, options.windows)
    per_s = min(rate.sends / rate.per_s for rate in options.rates)
    margin_s = options.deadline_s + MARGIN_S
    stretches, ends_at = _through(
        options.windows, widths or (len(seqs),), per_s, at=at, soak_s=options.soak_s, margin_s=margin_s
    )
    return Schedule(
        len(seqs),
        widths,
        options.soak_s,
        options.windows,
        tuple(stretches),
        ends_at,
        _missed(plan, seqs, waves, stretches[0].requests),
    )


def _through(
    windows: Windows, widths: Sequence[int], per_s: float, *, at: float, soak_s: float, margin_s: float
) -> tuple[list[Stretch], float | None]:
    """What is sent in which stretch, and when the last request is; None if that is too far ahead."""
    stretches: list[Stretch] = []
    opening = windows.at(at)
    sent = 0
    for width in widths:
        left = width
        while left:
            begins_at = max(at, opening.opens_at)
            room_s = opening.closes_at - margin_s - begins_at
            fitting = min(left, math.floor(room_s * per_s) + 1) if room_s >= 0 else 0
            sent, left = sent + fitting, left - fitting
            at = begins_at + max(0, fitting - 1) / per_s
            if left:
                stretches.append(Stretch(opening, sent))
                if len(stretches) == MOST_STRETCHES:
                    return stretches, None
                sent, at = 0, opening.closes_at
                opening = windows.at(at)
        ends_at, at = at, at + max(soak_s, 1 / per_s)
    return [*stretches, Stretch(opening, sent)], ends_at


def _missed(plan: Plan, seqs: np.ndarray, waves: Waves | None, reached: int) -> str:
    """The first row of which not everything is among the first so many requests; empty if there is none."""
    order = seqs if waves is None else waves.order
    if reached >= len(order):
        return ""
    seq = int(order[reached:].min())
    return plan.place(int(plan.sheet_ids[seq]), int(plan.rows[seq]))
