"""Reads phone numbers and blocks of them out of cells: each is fine, mended, or rejected.

Clean E.164 numbers (`+14155550100`) are read by the column; whatever else stands in a cell is looked at
one by one, by `batch.phone.forensics`, and remembered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from batch.phone.forensics import PLUS_NOTE, judge_for
from batch.phone.numbering import MOST_DIGITS, clean_starts, code_of, is_valid
from batch.plans import Int32s, Int64s, Problem
from batch.sheets.error_cells import is_error

Cells = Sequence[str] | npt.NDArray[np.object_]
Bools = npt.NDArray[np.bool_]

#: What stands between the ends of a block; a spreadsheet may turn the dots into one sign.
_DOTS = re.compile(r"\s*(?:\.{2,3}|…|‥)\s*")
#: What may stand about the last digits that end a block.
_ABOUT_DIGITS = re.compile(r"[\s\u200b-\u200f\u2060\ufeff'()-]+")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the cells of one number column hold, in arrays as long as the column.

    `values` are the E.164 digits as integers, 0 where the cell is rejected. `notes` index `note_kinds`,
    whose first element is empty (nothing was mended); the others have `{was}` where the cell's text
    belongs and `{number}` where the number does. `problems` say why cells are rejected, by index.
    """

    values: Int64s
    notes: Int32s
    note_kinds: tuple[str, ...]
    problems: dict[int, tuple[Problem, ...]]


@dataclass(frozen=True, slots=True)
class Blocks:
    """What the rows of a sheet hold, in arrays as long as the column: each a block, or one number.

    `first` and `last` are the E.164 digits of its ends as integers: equal for one number, 0 where the row
    is rejected. `notes`, `note_kinds` and `problems` are as in `Reading`.
    """

    first: Int64s
    last: Int64s
    notes: Int32s
    note_kinds: tuple[str, ...]
    problems: dict[int, tuple[Problem, ...]]


def read_numbers(
    cells: Cells,
    *,
    column: str,
    region: str | None = None,
    strict: bool = False,
    full_validity: bool = False,
    numeric: Bools | None = None,
) -> Reading:
    """Read one number out of each cell.

    `column` is the header, for the problems. `region` (ISO 3166, such as `US`) is whose numbers those
    without a country code are; `UsageError` if there is no such region. `strict` mends nothing.
    `full_validity` takes only numbers that the numbering plan assigns; otherwise the country code and the
    length must be possible. `numeric` marks cells that were numbers in the workbook, not text.
    """
    texts: list[str] = cells.tolist() if isinstance(cells, np.ndarray) else list(cells)
    judge = judge_for(region, strict, full_validity)
    values = clean_numbers(texts)
    if full_validity:
        for at in np.flatnonzero(values).tolist():
            if not is_valid(str(values[at])):
                values[at] = 0
    notes = np.zeros(len(texts), dtype=np.int32)
    kinds = {"": 0}
    problems: dict[int, tuple[Problem, ...]] = {}
    for at in np.flatnonzero(values == 0).tolist():
        if judge.lost_only_its_plus(texts[at]):
            values[at] = int(texts[at])
            notes[at] = kinds.setdefault(PLUS_NOTE, len(kinds))
            continue
        verdict = judge.verdict(texts[at], numeric=numeric is not None and bool(numeric[at]))
        if verdict.value:
            values[at] = verdict.value
            notes[at] = kinds.setdefault(verdict.note, len(kinds))
        else:
            problems[at] = (Problem(column, verdict.message, verdict.kind),)
    return Reading(values, notes, tuple(kinds), problems)


