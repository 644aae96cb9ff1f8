"""How soon a killed run sends again: `python -m benchmarks.resuming N` prints JSON."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import anyio

from batch.engine.pacer import parse_rates
from batch.journal.protocol import NewRun
from batch.journal.sqlite import SqliteJournal
from batch.runner import Controls, RunOptions, run
from batch.states import StopReason
from batch.target import Outcome, Verdict
from benchmarks.measuring import Row, python
from benchmarks.sending import plan_of


class FirstSend:
    """A target that notes when the first request reaches it, and then has the run stopped."""

    name = "bench"

    def __init__(self, controls: Controls) -> None:
        self.first_at_s: float | None = None
        self._controls = controls

    async def send(self, number: str, direction: str, payload: bytes) -> Outcome:
        """Accept at once."""
        del number, direction, payload
        if self.first_at_s is None:
            self.first_at_s = time.perf_counter()
            self._controls.drain(StopReason.SIGTERM)
        return Outcome(Verdict.ACCEPTED)

    async def __aenter__(self) -> FirstSend:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Nothing to close."""


def resumes(rounds: int, folder: Path, *, count: int) -> list[Row]:
    """From opening the journal of a run to its first send, and its size on disk."""
    del folder
    row = Row(f"resume of {count:,} requests, to the first send", "≤ 3 s, then 1", unit=" s")
    size = Row("… journal on disk", "", unit=" MB")
    for _ in range(rounds):
        figures = json.loads(python("benchmarks.resuming", count).stdout)
        row.ours.append(figures["to_first_send_s"])
        size.ours.append(figures["journal_mb"])
    return [row, size]


async def _resume(path: Path, run_id: str) -> float:
    controls = Controls()
    target = FirstSend(controls)
    began = time.perf_counter()
    journal = SqliteJournal(path)
    await run(journal, run_id, target, RunOptions(rates=parse_rates("1000/s")), controls=controls)
    journal.close()
    assert target.first_at_s is not None
    return target.first_at_s - began


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        journal = SqliteJournal(path)
        run_id = journal.create_run(plan_of(int(sys.argv[1])), NewRun("bench", time.time()))
        journal.begin(run_id, time.time())  # and then its process was killed
        journal.close()
        took_s = anyio.run(_resume, path, run_id, backend_options={"use_uvloop": True})
        print(json.dumps({"to_first_send_s": took_s, "journal_mb": path.stat().st_size / 1e6}))
