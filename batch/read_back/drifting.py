"""Finds drift before a reconcile: what should be in force unchanged is read back, and may not be there.

Drift is a reason to send: the journal knows what was sent last, and not what somebody else has done since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import orjson

from batch.errors import BatchError, CredentialsError, UnreachableError
from batch.fleet.comparison import DIFFERENCES, Comparison, Difference
from batch.journal.verification import Proof, Verification
from batch.plans import DIRECTIONS, Int64s, Plan, keys_of
from batch.read_back.readable import Readable, Shown
from batch.read_back.rounds import Reader, Reading, RoundEnding
from batch.read_back.verifying import verification_of
from batch.sealing import Seal
from batch.states import StopReason
from batch.target import Outcome


@dataclass(frozen=True, slots=True)
class DriftFound:
    """What reading back said of the requests of a plan that need not be sent by what the journal knows.

    `drifted` has those that are not there as they should be, by their index in the plan; `counts` has all.
    """

    drifted: Mapping[int, Verification]
    counts: Mapping[Proof, int]

    @property
    def in_words(self) -> str:
        """How many are what, for the operator."""
        parts = [
            f"{self.counts[proof]:,} {proof.value.replace('_', ' ')}"
            for proof in Proof
            if self.counts.get(proof)
        ]
        return f"Read back what should be unchanged: {', '.join(parts) or 'nothing'}."


async def find_drift(comparison: Comparison, target: Readable, reader: Reader) -> DriftFound:
    """Read back every number of the unchanged requests, and compare what is there with the plan.

    What the target does not show, or cannot be read, counts as unchanged. `CredentialsError` if the key is
    refused, `UnreachableError` if the API cannot be asked to the end: then nothing is known of the rest.
    """
    plan = comparison.plan
    requests = np.flatnonzero(comparison.are(Difference.UNCHANGED))
    order = requests[np.argsort(plan.numbers[requests], kind="stable")]
    numbers, starts = np.unique(plan.numbers[order], return_index=True)
    ends = np.append(starts[1:], len(order))
    bodies = _Bodies(plan)
    drifted: dict[int, Verification] = {}
    counts: Counter[Proof] = Counter()

    async def read(which: int) -> tuple[Outcome, Shown | None]:
        return await target.read_number(f"+{numbers[which]}")

    async def take(found: list[Reading[Shown]]) -> None:
        for reading in found:
            for at in order[starts[reading.which] : ends[reading.which]].tolist():
                direction = DIRECTIONS[plan.directions[at]]
                sent, kept = bodies.of(int(plan.payload_ids[at]))
                one = verification_of(at, reading, direction, sent, kept=kept)
                counts[one.proof] += 1
                if one.proof.differs:
                    drifted[at] = one

    ending = await reader.read(read, take, len(numbers), doing="reading back")
    _refuse(ending)
    if len(numbers):
        await reader.pacer.wait()  # whoever sends next begins with a pacer of his own
    return DriftFound(drifted, counts)


def drifted_keys(plan: Plan, found: DriftFound) -> Int64s:
    """The keys (`batch.plans.keys_of`) of what drifted, sorted."""
    at = np.fromiter(found.drifted, dtype=np.int64, count=len(found.drifted))
    return np.sort(keys_of(plan.numbers[at], plan.directions[at]))


def with_drift(comparison: Comparison, found: DriftFound) -> Comparison:
    """The comparison with what drifted told apart from what is unchanged; notes of the plan say how."""
    plan = comparison.plan
    differences, note_ids = comparison.differences.copy(), plan.note_ids.copy()
    notes = {note: at for at, note in enumerate(plan.notes)}
    for at, one in found.drifted.items():
        differences[at] = DIFFERENCES.index(Difference.DRIFTED)
        before = plan.notes[note_ids[at]]
        told = f"{one.proof.value}, and so sent again: {one.in_words}"
        note_ids[at] = notes.setdefault(f"{before}; {told}" if before else told, len(notes))
    noted = replace(plan, note_ids=note_ids, notes=tuple(notes))
    drifts = {at: one.in_words for at, one in found.drifted.items()}
    return replace(comparison, plan=noted, differences=differences, drifts=drifts)


class _Bodies:
    """The payloads of a plan as they are sent and as they may be told of, parsed once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._seal = Seal()
        self._seal.learn(plan.environment)
        self._known: dict[int, tuple[dict[str, object], dict[str, object]]] = {}

    def of(self, payload_id: int) -> tuple[dict[str, object], dict[str, object]]:
        if payload_id not in self._known:
            if len(self._known) >= 2_000:
                self._known.clear()
            body = self._plan.payloads[payload_id].body
            self._known[payload_id] = orjson.loads(body), orjson.loads(self._seal.sealed(body))
        return self._known[payload_id]


def _refuse(ending: RoundEnding) -> None:
    if ending.reason is StopReason.DONE:
        return
    kind: type[BatchError] = CredentialsError if ending.reason is StopReason.CREDENTIALS else UnreachableError
    raise kind(f"Reading back stopped: {ending.message}. Nothing was sent.")
