"""The fleet in SQLite: writing down what runs did to numbers, and reading what is in force at them."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import orjson

from batch.errors import CredentialsError
from batch.journal import fleet_sql as sql
from batch.journal.in_force import Blocks, InForce, blocks_of, in_force_after
from batch.journal.known import Applied, FleetEntry, Touch
from batch.journal.sql import listed
from batch.plans import Payload
from batch.sealing import Seal

_Row = tuple[Any, ...]


class _Held(NamedTuple):
    """One line of the table `fleet`, by its key."""

    key: int
    payload_id: int
    doubt: str
    run_no: int
    seq: int
    at: float


class Before(NamedTuple):
    """Whether a request changed what is in force, or may have, and what was in force before it."""

    is_touched: bool
    before_id: int | None
    before_doubt: Blocks


UNTOUCHED = Before(is_touched=False, before_id=None, before_doubt=())


class Merging:
    """What is in force after each kind of change, worked out once for each.

    `take` gives a payload its id; `payload` is the reverse. `blocks` names the blocks of one, also of one
    whose secrets are not at hand.
    """

    def __init__(
        self,
        payload: Callable[[int], Payload],
        take: Callable[[Payload], int],
        blocks: Callable[[int], Blocks],
    ) -> None:
        self._payload = payload
        self._take = take
        self._blocks = blocks
        self._known: dict[tuple[int | None, str, int, bool], tuple[int, str]] = {}

    def after(
        self, before_id: int | None, before_doubt: str, sent_id: int, *, is_certain: bool
    ) -> tuple[int, str]:
        """The id of what is in force then, and what of it is in doubt, as the tables have it."""
        change = (before_id, before_doubt, sent_id, is_certain)
        if change not in self._known:
            self._known[change] = self._after(before_id, before_doubt, sent_id, is_certain=is_certain)
        return self._known[change]

    def _after(
        self, before_id: int | None, before_doubt: str, sent_id: int, *, is_certain: bool
    ) -> tuple[int, str]:
        sent_alone = sent_id, "" if is_certain else " ".join(self._blocks(sent_id))
        if before_id is None or before_id == sent_id:
            return sent_alone
        try:
            before = InForce(self._payload(before_id), to_blocks(before_doubt))
            sent = self._payload(sent_id)
        except CredentialsError:
            # A secret of another run is not at hand, and so nothing is known of what was before.
            return sent_alone
        after = in_force_after(before, sent, is_certain=is_certain)
        is_sent = after.payload.sha256 == sent.sha256
        return sent_id if is_sent else self._take(after.payload), " ".join(after.doubt)


def to_blocks(text: str) -> Blocks:
    """The names of blocks out of how a table lists them."""
    return tuple(text.split())


def fold(db: sqlite3.Connection, run_no: int, merging: Merging) -> None:
    """Write down what a run did to its numbers since this was last done, within a transaction."""
    for statement in sql.MAKE_ROOM:
        db.execute(statement)
    db.execute(sql.TOUCH, (run_no,))
    merges = db.execute(sql.FIND_MERGES).fetchall()
    db.executemany(
        sql.INSERT_MERGED,
        ((*change, *merging.after(*change[:3], is_certain=change[3] == 1)) for change in merges),
    )
    db.execute(sql.FOLD_APPLIED)
    db.execute(sql.FOLD_FLEET)


class SqliteFleet:
    """Reads the fleet over a connection that somebody else looks after."""

    def __init__(self, db: sqlite3.Connection, seal: Seal) -> None:
        self._db = db
        self._seal = seal
        #: What is in force where a run that is going has changed a part of it: not in any table yet.
        self._unsaved: dict[int, Payload] = {}
        self._merging = Merging(self.payload, self._take, self.blocks)

    def payload(self, payload_id: int) -> Payload:
        """A payload by its id, those included that only readers of a run that is going know.

        `CredentialsError` if it needs a secret that the environment does not have, or not any more.
        """
        kept = self._kept(payload_id)
        return Payload(self._seal.opened(kept.body, kept.sha256), kept.sha256)

    def kept(self, payload_id: int) -> bytes:
        """The body of a payload as it is kept, or would be: sealed."""
        return self._seal.sealed(self._kept(payload_id).body)

    def blocks(self, payload_id: int) -> Blocks:
        """The names of a payload's blocks."""
        return blocks_of(self._kept(payload_id).body)

    def _kept(self, payload_id: int) -> Payload:
        """A payload as it is kept: sealed."""
        if payload_id < 0:
            return self._unsaved[payload_id]
        found = self._db.execute("SELECT body, sha256 FROM payloads WHERE id = ?", (payload_id,)).fetchone()
        return Payload(bytes(found[0]), found[1])

    def _take(self, payload: Payload) -> int:
        found = self._db.execute("SELECT id FROM payloads WHERE sha256 = ?", (payload.sha256,)).fetchone()
        if found is not None:
            return int(found[0])
        payload_id = -1 - len(self._unsaved)
        self._unsaved[payload_id] = payload
        return payload_id

    def applied(self, target: str, account: str) -> Applied:
        """What is in force at every number of a target."""
        scope = {"target": target, "account": account}
        held = list(_latest(self._since(scope), self._db.execute(sql.SELECT_FLEET, scope)))
        keys, payload_ids, doubts, run_nos = list(zip(*held, strict=True))[:4] if held else [()] * 4
        doubt_kinds, doubt_ids = _numbered(doubts)
        run_kinds, run_ids = np.unique(np.array(run_nos, dtype=np.int64), return_inverse=True)
        names = dict(self._db.execute("SELECT no, id FROM runs").fetchall())
        ids = np.array(payload_ids, dtype=np.int64)
        return Applied(
            keys=np.array(keys, dtype=np.int64),
            payload_ids=ids,
            doubt_ids=doubt_ids,
            run_ids=run_ids.astype(np.int32),
            doubts=tuple(map(to_blocks, doubt_kinds)),
            runs=tuple(names[no] for no in run_kinds.tolist()),
            sha256s=self._digests(np.unique(ids).tolist()),
        )

    def _digests(self, payload_ids: list[int]) -> Mapping[int, str]:
        saved = self._db.execute(sql.SELECT_DIGESTS, (listed(payload_ids),))
        unsaved = {i: self._unsaved[i].sha256 for i in payload_ids if i < 0}
        return {**dict(saved.fetchall()), **unsaved}

    def entries(self, target: str, account: str) -> Iterator[FleetEntry]:
        """The same, with the requests that did it, by key."""
        scope = {"target": target, "account": account}
        since = [
            (*held, *self._db.execute(sql.SELECT_REQUEST, (held.run_no, held.seq)).fetchone())
            for held in self._since(scope)
        ]
        runs = {
            no: (run_id, [orjson.loads(pin)["name"] for (pin,) in self._pins(no)])
            for no, run_id in self._db.execute("SELECT no, id FROM runs").fetchall()
        }
        for key, payload_id, doubt, run_no, _, at, template, sheet_id, row in _latest(
            since, self._db.execute(sql.SELECT_ENTRIES, scope)
        ):
            run_id, sheets = runs[run_no]
            yield FleetEntry(
                key >> 1, key & 1, template, payload_id, to_blocks(doubt), at, run_id, sheets[sheet_id], row
            )

    def _pins(self, run_no: int) -> list[tuple[str]]:
        statement = "SELECT pin FROM sheets WHERE run_no = ? ORDER BY sheet_id"
        return self._db.execute(statement, (run_no,)).fetchall()

    def _since(self, scope: Mapping[str, str]) -> list[_Held]:
        """What is in force, by key, where runs that are going changed it since the fleet was written."""
        now: dict[int, _Held] = {}
        for key, payload_id, is_certain, run_no, seq, at in self._db.execute(
            sql.SELECT_SINCE, scope
        ).fetchall():
            before = now.get(key) or self._written(scope, key)
            after_id, doubt = self._merging.after(
                before.payload_id if before else None,
                before.doubt if before else "",
                payload_id,
                is_certain=is_certain == 1,
            )
            now[key] = _Held(key, after_id, doubt, run_no, seq, at)
        return [held for _, held in sorted(now.items())]

    def _written(self, scope: Mapping[str, str], key: int) -> _Held | None:
        values = {**scope, "number": key >> 1, "direction": key & 1}
        found = self._db.execute(sql.SELECT_HELD, values).fetchone()
        return None if found is None else _Held._make(found)

    def story(self, number: int) -> list[tuple[int, str, int, int, Before]]:
        """Each request for a number: its run's number and id, its own, its payload's, and what was before."""
        return [
            (
                no,
                run_id,
                seq,
                payload_id,
                Before(is_touched == 1, before_id, to_blocks(doubt)) if is_touched else UNTOUCHED,
            )
            for no, run_id, seq, payload_id, is_touched, before_id, doubt in self._db.execute(
                sql.SELECT_STORY, (number,)
            )
        ]


