"""Reads worksheets: values through calamine, and what it leaves out from the file itself.

calamine gives an empty text for a cell that shows an error, and for a formula that was saved without its
value; says nothing of hidden rows; and fails hard on a worksheet too sparse to hold. So each worksheet is
looked through first (`xlsx_evidence`, `ods_evidence`, `binary_evidence`), and refused if out of bounds.

Every cell becomes the text that the spreadsheet shows in a plain format: 5061 not 5061.0, at most 15
digits, TRUE, dates as 2026-01-05, 20% for a number shown so (not in `.xls` and `.xlsb`). Formulas of `.xls`
and `.xlsb` cannot be without a value; the texts of a `.xls` are not added up before they are read.
"""

from __future__ import annotations

import bisect
import datetime
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import python_calamine as calamine

from batch.errors import SheetError
from batch.plans import Problem
from batch.schema import did_you_mean
from batch.sheets.binary_evidence import is_protected, look_through_xls, look_through_xlsb
from batch.sheets.chunks import CHUNK_ROWS, Bools, Bounds, Chunk, SheetOptions
from batch.sheets.columns import ColumnMap, letter
from batch.sheets.containers import Container, check_zip, refusing_damage
from batch.sheets.evidence import Evidence
from batch.sheets.headers import SEARCHED_ROWS, find_header, header_of, header_rows, joined
from batch.sheets.sources import Source

T = TypeVar("T")

#: What calamine makes of a cell; a blank one is an empty text.
Value = int | float | str | bool | datetime.time | datetime.date | datetime.datetime | datetime.timedelta
_DATES = (datetime.date, datetime.datetime, datetime.time, datetime.timedelta)

_PROTECTED = "{} is protected by a password: save it without one, and give that"

#: Whole numbers below this are shown with all their digits; a spreadsheet keeps no more than 15.
_EXACT = 10**15


@dataclass(slots=True)
class Worksheet:
    """A worksheet whose header is known; `warnings` are of the workbook as a whole.

    `rows_above` are left out as titles; `header_row`, counted from 1, is the last that the header takes up.
    """

    name: str
    title: str
    source: Source
    bounds: Bounds
    evidence: Evidence
    rows_above: int
    header_row: int
    header: tuple[str, ...]
    warnings: tuple[Problem, ...]
    #: The values, loaded to find the header, until they are read for the first time.
    loaded: calamine.CalamineSheet | None

    def chunks(self, columns: ColumnMap) -> Iterator[Chunk]:
        """All rows below the header, blank ones too."""
        self.source.check_unchanged()
        sheet = self.loaded or _load(self.source, self.title)
        self.loaded = None
        finish = _Finisher(self, columns)
        rows = itertools.islice(_rows(sheet, self.evidence), self.header_row, None)
        first = self.header_row
        while batch := list(itertools.islice(rows, CHUNK_ROWS)):
            yield finish.chunk(first, batch)
            first += len(batch)
        self.source.check_unchanged()


def open_workbook(
    source: Source, container: Container, options: SheetOptions, blocks: Sequence[str]
) -> Worksheet:
    """Pick the worksheet, look through it, and find its header.

    Raises `SheetError` where the workbook is damaged, protected, beyond the bounds, or where it does not say
    which worksheet is meant.
    """
    bounds = options.bounds
    tables: dict[str, Evidence] = {}
    with source.open() as file, refusing_damage(source.name):
        check_zip(file, container, source.name, bounds)
        if container is Container.OLE:
            if is_protected(file):
                raise SheetError(_PROTECTED.format(source.name))
            tables = look_through_xls(file)
            for table in tables.values():
                table.check(source.name, bounds)
        elif container is Container.OPEN_DOCUMENT:
            from batch.sheets.ods_evidence import look_through

            tables = look_through(file, source.name, bounds)
    every = _guarded(source, lambda book: list(book.sheets_metadata))
    title, warnings = _picked(every, source.name, options.worksheet)
    name = source.name if len(every) == 1 else f"{source.name}#{title}"
    evidence = tables[title] if title in tables else _evidence(source, container, title, bounds)
    evidence.check(name, bounds)
    sheet = _load(source, title)
    if container is Container.OFFICE_XML:
        evidence.merged += sheet.merged_cell_ranges or []
    evidence.check_merged(name)

    wanted = options.header_row
    head = list(itertools.islice(_rows(sheet, evidence), max(SEARCHED_ROWS, wanted or 0)))
    rows = [[_text(value) for value in row] for row in head]
    at = wanted - 1 if wanted else find_header(rows, blocks, options.columns)
    if not any(cell.strip() for row in rows for cell in row):
        raise SheetError(f"{name} is empty: a sheet has a header row and a row for each number")
    if at >= len(rows):
        raise SheetError(f"{name}: there is no row {wanted}, which --header-row names")
    header = header_rows(rows, at, evidence.merged)
    cells = joined(rows[header.start : header.stop])
    while cells and not cells[-1].strip():
        cells.pop()
    return Worksheet(
        name, title, source, bounds, evidence, header.start, header.stop, header_of(cells), warnings, sheet
    )


