"""What the sandbox saw and what it applied: by key, by second, by answer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from batch.bland.sandbox_options import Key
from batch.bland.sandbox_record import Event, EventKind, Record
from batch.errors import JournalError
from batch.plans import Payload

#: How many of the latest events the sandbox can tell of; its record has all.
LOG_LENGTH = 10_000


@dataclass(frozen=True, slots=True)
class Applied:
    """Blocks that were applied, held once however many numbers have them."""

    payload: Payload
    blocks: dict[str, object]


@dataclass(slots=True)
class Side:
    """One number in one direction: how often a change of it came, what it has, what was applied last."""

    received: int = 0
    admitted: int = 0  #: of those received, the ones with a good key, within the limit, and valid
    applied: int = 0
    last: Applied | None = None
    config: Mapping[str, object] | None = None
    created_at: float = 0.0
    updated_at: float = 0.0


class BusiestSecond:
    """How many arrivals the busiest window of one second held, whenever it began."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self.most = 0

    def add(self, now: float) -> None:
        """Count an arrival; `now` is monotonic, in seconds."""
        times = self._times
        times.append(now)
        while times[0] <= now - 1.0:
            times.popleft()
        self.most = max(self.most, len(times))


class Memory:
    """All that happened since the sandbox started, and what its record tells of the time before.

    Only the busiest second is not recalled: where a process was not running, nothing can be said of it.
    """

    def __init__(self, record: Path | None, *, merge_blocks: bool = False) -> None:
        """Open the record and read it back; `JournalError` if it cannot be read or written."""
        self.merge_blocks = merge_blocks
        self.sides: dict[Key, Side] = {}
        self.arrived = asyncio.Event()  #: set by every arrival; who waits for one clears it first
        self._applied_by_sha: dict[str, Applied] = {}
        self._count_anew()
        self._record = Record(record) if record else None
        if self._record:
            try:
                for event in self._record.events():
                    self._take(event)
            except KeyError:
                self._record.close()
                raise JournalError(f"{record}: lines of the sandbox's record are missing.") from None
            except JournalError:
                self._record.close()
                raise

    # --- what happens -----------------------------------------------------------------------------

    def note_received(self, number: str, direction: str, sha256: str, now: float) -> None:
        """A change arrived, at a monotonic time; what it does not name is empty."""
        self.busiest_received.add(now)
        self._note(Event(time.time(), EventKind.RECEIVED, number, direction, sha256))
        self.arrived.set()

    def note_applied(self, key: Key, payload: Payload) -> None:
        """The change holds from here on."""
        if payload.sha256 not in self._applied_by_sha:
            blocks = orjson.loads(payload.body)
            self._note(Event(time.time(), EventKind.PAYLOAD, sha256=payload.sha256, body=blocks))
        self._note(Event(time.time(), EventKind.APPLIED, *key, payload.sha256))

    def note_answered(self, number: str, direction: str, *, answer: str, fault: str = "") -> None:
        """What happens to the change is decided; it has a fault (`ok` is one) if it was let in."""
        self._note(Event(time.time(), EventKind.ANSWERED, number, direction, answer=answer, fault=fault))

    def note_let_in(self, now: float) -> None:
        """A change came with a good key and within the limit, at a monotonic time."""
        self.busiest_let_in.add(now)

    def next_arrival(self, key: Key) -> int:
        """The how-many-th admitted arrival of a key the present one is."""
        side = self.sides.get(key)
        return side.admitted + 1 if side else 1

    def recount(self) -> None:
        """Set the counters to zero; what was applied stays."""
        self._note(Event(time.time(), EventKind.RECOUNTED))

    def forget(self) -> None:
        """Set everything to zero: nothing was ever applied."""
        self._note(Event(time.time(), EventKind.FORGOTTEN))

    def close(self) -> None:
        """Close the record; nothing is waiting to be written."""
        if self._record:
            self._record.close()

    # --- one path for what happens and for what the record tells ------------------------------------

    def _note(self, event: Event) -> None:
        # Recorded first: what was counted or applied is on file, never the other way round.
        if self._record:
            self._record.append(event)
        self._take(event)

    def _take(self, event: Event) -> None:
        match event.event:
            case EventKind.RECEIVED:
                self.received += 1
                self._second(event)[0] += 1
                if event.phone_number and event.direction:
                    self._side(event).received += 1
            case EventKind.PAYLOAD:
                payload = Payload.of(event.body or {})
                self._applied_by_sha[event.sha256] = Applied(payload, event.body or {})
            case EventKind.APPLIED:
                self.applied += 1
                self._second(event)[1] += 1
                self._apply(self._side(event), self._applied_by_sha[event.sha256], event.at)
            case EventKind.ANSWERED:
                self.answers[event.answer] += 1
                if event.fault:
                    self.faults[event.fault] += 1
                    self.admitted += 1
                    self._side(event).admitted += 1
            case EventKind.RECOUNTED:
                self._count_anew()
                for side in self.sides.values():
                    side.received = side.admitted = side.applied = 0
            case EventKind.FORGOTTEN:
                self._count_anew()
                self.sides.clear()
        if event.event is not EventKind.PAYLOAD:
            self.log.append(event)

    def _count_anew(self) -> None:
        self.received = self.admitted = self.applied = 0
        self.answers: Counter[str] = Counter()  #: by status, or by what happened in its place
        self.faults: Counter[str] = Counter()  #: by the fault's name
        self.per_second: dict[int, list[int]] = {}  #: received and applied, by second of the epoch
        self.busiest_received = BusiestSecond()
        self.busiest_let_in = BusiestSecond()
        self.log: deque[Event] = deque(maxlen=LOG_LENGTH)

    def _second(self, event: Event) -> list[int]:
        return self.per_second.setdefault(int(event.at), [0, 0])

    def _side(self, event: Event) -> Side:
        key = event.phone_number, event.direction
        side = self.sides.get(key)
        if side is None:
            side = self.sides[key] = Side()
        return side

    def _apply(self, side: Side, applied: Applied, at: float) -> None:
        if side.config is None:
            # Not copied: a million numbers with one configuration share it.
            side.config, side.created_at = applied.blocks, at
        elif self.merge_blocks:
            side.config = _merged(side.config, applied.blocks)
        else:
            side.config = {**side.config, **applied.blocks}
        side.last, side.updated_at = applied, at
        side.applied += 1


def _merged(old: Mapping[str, object], new: Mapping[str, object]) -> dict[str, object]:
    """Objects merged field by field, all else (lists too) replaced."""
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[name] = _merged(before, value)
        else:
            merged[name] = value
    return merged