def touch_of(row: Sequence[Any], runs: Mapping[int, str]) -> Touch:
    """A row of `SELECT_TOUCHES`; `runs` are the runs' ids by their number."""
    (seq, number, direction, sheet_id, row_no, template, payload_id, before_id, before_doubt) = row[:9]
    (before_template, before_run_no, now_id, now_doubt, now_run_no) = row[9:]
    return Touch(
        seq,
        number,
        direction,
        sheet_id,
        row_no,
        template,
        payload_id,
        before_id,
        to_blocks(before_doubt),
        before_template,
        runs.get(before_run_no, ""),
        now_id,
        to_blocks(now_doubt),
        runs[now_run_no],
    )


def _latest(since: Iterable[_Row], written: Iterable[_Row]) -> Iterable[_Row]:
    """Rows that begin with their key, in its order; where both have one, the one that came since."""
    since = list(since)
    if not since:
        return written
    merged = heapq.merge(since, written, key=lambda row: row[0])
    return (next(rows) for _, rows in groupby(merged, key=lambda row: row[0]))


def _numbered(texts: Sequence[str]) -> tuple[list[str], Any]:
    """Different texts, and for each text which of them it is."""
    kinds = list(dict.fromkeys(texts))
    places = {text: place for place, text in enumerate(kinds)}
    return kinds, np.fromiter((places[text] for text in texts), dtype=np.int32, count=len(texts))
