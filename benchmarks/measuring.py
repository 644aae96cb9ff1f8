"""What every measurement needs: children with their own accounts, a server beside them, figures as ratios."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Child:
    """What one finished child process took: seconds, MB, and what it printed."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    stdout: str


def child(arguments: Sequence[str], *, environ: Mapping[str, str] | None = None) -> Child:
    """Run a program to its end; its own time and memory are the kernel's account of it."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as talk:
        process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
            stdout=subprocess.PIPE,
            stderr=talk,
            text=True,
        )
        assert process.stdout is not None
        with process.stdout:
            stdout = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - began
        if process.returncode:
            talk.seek(0)
            raise RuntimeError(f"{arguments} ended with {process.returncode}: {talk.read()[-2000:]}")
    return Child(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, stdout)


def python(module: str, *arguments: object, environ: Mapping[str, str] | None = None) -> Child:
    """Run one of our modules in a process of its own."""
    return child([sys.executable, "-m", module, *map(str, arguments)], environ=environ)


@contextmanager
def load_server(delay_ms: float = 0) -> Iterator[str]:
    """A load server in a process of its own; gives its base URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load_server", str(delay_ms)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.communicate(timeout=10)


def seen(base_url: str) -> list[float]:
    """When each request arrived since this was asked last, in order, by the steady clock that all share."""
    with urllib.request.urlopen(f"{base_url}/seen") as answer:
        return sorted(json.load(answer))


@dataclass(slots=True)
class Row:
    """One line of the table: a figure, its peer's, and their ratio, each a median with its spread."""

    name: str
    goal: str
    ours: list[float] = field(default_factory=list)
    peers: list[float] = field(default_factory=list)
    unit: str = ""
    peer_name: str = ""
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        """Ours by the peer's, pair by pair."""
        return [ours / peer for ours, peer in zip(self.ours, self.peers, strict=False)]

    def cells(self) -> list[str]:
        """The line as text."""
        ratio = _spread(self.ratios, "") if self.peers else ""
        peer = f"{_spread(self.peers, self.unit)} ({self.peer_name})" if self.peers else self.peer_name
        return [self.name, _spread(self.ours, self.unit), peer, ratio, self.goal, self.note]

    def as_json(self) -> dict[str, object]:
        """The line as data."""
        return {
            "name": self.name,
            "goal": self.goal,
            "unit": self.unit,
            "ours": self.ours,
            "peer": self.peer_name,
            "peers": self.peers,
            "ratio": statistics.median(self.ratios) if self.peers else None,
        }


def _spread(values: list[float], unit: str) -> str:
    if not values:
        return ""
    middle = statistics.median(values)
    if len(values) == 1:
        return f"{_short(middle)}{unit}"
    return f"{_short(middle)}{unit} [{_short(min(values))} to {_short(max(values))}]"


def _short(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.1e}"


def table(rows: Sequence[Row]) -> str:
    """All lines, aligned, as Markdown."""
    cells = [["what", "sipbatch", "beside it", "ratio", "to reach", ""], *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def write_json(rows: Sequence[Row], path: Path) -> None:
    """The figures, for a later comparison."""
    path.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n")
