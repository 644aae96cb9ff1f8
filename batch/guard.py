"""Cells that a spreadsheet would run are made harmless when written, and are as before when read back.

A spreadsheet takes a cell of a CSV that begins with `=`, `+`, `-` or `@` for a formula (their full-width
forms too, and blanks before them do not help), and a leading tab or line break can hide one. Such a cell
gets a leading `'`, the sign by which spreadsheets mark text. Two kinds are left alone, because nothing in
them can run and everyone who reads a report needs them as they are: E.164 numbers (`+14155550100`) and
plain negative numbers (`-5`, `-2.5`).

`unguard(guard(cell)) == cell` for every cell, because a cell that already looks guarded (`'=A1`) gets
another `'`. Source of the list: OWASP, "CSV Injection".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Blank or invisible characters that a spreadsheet may drop before it looks for a formula: all that
#: Unicode calls white space, NUL, and those of no width.
_BLANKS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000\0\xad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
)
_SIGNS = "=+-@＝＋－＠"
_RUNS = rf"[{_BLANKS}]*[{re.escape(_SIGNS)}\t\r\n]"
_NEEDS_GUARD = re.compile(rf"(?!\+[0-9]+\Z|-[0-9]+(?:\.[0-9]+)?\Z)'*{_RUNS}")
_IS_GUARDED = re.compile(rf"'+{_RUNS}")

#: Every character that a cell which needs a guard can begin with: most cells are done with one look.
_FIRST = frozenset(_BLANKS + _SIGNS + "'")


def guard(cell: str) -> str:
    """The cell as a sheet may hold it: with a leading `'` where a spreadsheet would run it."""
    if cell and cell[0] in _FIRST and _NEEDS_GUARD.match(cell):
        return "'" + cell
    return cell


def unguard(cell: str) -> str:
    """The cell as it was before `guard`; a cell of a sheet that was never guarded may lose a `'`."""
    if cell and cell[0] == "'" and _IS_GUARDED.match(cell):
        return cell[1:]
    return cell


def guard_all(cells: Iterable[str]) -> list[str]:
    """`guard` over a column of cells."""
    first = _FIRST
    return [guard(cell) if cell and cell[0] in first else cell for cell in cells]


def unguard_all(cells: Iterable[str]) -> list[str]:
    """`unguard` over a column of cells."""
    return [unguard(cell) if cell and cell[0] == "'" else cell for cell in cells]
