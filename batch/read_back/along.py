"""Sends a run and reads along: a snapshot before it, what its waves have put there, and all of it afterwards.

Reads count against the rate of the run: they share its pacer.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from batch.clock import Clock, real_clock
from batch.engine.advance import Ask
from batch.engine.beginning import pacer_for
from batch.engine.blocking import InTurn, RunBlocking, in_thread
from batch.engine.controls import Controls
from batch.engine.retrying import Dice
from batch.engine.run_options import RunOptions
from batch.errors import UsageError
from batch.journal.protocol import Journal, Shard
from batch.journal.verification import Proof
from batch.progress import Progress, Silent
from batch.read_back.readable import Readable
from batch.read_back.rounds import Reader
from batch.read_back.snapshots import SnapshotTaken, take_snapshot
from batch.read_back.verifying import Verified, verify
from batch.runner import Ending, run
from batch.states import StopReason
from batch.target import Target

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ReadAlong:
    """How a run ended that was read along with; what was not asked for, or not come to, is None."""

    ending: Ending
    snapshot: SnapshotTaken | None = None
    verified: Verified | None = None


def as_readable(target: Target) -> Readable:
    """The target as one that can be read; `UsageError` if it cannot."""
    if isinstance(target, Readable):
        return target
    raise UsageError(
        f"{target.name} cannot be read back, so nothing can be verified and no snapshot taken there. "
        "Send without --verify and --snapshot."
    )


async def make_reader(
    journal: Journal,
    run_id: str,
    options: RunOptions,
    controls: Controls | None,
    progress: Callable[[], Progress],
    *,
    clock: Clock | None = None,
    run_blocking: RunBlocking = in_thread,
    dice: Dice = random.random,
) -> Reader:
    """A reader at the pace of a run; where its rate was found, it is known."""
    clock = clock or real_clock()
    known_per_s = None if options.rates else await run_blocking(lambda: journal.found_rate(run_id))
    return Reader(
        options, pacer_for(options, clock, known_per_s), clock, controls, run_blocking, dice, progress
    )


def reader_at(options: RunOptions, progress: Callable[[], Progress]) -> Reader:
    """A reader at this pace, of no run."""
    clock = real_clock()
    return Reader(options, pacer_for(options, clock, None), clock, progress=progress)


async def send_reading_along(
    journal: Journal,
    run_id: str,
    target: Target,
    options: RunOptions,
    *,
    is_to_snapshot: bool,
    is_to_verify: bool,
    clock: Clock,
    progress: Progress | None = None,
    reading_progress: Callable[[], Progress] = Silent,
    controls: Controls | None = None,
    run_blocking: RunBlocking = in_thread,
    dice: Dice = random.random,
    ask: Ask | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> ReadAlong:
    """Send what the run has left; before it, read what is there, and after it, whether it is there as sent.

    Where the run has waves, each is read back before the next, and drift stops the run. What is interrupted
    before the first send leaves the run as it is. `reading_progress` makes what shows a round of reads, and
    `say` is told, in words for the operator, what the snapshot has. Otherwise as `batch.runner.run`.
    """
    readable = as_readable(target)
    in_turn = InTurn(run_blocking)
    reader = await make_reader(
        journal, run_id, options, controls, reading_progress, clock=clock, run_blocking=in_turn, dice=dice
    )
    snapshot: SnapshotTaken | None = None
    if is_to_snapshot:
        snapshot = await take_snapshot(journal, run_id, readable, reader)
        if snapshot.reason is not StopReason.DONE:
            counts = await in_turn(lambda: journal.counts(run_id))
            message = f"while reading what is there before: {snapshot.message}"
            return ReadAlong(Ending(snapshot.reason, message, counts), snapshot)
        say(snapshot.in_words)

    async def read_wave(shards: list[Shard]) -> str:
        # The run itself has the controls: whoever stops it ends this with it.
        quietly = replace(reader, controls=None, progress=Silent)
        return why_not_to_go_on(await verify(journal, run_id, readable, quietly, shards=shards))

    ending = await run(
        journal,
        run_id,
        target,
        options,
        progress=progress,
        controls=controls,
        clock=clock,
        run_blocking=in_turn,
        dice=dice,
        pacer=reader.pacer,
        ask=ask,
        read_back=read_wave if is_to_verify else None,
    )
    if progress is not None:
        progress.close()
    if not is_to_verify or ending.reason is not StopReason.DONE:
        return ReadAlong(ending, snapshot)
    return ReadAlong(ending, snapshot, await verify(journal, run_id, readable, reader))


def why_not_to_go_on(wave: Verified) -> str:
    """What speaks against another wave, for the operator; empty if nothing does.

    What the target does not show is no reason: nobody would ever get beyond the first wave.
    """
    total = sum(wave.counts.values())
    if wave.reason is not StopReason.DONE:
        return f"the wave could not be read back: {wave.message}"
    found = [
        f"{wave.counts[proof]:,} {words}"
        for proof, words in (
            (Proof.DRIFTED, "drifted"),
            (Proof.MISSING, "not there"),
            (Proof.UNREAD, "not to be read"),
        )
        if wave.counts.get(proof)
    ]
    return f"of {total:,} requests that were read back, {', '.join(found)}" if found else ""
