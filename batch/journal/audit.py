"""Audits a journal: whether its file is whole, and whether what it says of its runs adds up."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np

from batch.errors import JournalError
from batch.journal.protocol import RunRecord
from batch.journal.reader import SqliteReader
from batch.journal.sql import listed
from batch.plans import Payload, plan_digest
from batch.sealing import names_in
from batch.states import RequestState, RunState

#: The states of what has not ended.
LEFT = frozenset(state for state in RequestState if not state.is_final)

#: How many of SQLite's own findings are told; the first says what there is to know.
_MOST_FINDINGS = 3


class _Rule(NamedTuple):
    """Something that is never so: how many requests it is so for, and what that is, in words."""

    says: str
    statement: str


#: Each `statement` is asked with the run's own number as `:no`, and must be 0.
_RULES = (
    _Rule(
        "are missing from the run",
        "SELECT COALESCE(MAX(seq) + 1, 0) - COUNT(*) FROM requests WHERE run_no = :no",
    ),
    _Rule(
        "are due again without being retried, or are retried without being due",
        "SELECT COUNT(*) FROM requests WHERE run_no = :no AND (state = 'retrying') != (due_at IS NOT NULL)"
        # A claimed retry keeps its due time, for the case that it is given back.
        " AND state != 'in_flight'",
    ),
    _Rule(
        "succeeded without an answer that accepted them",
        "SELECT COUNT(*) FROM requests WHERE run_no = :no AND state = 'succeeded'"
        " AND (verdict IS NOT 'accepted' OR last_sent_at IS NULL)",
    ),
    _Rule(
        "ended without having been sent",
        "SELECT COUNT(*) FROM requests WHERE run_no = :no AND state IN ('succeeded', 'failed', 'unknown')"
        " AND (sends = 0 OR verdict IS NULL)",
    ),
    _Rule(
        "have more attempts than sends",
        "SELECT COUNT(*) FROM requests WHERE run_no = :no AND attempts > sends",
    ),
    _Rule(
        "have been sent more or fewer times than the attempts tell of",
        "SELECT COUNT(*) FROM requests q LEFT JOIN"
        " (SELECT seq, COUNT(*) AS told FROM attempts WHERE run_no = :no GROUP BY seq) a ON a.seq = q.seq"
        " WHERE q.run_no = :no"
        " AND q.sends != COALESCE(a.told, 0) + (q.state IN ('succeeded', 'failed', 'unknown'))",
    ),
    _Rule(
        "are skipped without a request that they repeat",
        "SELECT COUNT(*) FROM requests q LEFT JOIN requests o"
        " ON o.run_no = q.run_no AND o.seq = q.duplicate_of AND o.number = q.number"
        " AND o.direction = q.direction AND o.payload_id = q.payload_id"
        " WHERE q.run_no = :no AND q.duplicate_of IS NOT NULL AND o.seq IS NULL",
    ),
    _Rule(
        "have a payload, a template or a note that is not there",
        "SELECT COUNT(*) FROM requests q WHERE q.run_no = :no"
        " AND (q.payload_id NOT IN (SELECT id FROM payloads)"
        " OR q.template_id NOT IN (SELECT id FROM templates) OR q.note_id NOT IN (SELECT id FROM notes))",
    ),
)
_LEFT_OVER = _Rule(
    "are left, though the run is completed",
    "SELECT COUNT(*) FROM requests WHERE run_no = :no AND state IN ('pending', 'in_flight', 'retrying')",
)
_STILL_CLAIMED = _Rule(
    "are said to be in flight, though nobody sends the run",
    "SELECT COUNT(*) FROM requests WHERE run_no = :no AND state = 'in_flight'",
)
_KEYS = (
    "SELECT number, direction, payload_id FROM requests WHERE run_no = ? AND state != 'skipped' ORDER BY seq"
)
_PAYLOADS = """
SELECT DISTINCT payload_id FROM requests WHERE run_no = ? AND state IN (SELECT value FROM json_each(?))"""
_ROWS = "SELECT sheet_id, SUM(row_count) FROM cells WHERE run_no = ? GROUP BY sheet_id"


class JournalAudit(SqliteReader):
    """A journal opened to be checked; it is only read, also while a run is going.

    Raises `JournalError` where a `SqliteReader` does: no journal, another version, damage that keeps
    SQLite from reading on.
    """

    def integrity(self) -> list[str]:
        """What is wrong with the file, or with what it holds by content; nothing if it is whole."""
        with self._reading():
            found = [text for (text,) in self._db.execute(f"PRAGMA integrity_check({_MOST_FINDINGS})")]
            changed = sum(
                hashlib.sha256(body).hexdigest() != sha256 and not names_in(body)
                for sha256, body in self._db.execute("SELECT sha256, body FROM payloads")
            )
        damage = [] if found == ["ok"] else [f"SQLite finds: {'; '.join(found)}"]
        if changed:
            damage.append(f"payloads are not as they were pinned: content and digest differ ({changed:,})")
        return damage

    def check_to_be_sent(self, run: RunRecord, states: Collection[RequestState] = LEFT) -> None:
        """Whether what is about to be sent, the requests in these states, is what was planned.

        `JournalError` if the requests or a payload are others; `CredentialsError` if a payload needs a secret
        that the environment does not have, or not any more.
        """
        no = self._no(run.id)
        changed = next(self._changed_plan(no, run), "")
        if changed:
            raise JournalError(
                f"the journal {self._path}: run {run.id} is damaged: {changed}. Nothing more is sent. "
                "Restore it from a backup, or plan the sheet anew"
            )
        with self._reading():
            found = self._db.execute(_PAYLOADS, (no, listed(states))).fetchall()
        for (payload_id,) in found:
            self.payload(payload_id)

    def contradictions(self, run: RunRecord) -> list[str]:
        """What it says of a run that cannot be so: every request counts once, every row is there."""
        return list(self._contradictions(run))

    def _contradictions(self, run: RunRecord) -> Iterator[str]:
        no = self._no(run.id)
        rules = [*_RULES]
        if run.state is RunState.COMPLETED:
            rules.append(_LEFT_OVER)
        elif run.state is not RunState.RUNNING:
            rules.append(_STILL_CLAIMED)
        for rule in rules:
            with self._reading():
                (count,) = self._db.execute(rule.statement, {"no": no}).fetchone()
            if count:
                yield f"requests {rule.says} ({count:,})"
        counts = self.counts(run.id)
        with self._reading():
            (requests,) = self._db.execute("SELECT COUNT(*) FROM requests WHERE run_no = ?", (no,)).fetchone()
        if counts.requests != requests:
            yield f"the states add up to {counts.requests:,} requests, and there are {requests:,}"
        if run.parent is None:  # a derived run has the rows of its parent
            yield from self._missing_rows(no, run)
        yield from self._changed_plan(no, run)

    def _missing_rows(self, no: int, run: RunRecord) -> Iterator[str]:
        with self._reading():
            kept = dict(self._db.execute(_ROWS, (no,)).fetchall())
        if not kept and any(sheet.row_count for sheet in run.sheets):
            return  # planned without its cells, as a library's caller may
        for sheet_id, sheet in enumerate(run.sheets):
            if kept.get(sheet_id, 0) != sheet.row_count:
                yield (
                    f"{sheet.name} was planned with {sheet.row_count:,} rows, "
                    f"and {kept.get(sheet_id, 0):,} are kept"
                )

    def _changed_plan(self, no: int, run: RunRecord) -> Iterator[str]:
        with self._reading():
            keys = np.fromiter(chain.from_iterable(self._db.execute(_KEYS, (no,))), dtype=np.int64).reshape(
                -1, 3
            )
            distinct, index = np.unique(keys[:, 2], return_inverse=True)
            sha256s = dict(self._db.execute("SELECT id, sha256 FROM payloads"))
        payloads = [Payload(b"", sha256s.get(int(payload_id), "")) for payload_id in distinct]
        digest = plan_digest(keys[:, 0], keys[:, 1].astype(np.uint8), index.astype(np.int32), payloads)
        if digest != run.plan_digest:
            yield "its requests are not those that were planned: the plan's digest differs"
