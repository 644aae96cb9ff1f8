"""Verifies a run: reads back every number that it changed, and compares what is there with what was sent.

What is found is recorded in the journal as it comes, so that the report shows it, and that a verification
which was interrupted goes on where it stopped. Nothing is called verified that was not read.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import orjson

from batch.clock import Clock
from batch.comparing import compare
from batch.desk import RunBlocking, in_thread
from batch.journal import Event, Journal
from batch.pacer import Pacer
from batch.plans import DIRECTIONS, Int64s
from batch.progress import Progress, Silent
from batch.read_back import Readable, Shown
from batch.retrying import Dice
from batch.rounds import Reading, Round, RoundEnding
from batch.runner import Controls, RunOptions
from batch.states import EXIT_SOME_FAILED, RequestState, StopReason
from batch.target import Outcome, Verdict
from batch.verification import Comparison, Verification, of_blocks

#: The kinds of events by which the journal knows whether a verification came to its end.
BEGAN, ENDED = "verify_began", "verify_ended"

#: How many parsed payloads are kept at hand.
_AT_HAND = 2_000

_WORTH_READING = (RequestState.SUCCEEDED, RequestState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Verified:
    """How a verification ended: why, and how many requests are what, those of an earlier part included.

    `left` is how many numbers were not read, since it stopped before its end.
    """

    reason: StopReason
    message: str
    counts: Mapping[Comparison, int]
    left: int = 0

    @property
    def exit_code(self) -> int:
        """0 if nothing differs and nothing was left unread; else 3, or that of what stopped it."""
        if self.reason is not StopReason.DONE:
            return self.reason.exit_code
        is_well = not any(count for comparison, count in self.counts.items() if comparison.needs_a_look)
        return 0 if is_well else EXIT_SOME_FAILED


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be read: a number once, for all of its requests.

    Those of `numbers[i]` are the elements `starts[i]` up to `starts[i + 1]` of the arrays below, which are
    parallel. `payload_ids` say what the run sent, `now_ids` what is in force since, by `runs[now_run_ids]`.
    """

    numbers: Int64s
    starts: Int64s
    seqs: Int64s
    directions: Int64s
    payload_ids: Int64s
    now_ids: Int64s
    now_run_ids: Int64s
    runs: tuple[str, ...]


async def verify(
    journal: Journal,
    run_id: str,
    target: Readable,
    options: RunOptions,
    *,
    pacer: Pacer,
    clock: Clock,
    progress: Progress | None = None,
    controls: Controls | None = None,
    run_blocking: RunBlocking = in_thread,
    dice: Dice = random.random,
    seqs: Collection[int] | None = None,
    is_anew: bool = False,
) -> Verified:
    """Read back what a run sent, at its pace, and record what is there.

    Read are the numbers of all requests that succeeded or are unknown (of `seqs`, if they are given), each
    number once for both directions. What an interrupted verification has read is not read again, unless
    `is_anew`. The target is entered and left by the caller, who has the workspace to himself; nothing may be
    in flight. Raises `JournalError` if the journal cannot be written.
    """
    began_at = clock.utc()

    def begin() -> tuple[_Wanted, float]:
        journal.settle()
        since = None if is_anew or seqs is not None else _began_before(journal, run_id)
        if since is None:
            journal.exchange(run_id, events=[Event(began_at, BEGAN, {})])
        since_at = began_at if since is None else since
        return _wanted(journal, run_id, seqs, since_at), since_at

    wanted, since_at = await run_blocking(begin)
    judge = _Judge(journal, wanted)

    async def read(which: int) -> tuple[Outcome, Shown | None]:
        return await target.read_number(f"+{wanted.numbers[which]}")

    async def take(found: list[Reading[Shown]]) -> None:
        await run_blocking(lambda: journal.record_verified(run_id, judge.all_of(found)))

    reading = Round(
        read,
        take,
        len(wanted.numbers),
        pacer=pacer,
        options=options,
        clock=clock,
        dice=dice,
        progress=progress or Silent(),
        doing="reading back",
    )
    if controls is not None:
        controls.attach(reading)
    ending = await reading.run()

    def end() -> Counter[Comparison]:
        counts = _counts(journal, run_id, seqs, since_at)
        detail = {comparison.value: count for comparison, count in counts.items()}
        if ending.reason is StopReason.DONE:
            journal.exchange(run_id, events=[Event(clock.utc(), ENDED, detail)])
        return counts

    return _verified(ending, await run_blocking(end))


def _verified(ending: RoundEnding, counts: Counter[Comparison]) -> Verified:
    return Verified(ending.reason, ending.message, counts, ending.left)


def unfinished(journal: Journal, run_id: str) -> bool:
    """Whether a verification of the run was begun, and did not come to its end."""
    return _began_before(journal, run_id) is not None


