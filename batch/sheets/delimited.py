"""Reads sheets that are text: cells between commas, semicolons, tabs or bars, perhaps in quotes.

pandas reads them, a chunk at a time. What it would get wrong without a word (a NUL), or gives up on (more
cells in a row than in the header, a quote that never closes), is read from that chunk on by the `csv`
module, which follows the same rules, takes some times as long, and shows each row by itself.

Rows are counted as spreadsheets do: a cell with line breaks in quotes does not end its row, and a blank
line is a row (so show it LibreOffice and Excel). A first line `sep=;`, which tells Excel the delimiter, is
no row, as in Excel. A row with fewer cells than the header ends in blank ones, because spreadsheets leave
the last blank cells out when they save; a row with more is a problem, unless those are blank.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

import numpy as np
import pandas as pd
from pandas.io.parsers import TextFileReader

from batch.errors import SheetError, UsageError
from batch.plans import Problem
from batch.sheets.chunks import CHUNK_ROWS, Cells, Chunk, SheetOptions
from batch.sheets.columns import ColumnMap, letter
from batch.sheets.decoding import Text, text_of
from batch.sheets.headers import SEARCHED_ROWS, find_header, header_of, likeness
from batch.sheets.sources import Source

DELIMITERS = ",;\t|"

#: No line of a sheet is longer; what is, has no line ends, or no end of a quote.
_LINE_CHARS = 4_000_000

#: What pandas may take in for one chunk; only a quote that does not close needs more.
_CHUNK_CHARS = 400_000_000

#: Ends what is read, so that a quote that was still open then can be told.
_END = "\0the end of the text\0"

_SEPARATOR_LINE = re.compile(r"\s*\"?sep=(.)\"?\s*", re.IGNORECASE)
_NUMBER = re.compile(r"[\s\"']*\+?[\d(][\d ().-]{6,}[\s\"']*")
_LINE_END = re.compile(r"\r\n|\r|\n")


class _Irregular(Exception):  # noqa: N818 - hands over from pandas to the csv module, and is no error
    pass


@dataclass(frozen=True, slots=True)
class Delimited:
    """A text sheet whose delimiter and header are known; `header_row` counts from 1.

    `lines_before` are lines above row 1 that are no rows.
    """

    text: Text
    delimiter: str
    header_row: int
    header: tuple[str, ...]
    lines_before: int
    cell_chars: int

    def chunks(self, columns: ColumnMap) -> Iterator[Chunk]:
        """All rows below the header, blank ones too."""
        self.text.source.check_unchanged()
        finish = _Finisher(self, columns.number)
        rows_done = 0
        try:
            for cells, watched in self._read_fast():
                yield finish.chunk(rows_done, cells, in_doubt=watched.in_doubt)
                rows_done += len(cells[0])
        except _Irregular:
            for cells in self._read_exactly(rows_done):
                yield finish.chunk(rows_done, cells, in_doubt=True)
                rows_done += len(cells[0])
        self.text.source.check_unchanged()

    def _read_fast(self) -> Iterator[tuple[list[Cells], _Watched]]:
        """Columns of about 50,000 rows, one more than the header has; `_Irregular` where that will not do."""
        width = len(self.header) + 1
        with self.text.open() as stream:
            records = csv.reader(_lines(stream, self.text.source.name), delimiter=self.delimiter)
            self._skip(stream, records, self.header_row)
            watched = _Watched(stream, self.text.source.name, self.cell_chars)
            frames = None
            while True:
                try:
                    with warnings.catch_warnings():
                        # It only warns, and reads on, where the row that begins a chunk has too many cells.
                        warnings.simplefilter("error", pd.errors.ParserWarning)
                        frames = frames or self._frames(watched, width)
                        frame = next(frames)
                except StopIteration:
                    return
                except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
                    raise (watched.failed or _Irregular()) from error
                if watched.has_nul:
                    raise _Irregular
                yield [frame[at].to_numpy() for at in range(width)], watched
                watched.chunk_taken()

    def _frames(self, watched: _Watched, width: int) -> TextFileReader:
        return pd.read_csv(
            watched,
            sep=self.delimiter,
            header=None,
            names=range(width),
            # Python strings as they are: faster than any string type, and no text means "missing".
            dtype=object,
            keep_default_na=False,
            na_filter=False,
            index_col=False,
            skip_blank_lines=False,
            low_memory=False,
            chunksize=CHUNK_ROWS,
        )

    def _read_exactly(self, rows_done: int) -> Iterator[list[Cells]]:
        """The same from some row on; a last column has what is too many, each row's joined."""
        name, width = self.text.source.name, len(self.header)
        row = self.header_row + rows_done
        csv.field_size_limit(max(131_072, 4 * self.cell_chars))
        with self.text.open() as stream:
            lines = itertools.chain(_lines(stream, name), [_END])
            records = csv.reader(lines, delimiter=self.delimiter)
            self._skip(stream, records, row)
            ended = False
            while not ended:
                cells: list[list[str]] = []
                try:
                    for record in itertools.islice(records, CHUNK_ROWS):
                        row += 1
                        if record and record[-1].endswith(_END):
                            ended = True
                            if record != [_END]:
                                raise SheetError(self._unclosed(row, len(record) - 1))
                            break
                        cells.append(_fitted(record, width, self.delimiter))
                except csv.Error as error:
                    raise SheetError(self._unclosed(row + 1, None)) from error
                if cells:
                    yield [np.array(column, dtype=object) for column in zip(*cells, strict=True)]

    def _skip(self, stream: TextIO, records: Iterator[list[str]], count: int) -> None:
        for _ in range(self.lines_before):
            stream.readline()
        for _ in range(count):
            next(records)

    def _unclosed(self, row: int, column: int | None) -> str:
        place = ""
        if column is not None and column < len(self.header):
            place = f" {self.header[column] or 'column ' + letter(column)}:"
        return (
            f'{self.text.source.name}:{row}{place} a quote (") opens in this row and is not closed: all that '
            'is below would be one cell. Close it, or take it out (a quote in a quoted cell is written "")'
        )


