"""Looks through the XML of a worksheet in an `.xlsx` or `.xlsm`, as ECMA-376 part 1 (18.3) describes it.

What the usual programs write is searched by patterns, because a parser's calls for each cell would take
longer than reading the workbook; a stretch of XML written in another way goes through a parser.
"""

from __future__ import annotations

import contextlib
import re
import zipfile
from collections.abc import Iterator
from typing import BinaryIO
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from batch.errors import SheetError
from batch.sheets.chunks import Bounds
from batch.sheets.containers import entry_of, unpack
from batch.sheets.evidence import Evidence

#: Formats that every workbook has without saying so, and that show a percentage (18.8.30).
_BUILTIN_PERCENTS = {9, 10}

_RELATION_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_STRICT_RELATION_ID = "{http://purl.oclc.org/ooxml/officeDocument/relationships}id"

#: Cells and rows written in another way than `<c r="A1" ...>` and `<row r="1" ...>`; for cells by the most
#: digits that the number of their row may have.
_ODD_CELLS = [
    re.compile(rb'<c(?! r="[A-Z]{1,3}\d{1,%d}"[ />])[\s/>]' % digits if digits else rb"<c[\s/>]")
    for digits in range(8)
]
_ODD_ROW = re.compile(rb'<row(?! (?:[^>]* )?r="\d{1,7}"[ />])[\s/>]')
_PREFIXED = re.compile(rb":(?:c|row)[\s/>]")
_LETTERS = re.compile(rb'<c r="([A-Z]+)')
_FILLED = re.compile(rb'<c r="([A-Z]+\d+)"(?:[^>]*[^/>])?>')
_ERROR = re.compile(
    rb'<c r="([A-Z]+\d+)"[^>]*\bt="e"[^>]*>\s*(?:<f\b(?:[^>]*/>|[^>]*>[^<]*</f>)\s*)?<v[^>]*>\s*([^<\s]*)'
)
_NO_VALUE = re.compile(
    rb'<c r="([A-Z]+\d+)"([^>]*)>\s*<f\b(?:[^>]*/>|[^>]*>[^<]*</f>)\s*(<v\s*/>|<v[^>]*>\s*</v>)?\s*</c>'
)
_NO_VALUE_HINT = re.compile(
    rb"</f>\s*(?:</c>|<v\s*/>|<v[^>]*>\s*</v>)|<f\b[^>]*/>\s*(?:</c>|<v\s*/>|<v[^>]*>\s*</v>)"
)
_HIDDEN_ROW = re.compile(
    rb'<row [^>]*?\br="(\d+)"[^>]*\bhidden="(?:1|true)"|<row [^>]*\bhidden="(?:1|true)"[^>]*?\br="(\d+)"'
)

#: No row, and no text of a cell, has as many bytes as this.
_LONGEST_STRETCH = 50_000_000

_SHARED_END = re.compile(rb"</(?:[\w.-]+:)?si>")
_SHARED_CELL = re.compile(rb"\bt\s*=\s*[\"']s[\"'][^>]*>\s*<(?:[\w.-]+:)?v[^>]*>\s*(\d{1,9})")
_ROW_END = re.compile(rb"</(?:[\w.-]+:)?row>")
_LAST_ROW = re.compile(rb'<row [^>]*\br="(\d+)"')
_REFERENCE = re.compile(r"([A-Za-z]{1,3})(\d{1,7})")


def look_through(file: BinaryIO, worksheet: str, name: str, bounds: Bounds) -> Evidence:
    """Gather the evidence of one worksheet; various errors if the workbook is damaged.

    How far its cells reach is found exactly only where a quick look leaves it in doubt whether that is
    within the bounds; otherwise it may be overstated.
    """
    with zipfile.ZipFile(file) as archive:
        entry = _entry_of_worksheet(archive, worksheet)
        percents = _percent_styles(archive)
        search = _Search(percents, is_exact=False)
        search.run(unpack(file, entry, name), name)
        columns = search.evidence.last_column + 1
        if columns > bounds.columns or columns * (search.evidence.last_row + 1) > bounds.cells:
            search = _Search(percents, is_exact=True)
            search.run(unpack(file, entry, name), name)
        evidence = search.evidence
        evidence.text_bytes = _text_bytes(file, archive, entry, search.shared_cells, name)
    return evidence


