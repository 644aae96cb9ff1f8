"""Small plans, written down without a sheet: for the tests of the journal and of the engine."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from batch.plans import CellChunk, Payload, Plan, Problem, Reject, SheetPin, Warned, plan_digest

FIRST_NUMBER = 14_155_550_100
HEADER = ("phone_number", "direction", "template", "customer")


def small_plan(
    count: int = 10,
    *,
    templates: int = 1,
    payloads: int | None = None,
    duplicates: Mapping[int, int] | None = None,
    rejects: int = 0,
    blocks: int = 0,
    block: str = "alert_config",
) -> Plan:
    """A plan of `count` requests, one a row, whose templates and payloads take turns.

    `duplicates` maps a request to the one that it repeats. `rejects` rows stand after the others. `blocks`
    shifts what the payloads say, so that two plans of the same numbers differ in what they apply; `block`
    names the one that they carry, with `+` between several.
    """
    duplicates = dict(duplicates or {})
    payloads = templates if payloads is None else payloads
    seqs = np.arange(count, dtype=np.int64)
    repeated = np.array([duplicates.get(seq, -1) for seq in range(count)], dtype=np.int64)
    source = np.where(repeated >= 0, repeated, seqs)
    numbers = FIRST_NUMBER + source // 2
    directions = (source % 2).astype(np.uint8)
    payload_ids = (source % payloads).astype(np.int32)
    bodies = tuple(_payload(blocks + i, block) for i in range(payloads))
    is_sent = repeated < 0
    return Plan(
        sheets=(SheetPin("numbers.csv", "sheets/numbers.csv", "5" * 64, HEADER, 0, 1, 2, count + rejects),),
        payloads=bodies,
        templates=tuple(f"template-{i}" for i in range(templates)),
        numbers=numbers,
        directions=directions,
        payload_ids=payload_ids,
        template_ids=(source % templates).astype(np.int32),
        sheet_ids=np.zeros(count, dtype=np.int32),
        rows=(seqs + 2).astype(np.int32),
        duplicate_of=repeated,
        note_ids=(seqs % 3 == 1).astype(np.int32),
        notes=("", "{was} was read as {number}"),
        rejects=tuple(
            Reject(0, count + 2 + i, (Problem("phone_number", f"{i} is no number", "number.invalid"),))
            for i in range(rejects)
        ),
        warnings=(Warned("port.plain", 2, 0, 2, "failover_config.endpoints.0.port", "5060 is not TLS"),),
        digest=plan_digest(numbers[is_sent], directions[is_sent], payload_ids[is_sent], bodies),
        template_digests={f"template-{i}": f"{i:064x}" for i in range(templates)},
        cells=(_cells(count + rejects),) if count + rejects else (),
    )


def _payload(number: int, block: str) -> Payload:
    content = {"enabled": True, "thresholds": {"unreachable_minutes": number}}
    return Payload.of(dict.fromkeys(block.split("+"), content))


def _cells(count: int) -> CellChunk:
    rows = range(2, count + 2)
    return CellChunk.pack(0, rows, [[f"{word} of {row}" for row in rows] for word in HEADER])
