"""Opens sheets of every kind, and narrows them to the rows that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from batch.errors import SheetError, UsageError
from batch.guard import unguard_all
from batch.plans import Problem
from batch.sheets.chunks import Bounds, Cells, Chunk, Condition, Sheet, SheetOptions
from batch.sheets.columns import ColumnMap, fold, map_columns, nearest, word_of
from batch.sheets.containers import Container, container_of
from batch.sheets.sources import Source, source_of
from batch.states import RequestState

__all__ = [
    "Bounds",
    "Chunk",
    "Condition",
    "Sheet",
    "SheetOptions",
    "open_sheets",
    "parse_condition",
]

_TEXTS = (".csv", ".tsv", ".txt")
_WORKBOOKS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")

#: What a reader of one kind of file gives: name, header row, header, and its rows by column map.
_Rows = Callable[[ColumnMap], Iterator[Chunk]]


def parse_condition(text: str) -> Condition:
    """One `--where`: `COLUMN=VALUE` or `COLUMN!=VALUE`; `UsageError` if it is neither."""
    column, equals, value = text.partition("=")
    if not equals or not column.strip(" !"):
        raise UsageError(f'--where "{text}": write COLUMN=VALUE or COLUMN!=VALUE')
    if column.endswith("!"):
        return Condition(column[:-1].strip(), "!=", value.strip())
    return Condition(column.strip(), "=", value.strip())


def open_sheets(
    paths: Sequence[Path | str], options: SheetOptions | None = None, *, blocks: tuple[str, ...]
) -> list[Sheet]:
    """Open every sheet, up to its header: `-` is standard input, `book.xlsx#Main` one worksheet of several.

    `blocks` are the names at the top of a payload, by which columns that override are known. Raises
    `SheetError` where a file is no sheet, is none that can be read within the bounds, or where its header
    does not say what is what, and `UsageError` for options that fit no sheet.
    """
    options = options or SheetOptions()
    if options.limit is not None and options.limit < 1:
        raise UsageError("--limit: take at least 1 row")
    if options.header_row is not None and options.header_row < 1:
        raise UsageError("--header-row: rows are counted from 1")
    if sum(str(path) == "-" for path in paths) > 1:
        raise UsageError("standard input (-) can be read as one sheet only")
    files = [_file_and_worksheet(path) for path in paths]
    names = _names([path for path, _ in files])
    return [
        _open(path, worksheet, name, options, blocks)
        for (path, worksheet), name in zip(files, names, strict=True)
    ]


def _file_and_worksheet(path: Path | str) -> tuple[Path | str, str | None]:
    """A file and the worksheet that is named behind it, as messages do: `book.xlsx#Main`."""
    file, sign, worksheet = str(path).rpartition("#")
    if sign and worksheet.strip() and not Path(path).exists() and Path(file).is_file():
        return Path(file), worksheet
    return path, None


def _names(paths: Sequence[Path | str]) -> list[str]:
    """What messages call each file: its name, or its path where two files have one name."""
    paths_of: dict[str, set[str]] = {}
    short = ["stdin" if str(path) == "-" else Path(path).name for path in paths]
    for name, path in zip(short, paths, strict=True):
        paths_of.setdefault(name, set()).add(str(path))
    return [name if len(paths_of[name]) == 1 else str(path) for name, path in zip(short, paths, strict=True)]


def _open(
    path: Path | str, worksheet: str | None, name: str, options: SheetOptions, blocks: tuple[str, ...]
) -> Sheet:
    source = source_of(path, name, options.bounds)
    if source.size_bytes == 0:
        raise SheetError(f"{name} is empty: a sheet has a header row and a row for each number")
    with source.open() as file:
        container = container_of(file)
    _check_suffix(source, container)
    if container.is_workbook:
        # Imported when there is one: most sheets are text.
        from batch.sheets.workbooks import open_workbook

        if worksheet is not None:
            options = replace(options, worksheet=worksheet)
        book = open_workbook(source, container, options, blocks)
        name, header_row, header, rows = book.name, book.header_row, book.header, book.chunks
        rows_above, warnings = book.rows_above, book.warnings
    elif worksheet is not None:
        raise SheetError(f'{name} is {container} and has no worksheets: leave out "#{worksheet}"')
    else:
        from batch.sheets.delimited import open_delimited

        tab = source.suffixes[:1] == (".tsv",) or source.suffixes[-1:] == (".tsv",)
        text = open_delimited(source, options, blocks, default_delimiter="\t" if tab else ",")
        header_row, header, rows = text.header_row, text.header, text.chunks
        rows_above, warnings = header_row - 1, ()
    try:
        columns = map_columns(header, blocks=blocks, extra=options.columns)
        narrowing = _Narrowing(header, columns, options)
    except SheetError as error:
        raise SheetError(f"{name}:{header_row}: {error}") from error
    if rows_above and options.header_row is None:
        warnings += (_titles(rows_above),)
    return Sheet(
        name,
        source.path,
        source.sha256,
        header,
        columns,
        header_row,
        lambda: narrowing.narrowed(rows(columns), warnings),
    )


def _check_suffix(source: Source, container: Container) -> None:
    """Refuse a file that is not what its name says: whoever named it so is in error about something."""
    name, last = source.name, source.suffixes[-1:]
    match container:
        case Container.ENCRYPTED:
            raise SheetError(f"{name} is protected by a password: save it without one, and give that")
        case Container.ZIP if last and last[0] in _WORKBOOKS:
            raise SheetError(f"{name} is damaged or was cut short: fetch or save it again")
        case Container.ZIP | Container.WEB_PAGE | Container.XML | Container.PDF | Container.JSON:
            raise SheetError(
                f"{name} is in truth {container}: open it in a spreadsheet program, and save it as .xlsx "
                "or .csv"
            )
        case Container.OFFICE_XML | Container.OFFICE_BINARY | Container.OLE | Container.OPEN_DOCUMENT if (
            last and last[0] in (*_TEXTS, ".gz")
        ):
            raise SheetError(f"{name} is in truth {container}: give it the suffix that belongs to it")
        case Container.TEXT | Container.GZIP if last and last[0] in _WORKBOOKS:
            raise SheetError(f"{name} is in truth {container}: give it the suffix .csv, or save it anew")
        case Container.GZIP if last and last[0] in _TEXTS:
            raise SheetError(f"{name} is in truth {container}: add .gz to its name")
        case _:
            pass


def _titles(rows_above: int) -> Problem:
    rows = {1: "row 1 is", 2: "rows 1 and 2 are"}.get(rows_above, f"rows 1 to {rows_above} are")
    message = f"{rows} left out, because the header was found in row {rows_above + 1}"
    return Problem("", message, "sheet.titles")


class _Narrowing:
    """Leaves out blank rows and those that `--where` and `--limit` do, and takes a report's guards off."""

    def __init__(self, header: tuple[str, ...], columns: ColumnMap, options: SheetOptions) -> None:
        self._header, self._columns, self._limit = header, columns, options.limit
        self._conditions = [(self._column_of(c.column), c.operator == "=", c.value) for c in options.where]
        self._state = next((at for at, name in enumerate(header) if name == "result_state"), None)

    def narrowed(self, chunks: Iterator[Chunk], above: tuple[Problem, ...]) -> Iterator[Chunk]:
        """What is left of each chunk; `above` is a warning for the first row that is left."""
        left = self._limit
        for whole in chunks:
            chunk = self._as_sent(whole) if self._columns.is_report else whole
            keep = self._kept(chunk)[:left]
            if not len(keep):
                continue
            chunk = chunk.take(keep)
            if above:
                chunk.warnings[0] = above + chunk.warnings.get(0, ())
                above = ()
            yield chunk
            if left is not None:
                left -= len(keep)
                if left == 0:
                    return

    def _column_of(self, name: str) -> int:
        for at, other in enumerate(self._header):
            if other == name or (fold(name) and fold(other) == fold(name)):
                return at
        columns = self._columns
        word = {
            "phone_number": columns.number,
            "template": columns.template,
            "direction": columns.direction,
            "phone_number_to": columns.number_to,
        }.get(word_of(name) or "")
        if word is None:
            raise SheetError(
                f'there is no column "{name}", which --where names.{nearest(name, self._header)}'
            )
        return word

    def _kept(self, chunk: Chunk) -> npt.NDArray[np.int64]:
        """The indices of rows that are not blank and fit all conditions."""
        number = chunk.cells[self._columns.number].tolist()
        blank = [
            at
            for at, cell in enumerate(number)
            if (not cell or cell.isspace())
            and at not in chunk.problems
            and not any(column[at].strip() for column in chunk.cells)
        ]
        keep = np.ones(len(number), dtype=np.bool_)
        keep[blank] = False
        for column, wanted, value in self._conditions:
            fits = [cell == value or cell.strip() == value for cell in chunk.cells[column].tolist()]
            keep &= np.array(fits, dtype=np.bool_) == wanted
        return np.flatnonzero(keep)

    def _as_sent(self, chunk: Chunk) -> Chunk:
        """A report's cells as they were before it was written.

        Where a line is the report of a request, its number is one of a block, and the end of that block is
        not to be taken for one again.
        """
        cells = [_objects(unguard_all(column.tolist())) for column in chunk.cells]
        number_to = self._columns.number_to
        if number_to is not None and self._state is not None:
            requests = set(RequestState)
            states = cells[self._state].tolist()
            ends = cells[number_to].tolist()
            cells[number_to] = _objects(
                ["" if state in requests else end for state, end in zip(states, ends, strict=True)]
            )
        return Chunk(chunk.rows, tuple(cells), chunk.numeric, chunk.problems, chunk.warnings)


def _objects(texts: Sequence[str]) -> Cells:
    return np.array(texts, dtype=object)
