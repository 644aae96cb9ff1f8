"""Looks through the records of binary workbooks: `.xls` as [MS-XLS], `.xlsb` as [MS-XLSB] describes them."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from typing import BinaryIO
from xml.etree import ElementTree

from batch.sheets.containers import entry_of, unpack
from batch.sheets.evidence import Evidence

#: What error codes show ([MS-XLS] 2.5.10, [MS-XLSB] 2.5.97.2).
_ERRORS = {
    0x00: "#NULL!",
    0x07: "#DIV/0!",
    0x0F: "#VALUE!",
    0x17: "#REF!",
    0x1D: "#NAME?",
    0x24: "#NUM!",
    0x2A: "#N/A",
    0x2B: "#GETTING_DATA",
}

#: The most that a worksheet of an `.xls` has.
_XLS_ROWS, _XLS_COLUMNS = 65_536, 256

_END_OF_CHAIN = 0xFFFFFFFA  #: sectors above are marks, not places


def is_protected(file: BinaryIO) -> bool:
    """Whether the rest of an `.xls` is enciphered: one of its first records says so (2.4.117, FilePass)."""
    stream = _workbook_stream(file)
    at = 0
    for _ in range(10):
        kind, size = struct.unpack_from("<HH", stream, at)
        if kind == 0x002F:
            return True
        at += 4 + size
    return False


def look_through_xls(file: BinaryIO) -> dict[str, Evidence]:
    """Gather the evidence of every worksheet of an `.xls`, because all are read to get at one.

    Various errors if the workbook is damaged.
    """
    stream = _workbook_stream(file)
    found = {}
    at = 0
    while True:
        kind, size = struct.unpack_from("<HH", stream, at)
        if kind == 0x0085:  # BoundSheet8
            place, _, length, wide = struct.unpack_from("<IHBB", stream, at + 4)
            raw = stream[at + 12 : at + 12 + length * (2 if wide & 1 else 1)]
            found[raw.decode("utf-16-le" if wide & 1 else "latin-1")] = _of_records(stream, place)
        elif kind == 0x000A:  # EOF of the globals
            return found
        at += 4 + size


def look_through_xlsb(file: BinaryIO, worksheet: str, name: str) -> Evidence:
    """Gather the evidence of one worksheet of an `.xlsb`; various errors if the workbook is damaged."""
    with zipfile.ZipFile(file) as archive:
        entry = _entry_of_worksheet(archive, worksheet)
        return _of_parts(_records(unpack(file, entry, name)))


def _of_records(stream: bytes, at: int) -> Evidence:
    """Walk the records of one worksheet in a BIFF8 stream."""
    evidence = Evidence()
    depth = 0
    unpack_head, size_of_stream = struct.Struct("<HH").unpack_from, len(stream)
    while at + 4 <= size_of_stream:
        kind, size = unpack_head(stream, at)
        at += 4
        if kind == 0x0809:  # BOF, of the worksheet or of a chart within it
            depth += 1
        elif kind == 0x000A:  # EOF
            depth -= 1
            if depth == 0:
                break
        elif depth == 1:
            _note_biff(evidence, kind, stream[at : at + size])
        at += size
    return evidence


#: Records of cells with a value: Number, LabelSst, Label, RString, Formula, BoolErr, RK.
_VALUES = frozenset({0x0203, 0x00FD, 0x0204, 0x00D6, 0x0006, 0x0205, 0x027E})


def _note_biff(evidence: Evidence, kind: int, body: bytes) -> None:
    if kind in _VALUES:
        row, column = struct.unpack_from("<HH", body)
        evidence.reach(row, column)
        if kind == 0x0205 and body[7]:
            evidence.broken[row, column] = _ERRORS.get(body[6], "#ERROR")
        elif kind == 0x0006 and body[12:14] == b"\xff\xff" and body[6] == 2:
            evidence.broken[row, column] = _ERRORS.get(body[8], "#ERROR")
    elif kind == 0x0200:  # Dimensions, for which calamine makes room unseen
        top, bottom, left, right = struct.unpack_from("<IIHH", body)
        if not (top <= bottom <= _XLS_ROWS and left <= right <= _XLS_COLUMNS):
            raise ValueError("the worksheet claims a size that it cannot have")
    elif kind == 0x00BD:  # MulRk
        row, _ = struct.unpack_from("<HH", body)
        evidence.reach(row, struct.unpack_from("<H", body, len(body) - 2)[0])
    elif kind == 0x0208:  # Row
        row = struct.unpack_from("<H", body)[0]
        if struct.unpack_from("<H", body, 12)[0] & 0x20:
            evidence.hidden_rows.add(row)
    elif kind == 0x00E5:  # MergeCells
        (count,) = struct.unpack_from("<H", body)
        for place in range(count):
            first, last, left, right = struct.unpack_from("<HHHH", body, 2 + 8 * place)
            evidence.merged.append(((first, left), (last, right)))


def _workbook_stream(file: BinaryIO) -> bytes:
    """The stream `Workbook` of an OLE file ([MS-CFB]), which is a small file system of sectors."""
    file.seek(0)
    data = file.read()
    sector_bytes = 1 << struct.unpack_from("<H", data, 30)[0]
    (directory_start,) = struct.unpack_from("<I", data, 48)
    small_limit, small_start = struct.unpack_from("<II", data, 56)
    table_start, table_count = struct.unpack_from("<II", data, 68)
    numbers = list(struct.unpack_from("<109I", data, 76))

    def sector(number: int) -> bytes:
        return data[(number + 1) * sector_bytes : (number + 2) * sector_bytes]

    for _ in range(table_count):
        more = struct.unpack(f"<{sector_bytes // 4}I", sector(table_start))
        numbers += more[:-1]
        table_start = more[-1]
    next_of: list[int] = []
    for number in numbers:
        if number < _END_OF_CHAIN:
            next_of += struct.unpack(f"<{sector_bytes // 4}I", sector(number))

    def chain(number: int) -> bytes:
        parts: list[bytes] = []
        while number < _END_OF_CHAIN:
            if len(parts) > len(next_of):
                raise ValueError("the chain of sectors is a ring")
            parts.append(sector(number))
            number = next_of[number]
        return b"".join(parts)

    directory = chain(directory_start)
    root_start = struct.unpack_from("<I", directory, 116)[0]
    for at in range(0, len(directory) - 127, 128):
        length = struct.unpack_from("<H", directory, at + 64)[0]
        entry = directory[at : at + max(length - 2, 0)].decode("utf-16-le")
        if entry in ("Workbook", "Book"):
            start, size = struct.unpack_from("<IQ", directory, at + 116)
            size &= 0xFFFFFFFF
            if size >= small_limit:
                return chain(start)[:size]
            return _small_chain(chain(root_start), chain(small_start), start)[:size]
    raise KeyError("Workbook")


def _small_chain(sectors: bytes, table: bytes, number: int) -> bytes:
    """A stream of less than 4 KiB, which is kept in sectors of 64 bytes."""
    next_of = struct.unpack(f"<{len(table) // 4}I", table)
    parts: list[bytes] = []
    while number < _END_OF_CHAIN:
        if len(parts) > len(next_of):
            raise ValueError("the chain of sectors is a ring")
        parts.append(sectors[number * 64 : number * 64 + 64])
        number = next_of[number]
    return b"".join(parts)


def _of_parts(records: Iterator[tuple[int, bytes]]) -> Evidence:
    """Walk the records of one worksheet of an `.xlsb`."""
    evidence = Evidence()
    row = 0
    for kind, body in records:
        if kind == 0:  # BrtRowHdr
            (row,) = struct.unpack_from("<I", body)
            if len(body) > 11 and body[11] & 0x10:  # fDyZero
                evidence.hidden_rows.add(row)
        elif 2 <= kind <= 11:  # cells with a value, of which 1 is BrtCellBlank
            (column,) = struct.unpack_from("<I", body)
            evidence.reach(row, column)
            if kind in (3, 11):  # BrtCellError, BrtFmlaError
                evidence.broken[row, column] = _ERRORS.get(body[8], "#ERROR")
        elif kind == 176:  # BrtMergeCell
            first, last, left, right = struct.unpack_from("<IIII", body)
            evidence.merged.append(((first, left), (last, right)))
    return evidence


def _records(pieces: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each record; both kind and size are written seven bits a byte."""
    data = b"".join(pieces)
    at, end = 0, len(data)
    while at < end:
        kind = data[at]
        at += 1
        if kind & 0x80:
            kind = (kind & 0x7F) | (data[at] & 0x7F) << 7
            at += 1
        size = shift = 0
        while True:
            byte = data[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80 or shift > 21:
                break
        yield kind, data[at : at + size]
        at += size


def _entry_of_worksheet(archive: zipfile.ZipFile, worksheet: str) -> zipfile.ZipInfo:
    # Workbooks that declare entities were refused before.
    relations = ElementTree.fromstring(archive.read(entry_of(archive, "xl/_rels/workbook.bin.rels")))  # noqa: S314
    targets = {relation.get("Id"): relation.get("Target", "") for relation in relations}
    for kind, body in _records(iter([archive.read(entry_of(archive, "xl/workbook.bin"))])):
        if kind == 156:  # BrtBundleSh: state, id, relation, name
            relation, at = _text(body, 8)
            found, _ = _text(body, at)
            if found == worksheet:
                return entry_of(archive, targets[relation], "xl")
    raise KeyError(worksheet)


def _text(body: bytes, at: int) -> tuple[str, int]:
    """A text with its length before it, and where it ends."""
    (length,) = struct.unpack_from("<I", body, at)
    end = at + 4 + 2 * length
    return body[at + 4 : end].decode("utf-16-le"), end
