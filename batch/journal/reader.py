"""Reading a journal: its file opened for reading alone, and what every reader asks of it."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import orjson

from batch.errors import JournalError, OtherJournalError
from batch.journal import fleet_sql, sql, verification_sql
from batch.journal.events import FOUND_RATE, Event
from batch.journal.fleet import Before, SqliteFleet, touch_of
from batch.journal.known import Applied, FleetEntry, Touch
from batch.journal.protocol import (
    EVERYTHING,
    AttemptRow,
    Chapter,
    Counts,
    Left,
    ResultRow,
    RunRecord,
    Shard,
    merged,
)
from batch.journal.row_types import RowTypes, check_seconds
from batch.journal.verification import Snapshot, Verification
from batch.plans import DIRECTIONS, CellChunk, Problem, Reject, SheetPin, Warned
from batch.sealing import Seal
from batch.states import RequestState, RunState, StopReason

_T = TypeVar("_T")

#: With less than this free, a log and its index do not fit.
_LEAST_BYTES = 65_536

#: How many rows a reader holds at once.
_READ_CHUNK = 2_000


class SqliteReader:
    """The reading half of a `Journal`; it changes nothing, and works while a run is going.

    May be used from any thread, by one at a time. Raises `JournalError` for a file that is no journal,
    is damaged or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers: dict[str, int] = {}
        self._seal = Seal()
        with self._translated():
            self._db = self._open()
        try:
            with self._translated():
                self._prepare()
                self._check_version()
            self._fleet = SqliteFleet(self._db, self._seal)
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> sqlite3.Connection:
        if not self._path.exists():
            raise JournalError(
                f"there is no journal at {self._path}: nothing was run with this workspace yet"
            )
        self._check_file()
        wal = self._path.with_name(self._path.name + "-wal")
        db = self._connect("mode=ro")
        try:
            db.execute("PRAGMA schema_version")
        except sqlite3.OperationalError:
            # The log's index cannot be made, for want of rights or of room. Where there is no log either,
            # the file alone says it all.
            db.close()
            if wal.exists() and wal.stat().st_size:
                raise
            return self._connect("mode=ro&immutable=1")
        except BaseException:
            db.close()
            raise
        return db

    def _check_file(self) -> None:
        """`JournalError` for a folder, a pipe or a device in its place: to read one may take for ever."""
        if self._path.exists() and not self._path.is_file():
            raise OtherJournalError(
                f"{self._path} is no file, and so no journal: move it away, or name another workspace"
            )

    def _connect(self, how: str) -> sqlite3.Connection:
        address = f"{self._path.absolute().as_uri()}?{how}"
        return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=30)

    def _prepare(self) -> None:
        self._db.execute("PRAGMA query_only=ON")

    def _check_version(self) -> None:
        (application_id,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if application_id != sql.APPLICATION_ID:
            raise OtherJournalError(f"{self._path} is not a journal of sipbatch; choose another --workspace")
        if version != sql.VERSION:
            newer = "a newer" if version > sql.VERSION else "an older"
            raise OtherJournalError(
                f"{self._path} was made by {newer} version of sipbatch (journal version {version}, "
                f"this one writes {sql.VERSION}); use that version, or another --workspace"
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"the journal {self._path}: {_advice(error, self._path)}") from error
        except UnicodeDecodeError as error:
            # Of a text, or of an error's own words, which name what they cannot read.
            raise JournalError(_damaged(self._path, type(error).__name__)) from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._translated():
            try:
                yield
            except (ValueError, TypeError, LookupError) as error:
                # What was written can be read: if it cannot, it is not what was written.
                raise JournalError(_damaged(self._path, type(error).__name__)) from error

    def runs(self) -> list[RunRecord]:
        """All runs, oldest first."""
        with self._reading():
            return [self._record(row) for row in self._db.execute(sql.SELECT_RUNS).fetchall()]

    def run(self, run_id: str) -> RunRecord:
        """One run by its id; `JournalError` names the runs there are if it is unknown."""
        no = self._no(run_id)
        with self._reading():
            return self._record(self._db.execute(sql.SELECT_RUN, (no,)).fetchone())

    def _no(self, run_id: str) -> int:
        if run_id not in self._numbers:
            with self._reading():
                row = self._db.execute("SELECT no FROM runs WHERE id = ?", (run_id,)).fetchone()
                if row is None:
                    known = [
                        name for (name,) in self._db.execute("SELECT id FROM runs ORDER BY no DESC LIMIT 5")
                    ]
                    there = "the newest are " + ", ".join(known) if known else "there are none yet"
                    raise JournalError(f"there is no run {run_id} in {self._path}: {there}")
            self._numbers[run_id] = row[0]
        return self._numbers[run_id]

    def _record(self, row: Sequence[Any]) -> RunRecord:
        run = _RunRow._make(_RUN_TYPES.check(row))
        check_seconds(run.created_at, run.started_at, run.ended_at)
        sheets = self._db.execute(
            "SELECT pin FROM sheets WHERE run_no = ? ORDER BY sheet_id", (run.no,)
        ).fetchall()
        return RunRecord(
            id=run.id,
            state=RunState(run.state),
            reason=StopReason(run.reason) if run.reason else None,
            target=run.target,
            account=run.account,
            plan_digest=run.plan_digest,
            created_at=run.created_at,
            started_at=run.started_at,
            ended_at=run.ended_at,
            options=orjson.loads(run.options),
            parent=run.parent,
            version=run.version,
            sheets=tuple(_sheet_pin(orjson.loads(pin)) for (pin,) in sheets),
            template_digests=orjson.loads(run.template_digests),
            warnings=tuple(Warned(**w) for w in orjson.loads(run.warnings)),
        )

    def shards(self, run_id: str, size: int) -> list[Shard]:
        """The run's requests cut into shards of `size`, in order; those with nothing left are left out."""
        no = self._no(run_id)
        with self._reading():
            found = self._db.execute(sql.SELECT_SHARDS, {"no": no, "size": size}).fetchall()
        return [Shard(index * size, (index + 1) * size) for (index,) in found]

    def left(self, run_id: str) -> Left:
        """What has not ended of a run: what its waves are made of."""
        rows = chain.from_iterable(self._stream(sql.SELECT_LEFT, (self._no(run_id),), tuple))
        columns = np.fromiter(rows, dtype=np.int64).reshape(-1, 4).T
        return Left(columns[0], columns[1], columns[2].astype(np.uint8), columns[3])

    def next_due(
        self, run_id: str, barred_templates: Collection[int] = (), shards: Sequence[Shard] = EVERYTHING
    ) -> float | None:
        """The earliest due time of what is `retrying` in `shards`, barred templates aside, or None."""
        no = self._no(run_id)
        statement = sql.NEXT_DUE.format(not_barred=sql.not_barred(barred_templates))
        with self._reading():
            found = [
                self._db.execute(statement, (no, is_free, first, end)).fetchone()
                for is_free in (False, True)
                for first, end in merged(shards)
            ]
        return min((float(row[0]) for row in found if row is not None), default=None)

    def found_rate(self, run_id: str) -> float | None:
        """What the newest search for a rate settled at, in sends a second, at the target of this run."""
        with self._reading():
            found = self._db.execute(sql.FOUND_RATE, (FOUND_RATE, self._no(run_id))).fetchone()
        return None if found is None else float(orjson.loads(found[0])["rate_per_s"])

    def payload(self, payload_id: int) -> bytes:
        """The body of a payload.

        `CredentialsError` if it needs a secret that the environment does not have, or not any more.
        """
        with self._reading():
            return self._fleet.payload(payload_id).body

    def kept(self, payload_id: int) -> bytes:
        """The same as it is kept: `${env:NAME}` stands for what came from the environment."""
        with self._translated():
            return self._fleet.kept(payload_id)

    def counts(self, run_id: str) -> Counts:
        """How many requests are in each state."""
        no = self._no(run_id)
        with self._reading():
            found = dict(self._db.execute(sql.COUNT_STATES, (no,)).fetchall())
            (rejected,) = self._db.execute("SELECT COUNT(*) FROM rejects WHERE run_no = ?", (no,)).fetchone()
            return Counts(**found, rejected=rejected)

    def results(self, run_id: str) -> Iterator[ResultRow]:
        """Every request, in sheet order, streamed."""
        yield from self._stream(sql.SELECT_RESULTS, (self._no(run_id),), _result)

    def rejects(self, run_id: str) -> Iterator[Reject]:
        """Every rejected row, in sheet order."""
        yield from self._stream(sql.SELECT_REJECTS, (self._no(run_id),), _reject)

    def cells(self, run_id: str) -> Iterator[CellChunk]:
        """The rows of the run's sheets, in sheet order (a derived run has those of its parent)."""
        record = self.run(run_id)
        while record.parent is not None:
            record = self.run(record.parent)
        yield from self._stream(sql.SELECT_CELLS, (self._no(record.id),), lambda row: CellChunk(*row))

    def attempts(self, run_id: str) -> Iterator[AttemptRow]:
        """Every attempt, by request and then by send."""
        no = self._no(run_id)
        return self._stream(sql.SELECT_ATTEMPTS, (no, no), _attempt)

    def events(self, run_id: str) -> list[Event]:
        """What happened to the run as a whole, oldest first."""
        with self._reading():
            found = self._db.execute(sql.SELECT_EVENTS, (self._no(run_id),)).fetchall()
            check_seconds(*(at for at, _, _ in found))
            return [Event(at, kind, orjson.loads(detail)) for at, kind, detail in found]

    def verifications(self, run_id: str) -> Iterator[Verification]:
        """What reading back said last of every request that was read back, in sheet order."""
        statement = verification_sql.SELECT_VERIFICATIONS
        yield from self._stream(statement, (self._no(run_id),), verification_sql.verification_of)

    def snapshots(self, run_id: str) -> Iterator[Snapshot]:
        """What was there before the run, of every request for which it was read, in sheet order."""
        statement = verification_sql.SELECT_SNAPSHOTS
        yield from self._stream(statement, (self._no(run_id),), self._snapshot)

    def _snapshot(self, row: Sequence[Any]) -> Snapshot:
        payload_id = row[3]
        return verification_sql.snapshot_of(
            row, None if payload_id is None else self._fleet.payload(payload_id)
        )

    def applied(self, target: str, account: str = "") -> Applied:
        """What is in force at every number of a target."""
        with self._reading():
            return self._fleet.applied(target, account)

    def fleet(self, target: str, account: str = "") -> Iterator[FleetEntry]:
        """The same, with the requests that did it, by key."""
        with self._reading():
            yield from self._fleet.entries(target, account)

    def touches(self, run_id: str) -> Iterator[Touch]:
        """What a run did to its numbers, and what became of that, in sheet order."""
        runs = {self._no(run.id): run.id for run in self.runs()}
        yield from self._stream(
            fleet_sql.SELECT_TOUCHES, (self._no(run_id),), lambda row: touch_of(row, runs)
        )

    def history(self, number: int) -> list[Chapter]:
        """Every request that there ever was for a number, at any target, in the order of the runs."""
        with self._reading():
            return [self._chapter(*row) for row in self._fleet.story(number)]

    def _chapter(self, no: int, run_id: str, seq: int, payload_id: int, before: Before) -> Chapter:
        (row,) = self._db.execute(sql.SELECT_RESULT, (no, seq)).fetchall()
        attempts = self._db.execute(fleet_sql.SELECT_ATTEMPTS_OF, {"no": no, "seq": seq}).fetchall()
        return Chapter(run_id, _result(row), tuple(map(AttemptRow._make, attempts)), payload_id, *before)

    def close(self) -> None:
        """Let go of the file; nothing is pending, since every method commits."""
        with self._translated():
            self._db.close()

    def _stream(
        self, statement: str, values: Sequence[object], made: Callable[[Sequence[Any]], _T]
    ) -> Iterator[_T]:
        with self._reading():
            cursor = self._db.execute(statement, values)
            while rows := cursor.fetchmany(_READ_CHUNK):
                yield from map(made, rows)


class _RunRow(NamedTuple):
    """A row of the table of runs."""

    no: int
    id: str
    state: str
    reason: str | None
    target: str
    account: str
    plan_digest: str
    created_at: float
    started_at: float | None
    ended_at: float | None
    options: str
    parent: str | None
    version: str
    template_digests: str
    warnings: str


_RUN_TYPES, _RESULT_TYPES, _ATTEMPT_TYPES = RowTypes(_RunRow), RowTypes(ResultRow), RowTypes(AttemptRow)


def _result(row: Sequence[Any]) -> ResultRow:
    result = ResultRow._make((*_RESULT_TYPES.check(row)[:6], RequestState(row[6]), *row[7:]))
    check_seconds(result.first_sent_at, result.last_sent_at, result.duration_s, result.due_at)
    if result.direction not in range(len(DIRECTIONS)):
        raise ValueError("no direction")
    return result


def _attempt(row: Sequence[Any]) -> AttemptRow:
    attempt = AttemptRow._make(_ATTEMPT_TYPES.check(row))
    check_seconds(attempt.sent_at, attempt.duration_s)
    return attempt


def _reject(row: Sequence[Any]) -> Reject:
    sheet_id, number, problems = row
    if not (isinstance(sheet_id, int) and isinstance(number, int)):
        raise TypeError("a place that is no number")
    return Reject(sheet_id, number, tuple(Problem(*problem) for problem in orjson.loads(problems)))


def _sheet_pin(fields: dict[str, Any]) -> SheetPin:
    return SheetPin(**{**fields, "header": tuple(fields["header"])})


def _damaged(path: Path, why: str) -> str:
    return (
        f"the journal {path}: it is damaged: what it holds cannot be read ({why}); nothing was changed. "
        "Restore it from a backup"
    )


def _advice(error: Exception, path: Path) -> str:
    """What is wrong and what to do, for one error of SQLite or of the file system."""
    said = str(error)
    if "is full" in said or getattr(error, "errno", None) == errno.ENOSPC or _is_full(path):
        return "the disk is full. What was recorded is safe; make room, then resume"
    if "readonly" in said or "permission" in said.lower():
        return f"it cannot be written ({said}); check the owner and the rights of the workspace"
    if "malformed" in said or "not a database" in said or "corrupt" in said:
        return f"it is damaged or no journal ({said}); nothing was changed. Restore it from a backup"
    if "locked" in said:
        return "another process holds it; wait until that run has ended"
    return f"{said}; check the workspace's disk and rights, and ulimit -f"


def _is_full(path: Path) -> bool:
    """Whether the disk has no room: SQLite says an I/O error of some files that do not fit."""
    try:
        return shutil.disk_usage(path.parent).free < _LEAST_BYTES
    except OSError:
        return False
