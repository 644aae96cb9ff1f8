"""Writes the report of a run beside pandas, which writes the same lines from a frame in memory.

`python -m benchmarks.reporting csv|all|bare|make FOLDER COUNT` prints its seconds.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from benchmarks.measuring import ROOT, Row, python

_COLUMNS = ("phone_number", "template", "direction", "customer", "site", "backup_host", "port")
_CHUNK = 50_000
_START = 1_785_144_600.0


def reports(rounds: int, folder: Path, *, count: int) -> list[Row]:
    """Lines a second and peak memory of a report, from the journal to the disk."""
    place = folder / f"report-{count}"
    python("benchmarks.reporting", "make", place, count)
    peer = "pandas to_csv, in memory"
    lines = Row(f"report of {count:,} lines, results.csv", "≥ 50,000/s", unit="/s", peer_name=peer)
    all_files = Row("… with results.jsonl", "", unit="/s", peer_name=peer)
    memory = Row("… peak memory", "", unit=" MB", peer_name=peer)
    for _ in range(rounds):
        alone, both, bare = (python("benchmarks.reporting", w, place, count) for w in ("csv", "all", "bare"))
        lines.ours.append(count / float(alone.stdout))
        all_files.ours.append(count / float(both.stdout))
        memory.ours.append(both.peak_mb)
        for row in (lines, all_files):
            row.peers.append(count / float(bare.stdout))
        memory.peers.append(bare.peak_mb)
    return [lines, all_files, memory]


def make(folder: Path, count: int) -> None:
    """A finished run of so many requests, of which one in a hundred failed."""
    from batch.journal.protocol import Ended, NewRun, Shard
    from batch.journal.sqlite import SqliteJournal
    from batch.plans import CellChunk, Payload, Plan, SheetPin
    from batch.states import RequestState, StopReason
    from batch.target import Outcome, Verdict

    def cells(first: int) -> CellChunk:
        rows = range(first + 2, min(first + _CHUNK, count) + 2)
        alike = ["bench", "outbound", "Acme Ltd, London", "London", "backup1.sip.example.com", "5061"]
        numbers = [f"+1415{row:07d}" for row in rows]
        return CellChunk.pack(0, rows, [numbers, *([text] * len(rows) for text in alike)])

    zeros = np.zeros(count, dtype=np.int32)
    plan = Plan(
        sheets=(SheetPin("bench.csv", "bench.csv", "0" * 64, _COLUMNS, 0, 2, 1, count),),
        payloads=(Payload.of({"codec_config": {"transcode": True}}),),
        templates=("bench",),
        numbers=np.arange(count, dtype=np.int64) + 14150000002,
        directions=np.ones(count, dtype=np.uint8),
        payload_ids=zeros,
        template_ids=zeros,
        sheet_ids=zeros,
        rows=np.arange(2, count + 2, dtype=np.int32),
        duplicate_of=np.full(count, -1, dtype=np.int64),
        note_ids=zeros,
        notes=("",),
        rejects=(),
        warnings=(),
        digest="",
        cells=tuple(cells(first) for first in range(0, count, _CHUNK)),
    )
    folder.mkdir()
    journal = SqliteJournal(folder / "journal.db")
    run_id = journal.create_run(plan, NewRun("bench", _START))
    journal.begin(run_id, _START)
    accepted = Outcome(Verdict.ACCEPTED, http_status=200, request_id="req_0123456789")
    refused = Outcome(Verdict.REFUSED, http_status=404, error_code="NOT_FOUND", message="no such number")
    everything = [Shard(0, count)]
    while claims := journal.exchange(run_id, want=5_000, shards=everything, now=_START):
        failed = [claim.seq % 100 == 99 for claim in claims]
        journal.exchange(
            run_id,
            ended=[
                Ended(
                    claim,
                    RequestState.FAILED if is_failed else RequestState.SUCCEEDED,
                    refused if is_failed else accepted,
                    _START + claim.seq / 1_000,
                    0.05,
                )
                for claim, is_failed in zip(claims, failed, strict=True)
            ],
        )
    journal.end(run_id, StopReason.DONE, _START + count / 1_000)
    journal.close()


def _report(folder: Path, formats: tuple[str, ...]) -> float:
    from batch.journal.sqlite import SqliteJournal
    from batch.reporting import write_report

    journal = SqliteJournal(folder / "journal.db")
    (run,) = journal.runs()
    began = time.perf_counter()
    write_report(journal, run.id, folder / "-".join(formats), formats=formats)
    took_s = time.perf_counter() - began
    journal.close()
    return took_s


def _bare(folder: Path) -> float:
    import pandas as pd

    frame = pd.read_csv(folder / "csv" / "results.csv", dtype=str, keep_default_na=False)
    began = time.perf_counter()
    frame.to_csv(folder / "bare.csv", index=False)
    return time.perf_counter() - began


if __name__ == "__main__":
    import time

    sys.path.insert(0, str(ROOT))
    what, place, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    match what:
        case "make":
            make(place, size)
        case "csv":
            print(_report(place, ("csv",)))
        case "all":
            print(_report(place, ("csv", "jsonl")))
        case "bare":
            print(_bare(place))
