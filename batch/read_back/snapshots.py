"""Takes a snapshot before a run: what the target shows of every number that is about to be changed.

It is kept in the journal beside the run, for a rollback to what no run of this workspace has sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import orjson

from batch.fleet.rolling_back import Seen
from batch.journal.events import Event
from batch.journal.protocol import Journal, Left
from batch.journal.verification import Snapshot
from batch.plans import DIRECTIONS, Payload
from batch.read_back.comparing import has_hidden
from batch.read_back.readable import Blocks, Readable, Shown
from batch.read_back.rounds import Reader, Reading
from batch.schema import Schema
from batch.states import StopReason
from batch.target import Outcome, Verdict

#: The kind of event that tells of a snapshot that is whole.
TAKEN = "snapshot_taken"


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """How it ended, and of how many requests it is known what was there before.

    `shown` of the `read` ones had blocks to show, `unread` could not be read, `left` numbers were not read
    since it stopped before its end.
    """

    reason: StopReason
    message: str
    read: int
    shown: int
    unread: int
    left: int = 0

    @property
    def in_words(self) -> str:
        """What is known of how it was before, for the operator."""
        total = self.read + self.unread
        if not total:
            return "Snapshot: there is nothing more to read."
        hidden = (
            "" if self.shown == total else " Of the others the API does not show it, or nothing was set up."
        )
        return (
            f"Snapshot: it is known what was there before for {self.shown:,} of {total:,} requests.{hidden}"
        )


async def take_snapshot(journal: Journal, run_id: str, target: Readable, reader: Reader) -> SnapshotTaken:
    """Read every number that the run is still to send to and has never sent to, and record what is there.

    What an interrupted snapshot has read is not read again. A number that cannot be read is left out: nothing
    is known then of what was there. The target is entered and left by the caller. Raises `JournalError` if
    the journal cannot be written.
    """
    left = await reader.run_blocking(lambda: _untouched(journal, run_id))
    numbers, starts = np.unique(left.numbers, return_index=True)
    ends = np.append(starts[1:], len(left.numbers))
    read_count = shown_count = unread_count = 0

    async def read(which: int) -> tuple[Outcome, Shown | None]:
        return await target.read_number(f"+{numbers[which]}")

    async def take(found: list[Reading[Shown]]) -> None:
        nonlocal read_count, shown_count, unread_count
        taken: list[Snapshot] = []
        for reading in found:
            for at in range(int(starts[reading.which]), int(ends[reading.which])):
                one = _snapshot(int(left.seqs[at]), DIRECTIONS[left.directions[at]], reading)
                if one is None:
                    unread_count += 1
                else:
                    taken.append(one)
        await reader.run_blocking(lambda: journal.record_snapshot(run_id, taken))
        read_count += len(taken)
        shown_count += sum(one.payload is not None for one in taken)

    ending = await reader.read(read, take, len(numbers), doing="reading what is there before")
    if ending.reason is StopReason.DONE and len(numbers):
        detail = {"read": read_count, "shown": shown_count, "unread": unread_count}
        event = Event(reader.clock.utc(), TAKEN, detail)
        await reader.run_blocking(lambda: journal.exchange(run_id, events=[event]))
    return SnapshotTaken(ending.reason, ending.message, read_count, shown_count, unread_count, ending.left)


def _untouched(journal: Journal, run_id: str) -> Left:
    """What is left of a run, has never been sent, and is in no snapshot yet, by number."""
    left = journal.left(run_id)
    done = {one.seq for one in journal.snapshots(run_id)}
    if journal.run(run_id).started_at is not None:
        done |= {row.seq for row in journal.results(run_id) if row.sends}
    is_wanted = ~np.isin(left.seqs, np.fromiter(done, dtype=np.int64, count=len(done)))
    places = np.flatnonzero(is_wanted)
    places = places[np.argsort(left.numbers[places], kind="stable")]
    return Left(left.seqs[places], left.numbers[places], left.directions[places], left.template_ids[places])


def _snapshot(seq: int, direction: str, reading: Reading[Shown]) -> Snapshot | None:
    """None if it could not be read. What is masked is as good as not shown: it cannot be put back."""
    shown = reading.value
    if shown is None:
        is_read = reading.outcome.verdict is Verdict.ACCEPTED
        return Snapshot(seq, reading.at, is_there=True, payload=None) if is_read else None
    side = shown.sides.get(direction, {})
    if side is None:
        return Snapshot(seq, reading.at, is_there=False, payload=None)
    blocks = {name: block for name, block in side.items() if block is not None and not has_hidden(block)}
    return Snapshot(seq, reading.at, is_there=True, payload=Payload.of(blocks) if blocks else None)


def seen_before(journal: Journal, run_id: str, schema: Schema) -> dict[int, Seen]:
    """What a run's snapshot knows of each request, as far as it can be sent again; empty without one."""
    known: dict[str, dict[str, object]] = {}

    def sendable(payload: Payload | None) -> dict[str, object]:
        if payload is None:
            return {}
        if payload.sha256 not in known:
            blocks: dict[str, object] = {}
            for name, block in orjson.loads(payload.body).items():
                if (restored := restorable({name: block}, schema)) is not None:
                    blocks |= orjson.loads(restored.body)
            known[payload.sha256] = blocks
        return known[payload.sha256]

    return {
        one.seq: Seen(one.at, sendable(one.payload) if one.is_there else None)
        for one in journal.snapshots(run_id)
    }


def restorable(shown: Blocks, schema: Schema) -> Payload | None:
    """The payload that puts blocks back as they were shown, without what the API adds to them itself.

    None if what is left of them is no valid payload: it could not be sent.
    """
    known = {name: _known((name,), block, schema) for name, block in shown.items() if name in schema.blocks}
    return schema.check(known).payload if known else None


def _known(path: tuple[str | int, ...], value: object, schema: Schema) -> object:
    """The value without the fields that the schema does not have, and without empty ones."""
    match value:
        case dict():
            names = schema.fields_of(path)
            known = {name: part for name, part in value.items() if name in names and part is not None}
            return {name: _known((*path, name), part, schema) for name, part in known.items()}
        case list():
            return [_known((*path, place), part, schema) for place, part in enumerate(value)]
        case _:
            return value
