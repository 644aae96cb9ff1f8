"""Promises of `batch.guard`: nothing in a report runs, and everything reads back as it was."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batch.guard import guard, guard_all, unguard, unguard_all

FORMULAS = [
    '=HYPERLINK("http://evil.example","click")',
    "=1+1",
    "+1+1",
    "-1+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "  =1+1",
    "\u00a0=1+1",
    "\ufeff=1+1",
    "＝1+1",
    "＋1",
    "－1",
    "＠SUM(1)",
    "=",
    "-",
    "+14155550100..+14155550199",
    "+1 415 555 0100",
    "-1.2.3",
    "+1415555０１００",
    "+14155550100\n",
]

HARMLESS = [
    "",
    "plain",
    "+14155550100",
    "-5",
    "-2.5",
    "0",
    "a=b",
    "it's",
    "'quoted'",
    "'",
    " leading space",
    "sip:a@b.example",
]

#: Text made of the characters that matter here, in every order.
tricky = st.text(alphabet="=+-@\t\r\n '0123456789.ab＝＋－＠\u00a0\ufeff\u200b\0", max_size=12)
cells = st.one_of(tricky, st.text(max_size=30))


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_formula_gets_a_quote(cell: str) -> None:
    """A cell that a spreadsheet would run begins with a quote in the report."""
    assert guard(cell) == "'" + cell


@pytest.mark.parametrize("cell", HARMLESS)
def test_what_cannot_run_is_left_alone(cell: str) -> None:
    """An E.164 number keeps its plus sign in front, and so does everything that is no formula."""
    assert guard(cell) == cell


@pytest.mark.parametrize("blank", [c for c in map(chr, range(0x10000)) if c.isspace()])
def test_no_blank_hides_a_formula(blank: str) -> None:
    """Whatever Unicode calls white space, a formula behind it is found."""
    assert guard(f"{blank}=1+1") == f"'{blank}=1+1"


@given(cells)
@example("'=1")
@example("''=1")
@example("'+14155550100")
@example("'-5")
@example("'")
def test_what_the_guard_puts_on_is_what_the_reader_takes_off(cell: str) -> None:
    """A guarded cell reads back as the very cell it was, quotes of its own included."""
    assert unguard(guard(cell)) == cell


@given(cells)
def test_no_guarded_cell_begins_a_formula(cell: str) -> None:
    """Whatever the cell, a spreadsheet finds no formula in what is written, blanks aside."""
    written = guard(cell).lstrip(" \u00a0\u200b\ufeff\0")
    harmless = written[:1] not in set("=+-@\t\r\n＝＋－＠")
    number = written[1:].replace(".", "", 1).isdecimal() and written.isascii()
    assert harmless or number


@given(cells, cells)
def test_different_cells_stay_different(one: str, other: str) -> None:
    """The guard never makes two cells the same."""
    assert (guard(one) == guard(other)) == (one == other)


@given(st.lists(cells))
def test_a_column_is_guarded_like_its_cells(column: list[str]) -> None:
    """Guarding a whole column is guarding each of its cells."""
    assert guard_all(column) == [guard(cell) for cell in column]
    assert unguard_all(guard_all(column)) == column
