"""Where a row's time goes from the sheet to the report: CPU in each stage, beside the least possible for it.

`python -m benchmarks.budget [COUNT]` prints a table. Each stage runs by itself; the least possible is the
barest code that does the same for nothing: a bare read, a bare insert, a bare parse.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import orjson

from batch.bland.answers import judge
from batch.clock import real_clock
from batch.engine.pacer import parse_rates
from batch.journal.memory import MemoryJournal
from batch.journal.protocol import Claim, Ended, NewRun
from batch.journal.sqlite import SqliteJournal
from batch.reporting import write_report
from batch.runner import RunOptions, run
from batch.states import RequestState, StopReason
from batch.target import Outcome, Verdict
from benchmarks.measuring import Row, load_server, python
from benchmarks.planning import bare_read, plan_sheet, write_sheet, write_template
from benchmarks.sending import plan_of

_T = TypeVar("_T")

_GROUP = 64
_ACCEPTED = Outcome(Verdict.ACCEPTED, http_status=200)
_BODY = b'{"data":{"updated":true},"errors":null}'
_FIELDS = {"content-type": "application/json", "content-length": "39", "x-request-id": "req_0123456789"}


def budget(rounds: int, folder: Path, *, count: int) -> list[Row]:
    """Every stage in order, microseconds of CPU a row; each a median of its rounds."""
    stages: list[tuple[str, Callable[[], float], str, Callable[[], float]]] = [
        (
            "sheet to plan",
            partial(_planned, folder, count),
            "bare pandas read",
            partial(_read, folder, count),
        ),
        ("pin into the journal", partial(_pinned, count), "bare INSERT", partial(_inserted, count)),
        ("claim and record", partial(_exchanged, count), "bare UPDATE, twice", partial(_updated, count)),
        ("pace, hand out, decide", partial(_driven, count), "bare task switch", partial(_switched, count)),
        ("send, receive, judge", partial(_sent, "loop", count), "smallest client", partial(_sent, "", count)),
        ("… of it to judge the answer", partial(_judged, count), "bare JSON parse", partial(_parsed, count)),
        ("report, results.csv", partial(_reported, count), "bare csv.writer", partial(_written, count)),
    ]
    rows = []
    for name, ours, peer_name, peer in stages:
        peer()
        ours()  # what is imported and compiled for the first row is not the row's
        title = name if name.startswith("…") else f"CPU of a row: {name}"
        row = Row(title, "", unit=" µs", peer_name=peer_name)
        for _ in range(rounds):
            row.ours.append(1e6 * ours() / count)
            row.peers.append(1e6 * peer() / count)
        rows.append(row)
    return rows


def _cpu(work: Callable[[], object]) -> float:
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


# --- the sheet ------------------------------------------------------------------------------------


def _sheet(folder: Path, count: int) -> Path:
    path = folder / f"budget-{count}.csv"
    if not path.exists():
        write_template(folder)
        write_sheet(path, count)
    return path


def _planned(folder: Path, count: int) -> float:
    return _cpu(partial(plan_sheet, _sheet(folder, count)))


def _read(folder: Path, count: int) -> float:
    return _cpu(partial(bare_read, _sheet(folder, count)))


# --- the journal ----------------------------------------------------------------------------------


@contextmanager
def _journal(count: int) -> Iterator[tuple[SqliteJournal, str]]:
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder) / "journal.db")
        run_id = journal.create_run(plan_of(count), NewRun("bench", time.time()))
        journal.begin(run_id, time.time())
        yield journal, run_id
        journal.close()


@contextmanager
def _bare_table() -> Iterator[sqlite3.Connection]:
    with tempfile.TemporaryDirectory() as folder:
        db = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("CREATE TABLE requests (seq INTEGER PRIMARY KEY, number INTEGER, state TEXT, at REAL)")
        yield db
        db.close()


def _fill(db: sqlite3.Connection, count: int) -> None:
    db.execute("BEGIN")
    rows = ((seq, seq, "pending", None) for seq in range(count))
    db.executemany("INSERT INTO requests VALUES (?, ?, ?, ?)", rows)
    db.execute("COMMIT")


def _pinned(count: int) -> float:
    plan = plan_of(count)
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder) / "journal.db")
        took_s = _cpu(lambda: journal.create_run(plan, NewRun("bench", time.time())))
        journal.close()
    return took_s


def _inserted(count: int) -> float:
    with _bare_table() as db:
        return _cpu(partial(_fill, db, count))


def _ended(claims: list[Claim], at: float) -> list[Ended]:
    return [Ended(claim, RequestState.SUCCEEDED, _ACCEPTED, at, 0.01) for claim in claims]


def _send_all(journal: SqliteJournal, run_id: str) -> None:
    shards, ended = journal.shards(run_id, 10_000), []
    while True:
        now = time.time()
        claims = journal.exchange(run_id, ended=ended, want=_GROUP, shards=shards, now=now, max_retries=9)
        ended = _ended(claims, now)
        if not claims:
            return


def _exchanged(count: int) -> float:
    with _journal(count) as (journal, run_id):
        return _cpu(partial(_send_all, journal, run_id))


def _updated(count: int) -> float:
    def update(db: sqlite3.Connection) -> None:
        for first in range(0, count, _GROUP):
            seqs = range(first, min(first + _GROUP, count))
            db.execute("BEGIN")
            db.executemany("UPDATE requests SET state = 'in_flight' WHERE seq = ?", ((s,) for s in seqs))
            done = (("succeeded", 1.0, s) for s in seqs)
            db.executemany("UPDATE requests SET state = ?, at = ? WHERE seq = ?", done)
            db.execute("COMMIT")

    with _bare_table() as db:
        _fill(db, count)
        return _cpu(partial(update, db))


# --- the engine -----------------------------------------------------------------------------------


class _Instant:
    """A target that accepts at the loop's next turn."""

    name = "bench"

    async def send(self, number: str, direction: str, payload: bytes) -> Outcome:
        del number, direction, payload
        await _turn()
        return _ACCEPTED

    async def __aenter__(self) -> _Instant:
        return self

    async def __aexit__(self, *exc_info: object) -> None: ...


