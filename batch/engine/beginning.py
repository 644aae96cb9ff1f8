"""How a run begins, or goes on: what its journal says of it, before the first request is sent."""

from __future__ import annotations

from dataclasses import dataclass

from batch.clock import Clock
from batch.engine.pacer import Pacer
from batch.engine.run_options import RunOptions
from batch.engine.seeking import SeekingPacer
from batch.engine.waves import Passage, Waves, choose
from batch.journal.events import Event
from batch.journal.protocol import Counts, Journal, Shard
from batch.states import StopReason

#: Requests in a shard: small enough to hand out, large enough to be rare.
SHARD_SIZE = 10_000

#: The events that say that a wave has passed.
_PASSED = ("canary_passed", "wave_passed")


@dataclass(frozen=True, slots=True)
class Beginning:
    """What the journal says when a run begins, or goes on.

    `lost` counts the requests that a dead process had in flight. `known_per_s` is the rate that an earlier
    search settled at. `waves` are those that are left, None without canary and waves; `unjudged` is the one
    before them, if the process ended before it was decided whether to go on. `paused_until` is the end of the
    pause that the API asked for last, `soaks_until` of the soak after that wave; UTC, 0 for none.
    """

    lost: int
    counts: Counts
    shards: list[Shard]
    known_per_s: float | None
    is_resumed: bool
    waves: Waves | None
    unjudged: Passage | None
    paused_until: float
    soaks_until: float


def pacer_for(options: RunOptions, clock: Clock, known_per_s: float | None) -> Pacer:
    """A pacer for these rates; for none, one that finds the rate, from what an earlier run settled at."""
    if options.rates:
        return Pacer(options.rates, now=clock.now)
    return SeekingPacer(now=clock.now, known_per_s=known_per_s)


def begin(journal: Journal, run_id: str, options: RunOptions, *, at: float) -> Beginning:
    """Set a run going, at `at` (UTC); blocks."""
    is_resumed = journal.run(run_id).started_at is not None
    lost = journal.begin(run_id, at)
    events = journal.events(run_id)
    counts = journal.counts(run_id)
    unjudged = _unjudged(events)
    is_begun = unjudged is not None or any(e.kind in _PASSED for e in events)
    waves = _waves(journal, run_id, options, counts, is_begun=is_begun)
    return Beginning(
        lost=lost,
        counts=counts,
        shards=journal.shards(run_id, SHARD_SIZE),
        known_per_s=None if options.rates else journal.found_rate(run_id),
        is_resumed=is_resumed,
        waves=waves,
        unjudged=None if unjudged is None or waves is None else _passage(unjudged, waves),
        paused_until=max((_ends_at(e) for e in events if e.kind == "throttled"), default=0.0),
        soaks_until=0.0 if unjudged is None else _ends_at(unjudged),
    )


def _waves(
    journal: Journal, run_id: str, options: RunOptions, counts: Counts, *, is_begun: bool
) -> Waves | None:
    if options.canary is None and not options.waves:
        return None  # a million requests are not read for nothing
    return choose(
        journal.left(run_id),
        canary=options.canary,
        reaches=options.waves,
        total=counts.requests - counts.skipped,
        is_begun=is_begun,
    )


def _unjudged(events: list[Event]) -> Event | None:
    """The end of a wave about which nothing was decided: the process ended first, or was ended."""
    found: Event | None = None
    for event in events:
        if event.kind == "wave_ended":
            found = event
        elif event.kind in _PASSED or event.detail.get("reason") == StopReason.SAFETY:
            found = None
    return found


def _passage(ended: Event, waves: Waves) -> Passage:
    told = ended.detail
    return Passage(
        wave=int(str(told["wave"])),
        of=int(str(told["of"])),
        requests=int(str(told["requests"])),
        failed=int(str(told["failed"])),
        is_canary=bool(told["is_canary"]),
        ahead=waves.widths[0],
    )


def _ends_at(event: Event) -> float:
    return event.at + float(str(event.detail["wait_s"]))
