"""The journal in one SQLite file: write-ahead log, `synchronous=FULL`, one writer, readers beside it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from batch.errors import BusyJournalError, JournalError
from batch.journal import fleet_sql, sql, verification_sql
from batch.journal.events import Event
from batch.journal.fleet import Merging, fold
from batch.journal.protocol import Claim, Ended, NewRun, Pick, Shard, merged
from batch.journal.reader import SqliteReader
from batch.journal.verification import Snapshot, Verification
from batch.plans import Payload, Plan, Problem, SheetPin, Warned, plan_digest
from batch.states import RUN_MOVES, RequestState, RunState, StopReason
from batch.target import Verdict

#: How many requests are handed to SQLite at once while a plan is pinned.
_PIN_CHUNK = 20_000

#: How long another process that writes is waited for.
_BUSY_MS = 30_000


class SqliteJournal(SqliteReader):
    """A `batch.journal.protocol.Journal` in the file at `path`; made with mode 0600 if it is not there.

    It takes no lock on the workspace: that is `batch.workspace`'s. May be used from any thread, by one
    at a time. Raises `JournalError` for a file that is no journal, is damaged or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._cursors: _Cursors = {}
        self._moved_cursors: _Cursors | None = None
        self._merging = Merging(self._fleet.payload, self._take, self._fleet.blocks)

    def _open(self) -> sqlite3.Connection:
        self._check_file()
        if not self._path.exists():
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        return sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000
        )

    def _prepare(self) -> None:
        # Also a file that a process made, and died before it had put anything into it.
        tables = self._db.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        if tables == (0,) == self._db.execute("PRAGMA application_id").fetchone():
            self._db.execute("PRAGMA journal_mode=WAL")
            with self._transaction():
                for statement in sql.SCHEMA:
                    self._db.execute(statement)
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA foreign_keys=ON")
        self._db.execute("PRAGMA cache_size=-16384")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One durable commit, or nothing."""
        with self._translated():
            self._begin()
            with self._or_nothing():
                yield
                self._commit()

    @contextmanager
    def _or_nothing(self) -> Iterator[None]:
        """What an error leaves of a transaction is taken back."""
        try:
            yield
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def _begin_at_once(self) -> None:
        """`BusyJournalError`, without any waiting, if another process is writing."""
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            self._begin()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise BusyJournalError(f"another process is writing to the journal {self._path}") from error
            raise
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")

    def _commit(self) -> None:
        self._db.execute("COMMIT")

    # --- runs -----------------------------------------------------------------------------------

    def create_run(self, plan: Plan, new: NewRun) -> str:
        """Pin a plan as a new run, all or nothing, and return the run's id."""
        self._seal.learn(plan.environment)
        with self._transaction():
            no, run_id = self._insert_run(new, plan.digest, plan.template_digests, plan.warnings, new.parent)
            self._insert_sheets(no, plan.sheets)
            self._db.executemany(
                sql.INSERT_CELLS,
                ((no, i, chunk.sheet_id, chunk.row_count, chunk.blob) for i, chunk in enumerate(plan.cells)),
            )
            self._db.executemany(
                sql.INSERT_REJECT,
                (
                    (no, i, reject.sheet_id, reject.row, orjson.dumps([_problem(p) for p in reject.problems]))
                    for i, reject in enumerate(plan.rejects)
                ),
            )
            payload_ids = self._intern_payloads(plan.payloads)
            template_ids = self._intern(sql.INSERT_TEMPLATE, sql.SELECT_TEMPLATE, plan.templates)
            note_ids = self._intern(sql.INSERT_NOTE, sql.SELECT_NOTE, plan.notes)
            self._db.executemany(
                sql.INSERT_REQUEST,
                _request_rows(plan, no, payload_ids, template_ids, note_ids, self._earlier(plan)),
            )
        return run_id

    def derive_run(self, parent: str, pick: Pick, new: NewRun) -> str:
        """A new run of some requests of another, with their pinned payloads and rows."""
        old = self._no(parent)
        record = self.run(parent)
        states = sorted(state.value for state in pick.states)
        with self._transaction():
            no, run_id = self._insert_run(new, "", record.template_digests, (), parent)
            self._insert_sheets(no, record.sheets)
            self._db.execute(
                sql.DERIVE_REQUESTS.format(states=", ".join("?" * len(states))),
                (no, old, *states, pick.error_code, pick.error_code, pick.template, pick.template),
            )
            self._db.execute(sql.SET_DIGEST, (self._digest_of(no), no))
        return run_id

    def _insert_run(
        self,
        new: NewRun,
        digest: str,
        template_digests: Mapping[str, str],
        warnings: Sequence[Warned],
        parent: str | None,
    ) -> tuple[int, str]:
        (no,) = self._db.execute("SELECT COALESCE(MAX(no), 0) + 1 FROM runs").fetchone()
        run_id = f"{datetime.fromtimestamp(new.created_at, UTC):%Y%m%d-%H%M%S}-{no}"
        self._db.execute(
            "INSERT OR IGNORE INTO scopes (target, account) VALUES (?, ?)", (new.target, new.account)
        )
        self._db.execute(
            sql.INSERT_RUN,
            (
                no,
                run_id,
                RunState.PLANNED.value,
                new.target,
                new.account,
                digest,
                new.created_at,
                orjson.dumps(dict(new.options)).decode(),
                parent,
                new.version,
                orjson.dumps(dict(template_digests)).decode(),
                orjson.dumps([_fields(w) for w in warnings]).decode(),
            ),
        )
        return no, run_id

    def _insert_sheets(self, no: int, sheets: Sequence[SheetPin]) -> None:
        self._db.executemany(
            sql.INSERT_SHEET,
            ((no, i, orjson.dumps(_fields(sheet)).decode()) for i, sheet in enumerate(sheets)),
        )

    def _intern(self, insert: str, select: str, texts: Sequence[str]) -> list[int]:
        self._db.executemany(insert, ((text,) for text in texts))
        return [self._db.execute(select, (text,)).fetchone()[0] for text in texts]

    def _intern_payloads(self, payloads: Sequence[Payload]) -> list[int]:
        self._db.executemany(sql.INSERT_PAYLOAD, ((p.sha256, self._seal.sealed(p.body)) for p in payloads))
        return [self._db.execute(sql.SELECT_PAYLOAD_ID, (p.sha256,)).fetchone()[0] for p in payloads]

    def _take(self, payload: Payload) -> int:
        (payload_id,) = self._intern_payloads([payload])
        return payload_id

    def _earlier(self, plan: Plan) -> Sequence[int | None]:
        """The number of the run since which each request is unchanged, or None."""
        if plan.unchanged_since is None:
            return [None] * plan.request_count
        numbers = [None, *map(self._no, plan.earlier_runs)]
        return [numbers[at + 1] for at in plan.unchanged_since.tolist()]

    def _digest_of(self, no: int) -> str:
        found = self._db.execute(sql.SELECT_KEYS_AND_PAYLOADS, (no,)).fetchall()
        columns = np.array(found, dtype=np.int64).reshape(-1, 3)
        distinct, index = np.unique(columns[:, 2], return_inverse=True)
        payloads = [
            Payload(*self._db.execute("SELECT body, sha256 FROM payloads WHERE id = ?", (int(i),)).fetchone())
            for i in distinct
        ]
        return plan_digest(columns[:, 0], columns[:, 1].astype(np.uint8), index.astype(np.int32), payloads)

    # --- the engine -----------------------------------------------------------------------------

    def begin(self, run_id: str, at: float) -> int:
        """Set a run going, and take back what a dead process had claimed."""
        no = self._no(run_id)
        state = self.run(run_id).state
        if RunState.RUNNING not in RUN_MOVES[state]:
            raise JournalError(f"run {run_id} is {state}: there is nothing to go on with")
        with self._transaction():
            self._fold_runs_going(but_for=no)
            lost = [seq for (seq,) in self._db.execute(sql.SELECT_LOST, (no,))]
            for statement in (sql.NOTE_LOST, sql.TAKE_BACK):
                _check_moved(self._db.execute(statement, (no, sql.listed(lost))), len(lost))
            self._db.execute(sql.SET_BACK, {"no": no, "at": at})
            self._db.execute(sql.BEGIN_RUN, (RunState.RUNNING.value, at, no))
        self._cursors = {key: seq for key, seq in self._cursors.items() if key[0] != no}
        return len(lost)

    def exchange(
        self,
        run_id: str,
        *,
        ended: Sequence[Ended] = (),
        released: Sequence[int] = (),
        events: Sequence[Event] = (),
        want: int = 0,
        shards: Sequence[Shard] = (),
        now: float = 0.0,
        max_retries: int | None = None,
        barred_templates: Collection[int] = (),
        commit: bool = True,
    ) -> list[Claim]:
        """One durable commit: record results, release claims never sent, claim up to `want` more."""
        no = self._no(run_id)
        cursors = dict(self._cursors)
        with self._translated():
            if commit:
                self._begin()
            else:
                self._begin_at_once()
            with self._or_nothing():
                self._record_ended(no, ended)
                if released:
                    moved = self._db.execute(sql.RELEASE, (no, sql.listed(released)))
                    _check_moved(moved, len(released))
                returned = [*released, *(e.claim.seq for e in ended if e.state is RequestState.PENDING)]
                self._rewind(cursors, no, returned)
                if events:
                    self._db.executemany(
                        sql.INSERT_EVENT,
                        ((no, e.at, e.kind, orjson.dumps(dict(e.detail)).decode()) for e in events),
                    )
                claims: list[Claim] = []
                if want > 0 and shards:
                    claims = self._claim(cursors, no, want, shards, now, max_retries, barred_templates)
        self._moved_cursors = cursors
        if commit:
            self.commit()
        return claims

    def commit(self) -> None:
        """Put on disk what an exchange without its commit has left open."""
        with self._translated(), self._or_nothing():
            cursors, self._moved_cursors = self._moved_cursors, None
            self._commit()
        # Only what was committed moves the cursors: after a failed commit they stand where they stood.
        if cursors is not None:
            self._cursors = cursors

    def _record_ended(self, no: int, ended: Sequence[Ended]) -> None:
        results, attempts = [], []
        for e in ended:
            claim, state, outcome, sent_at, duration_s, counted, due_at, is_free = e
            if (due_at is None) is (state is RequestState.RETRYING):
                raise JournalError(f"request {claim.seq} is {state} with due time {due_at}")
            if state not in sql.ENDINGS:
                raise JournalError(f"request {claim.seq} may not move from in_flight to {state}")
            # Plain texts and numbers: what only is one as well would be looked at twice by the driver.
            verdict = str(outcome.verdict)
            said = (outcome.http_status, outcome.error_code, outcome.message, outcome.request_id)
            in_doubt = int(outcome.verdict is Verdict.AMBIGUOUS)
            times = (sent_at, duration_s, due_at)
            results.append(
                (no, claim.seq, str(state), int(counted), int(is_free), in_doubt, verdict, *said, *times)
            )
            if not state.is_final:
                attempts.append((no, claim.seq, claim.sends + 1, sent_at, duration_s, verdict, *said))
        if results:
            _check_moved(self._db.executemany(sql.END_REQUEST, results), len(results))
        if attempts:
            self._db.executemany(sql.INSERT_ATTEMPT, attempts)

    def _found(self, statement: str, *values: object) -> list[list[Any]]:
        (found,) = self._db.execute(statement, values).fetchone()
        rows: list[list[Any]] = orjson.loads(found)
        return rows

    @staticmethod
    def _rewind(cursors: _Cursors, no: int, returned: Iterable[int]) -> None:
        """Requests that are pending again must be found again."""
        for seq in returned:
            for (run_no, first), cursor in cursors.items():
                if run_no == no and first <= seq < cursor.seq:
                    cursors[run_no, first] = cursor._replace(seq=seq)

    def _claim(
        self,
        cursors: _Cursors,
        no: int,
        want: int,
        shards: Sequence[Shard],
        now: float,
        max_retries: int | None,
        barred: Collection[int],
    ) -> list[Claim]:
        not_barred = sql.not_barred(barred)
        due = sql.FIND_DUE.format(not_barred=not_barred)
        found_due = [
            found
            for is_free, most in ((True, want), (False, want if max_retries is None else max_retries))
            if most > 0
            for first, end in merged(shards)
            for found in self._found(due, no, is_free, now, first, end, min(most, want))
        ]
        claims = [_claim(found[1:]) for found in _affordable(found_due, max_retries)[:want]]
        if claims:
            due_seqs = sql.listed(claim.seq for claim in claims)
            _check_moved(self._db.execute(sql.CLAIM_DUE, (now, no, due_seqs)), len(claims))
        pending = sql.FIND_PENDING.format(not_barred=not_barred)
        claim_pending = sql.CLAIM_PENDING.format(not_barred=not_barred)
        for shard in sorted(shards):
            missing = want - len(claims)
            if missing == 0:
                break
            cursor = cursors.get((no, shard.first))
            # Beyond what was barred then, and may be had now, nobody has looked.
            first = cursor.seq if cursor is not None and cursor.barred.issubset(barred) else shard.first
            if first >= shard.end:
                continue
            found = [_claim(fields) for fields in self._found(pending, no, first, shard.end, missing)]
            if found:
                moved = self._db.execute(claim_pending, (now, no, found[0].seq, found[-1].seq))
                _check_moved(moved, len(found))
            claims += found
            next_seq = found[-1].seq + 1 if len(found) == missing else shard.end
            cursors[no, shard.first] = _Cursor(next_seq, frozenset(barred))
        return claims

    def end(self, run_id: str, reason: StopReason, at: float) -> None:
        """Record why the run is no longer going; what it applied is known to the fleet from here on."""
        no = self._no(run_id)
        state = self.run(run_id).state
        if reason.run_state not in RUN_MOVES[state]:
            raise JournalError(f"run {run_id} is {state} and cannot become {reason.run_state}")
        with self._transaction():
            fold(self._db, no, self._merging)
            self._db.execute(sql.END_RUN, (reason.run_state.value, reason.value, at, no))

    def record_verified(self, run_id: str, verified: Sequence[Verification]) -> None:
        """Record what reading back said of these requests, in place of what it said of them before."""
        no = self._no(run_id)
        with self._transaction():
            self._db.executemany(
                verification_sql.INSERT_VERIFICATION,
                (verification_sql.verification_values(no, one) for one in verified),
            )

    def record_snapshot(self, run_id: str, snapshots: Sequence[Snapshot]) -> None:
        """Record what was there of these requests' numbers before anything was sent to them."""
        no = self._no(run_id)
        with self._transaction():
            ids = {one.payload.sha256: self._take(one.payload) for one in snapshots if one.payload}
            self._db.executemany(
                verification_sql.INSERT_SNAPSHOT,
                (
                    verification_sql.snapshot_values(
                        no, one, ids[one.payload.sha256] if one.payload else None
                    )
                    for one in snapshots
                ),
            )

    def settle(self) -> None:
        """Let the fleet know what was sent by runs whose process died."""
        with self._transaction():
            self._fold_runs_going()

    def _fold_runs_going(self, *, but_for: int | None = None) -> None:
        for (no,) in self._db.execute(fleet_sql.RUNS_GOING).fetchall():
            if no != but_for:
                fold(self._db, no, self._merging)


