"""The SQL of the journal: its tables, and every statement that `sqlite_journal` runs more than once."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import orjson

from batch.journal import fleet_sql, verification_sql
from batch.states import REQUEST_MOVES, RequestState

#: Marks the file as a journal ("SIPB"); `VERSION` is that of the tables below.
APPLICATION_ID = 0x53495042
VERSION = 3

#: The states that a claimed request may end in.
ENDINGS = REQUEST_MOVES[RequestState.IN_FLIGHT]

# Not `IN`: SQLite would make a table of the list for every statement that changes a state.
_IS_STATE = " OR ".join(f"state = '{state.value}'" for state in RequestState)

SCHEMA = (
    """
CREATE TABLE scopes (
    id INTEGER PRIMARY KEY,
    target TEXT NOT NULL,
    account TEXT NOT NULL,
    UNIQUE (target, account)
)""",
    """
CREATE TABLE runs (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    reason TEXT,
    target TEXT NOT NULL,
    account TEXT NOT NULL,
    plan_digest TEXT NOT NULL,
    created_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL,
    options TEXT NOT NULL,
    parent TEXT,
    version TEXT NOT NULL,
    template_digests TEXT NOT NULL,
    warnings TEXT NOT NULL
)""",
    """
CREATE TABLE sheets (
    run_no INTEGER NOT NULL REFERENCES runs,
    sheet_id INTEGER NOT NULL,
    pin TEXT NOT NULL,
    PRIMARY KEY (run_no, sheet_id)
) WITHOUT ROWID""",
    """
CREATE TABLE cells (
    run_no INTEGER NOT NULL REFERENCES runs,
    no INTEGER NOT NULL,
    sheet_id INTEGER NOT NULL,
    row_count INTEGER NOT NULL,
    blob BLOB NOT NULL,
    PRIMARY KEY (run_no, no)
)""",
    """
CREATE TABLE rejects (
    run_no INTEGER NOT NULL REFERENCES runs,
    no INTEGER NOT NULL,
    sheet_id INTEGER NOT NULL,
    row INTEGER NOT NULL,
    problems TEXT NOT NULL,
    PRIMARY KEY (run_no, no)
) WITHOUT ROWID""",
    # `blocks` are the names of the body's blocks, sorted, with spaces between them.
    """
CREATE TABLE payloads (
    id INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    body BLOB NOT NULL,
    blocks TEXT NOT NULL
)""",
    "CREATE TABLE templates (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
    # No foreign keys here: a million look-ups for what one transaction has just written.
    f"""
CREATE TABLE requests (
    run_no INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    number INTEGER NOT NULL,
    direction INTEGER NOT NULL,
    payload_id INTEGER NOT NULL,
    template_id INTEGER NOT NULL,
    sheet_id INTEGER NOT NULL,
    row INTEGER NOT NULL,
    note_id INTEGER NOT NULL,
    duplicate_of INTEGER,
    unchanged_since INTEGER,
    state TEXT NOT NULL CHECK ({_IS_STATE}),
    attempts INTEGER NOT NULL DEFAULT 0,
    sends INTEGER NOT NULL DEFAULT 0,
    in_doubt INTEGER NOT NULL DEFAULT 0,
    due_at REAL,
    is_free INTEGER NOT NULL DEFAULT 0,
    claimed_at REAL,
    first_sent_at REAL,
    last_sent_at REAL,
    duration_s REAL,
    verdict TEXT,
    http_status INTEGER,
    error_code TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    request_id TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (run_no, seq)
) WITHOUT ROWID""",
    # Free retries apart from those that the budget pays for: when it is spent, they pile up by the thousand.
    "CREATE INDEX requests_due ON requests (run_no, is_free, due_at) WHERE state = 'retrying'",
    # The attempt that ended a request stands in `requests`; here are those before it.
    """
CREATE TABLE attempts (
    run_no INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    send INTEGER NOT NULL,
    sent_at REAL NOT NULL,
    duration_s REAL NOT NULL,
    verdict TEXT NOT NULL,
    http_status INTEGER,
    error_code TEXT NOT NULL,
    message TEXT NOT NULL,
    request_id TEXT NOT NULL,
    PRIMARY KEY (run_no, seq, send)
) WITHOUT ROWID""",
    """
CREATE TABLE events (
    no INTEGER PRIMARY KEY,
    run_no INTEGER NOT NULL REFERENCES runs,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL
)""",
    *fleet_sql.SCHEMA,
    *verification_sql.SCHEMA,
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)

INSERT_RUN = """
INSERT INTO runs (no, id, state, target, account, plan_digest, created_at, options, parent, version,
                  template_digests, warnings)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
