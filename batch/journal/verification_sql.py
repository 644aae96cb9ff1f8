"""The SQL of what was read back: what is there of what a run sent, and what was there before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from batch.journal.verification import Drift, Proof, Snapshot, Verification
from batch.plans import Payload

SCHEMA = (
    # `blocks` and `drifts` are JSON; most requests share theirs, and nobody asks for one alone.
    """
CREATE TABLE verifications (
    run_no INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at REAL NOT NULL,
    proof TEXT NOT NULL,
    blocks TEXT NOT NULL,
    drifts TEXT NOT NULL,
    message TEXT NOT NULL,
    pass_no INTEGER NOT NULL,
    PRIMARY KEY (run_no, seq)
) WITHOUT ROWID""",
    """
CREATE TABLE snapshots (
    run_no INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at REAL NOT NULL,
    is_there INTEGER NOT NULL,
    payload_id INTEGER,
    PRIMARY KEY (run_no, seq)
) WITHOUT ROWID""",
)

INSERT_VERIFICATION = """
INSERT OR REPLACE INTO verifications (run_no, seq, at, proof, blocks, drifts, message, pass_no)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
SELECT_VERIFICATIONS = """
SELECT seq, at, proof, blocks, drifts, message, pass_no FROM verifications WHERE run_no = ? ORDER BY seq"""

INSERT_SNAPSHOT = """
INSERT OR REPLACE INTO snapshots (run_no, seq, at, is_there, payload_id) VALUES (?, ?, ?, ?, ?)"""
SELECT_SNAPSHOTS = """
SELECT seq, at, is_there, payload_id FROM snapshots WHERE run_no = ? ORDER BY seq"""


def verification_values(run_no: int, one: Verification) -> tuple[object, ...]:
    """What `INSERT_VERIFICATION` takes."""
    return (
        run_no,
        one.seq,
        one.at,
        one.proof.value,
        orjson.dumps(dict(one.blocks)).decode(),
        orjson.dumps([list(drift) for drift in one.drifts]).decode(),
        one.message,
        one.pass_no,
    )


def verification_of(row: Sequence[Any]) -> Verification:
    """What a row of `SELECT_VERIFICATIONS` says."""
    seq, at, proof, blocks, drifts, message, pass_no = row
    return Verification(
        seq,
        at,
        Proof(proof),
        {name: Proof(found) for name, found in orjson.loads(blocks).items()},
        tuple(map(Drift._make, orjson.loads(drifts))),
        message,
        pass_no,
    )


def snapshot_values(run_no: int, one: Snapshot, payload_id: int | None) -> tuple[object, ...]:
    """What `INSERT_SNAPSHOT` takes."""
    return (run_no, one.seq, one.at, one.is_there, payload_id)


def snapshot_of(row: Sequence[Any], payload: Payload | None) -> Snapshot:
    """What a row of `SELECT_SNAPSHOTS` says, its payload looked up."""
    seq, at, is_there, _ = row
    return Snapshot(seq, at, bool(is_there), payload)
