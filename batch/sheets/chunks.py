"""What a sheet is once it is open: how it is to be read, and the rows that come out, in columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from batch.plans import Int64s, Problem
from batch.sheets.columns import ColumnMap

#: One column of cells: Python strings, "" where there is none.
Cells = npt.NDArray[np.object_]
Bools = npt.NDArray[np.bool_]

#: Rows of a chunk, before `--where` and `--limit`.
CHUNK_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that is read of a file. Each is an option, `--max-` and its name: `--max-unpacked-mb`.

    `unpacked_mb` (of 10^6 bytes) is what a workbook or a `.gz` may unpack to, and what the texts of a
    worksheet's cells may come to; `ratio` is how many times its packed size that may be (small files are let
    be), `entries` how many files a workbook may consist of. `cell_chars` is the length of one cell (a
    spreadsheet's own limit is 32,767), `columns` the width of a sheet, `cells` its rows × columns in a
    workbook, which is held whole.
    """

    unpacked_mb: int = 1_000
    ratio: int = 200
    entries: int = 10_000
    cell_chars: int = 32_767
    columns: int = 1_000
    cells: int = 30_000_000


class Condition(NamedTuple):
    """One `--where`: rows whose cell in `column` is (`=`) or is not (`!=`) `value`."""

    column: str
    operator: Literal["=", "!="]
    value: str


@dataclass(frozen=True, slots=True)
class SheetOptions:
    """How sheets are read.

    `encoding`, `delimiter`, `worksheet` and `header_row` (as the spreadsheet counts, from 1) are found out
    where they are None. `columns` is what `--map` named: meaning to header. `where` and `limit` narrow each
    sheet: all conditions hold, and no more than `limit` rows are taken.
    """

    encoding: str | None = None
    delimiter: str | None = None
    worksheet: str | None = None
    header_row: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    where: tuple[Condition, ...] = ()
    limit: int | None = None
    bounds: Bounds = field(default_factory=Bounds)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive rows of a sheet, in columns.

    `rows` are the numbers that the spreadsheet shows. `cells` has one array for each column of the header,
    all as long as `rows`; cells are as the sheet has them, with their blanks. `numeric` says which cells of
    the number column were numbers in the workbook (None: none were, or it is text). `problems` are rows that
    cannot be right as they are (ragged, an error cell, a formula without value), `warnings` what is
    doubtful, both by index in this chunk.
    """

    rows: Int64s
    cells: tuple[Cells, ...]
    numeric: Bools | None = None
    problems: dict[int, tuple[Problem, ...]] = field(default_factory=dict)
    warnings: dict[int, tuple[Problem, ...]] = field(default_factory=dict)

    def take(self, keep: npt.NDArray[np.int64]) -> Chunk:
        """The rows at these indices, which ascend."""
        if len(keep) == len(self.rows):
            return self
        places = (
            {at: place for place, at in enumerate(keep.tolist())} if self.problems or self.warnings else {}
        )
        return Chunk(
            self.rows[keep],
            tuple(cells[keep] for cells in self.cells),
            None if self.numeric is None else self.numeric[keep],
            {places[at]: found for at, found in self.problems.items() if at in places},
            {places[at]: found for at, found in self.warnings.items() if at in places},
        )


@dataclass(frozen=True, slots=True)
class Sheet:
    """One open sheet; its rows are read anew, and a chunk at a time, by each call of `chunks`.

    `name` is what messages call it (`numbers.csv`, `book.xlsx#Main`), `path` where it came from (`-` for
    standard input), `sha256` the digest of the whole file, `header_row` the row that the header stands in.
    """

    name: str
    path: str
    sha256: str
    header: tuple[str, ...]
    columns: ColumnMap
    header_row: int
    reader: Callable[[], Iterator[Chunk]] = field(repr=False)

    def chunks(self) -> Iterator[Chunk]:
        """The rows in order, without wholly blank ones, after `--where` and `--limit`.

        Raises `SheetError` where the file turns out not to be readable to its end.
        """
        return self.reader()
