"""The fleet of the journal in memory: what runs did to numbers, and what is in force at them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from batch.journal.in_force import InForce, in_force_after
from batch.journal.known import Applied
from batch.plans import Payload


class Change(NamedTuple):
    """What a run did, or may have done, to one key; `sends` are its sends to it so far."""

    key: int
    run_id: str
    seq: int
    payload: Payload
    sends: int
    at: float
    is_certain: bool


class Held(NamedTuple):
    """What is in force at a key, and the change that made it so."""

    in_force: InForce
    change: Change


class Deed(NamedTuple):
    """A change, and what there was before it; None: nothing is known."""

    change: Change
    before: Held | None


@dataclass(slots=True)
class MemoryFleet:
    """One target's numbers; `deeds` are by key and run."""

    held: dict[int, Held] = field(default_factory=dict)
    deeds: dict[tuple[int, str], Deed] = field(default_factory=dict)

    def copy(self) -> MemoryFleet:
        """Another that can go on from here."""
        return MemoryFleet(dict(self.held), dict(self.deeds))

    def fold(self, changes: Iterable[Change]) -> None:
        """Take in what is new of these changes."""
        for change in changes:
            known = self.deeds.get((change.key, change.run_id))
            if known is not None and known.change.sends >= change.sends:
                continue
            now = self.held.get(change.key)
            # Before the run is before its first change, unless another run came between.
            is_mine = now is not None and now.change.run_id == change.run_id and known is not None
            before = known.before if is_mine and known is not None else now
            after = in_force_after(now and now.in_force, change.payload, is_certain=change.is_certain)
            self.held[change.key] = Held(after, change)
            self.deeds[change.key, change.run_id] = Deed(change, before)


def applied(held: Mapping[int, Held], ids: Mapping[str, int]) -> Applied:
    """What is in force, by key, in arrays; `ids` are the payloads' by their digest."""
    keys = sorted(held)
    ones = [held[key] for key in keys]
    doubts = list(dict.fromkeys(one.in_force.doubt for one in ones))
    runs = list(dict.fromkeys(one.change.run_id for one in ones))
    sha256s = [one.in_force.payload.sha256 for one in ones]
    payload_ids = [ids[sha256] for sha256 in sha256s]
    return Applied(
        keys=np.array(keys, dtype=np.int64),
        payload_ids=np.array(payload_ids, dtype=np.int64),
        doubt_ids=np.array([doubts.index(one.in_force.doubt) for one in ones], dtype=np.int32),
        run_ids=np.array([runs.index(one.change.run_id) for one in ones], dtype=np.int32),
        doubts=tuple(doubts),
        runs=tuple(runs),
        sha256s=dict(zip(payload_ids, sha256s, strict=True)),
    )