def clean_numbers(texts: list[str]) -> Int64s:
    """The E.164 digits of every text that is a `+`, a known country code and a length that it can have.

    0 for every other text. Nothing is stripped and nothing guessed, so nothing is remembered either.
    """
    values = np.zeros(len(texts), dtype=np.int64)
    # One text of all cells, a byte a character: what is not ASCII becomes "?", which is no digit.
    joined = "\n".join(texts)
    if joined.count("\n") >= len(texts):
        joined = "\n".join("?" if "\n" in text else text for text in texts)
    codes = np.frombuffer(joined.encode("ascii", "replace"), dtype=np.uint8)
    ends = np.append(np.flatnonzero(codes == ord("\n")), len(codes))[: len(texts)]
    starts = np.append(0, ends[:-1] + 1)[: len(texts)]
    lengths = ends - starts
    for length in range(5, MOST_DIGITS + 2):
        at = np.flatnonzero(lengths == length)
        if not len(at):
            continue
        first = starts[at]
        clean = codes[first] == ord("+")
        value = np.zeros(len(at), dtype=np.int64)
        for offset in range(1, length):
            digit = codes[first + offset] - np.uint8(ord("0"))  # wraps: all but digits are above 9
            clean &= digit <= 9
            value = value * 10 + digit
        leading = np.where(clean, value // 10 ** (length - 5), 0)
        clean &= clean_starts(length - 1)[leading]
        values[at] = np.where(clean, value, 0)
    return values


def read_blocks(
    cells: Cells,
    to_cells: Cells | None = None,
    *,
    column: str,
    to_column: str = "phone_number_to",
    region: str | None = None,
    strict: bool = False,
    full_validity: bool = False,
    numeric: Bools | None = None,
    limit: int = 100_000,
) -> Blocks:
    """Read one number, or one block, out of each row.

    A block is `+14155550100..+14155550199` or `+14155550100..0199` in one cell, or has its end in
    `to_cells`, under the header `to_column`, where a blank one leaves a single number. An end that is only
    digits, no more than the first number has after its country code, replaces as many of that number's
    last ones. `limit` is the most numbers in a block. With `full_validity` both ends are checked, not all
    that is between them. The other options are those of `read_numbers`.
    """
    starts: list[str] = cells.tolist() if isinstance(cells, np.ndarray) else list(cells)
    ends = _ends_in_cells(starts)
    twice = _ends_beside(ends, to_cells)
    read = read_numbers(
        starts, column=column, region=region, strict=strict, full_validity=full_validity, numeric=numeric
    )
    first, last, notes, problems = read.values, read.values.copy(), read.notes, read.problems
    kinds = {kind: at for at, kind in enumerate(read.note_kinds)}

    # An end is the last digits of its start's, or else a whole number.
    rows = [at for at in ends if first[at]]
    values = [_with_last_digits(int(first[at]), ends[at], strict=strict) for at in rows]
    whole = read_numbers(
        [end if value is None else "" for end, value in zip((ends[at] for at in rows), values, strict=True)],
        column=column,
        region=region,
        strict=strict,
        full_validity=full_validity,
    )
    for place, (at, value) in enumerate(zip(rows, values, strict=True)):
        named = to_column if to_cells is not None and to_cells[at].strip() else column
        if value is None:
            value = int(whole.values[place])
            if note := whole.notes[place]:
                notes[at] = kinds.setdefault(
                    _NOTE_OF_END + whole.note_kinds[note].partition(": ")[2], len(kinds)
                )
        problem = None
        if at in twice:
            message = f"is a block, and {to_column} has an end too: leave one out"
            problem = Problem(column, message, "block.ends")
        elif not ends[at].strip():
            problem = Problem(column, "is a block without an end: write +14155550100..0199", "block.ends")
        elif not value:
            [unread] = whole.problems[place]
            problem = Problem(named, f"the end of the block: {unread.message}", unread.kind)
        else:
            problem = _problem_of(int(first[at]), value, limit, named, full_validity=full_validity)
        last[at] = value
        if problem is not None:
            problems[at] = (problem,)
            first[at] = last[at] = 0
    return Blocks(first, last, notes, tuple(kinds), problems)


_NOTE_OF_END = "the end of the block was mended: "


def _ends_in_cells(starts: list[str]) -> dict[int, str]:
    """Take the ends of blocks out of the cells that have them, by index."""
    # One look at all cells: in most sheets there is no block.
    joined = "\n".join(starts)
    if ".." not in joined and "…" not in joined and "‥" not in joined:
        return {}
    ends = {}
    for at, cell in enumerate(starts):
        start, *end = _DOTS.split(cell, maxsplit=1)
        # Google shows "Loading..." in a cell that is not there yet.
        if end and start.strip() and not is_error(cell.strip()):
            starts[at], ends[at] = start, end[0]
    return ends


def _ends_beside(ends: dict[int, str], to_cells: Cells | None) -> set[int]:
    """Add the ends that stand in a column of their own; the rows that have two are returned."""
    twice = set()
    for at, cell in enumerate(() if to_cells is None else to_cells):
        if cell and cell.strip():
            if at in ends:
                twice.add(at)
            ends[at] = cell
    return twice


def _with_last_digits(start: int, end: str, *, strict: bool) -> int | None:
    """The start with its last digits replaced by the end's; None if the end is written as a whole number."""
    digits = end if strict else _ABOUT_DIGITS.sub("", end)
    whole = str(start)
    national = len(whole) - len(str(code_of(whole)))
    if not (digits.isascii() and digits.isdigit() and len(digits) <= national):
        return None
    return int(whole[: -len(digits)] + digits)


def _problem_of(first: int, last: int, limit: int, column: str, *, full_validity: bool) -> Problem | None:
    """Why two numbers cannot be the ends of a block."""
    block = f"the block +{first}..+{last}"
    if code_of(str(first)) != code_of(str(last)):
        return Problem(column, f"{block} begins in one country and ends in another", "block.countries")
    if len(str(first)) != len(str(last)):
        return Problem(column, f"{block} has ends of different lengths", "block.lengths")
    if last < first:
        return Problem(column, f"{block} runs backwards: exchange its ends", "block.backwards")
    if last - first >= limit:
        message = f"{block} has {last - first + 1:,} numbers, more than {limit:,}; --block-limit allows more"
        return Problem(column, message, "block.limit")
    if full_validity and not is_valid(str(last)):
        message = f"{block}: the numbering plan has no number +{last}"
        return Problem(column, message, "number.invalid")
    return None
