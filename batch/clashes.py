"""Requests that meet on one key: repeats, which are skipped, and conflicts, which reject their rows.

Everything works on arrays, one element a request in sheet order, and finds what is equal by sorting
keys: blocks that overlap each other or a single number need no case of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batch.plans import Int32s, Int64s

#: How many later requests with the same key each request is compared with; beyond it, one is named.
_NEIGHBOURS = 3


@dataclass(frozen=True, slots=True)
class Conflict:
    """A row that gives a key another payload than some other row does.

    `owner` and `others` are rows by their place among the owners handed in; `others` are in sheet
    order and name at least one row. `key` is the first of the `key_count` keys of this row that are
    in conflict.
    """

    owner: int
    others: tuple[int, ...]
    key: int
    key_count: int


@dataclass(frozen=True, slots=True)
class Meetings:
    """The order of requests by key (equal keys in sheet order), and where neighbours in it are equal."""

    order: Int64s
    sorted_keys: Int64s

    @classmethod
    def of(cls, keys: Int64s) -> Meetings:
        """Sort the keys of all requests."""
        order = np.argsort(keys, kind="stable").astype(np.int64, copy=False)
        return cls(order, keys[order])

    def repeats(self) -> bool:
        """Whether any key is there more than once."""
        return bool((self.sorted_keys[1:] == self.sorted_keys[:-1]).any())

    def duplicate_of(self) -> Int64s:
        """For each request the index of the first with the same key, or -1 where it is that itself."""
        count = len(self.order)
        found = np.full(count, -1, dtype=np.int64)
        if count and self.repeats():
            is_first = np.ones(count, dtype=np.bool_)
            np.not_equal(self.sorted_keys[1:], self.sorted_keys[:-1], out=is_first[1:])
            first = self.order[is_first][np.cumsum(is_first) - 1]
            found[self.order[~is_first]] = first[~is_first]
        return found

    def conflicts(self, owners: Int32s, payload_ids: Int32s) -> list[Conflict]:
        """The rows that meet another row on a key with another payload, by owner.

        `owners` and `payload_ids` are parallel to the keys; one owner has a key at most once.
        """
        if not len(self.order) or not self.repeats():
            return []
        equal_next = np.append(self.sorted_keys[1:] == self.sorted_keys[:-1], False)
        meets = equal_next.copy()
        meets[1:] |= equal_next[:-1]
        members = self.order[meets]
        keys, who, what = self.sorted_keys[meets], owners[members], payload_ids[members]

        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        sizes = np.diff(np.append(starts, len(keys)))
        head = np.repeat(starts, sizes)
        differs = what != what[head]
        clashing = np.repeat(np.logical_or.reduceat(differs, starts), sizes)
        if not clashing.any():
            return []
        # In each group the first member and the first that differs from it: whoever is not named by
        # a neighbour can name one of the two.
        at = np.where(differs, np.arange(len(keys)), len(keys))
        rival = np.repeat(np.minimum.reduceat(at, starts), sizes)
        here, there = [np.flatnonzero(clashing)], [np.where(differs, head, rival)[clashing]]
        for step in range(1, _NEIGHBOURS + 1):
            near = np.flatnonzero((head[step:] == head[:-step]) & (what[step:] != what[:-step]))
            here += [near, near + step]
            there += [near + step, near]
        return _gather(
            who[np.concatenate(here)].astype(np.int64),
            who[np.concatenate(there)],
            who[clashing],
            keys[clashing],
        )

    def alone(self) -> Int64s:
        """Indices, in sheet order, of the requests whose number has no request in the other direction.

        Of requests that repeat a key, the first stands for all.
        """
        keys, order = self.sorted_keys, self.order
        if not len(keys):
            return order
        if self.repeats():
            is_first = np.append(True, keys[1:] != keys[:-1])
            keys, order = keys[is_first], order[is_first]
        lone = np.ones(len(keys), dtype=np.bool_)
        paired = (keys[1:] ^ keys[:-1]) == 1  # distinct and sorted: an even key and the next one
        lone[1:] &= ~paired
        lone[:-1] &= ~paired
        return np.sort(order[lone])


def _gather(here: Int64s, there: Int32s, clashing: Int32s, keys: Int64s) -> list[Conflict]:
    """Pairs of rows, and the keys each row is in conflict on, as one conflict a row."""
    span = int(max(here.max(), there.max())) + 1
    pairs = np.unique(here * span + there)
    rows, cuts = np.unique(pairs // span, return_index=True)
    others = np.split(pairs % span, cuts[1:])
    order = np.lexsort((keys, clashing))
    owners, at, counts = np.unique(clashing[order], return_index=True, return_counts=True)
    assert np.array_equal(rows, owners)  # every member of a clashing group names one row at least
    first_keys = keys[order][at]
    return [
        Conflict(owner, tuple(named.tolist()), key, count)
        for owner, named, key, count in zip(
            owners.tolist(), others, first_keys.tolist(), counts.tolist(), strict=True
        )
    ]