async def _turn() -> None:
    loop = asyncio.get_running_loop()
    turned = loop.create_future()
    loop.call_soon(turned.set_result, None)
    await turned


async def _inline(work: Callable[[], Any]) -> Any:
    return work()


def _driven(count: int) -> float:
    """The engine with everything else taken away: an instant target, and a journal in memory that is free."""
    journal = _FreeJournal()
    run_id = journal.create_run(plan_of(count), NewRun("bench", time.time()))
    options = RunOptions(rates=parse_rates("1000000/s"), concurrency=64)
    drive = partial(run, journal, run_id, _Instant(), options, clock=real_clock(), run_blocking=_inline)
    whole_s = _cpu(partial(anyio.run, drive, backend_options={"use_uvloop": True}))
    return whole_s - journal.took_s


class _FreeJournal(MemoryJournal):
    """The journal in memory, whose own time is taken out of the account."""

    took_s = 0.0

    def begin(self, *args: Any, **named: Any) -> int:
        return self._unaccounted(super().begin, *args, **named)

    def exchange(self, *args: Any, **named: Any) -> list[Claim]:
        return self._unaccounted(super().exchange, *args, **named)

    def end(self, *args: Any, **named: Any) -> None:
        return self._unaccounted(super().end, *args, **named)

    def _unaccounted(self, work: Callable[..., _T], *args: Any, **named: Any) -> _T:
        began_s = time.process_time()
        try:
            return work(*args, **named)
        finally:
            self.took_s += time.process_time() - began_s


def _switched(count: int) -> float:
    async def switch() -> None:
        for _ in range(count):
            await _turn()

    return _cpu(partial(anyio.run, switch, backend_options={"use_uvloop": True}))


# --- the wire -------------------------------------------------------------------------------------


def _sent(what: str, count: int) -> float:
    with load_server() as base_url:
        done = (
            python("benchmarks.sending", what, base_url, count, 64)
            if what
            else python("benchmarks.load_client", base_url, count, 64)
        )
    return float(json.loads(done.stdout)["cpu_us"]) * count / 1e6


def _judged(count: int) -> float:
    return _cpu(lambda: [judge(200, _FIELDS, _BODY) for _ in range(count)])


def _parsed(count: int) -> float:
    return _cpu(lambda: [orjson.loads(_BODY) for _ in range(count)])


# --- the report -----------------------------------------------------------------------------------


def _reported(count: int) -> float:
    with _journal(count) as (journal, run_id), tempfile.TemporaryDirectory() as folder:
        _send_all(journal, run_id)
        journal.end(run_id, StopReason.DONE, time.time())
        return _cpu(lambda: write_report(journal, run_id, Path(folder) / "report", formats=("csv",)))


def _written(count: int) -> float:
    line = ["+14155550100", "outbound", "bench", "succeeded", "1", "200", *[""] * 9]

    def write() -> None:
        writer = csv.writer(io.StringIO())
        for _ in range(count):
            writer.writerow(line)

    return _cpu(write)


if __name__ == "__main__":
    from benchmarks.measuring import table

    with tempfile.TemporaryDirectory() as place:
        size = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
        print(table(budget(3, Path(place), count=size)))
