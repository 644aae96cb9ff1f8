"""What a plan changes: every distinct change of fields once, with how many requests make it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np
import orjson

from batch.fleet.comparison import DIFFERENCES, BodyOf, Comparison, Difference
from batch.plans import Int32s
from batch.sealing import Seal, discreet

#: In place of the id of what is in force, where nothing is known: ids of unsaved payloads are negative too.
_NOTHING = np.iinfo(np.int64).min

#: How many bodies in force are held at once while they are compared.
_AT_HAND = 4_096


class Unset(Enum):
    """What a field is that is not there."""

    UNSET = "(not set)"


UNSET = Unset.UNSET


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of a payload, by its dotted path, as far as it is known, with what is secret masked."""

    path: str
    before: object
    after: object

    def as_json(self) -> dict[str, object]:
        """`path`, and `from` and `to` where the field is set."""
        sides = {"from": self.before, "to": self.after}
        return {"path": self.path, **{side: value for side, value in sides.items() if value is not UNSET}}


@dataclass(frozen=True, slots=True)
class Patch:
    """One change, and the requests of a template that make it.

    `changes` are empty where just this was sent last and is in doubt, and where all that differs is masked.
    `example` is the first request by its place in the plan; `since` is the run that put in force what it
    changes, empty if nothing is known.
    """

    template: str
    difference: Difference
    changes: tuple[FieldChange, ...]
    count: int
    example: int
    since: str


@dataclass(frozen=True, slots=True)
class PlanDiff:
    """All changes of a plan, by template; `patch_ids` say of each request which it is, -1 for none."""

    comparison: Comparison
    patches: tuple[Patch, ...]
    patch_ids: Int32s


def diff(
    comparison: Comparison, kept: BodyOf, *, only: Difference | None = None, most: int | None = None
) -> PlanDiff:
    """The changes that a plan makes; `kept` gives the bodies in force by their id, without secrets.

    `only` leaves out what differs otherwise. None are found where there are more than `most` different pairs
    of what is in force and what is to be: looking at each takes its time.
    """
    of_id = lru_cache(maxsize=_AT_HAND)(kept)
    plan, applied = comparison.plan, comparison.applied
    is_sent = ~(comparison.are(Difference.UNCHANGED) | (plan.duplicate_of >= 0))
    seqs = np.flatnonzero(is_sent if only is None else comparison.are(only))
    places = comparison.places[seqs]
    in_force = np.full(len(seqs), _NOTHING, dtype=np.int64)
    in_force[places >= 0] = applied.payload_ids[places[places >= 0]]
    columns = np.stack(
        [plan.template_ids[seqs], comparison.differences[seqs], plan.payload_ids[seqs], in_force], axis=1
    ).astype(np.int64)
    distinct, first, which = np.unique(columns, axis=0, return_index=True, return_inverse=True)
    if most is not None and len(distinct) > most:
        return PlanDiff(comparison, (), np.full(plan.request_count, -1, dtype=np.int32))
    seal = Seal()
    seal.learn(plan.environment)
    found: dict[tuple[int, int, tuple[FieldChange, ...]], int] = {}
    examples: list[int] = []
    patch_of = np.empty(len(distinct), dtype=np.int32)
    for at, (template_id, code, payload_at, payload_id) in enumerate(distinct.tolist()):
        after = orjson.loads(seal.sealed(plan.payloads[payload_at].body))
        before = orjson.loads(of_id(payload_id)) if payload_id != _NOTHING else {}
        key = (template_id, code, field_changes(before, after))
        if key not in found:
            found[key] = len(found)
            examples.append(int(first[at]))
        patch_of[at] = found[key]
        examples[patch_of[at]] = min(examples[patch_of[at]], int(first[at]))
    of_each = patch_of[which.reshape(-1)] if len(distinct) else np.empty(0, dtype=np.int32)
    counts = np.bincount(of_each, minlength=len(found)).tolist()
    ordered = sorted(found, key=lambda key: (key[0], -counts[found[key]], examples[found[key]]))
    patches = tuple(
        _patch(comparison, key, counts[found[key]], int(seqs[examples[found[key]]])) for key in ordered
    )
    rank = np.empty(len(found), dtype=np.int32)
    rank[[found[key] for key in ordered]] = np.arange(len(found))
    patch_ids = np.full(plan.request_count, -1, dtype=np.int32)
    patch_ids[seqs] = rank[of_each]
    return PlanDiff(comparison, patches, patch_ids)


def _patch(
    comparison: Comparison, key: tuple[int, int, tuple[FieldChange, ...]], count: int, example: int
) -> Patch:
    template_id, code, changes = key
    place = int(comparison.places[example])
    since = comparison.applied.runs[comparison.applied.run_ids[place]] if place >= 0 else ""
    return Patch(comparison.plan.templates[template_id], DIFFERENCES[code], changes, count, example, since)


# --- fields -------------------------------------------------------------------------------------


def field_changes(before: dict[str, object], after: dict[str, object]) -> tuple[FieldChange, ...]:
    """Where the blocks of `after` differ from those in force; those that it has not stay as they are."""
    old = dict(fields_of({name: block for name, block in before.items() if name in after}))
    new = dict(fields_of(after))
    paths = dict.fromkeys([*new, *old])
    return tuple(
        FieldChange(path, old.get(path, UNSET), new.get(path, UNSET))
        for path in sorted(paths, key=_in_order)
        if _typed(old.get(path, UNSET)) != _typed(new.get(path, UNSET))
    )


def fields_of(blocks: dict[str, object]) -> Iterator[tuple[str, object]]:
    """Every field of the blocks by its dotted path, with what is secret masked."""
    for name, block in blocks.items():
        yield from _fields(discreet(block), name)


def _fields(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Every leaf by its dotted path; a list of plain values is one, as a cell of a sheet is."""
    match value:
        case dict() if value:
            for name, inner in value.items():
                yield from _fields(inner, f"{path}.{name}")
        case list() if any(isinstance(one, dict | list) for one in value):
            for at, inner in enumerate(value):
                yield from _fields(inner, f"{path}.{at}")
        case list():
            yield path, tuple(value)
        case _:
            yield path, value if not isinstance(value, dict) else "{}"


def _in_order(path: str) -> list[tuple[int, str]]:
    """Elements of lists by number, not by how the number is written."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.split(".")]


def _typed(value: object) -> tuple[type, object]:
    """A value that differs from one of another type: to Python, true is 1."""
    return type(value), value
