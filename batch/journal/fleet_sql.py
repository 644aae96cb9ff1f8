"""The SQL of the fleet: what was applied to every number, kept beside the runs that did it.

`fleet` says what is in force at each key now, `applied` what each run did to it and what was in force
before. Both are written when a run stops, in the order in which runs went: whoever goes is alone, so that is
the order in which numbers were changed, whatever the clock said. `sends` tells a send that is in the tables
from one that came after it.
"""

from __future__ import annotations

SCHEMA = (
    """
CREATE TABLE fleet (
    scope_id INTEGER NOT NULL REFERENCES scopes,
    number INTEGER NOT NULL,
    direction INTEGER NOT NULL,
    run_no INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    payload_id INTEGER NOT NULL,
    doubt TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (scope_id, number, direction)
) WITHOUT ROWID""",
    """
CREATE TABLE applied (
    scope_id INTEGER NOT NULL REFERENCES scopes,
    number INTEGER NOT NULL,
    direction INTEGER NOT NULL,
    run_no INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    sends INTEGER NOT NULL,
    payload_id INTEGER NOT NULL,
    before_id INTEGER,
    before_doubt TEXT NOT NULL,
    before_run_no INTEGER,
    before_seq INTEGER,
    PRIMARY KEY (scope_id, number, direction, run_no)
) WITHOUT ROWID""",
)

#: What runs did, or may have done, to their numbers, but for what is in `applied` already.
_TOUCHED = """
SELECT s.id AS scope_id, q.number, q.direction, q.run_no, q.seq, q.payload_id,
       q.sends + (q.state = 'in_flight') AS sends,
       CASE q.state WHEN 'in_flight' THEN q.claimed_at ELSE q.last_sent_at END AS at,
       q.state = 'succeeded' AS is_certain
FROM runs r JOIN scopes s ON s.target = r.target AND s.account = r.account
JOIN requests q ON q.run_no = r.no
LEFT JOIN applied a ON a.scope_id = s.id AND a.number = q.number AND a.direction = q.direction
     AND a.run_no = q.run_no
WHERE {which} AND (q.state IN ('succeeded', 'unknown', 'in_flight') OR q.in_doubt)
  AND (a.sends IS NULL OR a.sends < q.sends + (q.state = 'in_flight'))"""

# --- folding ------------------------------------------------------------------------------------

MAKE_ROOM = (
    """
CREATE TEMP TABLE IF NOT EXISTS touched (
    scope_id INTEGER, number INTEGER, direction INTEGER, run_no INTEGER, seq INTEGER, payload_id INTEGER,
    sends INTEGER, at REAL, is_certain INTEGER
)""",
    """
CREATE TEMP TABLE IF NOT EXISTS merged (
    before_id INTEGER, before_doubt TEXT, payload_id INTEGER, is_certain INTEGER, after_id INTEGER,
    after_doubt TEXT, PRIMARY KEY (before_id, before_doubt, payload_id, is_certain)
) WITHOUT ROWID""",
    "DELETE FROM touched",
    "DELETE FROM merged",
)
#: In the order of the tables that are written next.
TOUCH = f"INSERT INTO touched {_TOUCHED.format(which='q.run_no = ?')} ORDER BY q.number, q.direction"
#: What was in force, where it has other blocks than what was sent: the two are to be put together.
FIND_MERGES = """
SELECT m.before_id, m.before_doubt, m.payload_id, m.is_certain FROM (
    SELECT DISTINCT f.payload_id AS before_id, f.doubt AS before_doubt, t.payload_id, t.is_certain
    FROM touched t
    JOIN fleet f ON f.scope_id = t.scope_id AND f.number = t.number AND f.direction = t.direction
) m JOIN payloads b ON b.id = m.before_id JOIN payloads p ON p.id = m.payload_id
WHERE b.blocks != p.blocks"""
INSERT_MERGED = """
INSERT INTO merged (before_id, before_doubt, payload_id, is_certain, after_id, after_doubt)
VALUES (?, ?, ?, ?, ?, ?)"""
#: What was in force before a run is what was when it changed the key first, unless another run came between.
FOLD_APPLIED = """
INSERT OR REPLACE INTO applied (scope_id, number, direction, run_no, seq, sends, payload_id,
                                before_id, before_doubt, before_run_no, before_seq)
SELECT t.scope_id, t.number, t.direction, t.run_no, t.seq, t.sends, t.payload_id,
       CASE WHEN f.run_no = t.run_no THEN a.before_id ELSE f.payload_id END,
       COALESCE(CASE WHEN f.run_no = t.run_no THEN a.before_doubt ELSE f.doubt END, ''),
       CASE WHEN f.run_no = t.run_no THEN a.before_run_no ELSE f.run_no END,
       CASE WHEN f.run_no = t.run_no THEN a.before_seq ELSE f.seq END
FROM touched t
LEFT JOIN fleet f ON f.scope_id = t.scope_id AND f.number = t.number AND f.direction = t.direction
LEFT JOIN applied a ON a.scope_id = t.scope_id AND a.number = t.number AND a.direction = t.direction
     AND a.run_no = t.run_no"""