SET_DIGEST = "UPDATE runs SET plan_digest = ? WHERE no = ?"
INSERT_SHEET = "INSERT INTO sheets (run_no, sheet_id, pin) VALUES (?, ?, ?)"
INSERT_CELLS = "INSERT INTO cells (run_no, no, sheet_id, row_count, blob) VALUES (?, ?, ?, ?, ?)"
INSERT_REJECT = "INSERT INTO rejects (run_no, no, sheet_id, row, problems) VALUES (?, ?, ?, ?, ?)"
INSERT_PAYLOAD = """
INSERT OR IGNORE INTO payloads (sha256, body, blocks)
SELECT ?1, ?2, COALESCE(group_concat(key, ' '), '') FROM json_each(CAST(?2 AS TEXT))"""
SELECT_PAYLOAD_ID = "SELECT id FROM payloads WHERE sha256 = ?"
INSERT_TEMPLATE = "INSERT OR IGNORE INTO templates (name) VALUES (?)"
SELECT_TEMPLATE = "SELECT id FROM templates WHERE name = ?"
INSERT_NOTE = "INSERT OR IGNORE INTO notes (text) VALUES (?)"
SELECT_NOTE = "SELECT id FROM notes WHERE text = ?"
INSERT_REQUEST = """
INSERT INTO requests (run_no, seq, number, direction, payload_id, template_id, sheet_id, row, note_id,
                      duplicate_of, unchanged_since, state)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

DERIVE_REQUESTS = """
INSERT INTO requests (run_no, seq, number, direction, payload_id, template_id, sheet_id, row, note_id, state)
SELECT ?, ROW_NUMBER() OVER (ORDER BY r.seq) - 1, r.number, r.direction, r.payload_id, r.template_id,
       r.sheet_id, r.row, r.note_id, 'pending'
FROM requests r JOIN templates t ON t.id = r.template_id
WHERE r.run_no = ? AND r.state IN ({states}) AND (? IS NULL OR r.error_code = ?) AND (? IS NULL OR t.name = ?)
ORDER BY r.seq"""

SELECT_KEYS_AND_PAYLOADS = """
SELECT number, direction, payload_id FROM requests WHERE run_no = ? AND state != 'skipped' ORDER BY seq"""

_RUN_COLUMNS = """
no, id, state, reason, target, account, plan_digest, created_at, started_at, ended_at,
options, parent, version, template_digests, warnings"""
SELECT_RUNS = f"SELECT {_RUN_COLUMNS} FROM runs ORDER BY no"
SELECT_RUN = f"SELECT {_RUN_COLUMNS} FROM runs WHERE no = ?"

SELECT_LOST = "SELECT seq FROM requests WHERE run_no = ? AND state = 'in_flight'"
NOTE_LOST = """
INSERT INTO attempts (run_no, seq, send, sent_at, duration_s, verdict, http_status, error_code, message,
                      request_id)
SELECT run_no, seq, sends + 1, claimed_at, 0, 'ambiguous', NULL, 'LOST',
       'the process died before the answer was recorded; it may have been applied', ''
FROM requests WHERE run_no = ? AND seq IN (SELECT value FROM json_each(?))"""
TAKE_BACK = """
UPDATE requests SET state = 'pending', sends = sends + 1, in_doubt = 1, due_at = NULL,
       claimed_at = NULL, first_sent_at = COALESCE(first_sent_at, claimed_at), last_sent_at = claimed_at
WHERE run_no = ? AND seq IN (SELECT value FROM json_each(?))"""
# Where the clock was set back since, a retry would wait until it has caught up: it waits no longer for it.
SET_BACK = """
UPDATE requests INDEXED BY requests_due SET due_at = due_at - (last_sent_at - :at)
WHERE run_no = :no AND state = 'retrying' AND last_sent_at > :at"""
BEGIN_RUN = """
UPDATE runs SET state = ?, reason = NULL, started_at = COALESCE(started_at, ?), ended_at = NULL
WHERE no = ?"""
END_RUN = "UPDATE runs SET state = ?, reason = ?, ended_at = ? WHERE no = ?"

# From shard to shard: once one request of a shard is found, the others need not be looked at.
_FIRST_LEFT = """
SELECT seq FROM requests
WHERE run_no = :no AND seq >= {at} AND (state = 'pending' OR state = 'in_flight' OR state = 'retrying')
ORDER BY seq LIMIT 1"""
SELECT_SHARDS = f"""
WITH RECURSIVE firsts (seq) AS (
    SELECT ({_FIRST_LEFT.format(at="0")})
    UNION ALL
    SELECT ({_FIRST_LEFT.format(at="(firsts.seq / :size + 1) * :size")}) FROM firsts WHERE seq IS NOT NULL
)
SELECT seq / :size FROM firsts WHERE seq IS NOT NULL"""

SELECT_LEFT = """
SELECT seq, number, direction, template_id FROM requests
WHERE run_no = ? AND state IN ('pending', 'in_flight', 'retrying') ORDER BY seq"""

END_REQUEST = """
UPDATE requests SET
    state = ?3, attempts = attempts + ?4, is_free = ?5, in_doubt = MAX(in_doubt, ?6), sends = sends + 1,
    verdict = ?7, http_status = ?8, error_code = ?9, error = ?10, request_id = ?11,
    first_sent_at = COALESCE(first_sent_at, ?12), last_sent_at = ?12, duration_s = ?13, due_at = ?14,
    claimed_at = NULL