def _began_before(journal: Journal, run_id: str) -> float | None:
    """When the verification began that did not come to its end, or None."""
    for event in reversed(journal.events(run_id)):
        if event.kind in (BEGAN, ENDED):
            return event.at if event.kind == BEGAN else None
    return None


def _counts(
    journal: Journal, run_id: str, seqs: Collection[int] | None, since_at: float
) -> Counter[Comparison]:
    return Counter(
        one.comparison
        for one in journal.verifications(run_id)
        if one.at >= since_at and (seqs is None or one.seq in seqs)
    )


def _wanted(journal: Journal, run_id: str, seqs: Collection[int] | None, since_at: float) -> _Wanted:
    """What is left to read: a number is read once for all of its requests."""
    chosen = {row.seq for row in journal.results(run_id) if row.state in _WORTH_READING}
    if seqs is not None:
        chosen &= set(seqs)
    chosen -= {
        one.seq
        for one in journal.verifications(run_id)
        if one.at >= since_at and one.comparison is not Comparison.UNREAD
    }
    runs: dict[str, int] = {}
    rows = [
        (t.number, t.seq, t.direction, t.payload_id, t.now_id, runs.setdefault(t.now_run, len(runs)))
        for t in journal.touches(run_id)
        if t.seq in chosen
    ]
    columns = np.array(sorted(rows), dtype=np.int64).reshape(-1, 6).T
    numbers, starts = np.unique(columns[0], return_index=True)
    return _Wanted(
        numbers=numbers,
        starts=np.append(starts, len(rows)).astype(np.int64),
        seqs=columns[1],
        directions=columns[2],
        payload_ids=columns[3],
        now_ids=columns[4],
        now_run_ids=columns[5],
        runs=tuple(runs),
    )


class _Judge:
    """Makes verifications of what was read; its memory is bounded, however many payloads there are."""

    def __init__(self, journal: Journal, wanted: _Wanted) -> None:
        self._journal = journal
        self._wanted = wanted
        self._at_hand: dict[int, dict[str, object]] = {}

    def all_of(self, found: list[Reading[Shown]]) -> list[Verification]:
        """One for each request of each number that was read."""
        starts = self._wanted.starts
        return [
            self._one(at, reading)
            for reading in found
            for at in range(int(starts[reading.which]), int(starts[reading.which + 1]))
        ]

    def _one(self, at: int, reading: Reading[Shown]) -> Verification:
        wanted = self._wanted
        sent = self._blocks(int(wanted.payload_ids[at]))
        now = self._blocks(int(wanted.now_ids[at]))
        replaced = {name for name, block in sent.items() if now.get(name, block) != block}
        told = verification_of(
            int(wanted.seqs[at]),
            reading,
            DIRECTIONS[wanted.directions[at]],
            {name: block for name, block in sent.items() if name not in replaced},
        )
        if not replaced:
            return told
        by = f"{', '.join(sorted(replaced))}: sent anew by run {wanted.runs[wanted.now_run_ids[at]]}"
        blocks = {name: told.blocks.get(name, Comparison.REPLACED) for name in sent}
        message = f"{told.message}; {by}" if told.message else by
        return told._replace(comparison=of_blocks(blocks.values()), blocks=blocks, message=message)

    def _blocks(self, payload_id: int) -> dict[str, object]:
        blocks = self._at_hand.get(payload_id)
        if blocks is None:
            if len(self._at_hand) >= _AT_HAND:
                self._at_hand.clear()
            blocks = self._at_hand[payload_id] = orjson.loads(self._journal.payload(payload_id))
        return blocks


def verification_of(
    seq: int, reading: Reading[Shown], direction: str, sent: Mapping[str, object]
) -> Verification:
    """What reading back a number says of one request that sent these blocks in this direction."""

    def of_all(comparison: Comparison, message: str = "") -> Verification:
        blocks = dict.fromkeys(sent, comparison)
        return Verification(seq, reading.at, comparison, blocks, (), message)

    outcome, shown = reading.outcome, reading.value
    if shown is None:
        if outcome.verdict is Verdict.ACCEPTED:
            return of_all(Comparison.NOT_READABLE)
        return of_all(Comparison.UNREAD, _why_not(outcome))
    if direction not in shown.sides:
        return of_all(Comparison.NOT_READABLE)
    side = shown.sides[direction]
    if side is None:
        return of_all(Comparison.MISSING)
    compared = compare(sent, side)
    message = f"{', '.join(compared.hidden)}: shown only masked" if compared.hidden else ""
    comparison = of_blocks(compared.blocks.values()) if sent else Comparison.REPLACED
    return Verification(seq, reading.at, comparison, compared.blocks, compared.differences, message)


def _why_not(outcome: Outcome) -> str:
    status = f"HTTP {outcome.http_status}" if outcome.http_status else ""
    said = " ".join(part for part in (status, outcome.error_code, outcome.message) if part)
    return f"could not be read: {said}"