class _Search:
    """One pass over a worksheet, a stretch of whole rows at a time."""

    def __init__(self, percent_styles: frozenset[str], *, is_exact: bool) -> None:
        self.evidence = Evidence()
        self.shared_cells = 0
        self._is_exact = is_exact
        self._percent_styles = percent_styles
        styles = "|".join(sorted(percent_styles)).encode()
        self._percent = (
            re.compile(rb'<c r="([A-Z]+\d+)"([^>]*\bs="(?:' + styles + rb')"[^>]*[^/])>') if styles else None
        )
        self._row_before = 0

    def run(self, pieces: Iterator[bytes], name: str) -> None:
        carried = b""
        for piece in pieces:
            if not carried and piece[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise SheetError(f"{name}: the worksheet's XML is in UTF-16: save the workbook anew")
            piece = carried + piece
            end = max(piece.rfind(b"<row"), piece.rfind(b":row"))
            # The name before a colon belongs to the row.
            end = piece.rfind(b"<", 0, end + 1)
            if end > 0:
                self._stretch(piece[:end])
                carried = piece[end:]
            else:
                carried = piece
            _check_stretch(carried, name)
        self._stretch(carried)

    def _stretch(self, xml: bytes) -> None:
        # Cells whose text is kept elsewhere; what looks like one and is none counts as well.
        self.shared_cells += xml.count(b'"s"') + (xml.count(b"'s'") if b"'" in xml else 0)
        rows = _LAST_ROW.findall(xml[max(xml.rfind(b"<row "), 0) :])
        digits = min(len(rows[-1]), 7) if rows else 0
        if _ODD_CELLS[digits].search(xml) or _ODD_ROW.search(xml) or _PREFIXED.search(xml):
            self._parse(xml)
            return
        if rows:
            self._row_before = int(rows[-1])
        evidence = self.evidence
        if self._is_exact:
            if filled := _FILLED.findall(xml):
                evidence.reach(*_farthest(filled))
        elif columns := set(_LETTERS.findall(xml)):
            evidence.reach(10**digits - 2, max(_column(letters.decode()) for letters in columns))
        if b't="e"' in xml:
            evidence.broken |= {_place(ref): shown.decode() for ref, shown in _ERROR.findall(xml)}
        if b"<f" in xml and _NO_VALUE_HINT.search(xml):
            for ref, attributes, value in _NO_VALUE.findall(xml):
                # A formula whose value is a text without letters has its value: it shows nothing.
                if not (value and b't="str"' in attributes):
                    evidence.broken.setdefault(_place(ref), "")
                    evidence.reach(*_place(ref))
        if self._percent is not None:
            for ref, attributes in self._percent.findall(xml):
                if b' t="' not in attributes or b' t="n"' in attributes:
                    evidence.percents.add(_place(ref))
        if b'hidden="' in xml:
            evidence.hidden_rows |= {int(one or other) - 1 for one, other in _HIDDEN_ROW.findall(xml)}

    def _parse(self, xml: bytes) -> None:
        parser = _OddParser(self.evidence, self._percent_styles, self._row_before)
        self._row_before = parser.run(xml)


class _OddParser:
    """The same for XML of any form: other prefixes, quotes and order, or cells without references."""

    def __init__(self, evidence: Evidence, percent_styles: frozenset[str], row_before: int) -> None:
        self._evidence, self._percent_styles = evidence, percent_styles
        self._row, self._column = row_before - 1, -1
        self._attributes: dict[str, str] = {}
        self._inside = ""
        self._has_formula = False
        self._value: str | None = None

    def run(self, xml: bytes) -> int:
        """Parse a stretch that may begin and end amid elements; the number of the last row is returned."""
        parser = expat.ParserCreate("UTF-8")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        body = re.sub(rb"^\s*(?:\xef\xbb\xbf)?<\?xml[^>]*\?>", b"", xml)
        # It may end with elements closed that it has not opened; all rows come before those.
        with contextlib.suppress(expat.ExpatError):
            parser.Parse(b"<stretch>" + body)
        return self._row + 1

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(":")[2]
        if local == "row":
            self._row = int(attributes["r"]) - 1 if attributes.get("r", "").isdigit() else self._row + 1
            self._column = -1
            if attributes.get("hidden") in ("1", "true"):
                self._evidence.hidden_rows.add(self._row)
        elif local == "c":
            place = _REFERENCE.fullmatch(attributes.get("r", "").strip())
            self._column += 1
            if place:
                self._row, self._column = int(place[2]) - 1, _column(place[1])
            self._attributes, self._has_formula, self._value = attributes, False, None
        elif local == "f":
            self._has_formula = True
        elif local in ("v", "t"):
            self._value = self._value or ""
            self._inside = local

    def _text(self, text: str) -> None:
        if self._inside and self._value is not None:
            self._value += text

    def _end(self, name: str) -> None:
        local = name.rpartition(":")[2]
        if local in ("v", "t"):
            self._inside = ""
        if local != "c":
            return
        place, kind = (self._row, self._column), self._attributes.get("t", "n")
        if kind == "e" and self._value:
            self._evidence.broken[place] = self._value
        elif self._has_formula and not self._value and not (kind == "str" and self._value is not None):
            self._evidence.broken[place] = ""
        elif kind == "n" and self._attributes.get("s") in self._percent_styles and self._value:
            self._evidence.percents.add(place)
        if self._value is not None or self._has_formula:
            self._evidence.reach(*place)


def _text_bytes(
    file: BinaryIO, archive: zipfile.ZipFile, sheet: zipfile.ZipInfo, shared_cells: int, name: str
) -> int:
    """What the texts of cells come to that the workbook keeps once for many cells, at most."""
    try:
        shared = entry_of(archive, "xl/sharedStrings.xml")
    except KeyError:
        return 0
    if not shared_cells:
        return 0
    lengths = np.array(
        [len(text) for text in _between(unpack(file, shared, name), _SHARED_END, name)], dtype=np.int64
    )
    longest = int(lengths.max(initial=0))
    if longest * shared_cells < 500_000_000:
        return longest * shared_cells
    total = found = 0
    for stretch in _between(unpack(file, sheet, name), _ROW_END, name):
        indices = np.array([int(index) for index in _SHARED_CELL.findall(stretch)], dtype=np.int64)
        found += len(indices)
        total += int(lengths[indices[indices < len(lengths)]].sum())
    return total + max(0, shared_cells - found) * longest


def _between(pieces: Iterator[bytes], end: re.Pattern[bytes], name: str) -> Iterator[bytes]:
    """What stands between the ends of elements, and after the last."""
    carried = b""
    for piece in pieces:
        *whole, carried = end.split(carried + piece)
        yield from whole
        _check_stretch(carried, name)
    yield carried


def _check_stretch(xml: bytes, name: str) -> None:
    if len(xml) > _LONGEST_STRETCH:
        raise SheetError(f"{name}: a row of the workbook is longer than any spreadsheet program writes one")


def _farthest(references: list[bytes]) -> tuple[int, int]:
    """The last row and the last column that any of these cells is in."""
    letters = np.array(references, dtype="S10").view(np.uint8).reshape(len(references), 10).T.astype(np.int32)
    row = np.zeros(len(references), dtype=np.int32)
    column = np.zeros(len(references), dtype=np.int32)
    for letter in letters:
        if not letter.any():
            break
        row = np.where((letter >= ord("0")) & (letter <= ord("9")), row * 10 + letter - ord("0"), row)
        column = np.where(letter >= ord("A"), column * 26 + letter - (ord("A") - 1), column)
    return int(row.max()) - 1, int(column.max()) - 1


def _place(reference: bytes) -> tuple[int, int]:
    letters = reference.rstrip(b"0123456789")
    return int(reference[len(letters) :]) - 1, _column(letters.decode())


def _column(letters: str) -> int:
    column = 0
    for letter in letters.upper():
        column = column * 26 + ord(letter) - (ord("A") - 1)
    return column - 1


def _entry_of_worksheet(archive: zipfile.ZipFile, worksheet: str) -> zipfile.ZipInfo:
    book = _xml(archive, "xl/workbook.xml")
    relations = _xml(archive, "xl/_rels/workbook.xml.rels")
    targets = {relation.get("Id"): relation.get("Target", "") for relation in relations}
    for element in book.iter():
        if element.tag.endswith("}sheet") and element.get("name") == worksheet:
            relation = element.get(_RELATION_ID) or element.get(_STRICT_RELATION_ID)
            return entry_of(archive, targets[relation], "xl")
    raise KeyError(worksheet)


def _percent_styles(archive: zipfile.ZipFile) -> frozenset[str]:
    """The numbers of the cell styles that show a percentage."""
    try:
        styles = _xml(archive, "xl/styles.xml")
    except KeyError:
        return frozenset()
    shown = {
        element.get("numFmtId", "")
        for element in styles.iter()
        if element.tag.endswith("}numFmt")
        and "%" in re.sub(r'"[^"]*"|\\.', "", element.get("formatCode", ""))
    } | {str(number) for number in _BUILTIN_PERCENTS}
    for element in styles.iter():
        if element.tag.endswith("}cellXfs"):
            return frozenset(str(at) for at, style in enumerate(element) if style.get("numFmtId") in shown)
    return frozenset()


def _xml(archive: zipfile.ZipFile, part: str) -> ElementTree.Element:
    # Workbooks that declare entities were refused before.
    return ElementTree.fromstring(archive.read(entry_of(archive, part)))  # noqa: S314
