"""Requests that meet on one key."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from batch.clashes import Conflict, Meetings

#: Rows as sets of keys with one payload each: few keys and payloads, so that they meet often.
ROWS = st.lists(st.tuples(st.sets(st.integers(0, 12), min_size=1), st.integers(0, 2)), max_size=12)


def meet(rows: list[tuple[set[int], int]]) -> tuple[list[tuple[int, int, int]], Meetings, list[Conflict]]:
    """The requests of some rows as (row, key, payload), how they meet, and their conflicts."""
    requests = [(at, key, payload) for at, (keys, payload) in enumerate(rows) for key in sorted(keys)]
    owners, keys, payloads = (
        np.array([request[part] for request in requests], dtype=dtype)
        for part, dtype in enumerate((np.int32, np.int64, np.int32))
    )
    meetings = Meetings.of(keys)
    return requests, meetings, meetings.conflicts(owners, payloads)


@given(ROWS)
def test_conflicting_rows(rows: list[tuple[set[int], int]]) -> None:
    """A row is in conflict exactly if another gives one of its keys another payload; it names such a row."""
    _, _, conflicts = meet(rows)
    rivals = {
        at: {
            other
            for other, (their_keys, theirs) in enumerate(rows)
            if theirs != payload and their_keys & keys
        }
        for at, (keys, payload) in enumerate(rows)
    }
    found = {conflict.owner: set(conflict.others) for conflict in conflicts}
    assert found.keys() == {at for at, others in rivals.items() if others}
    assert all(named and named <= rivals[at] for at, named in found.items())


@given(ROWS)
def test_pairs_name_each_other(rows: list[tuple[set[int], int]]) -> None:
    """Of two rows that alone meet on a key with different payloads, each names the other."""
    requests, _, conflicts = meet(rows)
    named = {conflict.owner: set(conflict.others) for conflict in conflicts}
    by_key: dict[int, list[tuple[int, int]]] = {}
    for owner, key, payload in requests:
        by_key.setdefault(key, []).append((owner, payload))
    pairs = [(a, b) for a, b, *more in (v for v in by_key.values() if len(v) > 1) if not more]
    assert all(b[0] in named[a[0]] and a[0] in named[b[0]] for a, b in pairs if a[1] != b[1])


@given(ROWS)
def test_conflicting_keys_are_counted(rows: list[tuple[set[int], int]]) -> None:
    """A conflict counts the row's keys that are contested by anyone, and shows the smallest."""
    requests, _, conflicts = meet(rows)
    payloads: dict[int, set[int]] = {}
    for _, key, payload in requests:
        payloads.setdefault(key, set()).add(payload)
    contested = {key for key, them in payloads.items() if len(them) > 1}
    assert [(c.key, c.key_count) for c in conflicts] == [
        (min(rows[c.owner][0] & contested), len(rows[c.owner][0] & contested)) for c in conflicts
    ]


@given(ROWS)
def test_duplicates_point_to_the_first(rows: list[tuple[set[int], int]]) -> None:
    """A request points to the first one with its key, which points nowhere."""
    requests, meetings, _ = meet(rows)
    first: dict[int, int] = {}
    for at, (_, key, _) in enumerate(requests):
        first.setdefault(key, at)
    expected = [-1 if first[key] == at else first[key] for at, (_, key, _) in enumerate(requests)]
    assert meetings.duplicate_of().tolist() == expected


@given(ROWS)
def test_numbers_with_one_direction(rows: list[tuple[set[int], int]]) -> None:
    """A number is alone if only one of its two keys is there; its first request stands for it."""
    requests, meetings, _ = meet(rows)
    keys = [key for _, key, _ in requests]
    expected = [at for at, key in enumerate(keys) if key ^ 1 not in keys and key not in keys[:at]]
    assert meetings.alone().tolist() == expected


def test_a_number_in_ten_thousand_rows() -> None:
    """A number with another payload in each of 10,000 rows costs no more than a handful of names a row."""
    rows = np.arange(10_000, dtype=np.int32)
    conflicts = Meetings.of(np.full(10_000, 7, dtype=np.int64)).conflicts(rows, rows)
    assert len(conflicts) == 10_000
    assert max(len(conflict.others) for conflict in conflicts[1:]) <= 7
