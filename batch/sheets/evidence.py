"""What a worksheet says of its cells beyond their values, which the library that reads values leaves out."""

from __future__ import annotations

from dataclasses import dataclass, field

from batch.errors import SheetError
from batch.sheets.chunks import Bounds


@dataclass(slots=True)
class Evidence:
    """Gathered while a worksheet is looked through, before it is read; rows and columns count from 0.

    `broken` has cells that show an error (`#N/A`), and formulas that were saved without their value, with an
    empty text. `percents` are numbers shown as such: 0.2 as 20%. `merged` are first and last cells of areas
    that are shown as one. No value stands beyond `last_row` and `last_column` (-1: there is none at all).
    `text_bytes` is what the texts of all cells come to when each has its own, or more.
    """

    broken: dict[tuple[int, int], str] = field(default_factory=dict)
    percents: set[tuple[int, int]] = field(default_factory=set)
    hidden_rows: set[int] = field(default_factory=set)
    merged: list[tuple[tuple[int, int], tuple[int, int]]] = field(default_factory=list)
    last_row: int = -1
    last_column: int = -1
    text_bytes: int = 0

    def reach(self, row: int, column: int) -> None:
        """Note that a cell has a value."""
        self.last_row = max(self.last_row, row)
        self.last_column = max(self.last_column, column)

    def check(self, name: str, bounds: Bounds) -> None:
        """Refuse, with `SheetError`, a worksheet that would fill the memory when it is read."""
        rows, columns = self.last_row + 1, self.last_column + 1
        if columns > bounds.columns:
            raise SheetError(
                f"{name}: a cell in column {columns:,} has a value; --max-columns {bounds.columns} allows no "
                "more. Delete what stands far from the sheet, or allow more"
            )
        if rows * columns > bounds.cells:
            raise SheetError(
                f"{name}: {rows:,} rows of {columns:,} columns are {rows * columns:,} cells; --max-cells "
                f"{bounds.cells} allows no more. Delete what stands far from the sheet, or allow more"
            )
        if self.text_bytes > bounds.unpacked_mb * 1_000_000:
            raise SheetError(
                f"{name}: the texts of its cells come to {self.text_bytes / 1e6:,.0f} MB; --max-unpacked-mb "
                f"{bounds.unpacked_mb} allows no more"
            )

    def check_merged(self, name: str) -> None:
        """Refuse, with `SheetError`, merged areas that cannot be meant: spreadsheets let none overlap."""
        merged = 0
        for (top, left), (bottom, right) in self.merged:
            rows = min(bottom, self.last_row) - top + 1
            merged += max(rows, 0) * max(min(right, self.last_column) - left + 1, 0)
        if merged > (self.last_row + 1) * (self.last_column + 1):
            raise SheetError(f"{name}: merged cells overlap: the workbook is damaged, or an attack")
