"""Finds the header of a sheet, under whatever titles stand above it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from batch.guard import unguard_all
from batch.sheets.columns import RESULT_COLUMNS, fold, word_of

#: How far down a header is looked for.
SEARCHED_ROWS = 30

_LOOKS_LIKE_DATA = re.compile(r"\d{7}")


#: A merged area of a worksheet: the row and column of its first cell, and of its last, counted from 0.
Area = tuple[tuple[int, int], tuple[int, int]]


class Likeness(NamedTuple):
    """How much a row looks like a header; the greater, the more."""

    has_number: bool
    known: int
    width: int


def likeness(cells: Sequence[str], blocks: Sequence[str], extra: Mapping[str, str]) -> Likeness:
    """Compare a row with the words that headers are made of; `extra` is what `--map` named."""
    named = {fold(name): word_of(meaning) or meaning for meaning, name in extra.items()}
    words = [named.get(fold(cell)) or word_of(cell) for cell in cells]
    folded = {fold(block) for block in blocks}
    known = sum(
        1
        for cell, word in zip(cells, words, strict=True)
        if word or ("." in cell and fold(cell.split(".")[0]) in folded) or cell.strip() in RESULT_COLUMNS
    )
    filled = sum(1 for cell in cells if cell.strip())
    is_data = any(_LOOKS_LIKE_DATA.search(cell) for cell in cells)
    return Likeness("phone_number" in words and not is_data, 0 if is_data else known, filled)


def find_header(rows: Sequence[Sequence[str]], blocks: Sequence[str], extra: Mapping[str, str]) -> int:
    """The index of the header among the first rows of a sheet.

    It is the row with a column of numbers that knows most of the other words, the first of them; where no row
    has one, the row that knows most of the others; where none knows any, the first that is not blank.
    """
    found = [likeness(cells, blocks, extra) for cells in rows[:SEARCHED_ROWS]]
    best = max(((like.has_number, like.known) for like in found), default=(False, 0))
    if best > (False, 0):
        return next(at for at, like in enumerate(found) if (like.has_number, like.known) == best)
    return next((at for at, like in enumerate(found) if like.width), 0)


def header_rows(rows: Sequence[Sequence[str]], at: int, merged: Sequence[Area]) -> range:
    """The rows that a header takes up: more than one where cells of it are merged with those below or above.

    Rows of data are none, whatever they are merged with.
    """
    first = last = at
    for (top, _), (bottom, _) in merged:
        if top <= at <= bottom < len(rows):
            first, last = min(first, top), max(last, bottom)
    # A number may be written with signs between its digits, and must not be lost to the header.
    if any(sum(map(str.isdigit, cell)) >= 7 for cells in rows[first : last + 1] for cell in cells):
        return range(at, at + 1)
    return range(first, last + 1)


def joined(rows: Sequence[Sequence[str]]) -> list[str]:
    """The cells of a header of several rows as one: of each column the lowest that is not blank."""
    return [
        next((cell for cell in reversed(column) if cell.strip()), "")
        for column in itertools.zip_longest(*rows, fillvalue="")
    ]


def header_of(cells: Sequence[str]) -> tuple[str, ...]:
    """The names in a header row: each in one line, and without the guards that a report puts on."""
    names = [" ".join(cell.split()) for cell in cells]
    if any(name in RESULT_COLUMNS for name in names):
        names = [" ".join(cell.split()) for cell in unguard_all(cells)]
    return tuple(names)