FOLD_FLEET = """
INSERT OR REPLACE INTO fleet (scope_id, number, direction, run_no, seq, payload_id, doubt, at)
SELECT t.scope_id, t.number, t.direction, t.run_no, t.seq, COALESCE(m.after_id, t.payload_id),
       CASE WHEN m.after_id IS NOT NULL THEN m.after_doubt WHEN t.is_certain THEN '' ELSE p.blocks END, t.at
FROM touched t
JOIN payloads p ON p.id = t.payload_id
LEFT JOIN fleet f ON f.scope_id = t.scope_id AND f.number = t.number AND f.direction = t.direction
LEFT JOIN merged m ON m.before_id = f.payload_id AND m.before_doubt = f.doubt
     AND m.payload_id = t.payload_id AND m.is_certain = t.is_certain"""

RUNS_GOING = "SELECT no FROM runs WHERE state = 'running' ORDER BY no"

# --- reading ------------------------------------------------------------------------------------

SELECT_FLEET = """
SELECT number * 2 + direction, payload_id, doubt, run_no, seq, at FROM fleet
WHERE scope_id = (SELECT id FROM scopes WHERE target = :target AND account = :account)
ORDER BY number, direction"""
SELECT_HELD = """
SELECT number * 2 + direction, payload_id, doubt, run_no, seq, at FROM fleet
WHERE scope_id = (SELECT id FROM scopes WHERE target = :target AND account = :account)
  AND number = :number AND direction = :direction"""
#: What runs that are going, or died, did since the fleet was written, oldest first.
_SINCE = """
SELECT t.number * 2 + t.direction, t.payload_id, t.is_certain, t.run_no, t.seq, t.at
FROM ({touched}) t ORDER BY t.at, t.run_no"""
SELECT_SINCE = _SINCE.format(
    touched=_TOUCHED.format(which="r.state = 'running' AND r.target = :target AND r.account = :account")
)
SELECT_REQUEST = """
SELECT t.name, q.sheet_id, q.row FROM requests q JOIN templates t ON t.id = q.template_id
WHERE q.run_no = ? AND q.seq = ?"""
SELECT_ENTRIES = """
SELECT f.number * 2 + f.direction, f.payload_id, f.doubt, f.run_no, f.seq, f.at, t.name, q.sheet_id, q.row
FROM fleet f JOIN requests q ON q.run_no = f.run_no AND q.seq = f.seq
JOIN templates t ON t.id = q.template_id
WHERE f.scope_id = (SELECT id FROM scopes WHERE target = :target AND account = :account)
ORDER BY f.number, f.direction"""
SELECT_DIGESTS = "SELECT id, sha256 FROM payloads WHERE id IN (SELECT value FROM json_each(?))"

SELECT_TOUCHES = """
SELECT q.seq, q.number, q.direction, q.sheet_id, q.row, t.name, q.payload_id,
       a.before_id, a.before_doubt, COALESCE(bt.name, ''), a.before_run_no, f.payload_id, f.doubt, f.run_no
FROM runs r JOIN scopes s ON s.target = r.target AND s.account = r.account
JOIN requests q ON q.run_no = r.no
JOIN templates t ON t.id = q.template_id
JOIN applied a ON a.scope_id = s.id AND a.number = q.number AND a.direction = q.direction
     AND a.run_no = q.run_no AND a.seq = q.seq
JOIN fleet f ON f.scope_id = s.id AND f.number = q.number AND f.direction = q.direction
LEFT JOIN requests b ON b.run_no = a.before_run_no AND b.seq = a.before_seq
LEFT JOIN templates bt ON bt.id = b.template_id
WHERE r.no = ? ORDER BY q.seq"""

#: A number's requests in all runs, and what was in force before those that changed it.
SELECT_STORY = """
SELECT r.no, r.id, q.seq, q.payload_id, q.state IN ('succeeded', 'unknown', 'in_flight') OR q.in_doubt,
       CASE WHEN is_written THEN before_id ELSE held_id END,
       COALESCE(CASE WHEN is_written THEN before_doubt ELSE held_doubt END, '')
FROM (
    SELECT q.*, a.before_id, a.before_doubt, f.payload_id AS held_id, f.doubt AS held_doubt,
           a.sends >= q.sends + (q.state = 'in_flight') OR f.run_no = q.run_no AS is_written
    FROM requests q JOIN runs r ON r.no = q.run_no
    JOIN scopes s ON s.target = r.target AND s.account = r.account
    LEFT JOIN applied a ON a.scope_id = s.id AND a.number = q.number AND a.direction = q.direction
         AND a.run_no = q.run_no AND a.seq = q.seq
    LEFT JOIN fleet f ON f.scope_id = s.id AND f.number = q.number AND f.direction = q.direction
    WHERE q.number = ?
) q JOIN runs r ON r.no = q.run_no ORDER BY q.run_no, q.seq"""
SELECT_ATTEMPTS_OF = """
SELECT seq, send, sent_at, duration_s, verdict, http_status, error_code, message, request_id
FROM attempts WHERE run_no = :no AND seq = :seq
UNION ALL
SELECT seq, sends, last_sent_at, duration_s, verdict, http_status, error_code, error, request_id
FROM requests WHERE run_no = :no AND seq = :seq AND state IN ('succeeded', 'failed', 'unknown')
ORDER BY 2"""
