"""Promises of `batch.journal.row_types`: what a disk made of a row is not taken for the row."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from batch.journal.row_types import RowTypes, check_seconds
from batch.states import RequestState


class Told(NamedTuple):
    """A row with every kind of column."""

    seq: int
    state: RequestState
    at: float
    status: int | None
    since: float | None


@pytest.mark.parametrize(
    "row", [(1, "pending", 1.5, None, None), (1, "failed", 2, 404, 1.5), (1, "failed", 2.0, 404, 2)]
)
def test_a_row_as_it_was_written_is_taken(row: tuple[object, ...]) -> None:
    """SQLite gives a state as its text, and a whole second perhaps as a whole number."""
    assert RowTypes(Told).check(row) is row


@pytest.mark.parametrize(
    "row",
    [
        ("1", "pending", 1.5, None, None),
        (1, b"pending", 1.5, None, None),
        (1, "pending", None, None, None),
        (1, "pending", 1.5, 4.04, None),
        (1, "pending", 1.5, None, "1.5"),
        (None, "pending", 1.5, None, None),
    ],
)
def test_a_row_of_other_types_is_refused(row: tuple[object, ...]) -> None:
    """Also after many that were right."""
    types = RowTypes(Told)
    types.check((1, "pending", 1.5, None, None))
    for _ in range(2):
        with pytest.raises(TypeError, match="in place of"):
            types.check(row)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 1e300, 253_402_300_800.0])
def test_what_is_no_time_is_refused(value: float) -> None:
    """Whatever the bits of a time were turned into, it can be written as a time or is refused."""
    check_seconds(None, 0.0, 1_785_144_600.25, 253_402_300_799.0)
    with pytest.raises(ValueError, match="no time"):
        check_seconds(0.0, value)
