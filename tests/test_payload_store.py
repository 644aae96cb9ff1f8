"""Payloads by content, also when there are as many as rows."""

from __future__ import annotations

import numpy as np
import pytest

from batch import payload_store
from batch.payload_store import PackedPayloads, PayloadStore
from batch.plans import Payload


def payload(number: int) -> Payload:
    """One of as many payloads as there are numbers."""
    return Payload.of({"codec_config": {"codecs": ["PCMU"], "note": f"line\nbreak {number}"}})


def stored(numbers: list[int]) -> tuple[PayloadStore, np.ndarray]:
    """A store of these payloads, and the id that each was given."""
    store = PayloadStore()
    ids = np.array([store.id_of(payload(number)) for number in numbers], dtype=np.int32)
    return store, store.merged(ids)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments and memory of a few payloads, so that both overflow."""
    monkeypatch.setattr(payload_store, "SEGMENT", 4)
    monkeypatch.setattr(payload_store, "RECOGNISED", 3)


def test_few_payloads() -> None:
    """Each content is there once, in the order of its first use, as it was put in."""
    store, ids = stored([7, 8, 7, 9, 8])
    taken, order = store.taken(ids[[3, 0, 2]])
    assert taken == (payload(9), payload(7))
    assert order.tolist() == [0, 1, 1]


def test_many_payloads(small: None) -> None:
    """Packed payloads are those that were put in, by index, by slice and in order."""
    numbers = [at * 7 % 50 for at in range(50)]
    store, ids = stored(numbers)
    taken, order = store.taken(ids)
    assert isinstance(taken, PackedPayloads)
    assert [taken[at] for at in order] == [payload(number) for number in numbers]
    assert list(taken) == [taken[at] for at in range(50)]
    assert taken[3:9:2] == tuple(payload(numbers[at]) for at in (3, 5, 7))
    assert len(taken) == 50


def test_contents_that_come_back(small: None) -> None:
    """A content that comes back long after it was forgotten is the same payload all the same."""
    numbers = [at % 11 for at in range(100)]
    store, ids = stored(numbers)
    taken, order = store.taken(ids)
    assert len(taken) == 11
    assert [taken[at] for at in order] == [payload(number) for number in numbers]


def test_only_what_is_used(small: None) -> None:
    """Payloads of rows that came to nothing are not given out."""
    store, ids = stored(list(range(20)))
    taken, order = store.taken(ids[[17, 3]])
    assert list(taken) == [payload(17), payload(3)]
    assert order.tolist() == [0, 1]


def test_digests_that_end_in_zeros(small: None) -> None:
    """A digest is whole whatever its last bytes are."""
    store = PayloadStore()
    odd = [Payload(b"{}", f"{at:02x}" + "00" * 31) for at in range(12)]
    ids = np.array([store.id_of(one) for one in odd], dtype=np.int32)
    taken, _ = store.taken(store.merged(ids))
    assert list(taken) == odd