WHERE run_no = ?1 AND seq = ?2 AND state = 'in_flight'"""
INSERT_ATTEMPT = """
INSERT INTO attempts (run_no, seq, send, sent_at, duration_s, verdict, http_status, error_code, message,
                      request_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
RELEASE = """
UPDATE requests SET state = CASE WHEN due_at IS NULL THEN 'pending' ELSE 'retrying' END, claimed_at = NULL
WHERE run_no = ? AND seq IN (SELECT value FROM json_each(?)) AND state = 'in_flight'"""
CLAIM_DUE = """
UPDATE requests SET state = 'in_flight', claimed_at = ?
WHERE run_no = ? AND seq IN (SELECT value FROM json_each(?)) AND state = 'retrying'"""
# What `FIND_PENDING` found, from the first to the last.
CLAIM_PENDING = """
UPDATE requests SET state = 'in_flight', claimed_at = ?
WHERE run_no = ? AND seq BETWEEN ? AND ? AND state = 'pending' {not_barred}"""
INSERT_EVENT = "INSERT INTO events (run_no, at, kind, detail) VALUES (?, ?, ?, ?)"

_CLAIM_COLUMNS = (
    "seq, number, direction, payload_id, template_id, attempts, sends, in_doubt, state = 'retrying', is_free"
)
FIND_DUE = f"""
SELECT json_group_array(json_array(due_at, {_CLAIM_COLUMNS})) FROM (
    SELECT * FROM requests INDEXED BY requests_due
    WHERE run_no = ? AND is_free = ? AND state = 'retrying' AND due_at <= ? AND seq >= ? AND seq < ?
          {{not_barred}}
    ORDER BY due_at, seq LIMIT ?)"""
FIND_PENDING = f"""
SELECT json_group_array(json_array({_CLAIM_COLUMNS})) FROM (
    SELECT * FROM requests
    WHERE run_no = ? AND seq >= ? AND seq < ? AND state = 'pending' {{not_barred}}
    ORDER BY seq LIMIT ?)"""
NEXT_DUE = """
SELECT due_at FROM requests INDEXED BY requests_due
WHERE run_no = ? AND is_free = ? AND state = 'retrying' AND seq >= ? AND seq < ? {not_barred}
ORDER BY due_at LIMIT 1"""

FOUND_RATE = """
SELECT e.detail FROM events e JOIN runs r ON r.no = e.run_no JOIN runs me ON me.target = r.target
       AND me.account = r.account
WHERE e.kind = ? AND me.no = ? ORDER BY e.no DESC LIMIT 1"""

COUNT_STATES = "SELECT state, COUNT(*) FROM requests WHERE run_no = ? GROUP BY state"

_RESULTS = """
SELECT r.seq, r.sheet_id, r.row, r.number, r.direction, t.name, r.state, r.attempts, r.sends, r.http_status,
       r.error_code, r.error, r.first_sent_at, r.last_sent_at, r.duration_s, r.request_id, p.sha256, n.text,
       r.duplicate_of, r.due_at, u.id
FROM requests r
JOIN templates t ON t.id = r.template_id
JOIN payloads p ON p.id = r.payload_id
JOIN notes n ON n.id = r.note_id
LEFT JOIN runs u ON u.no = r.unchanged_since
WHERE r.run_no = ?"""
SELECT_RESULTS = f"{_RESULTS} ORDER BY r.seq"
SELECT_RESULT = f"{_RESULTS} AND r.seq = ?"
SELECT_REJECTS = "SELECT sheet_id, row, problems FROM rejects WHERE run_no = ? ORDER BY no"
SELECT_CELLS = "SELECT sheet_id, row_count, blob FROM cells WHERE run_no = ? ORDER BY no"
SELECT_EVENTS = "SELECT at, kind, detail FROM events WHERE run_no = ? ORDER BY no"
SELECT_ATTEMPTS = """
SELECT seq, send, sent_at, duration_s, verdict, http_status, error_code, message, request_id
FROM attempts WHERE run_no = ?
UNION ALL
SELECT seq, sends, last_sent_at, duration_s, verdict, http_status, error_code, error, request_id
FROM requests WHERE run_no = ? AND state IN ('succeeded', 'failed', 'unknown')
ORDER BY 1, 2"""


def listed(values: Iterable[int | str]) -> str:
    """A list for `json_each`.

    As text, not as bytes: of those, SQLite 3.45 to 3.47 take some for their own binary JSON (`[1234]`, by its
    first byte and its length), and say that they are malformed.
    """
    return orjson.dumps([*values]).decode()


def not_barred(template_ids: Collection[int]) -> str:
    """The condition that keeps these templates out."""
    return f"AND template_id NOT IN ({', '.join(str(int(i)) for i in template_ids)})" if template_ids else ""