class _Cursor(NamedTuple):
    """Before `seq` nothing of its shard is pending but what has one of these templates."""

    seq: int
    barred: frozenset[int]


#: By run and by the first request of a shard.
_Cursors = dict[tuple[int, int], _Cursor]


def _claim(fields: Sequence[Any]) -> Claim:
    seq, number, direction, payload, template, attempts, sends, in_doubt, is_retry, is_free = fields
    flags = in_doubt == 1, is_retry == 1, is_free == 1
    return Claim(seq, number, direction, payload, template, attempts, sends, *flags)


def _affordable(due: list[list[Any]], max_retries: int | None) -> list[list[Any]]:
    """What `FIND_DUE` found, by due time, with no more than `max_retries` that are not free."""
    due.sort(key=lambda fields: (fields[0], fields[1]))
    if max_retries is None:
        return due
    paid = 0
    affordable = []
    for fields in due:
        is_free = bool(fields[-1])
        paid += not is_free
        if is_free or paid <= max_retries:
            affordable.append(fields)
    return affordable


def _check_moved(moved: sqlite3.Cursor, count: int) -> None:
    """What moves states must have moved so many requests."""
    if moved.rowcount != count:
        raise JournalError(
            "a request was not in the state that this move begins with; nothing was recorded. "
            "This is a bug, or another process writes to this journal"
        )