def open_delimited(
    source: Source, options: SheetOptions, blocks: Sequence[str], *, default_delimiter: str
) -> Delimited:
    """Find out the encoding, the delimiter and the header of a text file.

    Raises `SheetError` where it is no text, has no such row or is too wide.
    """
    text = text_of(source, options.encoding, options.bounds)
    if options.delimiter is not None and not re.fullmatch(r'[^"\r\n\0]', options.delimiter, re.ASCII):
        raise UsageError(
            f"--delimiter {options.delimiter!r}: give one character, such as ; or |, or tab as $'\\t'"
        )
    wanted = options.header_row
    with text.open() as stream:
        lines = list(itertools.islice(_lines(stream, source.name), max(SEARCHED_ROWS, wanted or 0) * 4))
    separator = _SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    delimiters = options.delimiter or (separator[1] if separator else DELIMITERS)
    found = []
    for delimiter in delimiters:
        rows = _first_rows(lines[1:] if separator else lines, delimiter)
        at = wanted - 1 if wanted else find_header(rows, blocks, options.columns)
        if at < len(rows):
            found.append((likeness(rows[at], blocks, options.columns), delimiter, at, rows[at]))
    if not found:
        if wanted:
            raise SheetError(f"{source.name}: there is no row {wanted}, which --header-row names")
        raise SheetError(
            f"{source.name}: its first line is too long for a sheet: is it another kind of file?"
        )
    # The first of equals, and the usual delimiter of the file's suffix before the others.
    found.sort(key=lambda one: (one[0], one[1] == default_delimiter), reverse=True)
    _, delimiter, at, cells = found[0]
    if len(cells) > options.bounds.columns:
        raise SheetError(
            f"{source.name}: the header has {len(cells):,} columns; --max-columns {options.bounds.columns} "
            "allows no more"
        )
    return Delimited(
        text, delimiter, at + 1, header_of(cells), 1 if separator else 0, options.bounds.cell_chars
    )


def _first_rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """Rows down to one with a cell so long that the csv module refuses it: a header is above that."""
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):
        rows.extend(csv.reader(lines, delimiter=delimiter))
    return rows


def _lines(stream: TextIO, name: str) -> Iterator[str]:
    """Lines with their ends, of which `\\n`, `\\r\\n` and `\\r` are such."""
    while line := stream.readline(_LINE_CHARS):
        if len(line) == _LINE_CHARS:
            raise SheetError(_too_long(name))
        yield line


def _too_long(name: str) -> str:
    return f"{name} has a line of more than {_LINE_CHARS:,} characters: is it a sheet?"


def _fitted(record: list[str], width: int, delimiter: str) -> list[str]:
    """A row with as many cells as the header, and one more for what is too many."""
    if len(record) > width:
        return [*record[:width], delimiter.join(record[width:]).strip(delimiter)]
    return record + [""] * (width + 1 - len(record))


