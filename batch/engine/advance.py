"""Moves a run from wave to wave: what may be claimed now, and what happens between two waves.

However wide a wave is, no more of it is at risk at once than may still fail: requests that were sent and have
not ended well are never more than what is left of `--max-failures`, so that even if all of them fail, it is
not exceeded by more than the one that stops the run. Where a wave is read back, what was not read back yet
is at risk too, and the wave is read back as often as that takes.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import asdict

import anyio

from batch.clock import Clock
from batch.engine.breaker import FailureLimit
from batch.engine.waves import Passage, Waves, within
from batch.journal.protocol import Counts, Shard
from batch.states import StopReason

#: Asks an operator; false is no.
Ask = Callable[[str], Awaitable[bool]]

#: Reads back what these requests have put in force; says why not to go on, empty if there is no reason.
ReadBack = Callable[[list[Shard]], Awaitable[str]]

#: The share of a wave that may fail where `--max-failures` is not given.
DEFAULT_SHARE = 0.05


class Advance:
    """Where a run stands in its waves; without any, all of it is one.

    `begun` are the counts with which this process began, `unjudged` is a wave that another process saw
    through to its end, and that nothing was decided about. `move_on` is called when another wave may be
    claimed, with the seconds in which nothing was sent.
    """

    def __init__(
        self,
        waves: Waves | None,
        begun: Counts,
        *,
        limit: FailureLimit | None,
        soak_s: float,
        clock: Clock,
        note: Callable[..., None],
        stop: Callable[[StopReason, str], None],
        move_on: Callable[[float], None],
        ask: Ask | None = None,
        read_back: ReadBack | None = None,
        unjudged: Passage | None = None,
        soaks_until: float = 0.0,
    ) -> None:
        self._waves = waves
        self._begun = self._counts = self._at_start = begun
        self._limit = limit
        self._allowed = _allowed(limit, begun)
        self._soak_s = soak_s
        self._clock = clock
        self._note = note
        self._stop = stop
        self._move_on = move_on
        self._ask = ask
        self._read_back = read_back
        self._index = 0
        self._claimed_to = 0
        self._passed_over = 0
        self._read_to = 0
        self._is_between = unjudged is not None
        self._unjudged = unjudged
        self._soaks_until = soaks_until
        self._at_end = anyio.Event()
        self._spans: tuple[tuple[int, int], list[Shard]] = ((-1, -1), [])
        self.waiting_for = ""
        self.waits_until_s = -math.inf

    @property
    def is_over(self) -> bool:
        """Whether everything that is left could be claimed when the desk looked last."""
        if self._waves is None:
            return True
        return self._is_last and not self._is_between and self._claimed_to == self._end

    def claimable(self, shards: list[Shard]) -> list[Shard]:
        """What of these open shards may be claimed now."""
        if self._waves is None:
            return shards
        if self._is_between:
            return []
        self._claimed_to = self._reach()
        at = self._claimed_to, len(shards)
        if self._spans[0] != at:
            self._spans = at, within(self._waves.spans(self._claimed_to), shards)
        return self._spans[1]

    def committed(self, counts: Counts, *, is_through: bool) -> bool:
        """Take in committed counts; returns whether more can be claimed than when the desk looked last.

        `is_through` says that nothing is in flight, and that nothing was left of what could be claimed.
        """
        self._counts = counts
        if self._waves is None or self._is_between:
            return False
        reach = self._reach()
        if reach > self._claimed_to:
            return True
        if not is_through:
            return False
        if reach < self._end and self._read_back is None:
            # What is left of this part is in quarantine, and puts nothing at risk.
            self._passed_over += reach - self._settled()
            return True
        if reach < self._end or not self._is_last:
            self._is_between = True
            self._at_end.set()
        return False

    async def see_through(self) -> None:
        """What happens between the waves, for as long as there is another."""
        if self._waves is None:
            return
        if self._unjudged is not None and not await self._judge(self._unjudged):
            return
        while True:
            await self._at_end.wait()
            self._at_end = anyio.Event()
            if self._claimed_to < self._end:
                if not await self._read_part():
                    return
                continue
            if not await self._judge(self._passage()):
                return

    # --- how far ----------------------------------------------------------------------------------

    @property
    def _end(self) -> int:
        assert self._waves is not None
        return self._waves.ends[self._index]

    @property
    def _is_last(self) -> bool:
        assert self._waves is not None
        return self._index == len(self._waves.ends) - 1

    def _reach(self) -> int:
        """How many requests of the order may have been claimed by now."""
        if self._allowed is None:
            return self._end
        failures = _failed(self._counts) - _failed(self._begun)
        return min(self._end, self._settled() + max(1, self._allowed - failures))

    def _settled(self) -> int:
        """How many requests of the order put nothing at risk any more."""
        if self._read_back is not None:
            return self._read_to
        return self._begun.left - self._counts.left + self._passed_over

    # --- between two waves ------------------------------------------------------------------------

    def _passage(self) -> Passage:
        assert self._waves is not None
        widths = self._waves.widths
        return Passage(
            wave=self._waves.passed + self._index + 1,
            of=self._waves.passed + len(widths),
            requests=self._at_start.left - self._counts.left,
            failed=_failed(self._counts) - _failed(self._at_start),
            is_canary=self._waves.is_canary and self._index == 0,
            ahead=widths[self._index + 1],
        )

    async def _read_part(self) -> bool:
        """Read back what was claimed of a wave before more of it is; returns whether to go on."""
        began_s = self._clock.now()
        why = await self._look(self._read_to, self._claimed_to)
        if why:
            self._stop(StopReason.SAFETY, why)
            return False
        self._read_to = self._claimed_to
        self._is_between = False
        self._move_on(self._clock.now() - began_s)
        return True

    async def _judge(self, passage: Passage) -> bool:
        """Soak, look and ask or decide; returns whether to go on."""
        began_s = self._clock.now()
        why = self._fault(passage)
        if self._unjudged is None:
            self._soaks_until = self._clock.utc() + self._soak_s
            told = asdict(passage)
            del told["ahead"]
            self._note("wave_ended", **told, wait_s=self._soak_s)
        if not why:
            await self._soak(passage)
            why = await self._look(self._read_to, self._claimed_to)
        is_to_go_on = not why
        if self._ask is not None:
            self.waiting_for = "asking whether to go on"
            question = f"{why}. Go on all the same" if why else f"{passage}. Go on"
            question = f"{question[0].upper()}{question[1:]} with the next {passage.ahead:,}?"
            is_to_go_on = await self._ask(question)
            why = why or f"the operator said no after {passage}"
            self.waiting_for = ""
        if not is_to_go_on:
            self._stop(StopReason.SAFETY, why)
            return False
        self._go_on(passage, self._clock.now() - began_s)
        return True

    def _fault(self, passage: Passage) -> str:
        return passage.fault or (passage.over(DEFAULT_SHARE) if self._limit is None else "")

    async def _soak(self, passage: Passage) -> None:
        # Where another process has begun it, and the wall clock was set back since, no longer than it is.
        wait_s = min(self._soaks_until - self._clock.utc(), self._soak_s)
        if wait_s > 0:
            self.waiting_for = f"soaking after wave {passage.wave} of {passage.of}"
            self.waits_until_s = self._clock.now() + wait_s
            await anyio.sleep(wait_s)
            self.waiting_for, self.waits_until_s = "", -math.inf

    async def _look(self, begin: int, end: int) -> str:
        if self._read_back is None or self._waves is None or begin == end:
            return ""
        self.waiting_for = "reading back what was sent"
        why = await self._read_back(self._waves.between(begin, end))
        self.waiting_for = ""
        return why

    def _go_on(self, passage: Passage, waited_s: float) -> None:
        if passage.is_canary:
            self._note("canary_passed", requests=passage.requests)
        else:
            told = {"wave": passage.wave, "of": passage.of, "requests": passage.requests}
            self._note("wave_passed", **told, failed=passage.failed)
        if self._unjudged is None:
            self._index += 1
        self._unjudged = None
        self._read_to = self._claimed_to
        self._at_start = self._counts
        self._is_between = False
        self._move_on(waited_s)


def _failed(counts: Counts) -> int:
    return counts.failed + counts.unknown


def _allowed(limit: FailureLimit | None, counts: Counts) -> int | None:
    """How many requests of the whole run may fail; None if nobody said."""
    if limit is None:
        return None
    if limit.count is not None:
        return limit.count
    assert limit.share is not None
    return math.floor(round(limit.share * (counts.requests - counts.skipped), 6))