def _picked(
    every: Sequence[calamine.SheetMetadata], name: str, wanted: str | None
) -> tuple[str, tuple[Problem, ...]]:
    """The worksheet that is meant, and a warning of those that nobody sees."""
    titles = [sheet.name for sheet in every if sheet.typ is calamine.SheetTypeEnum.WorkSheet]
    visible = [
        sheet.name
        for sheet in every
        if sheet.name in titles and sheet.visible is calamine.SheetVisibleEnum.Visible
    ]
    shown = ", ".join(f'"{title}"' for title in visible[:20]) or "none"
    if wanted is not None:
        same = [title for title in titles if title == wanted] or [
            title for title in titles if title.strip().casefold() == wanted.strip().casefold()
        ]
        if len(same) != 1:
            hint = did_you_mean(wanted, titles)
            raise SheetError(f'{name} has no worksheet "{wanted}": it has {shown}.{hint}')
        return same[0], ()
    if len(visible) != 1:
        what = f"{len(visible)} worksheets, {shown}" if visible else "no visible worksheet"
        pick = f", or as {name}#{visible[0]}" if visible else ""
        raise SheetError(f"{name} has {what}: pick one with --worksheet{pick}")
    hidden = [title for title in titles if title not in visible]
    if not hidden:
        return visible[0], ()
    names = ", ".join(f'"{title}"' for title in hidden[:20])
    message = f"the workbook has hidden worksheets, which are not read: {names}"
    return visible[0], (Problem("", message, "sheet.hidden_worksheets"),)


def _evidence(source: Source, container: Container, title: str, bounds: Bounds) -> Evidence:
    with source.open() as file, refusing_damage(source.name):
        if container is Container.OFFICE_BINARY:
            return look_through_xlsb(file, title, source.name)
        if container is Container.OFFICE_XML:
            from batch.sheets.xlsx_evidence import look_through

            return look_through(file, title, source.name, bounds)
        raise KeyError(title)


def _load(source: Source, title: str) -> calamine.CalamineSheet:
    return _guarded(source, lambda book: book.get_sheet_by_name(title))


def _guarded(source: Source, use: Callable[[calamine.CalamineWorkbook], T]) -> T:
    """Use the workbook; whatever goes wrong in calamine, its own failures included, is a `SheetError`."""
    damaged = f"{source.name} is damaged: open it in a spreadsheet program, and save it anew"
    try:
        with source.open() as file, refusing_damage(source.name), calamine.load_workbook(file) as book:
            return use(book)
    except calamine.PasswordError as error:
        raise SheetError(_PROTECTED.format(source.name)) from error
    except calamine.CalamineError as error:
        raise SheetError(damaged) from error
    except BaseException as error:
        # A failed assertion in calamine arrives as an exception that is no Exception.
        if type(error).__name__ == "PanicException":
            raise SheetError(damaged) from error
        raise


def _rows(sheet: calamine.CalamineSheet, evidence: Evidence) -> Iterator[list[Value]]:
    """All rows from the first of the worksheet, with all columns from the first.

    Rows at the end that show nothing but errors, or formulas without value, are no rows for calamine.
    """
    start, end = sheet.start, sheet.end
    last_broken = max((row for row, _ in evidence.broken), default=-1)
    rows: Iterator[list[Value]] = sheet.iter_rows()
    if start and start[1]:
        before: list[Value] = [""] * start[1]
        rows = (before + row for row in rows)
    blank: list[Value] = [""] * (end[1] + 1 if end else 1)
    return itertools.chain(rows, itertools.repeat(blank, max(last_broken - (end[0] if end else -1), 0)))


