"""Writes small `.xlsb` workbooks, record by record as [MS-XLSB] describes them: no library writes any."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

Cell = str | float | bool | None


class Error(NamedTuple):
    """A cell that shows an error, by its code: 0x2A is #N/A."""

    code: int


def write_xlsb(
    path: Path,
    rows: Sequence[Sequence[Cell | Error]],
    *,
    title: str = "Numbers",
    hidden: frozenset[int] = frozenset(),
    merged: Sequence[tuple[int, int, int, int]] = (),
    first_row: int = 0,
) -> None:
    """Write one worksheet. `hidden` are rows from 0, `merged` first and last row, first and last column."""
    width = max((len(row) for row in rows), default=1)
    sheet = record(129) + record(148, struct.pack("<4I", 0, first_row + len(rows), 0, width)) + record(145)
    for at, row in enumerate(rows, first_row):
        flags = 0x10 if at in hidden else 0
        sheet += record(0, struct.pack("<IIHBBBI2I", at, 0, 300, 0, flags, 0, 1, 0, max(len(row) - 1, 0)))
        for column, cell in enumerate(row):
            sheet += _cell(column, cell)
    sheet += record(146)
    if merged:
        sheet += record(177, struct.pack("<I", len(merged)))
        sheet += b"".join(record(176, struct.pack("<4I", *area)) for area in merged)
        sheet += record(178)
    sheet += record(130)
    book = record(131) + record(143)
    book += record(156, struct.pack("<II", 0, 1) + _text("rId1") + _text(title))
    book += record(144) + record(132)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, data in _PARTS.items():
            archive.writestr(part, data)
        archive.writestr("xl/workbook.bin", book)
        archive.writestr("xl/worksheets/sheet1.bin", sheet)
        archive.writestr("xl/styles.bin", _STYLES)


def record(kind: int, body: bytes = b"") -> bytes:
    """One record: its kind, its size, each seven bits a byte, and its body."""
    head = bytes([kind]) if kind < 0x80 else bytes([kind & 0x7F | 0x80, kind >> 7])
    size = len(body)
    while size >= 0x80:
        head += bytes([size & 0x7F | 0x80])
        size >>= 7
    return head + bytes([size]) + body


def _cell(column: int, cell: Cell | Error) -> bytes:
    head = struct.pack("<II", column, 0)
    match cell:
        case None:
            return b""
        case Error(code):
            return record(3, head + bytes([code]))
        case bool():
            return record(4, head + bytes([cell]))
        case str():
            return record(6, head + _text(cell))
        case _:
            return record(5, head + struct.pack("<d", cell))


def _text(text: str) -> bytes:
    raw = text.encode("utf-16-le")
    return struct.pack("<I", len(raw) // 2) + raw


_XF = struct.pack("<HHHHHBBBBH", 0xFFFF, 0, 0, 0, 0, 0, 0, 0, 0, 0)[:16]
_STYLES = (
    record(278)
    + record(611, struct.pack("<I", 1))
    + record(
        43, struct.pack("<HHHHBBBB", 220, 0, 400, 0, 0, 2, 0, 0) + bytes(8) + bytes([2]) + _text("Calibri")
    )
    + record(612)
    + record(603, struct.pack("<I", 1))
    + record(45, struct.pack("<I", 0) + bytes(64))
    + record(604)
    + record(613, struct.pack("<I", 1))
    + record(46, bytes(51))
    + record(614)
    + record(626, struct.pack("<I", 1))
    + record(47, _XF)
    + record(627)
    + record(617, struct.pack("<I", 1))
    + record(47, struct.pack("<H", 0) + _XF[2:])
    + record(618)
    + record(279)
)

_PARTS = {
    "[Content_Types].xml": (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="bin" ContentType="application/vnd.ms-excel.sheet.binary.macroEnabled.main"/>'
        '<Override PartName="/xl/worksheets/sheet1.bin" ContentType="application/vnd.ms-excel.worksheet"/>'
        '<Override PartName="/xl/styles.bin" ContentType="application/vnd.ms-excel.styles"/></Types>'
    ),
    "_rels/.rels": (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="rId1" Target="xl/workbook.bin" Type="http://schemas.openxmlformats.org/'
        'officeDocument/2006/relationships/officeDocument"/></Relationships>'
    ),
    "xl/_rels/workbook.bin.rels": (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="rId1" Target="worksheets/sheet1.bin" Type="http://schemas.openxmlformats.org/'
        'officeDocument/2006/relationships/worksheet"/>'
        '<Relationship Id="rId2" Target="styles.bin" Type="http://schemas.openxmlformats.org/'
        'officeDocument/2006/relationships/styles"/></Relationships>'
    ),
}
