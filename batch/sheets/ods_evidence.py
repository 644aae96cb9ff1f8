"""Looks through the XML of an OpenDocument spreadsheet, as OASIS OpenDocument 1.3 part 3 (9) describes it."""

from __future__ import annotations

import zipfile
from typing import BinaryIO
from xml.parsers import expat

from batch.sheets.chunks import Bounds
from batch.sheets.containers import entry_of, unpack
from batch.sheets.evidence import Evidence

_TABLE = "urn:oasis:names:tc:opendocument:xmlns:table:1.0 "
_OFFICE = "urn:oasis:names:tc:opendocument:xmlns:office:1.0 "
_TEXT = "urn:oasis:names:tc:opendocument:xmlns:text:1.0 "
_CALC = "urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0 "

#: An area of cells is repeated by one element; what it says of them is noted for no more of them than this.
_MOST_NOTED = 1_000_000


def look_through(file: BinaryIO, name: str, bounds: Bounds) -> dict[str, Evidence]:
    """Gather the evidence of every worksheet, and check it, because all are read to get at one.

    Raises `SheetError` if one is beyond the bounds, various errors if the document is damaged.
    """
    with zipfile.ZipFile(file) as archive:
        entry = entry_of(archive, "content.xml")
        search = _Search(name, bounds)
        for piece in unpack(file, entry, name):
            search.feed(piece)
        search.feed(b"")
    return search.tables


class _Search:
    """One pass over all tables."""

    def __init__(self, name: str, bounds: Bounds) -> None:
        self.tables: dict[str, Evidence] = {}
        self._name, self._bounds = name, bounds
        self._table = Evidence()
        self._depth = 0
        self._row = self._column = 0
        self._rows = 1
        self._cell: dict[str, str] | None = None
        self._shown: list[str] = []
        self._has_text = False
        self._in_text = False
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def feed(self, piece: bytes) -> None:
        """Go on with the next piece; nothing is the end."""
        self._parser.Parse(piece, not piece)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == _TABLE + "table":
            self._depth += 1
            # A table within a cell is another program's doing, and no worksheet.
            if self._depth == 1:
                self._row = 0
                self._table = self.tables[attributes.get(_TABLE + "name", "")] = Evidence()
        elif self._depth != 1:
            return
        elif name == _TABLE + "table-row":
            self._column = 0
            self._rows = _count(attributes, "number-rows-repeated")
            if attributes.get(_TABLE + "visibility", "visible") != "visible":
                last = min(self._rows, _MOST_NOTED)
                self._table.hidden_rows.update(range(self._row, self._row + last))
        elif name in (_TABLE + "table-cell", _TABLE + "covered-table-cell"):
            self._cell, self._shown, self._has_text = attributes, [], False
        elif name == _TEXT + "p" and self._cell is not None:
            self._in_text = self._has_text = True

    def _characters(self, text: str) -> None:
        if self._in_text:
            self._shown.append(text)

    def _end(self, name: str) -> None:
        if name == _TABLE + "table":
            self._depth -= 1
            if self._depth == 0:
                self._table.check(self._name, self._bounds)
        elif self._depth != 1:
            return
        elif name == _TABLE + "table-row":
            self._row += self._rows
        elif name == _TEXT + "p":
            self._in_text = False
        elif name in (_TABLE + "table-cell", _TABLE + "covered-table-cell"):
            self._end_cell()

    def _end_cell(self) -> None:
        assert self._cell is not None
        cell, table = self._cell, self._table
        self._cell = None
        columns = _count(cell, "number-columns-repeated")
        kind = cell.get(_OFFICE + "value-type")
        has_formula = _TABLE + "formula" in cell
        if kind is not None or self._has_text or has_formula:
            table.reach(self._row + self._rows - 1, self._column + columns - 1)
            table.text_bytes += sum(map(len, self._shown)) * self._rows * columns
            table.check(self._name, self._bounds)
        is_error = cell.get(_CALC + "value-type") == "error"
        if is_error or (has_formula and kind is None and not self._has_text):
            shown = "".join(self._shown) if is_error else ""
            table.broken.update(dict.fromkeys(self._places(columns), shown))
        elif kind == "percentage":
            table.percents.update(self._places(columns))
        across = _count(cell, "number-columns-spanned")
        down = _count(cell, "number-rows-spanned")
        if across > 1 or down > 1:
            first = (self._row, self._column)
            table.merged.append((first, (self._row + down - 1, self._column + across - 1)))
        self._column += columns

    def _places(self, columns: int) -> list[tuple[int, int]]:
        rows = min(self._rows, _MOST_NOTED // min(columns, _MOST_NOTED))
        return [
            (row, column)
            for row in range(self._row, self._row + rows)
            for column in range(self._column, self._column + min(columns, _MOST_NOTED))
        ]


def _count(attributes: dict[str, str], name: str) -> int:
    text = attributes.get(_TABLE + name, "1")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 1