def _text(value: Value) -> str:
    """A cell as the spreadsheet shows it in a plain format."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return _number_text(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ").removesuffix(" 00:00:00")
    if isinstance(value, datetime.timedelta):
        seconds = int(value.total_seconds())
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return value.isoformat()


def _number_text(value: float) -> str:
    whole = -_EXACT < value < _EXACT and value == int(value)
    return str(int(value)) if whole else f"{value:.15G}"


class _Finisher:
    """Makes chunks of rows of values, with what the evidence says of them."""

    def __init__(self, sheet: Worksheet, columns: ColumnMap) -> None:
        self._sheet, self._columns = sheet, columns
        self._broken = sorted(sheet.evidence.broken)
        self._percents = sorted(sheet.evidence.percents)
        self._matched = {columns.number, columns.template, columns.direction, columns.number_to}
        self._matched |= set(columns.overrides)

    def chunk(self, first: int, batch: list[list[Value]]) -> Chunk:
        """The chunk of rows from index `first` of the worksheet on."""
        width, count = len(self._sheet.header), len(batch)
        values = list(zip(*batch, strict=True))
        values += [("",) * count] * (width - len(values))
        problems: dict[int, list[Problem]] = {}
        warnings: dict[int, list[Problem]] = {}
        cells = [self._column(at, values[at], problems, warnings) for at in range(width)]
        numbers = values[self._columns.number]
        numeric: Bools | None = None
        if not set(map(type, numbers)) <= {str}:
            numeric = np.array([type(value) in (int, float) for value in numbers], dtype=np.bool_)
        for column in range(width, len(values)):
            if set(values[column]) == {""}:
                continue
            for at, value in enumerate(values[column]):
                if _text(value).strip():
                    problems.setdefault(at, []).append(self._left_over(column, value))
        self._note_broken(first, count, cells, problems)
        self._note_merged(first, count, problems, warnings)
        for row in self._sheet.evidence.hidden_rows.intersection(range(first, first + count)):
            warnings.setdefault(row - first, []).append(_HIDDEN)
        return Chunk(
            np.arange(first + 1, first + 1 + count, dtype=np.int64),
            tuple(np.array(texts, dtype=object) for texts in cells),
            numeric,
            {at: tuple(found) for at, found in problems.items()},
            {at: tuple(found) for at, found in warnings.items()},
        )

    def _column(
        self,
        column: int,
        values: Sequence[Value],
        problems: dict[int, list[Problem]],
        warnings: dict[int, list[Problem]],
    ) -> list[str]:
        """The texts of a column."""
        header, longest = self._sheet.header[column], self._sheet.bounds.cell_chars
        kinds = set(map(type, values))
        if kinds == {str}:
            texts = list(cast("Sequence[str]", values))
        else:
            # Numbers such as ports are the same over and over.
            shown = {value: _number_text(value) for value in {v for v in values if type(v) is float}}
            texts = [
                value if type(value) is str else shown[value] if type(value) is float else _text(value)
                for value in values
            ]
        if max(map(len, texts), default=0) > longest:
            for at, text in enumerate(texts):
                if len(text) > longest:
                    message = f"has {len(text):,} characters; --max-cell-chars {longest} allows no more"
                    problems.setdefault(at, []).append(Problem(header, message, "cell.too_long"))
                    texts[at] = text[:longest]
        # What stands in the column of numbers is judged there.
        if column != self._columns.number and not kinds.isdisjoint(_DATES):
            warning = Problem(
                header, "is a date or a time: a date is read as year-month-day, 2026-01-31", "cell.date"
            )
            for at, value in enumerate(values):
                if isinstance(value, _DATES):
                    warnings.setdefault(at, []).append(warning)
        return texts

    def _left_over(self, column: int, value: Value) -> Problem:
        message = f'has "{_text(value)[:60]}" in column {letter(column)}, above which there is no header'
        return Problem("", message, "row.ragged")

    def _note_broken(
        self, first: int, count: int, cells: list[list[str]], problems: dict[int, list[Problem]]
    ) -> None:
        header, evidence = self._sheet.header, self._sheet.evidence
        for row, column in _between(self._percents, first, count):
            if column < len(header) and cells[column][row - first]:
                share = float(cells[column][row - first]) * 100
                cells[column][row - first] = f"{share:.15G}%"
        for row, column in _between(self._broken, first, count):
            if column >= len(header):
                continue
            shown = evidence.broken[row, column]
            if shown:
                cells[column][row - first] = shown
                message = f"shows {shown}: mend the formula, or put the value in its place"
                problem = Problem(header[column], message, "cell.error")
            else:
                message = (
                    "is a formula that was saved without its value: open the workbook in a spreadsheet "
                    "program, and save it"
                )
                problem = Problem(header[column], message, "cell.no_value")
            problems.setdefault(row - first, []).append(problem)

    def _note_merged(
        self,
        first: int,
        count: int,
        problems: dict[int, list[Problem]],
        warnings: dict[int, list[Problem]],
    ) -> None:
        """Name the cells that are blank because they are merged with another that has the value."""
        header = self._sheet.header
        for (top, left), (bottom, right) in self._sheet.evidence.merged:
            area = f"{letter(left)}{top + 1}:{letter(right)}{bottom + 1}"
            message = f"is one of the merged cells {area}, of which only the first has the value: split them"
            for row in range(max(top, first), min(bottom + 1, first + count)):
                for column in range(left, min(right + 1, len(header))):
                    if (row, column) == (top, left):
                        continue
                    problem = Problem(header[column], message, "cell.merged")
                    found = problems if column in self._matched else warnings
                    found.setdefault(row - first, []).append(problem)


_HIDDEN = Problem(
    "", "is hidden in the worksheet, perhaps by a filter, and is read all the same", "row.hidden"
)


def _between(places: list[tuple[int, int]], first: int, count: int) -> list[tuple[int, int]]:
    """The places in some rows, out of all, which are sorted."""
    return places[bisect.bisect_left(places, (first, -1)) : bisect.bisect_left(places, (first + count, -1))]