def _request_rows(
    plan: Plan,
    no: int,
    payload_ids: list[int],
    template_ids: list[int],
    note_ids: list[int],
    earlier: Sequence[int | None],
) -> Iterator[tuple[object, ...]]:
    payloads, templates, notes = (
        np.array(ids, dtype=np.int64) for ids in (payload_ids, template_ids, note_ids)
    )
    is_skipped = plan.is_skipped
    for start in range(0, plan.request_count, _PIN_CHUNK):
        part = slice(start, start + _PIN_CHUNK)
        duplicates = plan.duplicate_of[part]
        skipped = is_skipped[part]
        yield from zip(
            [no] * len(duplicates),
            range(start, start + len(duplicates)),
            plan.numbers[part].tolist(),
            plan.directions[part].tolist(),
            payloads[plan.payload_ids[part]].tolist(),
            templates[plan.template_ids[part]].tolist(),
            plan.sheet_ids[part].tolist(),
            plan.rows[part].tolist(),
            notes[plan.note_ids[part]].tolist(),
            [None if d < 0 else d for d in duplicates.tolist()],
            earlier[part],
            ["skipped" if is_one else "pending" for is_one in skipped.tolist()],
            strict=True,
        )


def _problem(problem: Problem) -> list[str]:
    return [problem.column, problem.message, problem.kind]


def _fields(value: SheetPin | Warned) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__slots__}
