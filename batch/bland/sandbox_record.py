"""The file in which the sandbox keeps every event, so that a restarted one remembers and a test can compare.

JSON lines, one a write, so that neither the client's death nor the sandbox's own loses one:

    {"at": 1767000000.1, "event": "received", "phone_number": "+1...", "direction": "inbound", "sha256": ...}
    {"at": ..., "event": "payload", "sha256": "...", "body": {...}}        (once per content)
    {"at": ..., "event": "applied", "phone_number": ..., "direction": ..., "sha256": "..."}
    {"at": ..., "event": "answered", "phone_number": ..., "direction": ..., "answer": "200", "fault": "ok"}

`at` is UTC in seconds since the epoch. `sha256` is the digest of the blocks, as the report has it, and is
left out where the body was no valid one. `answer` is the status, or what happens in its place (`hang`,
`reset_after` ...); it is written when that is decided, which is before the latency. `fault` is left out for
what was turned away. A call that names no number or no direction has none here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import orjson

from batch.errors import JournalError


class EventKind(StrEnum):
    """What happened."""

    RECEIVED = "received"  #: a change arrived
    PAYLOAD = "payload"  #: these blocks are applied for the first time
    APPLIED = "applied"  #: the change holds
    ANSWERED = "answered"  #: its answer is decided
    RECOUNTED = "recounted"  #: the counters were set to zero
    FORGOTTEN = "forgotten"  #: so was everything else: nothing is configured any more


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; empty fields do not apply to it."""

    at: float
    event: EventKind
    phone_number: str = ""
    direction: str = ""
    sha256: str = ""
    answer: str = ""
    fault: str = ""
    body: dict[str, object] | None = None

    def to_json(self) -> bytes:
        """The event as one line, without its end."""
        line: dict[str, object] = {"at": self.at, "event": self.event.value}
        for name in ("phone_number", "direction", "sha256", "answer", "fault", "body"):
            if value := getattr(self, name):
                line[name] = value
        return orjson.dumps(line)

    @classmethod
    def from_json(cls, line: bytes) -> Event:
        """The event of a line; `ValueError` if it is none."""
        try:
            fields = orjson.loads(line)
            return cls(**{**fields, "at": float(fields["at"]), "event": EventKind(fields["event"])})
        except (TypeError, KeyError) as error:
            raise ValueError(str(error)) from None


class Record:
    """A file of events. One sandbox writes it; anybody may read it while it does."""

    def __init__(self, path: Path) -> None:
        """Open or create it, readable by its owner only; `JournalError` if it cannot be."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"{path}: the sandbox's record cannot be opened: {error.strerror}.") from None
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            raise JournalError(
                f"{path}: the sandbox's record must be an ordinary file, which can be read back."
            )

    def events(self) -> Iterator[Event]:
        """What is recorded so far, oldest first.

        A last line that was cut short, by a full disk or a power failure, is taken off the file. Any other
        line that is none of the sandbox's is a `JournalError`: the file may be somebody else's.
        """
        kept_bytes = 0
        with self.path.open("rb") as lines:
            for place, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    os.ftruncate(self._fd, kept_bytes)
                    return
                try:
                    event = Event.from_json(line)
                except ValueError:
                    raise JournalError(
                        f"{self.path}:{place}: this line was not written by the sandbox. Name another file "
                        "to record to, or remove this one."
                    ) from None
                kept_bytes += len(line)
                yield event

    def append(self, event: Event) -> None:
        """Write an event; it is with the system when this returns. `JournalError` if it cannot be."""
        line = event.to_json() + b"\n"
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except OSError as error:
            raise JournalError(
                f"{self.path}: the sandbox's record cannot be written: {error.strerror}."
            ) from None

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
