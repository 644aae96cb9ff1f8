"""How soon a killed run sends again: `python -m benchmarks.resuming WORKSPACE BASE_URL N SENT` leaves one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from batch.destinations import live
from batch.engine.beginning import SHARD_SIZE
from batch.journal.protocol import Ended, Journal
from batch.rollout import Rollout, Sending
from batch.states import RequestState
from batch.target import Outcome, Verdict
from batch.workspace import Workspace
from benchmarks.measuring import ROOT, Row, load_server, python, seen
from benchmarks.sending import plan_of

_ACCEPTED = Outcome(Verdict.ACCEPTED, http_status=200, request_id="bench")
_GROUP = 64  #: as many as a run over 64 connections has in a commit
_ENVIRON = {"BLAND_API_KEY": "bench"}


def resumes(rounds: int, folder: Path, *, count: int) -> list[Row]:
    """From typing `sipbatch resume` to its first request at the server, and the journal's size on disk.

    Once of a run that was killed as it began, and once of one that was killed half-way.
    """
    begun = Row(f"resume of {count:,} requests, to the first send", "≤ 3 s, then 1", unit=" s")
    half = Row("… when half of them were sent", "≤ 3 s, then 1", unit=" s")
    size = Row("… journal on disk", "", unit=" MB")
    with load_server() as base_url:
        for nth in range(rounds):
            for row, sent in ((begun, 0), (half, count // 2)):
                place = folder / f"resume-{nth}-{sent}"
                python("benchmarks.resuming", place, base_url, count, sent, environ=_ENVIRON)
                if row is begun:
                    size.ours.append((place / "journal.db").stat().st_size / 1e6)
                row.ours.append(_to_first_send_s(place, base_url))
    return [begun, half, size]


def _to_first_send_s(place: Path, base_url: str) -> float:
    seen(base_url)
    began_s = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "batch", "resume", "--workspace", str(place), "--quiet"],
        cwd=ROOT,
        env={**os.environ, **_ENVIRON},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        while process.poll() is None:
            if times := seen(base_url):
                return times[0] - began_s
            time.sleep(0.05)
        assert process.stderr is not None
        raise RuntimeError(f"the run that was resumed has ended: {process.stderr.read().decode()[-2000:]}")
    finally:
        process.kill()
        process.communicate()


def _send(journal: Journal, run_id: str, count: int) -> None:
    """Claim and record so many requests, as a run does."""
    shards, ended = journal.shards(run_id, SHARD_SIZE), list[Ended]()
    for _ in range(0, count, _GROUP):
        now = time.time()
        claims = journal.exchange(run_id, ended=ended, want=_GROUP, shards=shards, now=now)
        ended = [Ended(claim, RequestState.SUCCEEDED, _ACCEPTED, now, 0.01) for claim in claims]


def _leave(place: Path, base_url: str, count: int, sent: int) -> None:
    """A workspace as a killed process leaves it, with so many requests sent and some in flight."""
    with Rollout(Workspace(place), "run") as rollout:
        run_id = rollout.pin(plan_of(count), live(base_url), Sending(rate="100/s"))
        rollout.journal.begin(run_id, time.time())
        _send(rollout.journal, run_id, sent + _GROUP)


if __name__ == "__main__":
    workspace, address, *numbers = sys.argv[1:]
    _leave(Path(workspace), address, *map(int, numbers))
