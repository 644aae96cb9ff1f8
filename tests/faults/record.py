"""What a sandbox wrote down: the other side's account of a run, to compare with the journal's."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Arrival:
    """One change that arrived: when (UTC, seconds since the epoch), for which key, with which payload.

    `answer` and `fault` are how the sandbox decided to answer it (empty if it died before).
    """

    at: float
    number: str
    direction: str
    sha256: str
    answer: str
    fault: str

    @property
    def is_well(self) -> bool:
        """Whether it was applied and answered as the API does."""
        return self.fault == "ok"


@dataclass(frozen=True, slots=True)
class Account:
    """Everything that a record tells, oldest first."""

    arrivals: tuple[Arrival, ...]
    applied: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    @property
    def times(self) -> list[float]:
        return [arrival.at for arrival in self.arrivals]

    def by_key(self) -> dict[tuple[str, str], list[Arrival]]:
        """The arrivals of each number and direction."""
        grouped: dict[tuple[str, str], list[Arrival]] = defaultdict(list)
        for arrival in self.arrivals:
            grouped[arrival.number, arrival.direction].append(arrival)
        return grouped

    def needless(self, since: float = 0.0) -> int:
        """Arrivals of what had been answered well before `since`: what a lost answer makes us send again."""
        answered: Counter[tuple[str, str]] = Counter()
        needless = 0
        for arrival in self.arrivals:
            key = arrival.number, arrival.direction
            if arrival.at >= since and answered[key]:
                needless += 1
            if arrival.is_well:
                answered[key] += 1
        return needless

    def busiest(self, window_s: float = 1.0) -> int:
        """The most arrivals in any window of this length."""
        times = sorted(self.times)
        first = most = 0
        for last, at in enumerate(times):
            while times[first] <= at - window_s:
                first += 1
            most = max(most, last - first + 1)
        return most


class Record:
    """The file that a sandbox writes with `--record`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_bytes = 0
        self._received = 0

    def read(self) -> Account:
        """What is in it by now; a line that is being written is left for the next time."""
        arrivals: list[Arrival] = []
        waiting: dict[tuple[str, str], list[int]] = defaultdict(list)
        applied: dict[tuple[str, str], list[str]] = defaultdict(list)
        for line in self._lines():
            event = json.loads(line)
            number, direction = event.get("phone_number", ""), event.get("direction", "")
            key = (number, direction)
            match event["event"]:
                case "received":
                    waiting[key].append(len(arrivals))
                    arrivals.append(Arrival(event["at"], number, direction, event.get("sha256", ""), "", ""))
                case "applied":
                    applied[key].append(event["sha256"])
                case "answered" if waiting[key]:
                    at = waiting[key].pop(0)
                    was = arrivals[at]
                    arrivals[at] = Arrival(
                        was.at, number, direction, was.sha256, event["answer"], event.get("fault", "")
                    )
                case _:
                    pass
        return Account(tuple(arrivals), dict(applied))

    def received(self) -> int:
        """How many changes have arrived by now."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read_bytes)
                whole, newline, _ = file.read().rpartition(b"\n")
            self._received += whole.count(b'"event":"received"')
            self._read_bytes += len(whole) + len(newline)
        return self._received

    def _lines(self) -> list[bytes]:
        if not self.path.exists():
            return []
        return [line for line in self.path.read_bytes().split(b"\n")[:-1] if line]
