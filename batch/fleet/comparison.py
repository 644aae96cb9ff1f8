"""A plan beside what is in force: what is new, what would change, what is in doubt, unchanged, or missing.

Everything is matched by key and compared by content, never by position: a sheet that was sorted,
extended or exported anew differs in nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import orjson

from batch.errors import CredentialsError
from batch.journal.in_force import Blocks, blocks_of, part_of
from batch.journal.known import Applied
from batch.journal.protocol import Journal, RunRecord
from batch.plans import Bools, Int32s, Int64s, Payload, Plan, Reject, UInt8s, keys_of, plan_digest

#: The body of a payload by its id in the journal.
BodyOf = Callable[[int], bytes]


class Difference(StrEnum):
    """What a request would do to its number, as far as is known."""

    NEW = "new"  #: nothing is known of what is in force there
    CHANGED = "changed"  #: something else is in force, or of some of its blocks nothing is known
    IN_DOUBT = "in_doubt"  #: just this was sent last, and it may not have been applied
    UNCHANGED = "unchanged"  #: just this is in force
    DRIFTED = "drifted"  #: just this was sent last, and reading back shows something else


#: Index in this tuple is how a difference stands in arrays.
DIFFERENCES = tuple(Difference)
_CODE = {difference: code for code, difference in enumerate(DIFFERENCES)}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A plan and what is in force; `differences` and `places` have one element a request.

    `differences` index `DIFFERENCES`. `places` say where in `applied` the request's key is, -1 where it is
    new. `missing` are the places in `applied` of which the sheets say nothing; `rejected` are those of which
    they do, in rows that are rejected. `drifts` say of each request that drifted what there is instead.
    """

    plan: Plan
    applied: Applied
    differences: UInt8s
    places: Int64s
    missing: Int64s
    rejected: Int64s
    drifts: Mapping[int, str] = field(default_factory=dict)

    def are(self, difference: Difference) -> Bools:
        """Which requests differ so; repeats of an earlier row are none of them."""
        found: Bools = (self.differences == _CODE[difference]) & (self.plan.duplicate_of < 0)
        return found

    def count(self, difference: Difference) -> int:
        """How many requests differ so."""
        return int(np.count_nonzero(self.are(difference)))

    @property
    def to_send_count(self) -> int:
        """How many requests differ from what is in force."""
        return sum(self.count(one) for one in DIFFERENCES if one is not Difference.UNCHANGED)

    def skip_unchanged(self) -> Plan:
        """The plan that sends only what differs; of the others it says since which run they are in force."""
        plan = self.plan
        is_unchanged = self.are(Difference.UNCHANGED)
        since = np.full(plan.request_count, -1, dtype=np.int32)
        since[is_unchanged] = self.applied.run_ids[self.places[is_unchanged]]
        skipping = replace(plan, unchanged_since=since, earlier_runs=self.applied.runs)
        sent = ~skipping.is_skipped
        digest = plan_digest(plan.numbers[sent], plan.directions[sent], *_used(plan.payload_ids[sent], plan))
        return replace(skipping, digest=digest)


def compare(plan: Plan, applied: Applied, body_of: BodyOf, *, is_narrowed: bool = False) -> Comparison:
    """Compare every request of a plan with what is in force at its key.

    Where the sheets were narrowed to some of their rows, nobody can say what is missing from them.
    """
    keys = keys_of(plan.numbers, plan.directions)
    differences = np.full(plan.request_count, _CODE[Difference.NEW], dtype=np.uint8)
    places = np.full(plan.request_count, -1, dtype=np.int64)
    if len(applied.keys) and len(keys):
        near = np.minimum(np.searchsorted(applied.keys, keys), len(applied.keys) - 1)
        is_known = applied.keys[near] == keys
        places[is_known] = near[is_known]
        differences[is_known] = _of_known(plan, applied, np.flatnonzero(is_known), near[is_known], body_of)
    unplanned = np.flatnonzero(~np.isin(applied.keys, keys))
    is_rejected = _are_in_rejects(applied.keys[unplanned] >> 1, plan.rejects)
    missing = unplanned[:0] if is_narrowed else unplanned[~is_rejected]
    return Comparison(plan, applied, differences, places, missing, unplanned[is_rejected])