class _Watched(io.TextIOBase):
    """What pandas reads from: a text that is looked over as it passes."""

    def __init__(self, stream: TextIO, name: str, cell_chars: int) -> None:
        super().__init__()
        self._stream, self._name = stream, name
        self._window_chars = min(cell_chars // 2, 1 << 14)
        self._since_line_end = 0
        self._since_chunk = 0
        self.has_nul = False
        #: A cell may be too long, or have line breaks in it.
        self.in_doubt = self._window_chars < 1_000
        self.failed: Exception | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> str:
        try:
            text = self._stream.read(-1 if size is None else size)
            self._look(text)
        except Exception as error:
            self.failed = error
            raise
        return text

    def chunk_taken(self) -> None:
        """Begin to count anew how much makes one chunk."""
        self._since_chunk = 0

    def _look(self, text: str) -> None:
        self.has_nul = self.has_nul or "\0" in text
        first, last = _line_ends(text)
        longest = self._since_line_end + first
        self.in_doubt = (
            self.in_doubt
            or '"' in text
            or longest > 2 * self._window_chars
            or _has_long_line(text, self._window_chars)
        )
        self._since_line_end = longest if first == len(text) else len(text) - last
        self._since_chunk += len(text)
        if self._since_line_end > _LINE_CHARS:
            raise SheetError(_too_long(self._name))
        if self._since_chunk > _CHUNK_CHARS:
            # A quote that swallows the rest of the file must not fill the memory with it.
            raise _Irregular


def _line_ends(text: str) -> tuple[int, int]:
    """Where the first line end is, and where the last; the length where there is none."""
    ends = [end for end in (text.find("\n"), text.find("\r")) if end >= 0]
    if not ends:
        return len(text), len(text)
    return min(ends), max(text.rfind("\n"), text.rfind("\r"))


def _has_long_line(text: str, window_chars: int) -> bool:
    """Whether a line may be longer than two windows: then some window has no line end in it."""
    return any(
        "\n" not in (window := text[start : start + window_chars]) and "\r" not in window
        for start in range(0, len(text) - window_chars, window_chars)
    )


class _Finisher:
    """Makes chunks of columns: says what is wrong with rows by their form."""

    def __init__(self, sheet: Delimited, number_column: int) -> None:
        self._sheet, self._number_column = sheet, number_column

    def chunk(self, rows_done: int, columns: list[Cells], *, in_doubt: bool) -> Chunk:
        """The chunk of these columns, the last of which has what is too many in each row."""
        *cells, too_many = columns
        problems: dict[int, list[Problem]] = {}
        for at in np.flatnonzero(too_many != "").tolist():
            if left_over := str(too_many[at]).strip():
                problems.setdefault(at, []).append(self._ragged(left_over))
        if in_doubt:
            cells = [self._looked_over(at, column, problems) for at, column in enumerate(cells)]
        first = self._sheet.header_row + 1 + rows_done
        return Chunk(
            np.arange(first, first + len(too_many), dtype=np.int64),
            tuple(cells),
            problems={at: tuple(found) for at, found in problems.items()},
        )

    def _ragged(self, left_over: str) -> Problem:
        count, sign = len(self._sheet.header), self._sheet.delimiter.replace("\t", "tab")
        return Problem(
            "",
            f'has more cells than the header, which has {count}: "{left_over[:60]}" is left over. A cell '
            f"with a {sign} in it must stand in quotes",
            "row.ragged",
        )

    def _looked_over(self, column: int, cells: Cells, problems: dict[int, list[Problem]]) -> Cells:
        """Cells that are too long, have a NUL in them or swallow rows; the long ones are cut."""
        header, longest = self._sheet.header[column], self._sheet.cell_chars
        texts: list[str] = cells.tolist()
        joined = "".join(texts)
        if max(map(len, texts), default=0) > longest:
            for at, text in enumerate(texts):
                if len(text) > longest:
                    message = f"has {len(text):,} characters; --max-cell-chars {longest} allows no more"
                    problems.setdefault(at, []).append(Problem(header, message, "cell.too_long"))
                    texts[at] = text[:longest]
            cells = np.array(texts, dtype=object)
        if "\0" in joined:
            for at, text in enumerate(texts):
                if "\0" in text:
                    message = "has a NUL character in it: the file is damaged, or its encoding is another"
                    problems.setdefault(at, []).append(Problem(header, message, "cell.nul"))
        if "\n" in joined or "\r" in joined:
            for at, text in enumerate(texts):
                if count := self._swallowed(text):
                    message = (
                        f'has {count} rows in it that a quote (") swallowed, which opens in this row: close '
                        'it, or take it out (a quote within a quoted cell is written "")'
                    )
                    problems.setdefault(at, []).append(Problem(header, message, "row.quote"))
        return cells

    def _swallowed(self, text: str) -> int:
        """How many lines in a cell look like rows of the sheet."""
        _, *lines = _LINE_END.split(text)
        rows = [line.split(self._sheet.delimiter) for line in lines]
        at = self._number_column
        return sum(1 for row in rows if len(row) > max(at, 1) and _NUMBER.fullmatch(row[at]))
