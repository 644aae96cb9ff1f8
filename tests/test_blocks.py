"""Promises of `batch.phone.reading.read_blocks`: contiguous ranges of numbers, in three notations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.phone.reading import Blocks, read_blocks

FIRST, LAST = 14155550100, 14155550199


def read(cell: str, to: str | None = None, **options: object) -> Blocks:
    """One row, with the end of the block in a column of its own if there is one."""
    return read_blocks([cell], None if to is None else [to], column="DID", **options)


@pytest.mark.parametrize(
    "cell",
    [
        "+14155550100..+14155550199",
        "+14155550100..0199",
        "+14155550100..199",
        "+14155550100 .. 0199",
        "+14155550100…0199",
        "+1 (415) 555-0100..+1 (415) 555-0199",
        "14155550100..14155550199",
        "+14155550100..5550199",
    ],
)
def test_a_block_in_one_cell(cell: str) -> None:
    """A block is two numbers with two dots between, the last whole or only its last digits."""
    blocks = read(cell)
    assert (blocks.first.tolist(), blocks.last.tolist(), blocks.problems) == ([FIRST], [LAST], {})


@pytest.mark.parametrize("to", ["+14155550199", "0199", "199", " 199 ", "(415) 555-0199", "415-555-0199"])
def test_a_block_in_two_cells(to: str) -> None:
    """The end of a block may stand in a column of its own, in the same two forms."""
    blocks = read("+14155550100", to)
    assert (blocks.first.tolist(), blocks.last.tolist(), blocks.problems) == ([FIRST], [LAST], {})


@pytest.mark.parametrize(
    ("cell", "to"), [("+14155550100", ""), ("+14155550100", "  "), ("+14155550100..0100", "")]
)
def test_a_row_without_an_end_is_one_number(cell: str, to: str) -> None:
    """A blank end, or an end that is the beginning, leaves a single number."""
    blocks = read(cell, to)
    assert (blocks.first.tolist(), blocks.last.tolist()) == ([FIRST], [FIRST])


@pytest.mark.parametrize(
    ("cell", "kind", "evidence"),
    [
        ("+14155550199..0100", "block.backwards", "runs backwards"),
        ("+14155550100..+442079460958", "block.countries", "begins in one country and ends in another"),
        ("+4930123456..+4930123456789", "block.lengths", "ends of different lengths"),
        ("+14155550100..", "block.ends", "without an end"),
        ("+14155550100..x", "number.letters", "the end of the block"),
        ("+14155550100..+1415555019", "number.length", "the end of the block"),
        ("x..0199", "number.letters", '"x" has letters'),
        ("..0199", "number.country_code", '"..0199"'),
        ("+14155550100..1.41556E+10", "number.lost_digits", "the end of the block"),
        ("+14155550000..9550999", "block.limit", "has 4,001,000 numbers, more than 100,000; --block-limit"),
    ],
)
def test_a_block_that_cannot_be_is_rejected(cell: str, kind: str, evidence: str) -> None:
    """A block whose ends do not fit each other, or that is too long, is rejected with the reason."""
    blocks = read(cell)
    assert (blocks.first.tolist(), blocks.last.tolist()) == ([0], [0])
    [problem] = blocks.problems[0]
    assert (problem.column, problem.kind) == ("DID", kind)
    assert evidence in problem.message


def test_an_end_in_two_places_is_rejected() -> None:
    """A row that has an end in the cell and one beside it is rejected, even if both are the same."""
    [problem] = read("+14155550100..0199", "0199").problems[0]
    assert problem.kind == "block.ends"


def test_a_fault_of_the_end_is_in_its_column() -> None:
    """What is wrong with an end that has a column of its own is said of that column."""
    [problem] = read("+14155550100", "n/a").problems[0]
    assert (problem.column, problem.kind) == ("phone_number_to", "number.letters")


def test_what_was_mended_in_the_end_is_noted() -> None:
    """A mended end is noted as such, with what was done to it."""
    blocks = read("+14155550100", "tel:+1-415-555-0199")
    assert blocks.last.tolist() == [LAST]
    assert (
        blocks.note_kinds[blocks.notes[0]] == "the end of the block was mended: tel: removed, dashes removed"
    )


def test_the_limit_is_an_option() -> None:
    """A limit allows blocks of exactly that many numbers, and no more."""
    assert read("+14155550100..0199", limit=100).problems == {}
    assert read("+14155550100..0199", limit=99).problems[0][0].kind == "block.limit"


def test_strict_takes_blocks_of_clean_numbers() -> None:
    """With --strict both ends must be written as E.164, or the last as digits."""
    assert read("+14155550100..+14155550199", strict=True).last.tolist() == [LAST]
    assert read("+14155550100..0199", strict=True).last.tolist() == [LAST]
    assert read("14155550100..0199", strict=True).problems[0][0].kind == "number.strict"


def test_full_validity_asks_for_both_ends() -> None:
    """With full validity the last number of a block must be one that can be assigned, too."""
    blocks = read("+14155550100..+14159550100", full_validity=True, limit=10**7)
    assert blocks.problems == {}
    blocks = read("+14155550100..+15105550100", full_validity=True, limit=10**9)
    assert blocks.problems == {}
    blocks = read("+14155550100..+14191550100", full_validity=True, limit=10**9)
    assert blocks.problems[0][0].kind == "number.invalid"


def test_rows_of_all_kinds_stand_side_by_side() -> None:
    """Numbers, blocks and rejects of one column keep their places."""
    blocks = read_blocks(["+14155550100", "bad", "+14155550100..0199"], ["", "", ""], column="DID")
    assert blocks.first.tolist() == [FIRST, 0, FIRST]
    assert blocks.last.tolist() == [FIRST, 0, LAST]
    assert list(blocks.problems) == [1]


@given(st.integers(2_000_000, 9_999_990), st.integers(0, 9_999), st.integers(1, 7))
def test_last_digits_replace_as_many(start: int, width: int, shown: int) -> None:
    """An end given by its last digits is the number that has those, where that is one block."""
    first, last = 14150000000 + start, 14150000000 + min(start + width, 9_999_999)
    blocks = read(f"+{first}..{str(last)[-shown:]}")
    same_beginning = str(first)[:-shown] == str(last)[:-shown]
    assert not same_beginning or blocks.last.tolist() == [last]


@given(st.text(alphabet="+0123456789.- x…", max_size=30), st.text(alphabet="+0123456789. x", max_size=12))
def test_any_row_is_a_block_or_a_problem(cell: str, to: str) -> None:
    """Whatever two cells hold, they are a block that runs forwards, within the limit, or a problem."""
    blocks = read(cell, to, region="US")
    first, last = int(blocks.first[0]), int(blocks.last[0])
    assert (first == 0) == (last == 0) == (0 in blocks.problems)
    assert first <= last < first + 100_000