def _are_in_rejects(numbers: Int64s, rejects: Sequence[Reject]) -> Bools:
    """Which of these numbers, sorted, a rejected row is about."""
    first = np.array([reject.first for reject in rejects if reject.first], dtype=np.int64)
    last = np.array([reject.last for reject in rejects if reject.first], dtype=np.int64)
    # Each row adds one from its first number on, and takes it away behind its last.
    begun = np.searchsorted(np.sort(first), numbers, side="right")
    ended = np.searchsorted(np.sort(last), numbers, side="left")
    found: Bools = begun > ended
    return found


def overtaken(journal: Journal, run: RunRecord, keys_to_send: Callable[[], Int64s]) -> tuple[int, str]:
    """How many of the keys that a run is to send a later run has changed, and the newest such run.

    To send them what the run has for them would send what was planned before that. For whoever has the
    workspace to himself. The keys are asked for only if there is a later run.
    """
    runs = journal.runs()
    order = [one.id for one in runs]
    later_runs = runs[order.index(run.id) + 1 :]
    scope = run.target, run.account
    if not any((one.target, one.account) == scope and one.started_at is not None for one in later_runs):
        return 0, ""
    journal.settle()  # sooner done than read send by send, and `begin` would do it
    keys, applied = keys_to_send(), journal.applied(run.target, run.account)
    age = np.array([order.index(one) for one in applied.runs], dtype=np.int64)
    if not (len(keys) and len(applied.keys)):
        return 0, ""
    at = np.minimum(np.searchsorted(applied.keys, keys), len(applied.keys) - 1)
    changed_by = age[applied.run_ids[at]][applied.keys[at] == keys]
    later = changed_by[changed_by > order.index(run.id)]
    return len(later), order[later.max()] if len(later) else ""


def _of_known(plan: Plan, applied: Applied, seqs: Int64s, places: Int64s, body_of: BodyOf) -> UInt8s:
    """The differences of these requests, worked out once for each combination that there is."""
    in_force, which_in_force = np.unique(applied.payload_ids[places], return_inverse=True)
    wanted = plan.payload_ids[seqs].astype(np.int64)
    doubts = applied.doubt_ids[places]
    # In this order payloads are gone through from the first to the last, as they are packed.
    combined = (wanted * len(in_force) + which_in_force) * len(applied.doubts) + doubts
    distinct, which = np.unique(combined, return_inverse=True)
    found = np.empty(len(distinct), dtype=np.uint8)
    for at, combination in enumerate(distinct.tolist()):
        rest, doubt_id = divmod(combination, len(applied.doubts))
        payload_at, in_force_at = divmod(rest, len(in_force))
        payload, payload_id = plan.payloads[payload_at], int(in_force[in_force_at])
        doubt = applied.doubts[doubt_id]
        if payload.sha256 == applied.sha256s[payload_id]:
            difference = Difference.IN_DOUBT if doubt else Difference.UNCHANGED
        else:
            try:
                difference = _difference(payload, body_of(payload_id), doubt)
            except CredentialsError:  # a secret that is in force is not at hand: who knows
                difference = Difference.CHANGED
        found[at] = _CODE[difference]
    of_each: UInt8s = found[which]
    return of_each


def _difference(wanted: Payload, in_force: bytes, doubt: Blocks) -> Difference:
    blocks = blocks_of(wanted.body)
    # As bytes: to Python, true is 1.
    if _canonical(part_of(in_force, blocks)) != _canonical(orjson.loads(wanted.body)):
        return Difference.CHANGED
    return Difference.IN_DOUBT if set(doubt) & set(blocks) else Difference.UNCHANGED


def _canonical(blocks: dict[str, object]) -> bytes:
    return orjson.dumps(blocks, option=orjson.OPT_SORT_KEYS)


def _used(payload_ids: Int32s, plan: Plan) -> tuple[Int32s, list[Payload]]:
    """Only the payloads that are sent count in a digest: their ids by that order, and they themselves."""
    used, ids = np.unique(payload_ids, return_inverse=True)
    return ids.astype(np.int32), [plan.payloads[at] for at in used.tolist()]
