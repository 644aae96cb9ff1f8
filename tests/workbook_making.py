"""How tests make workbooks."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from openpyxl.worksheet.worksheet import Worksheet

HEADER = ["phone_number", "template", "note"]
SHEET_XML = "xl/worksheets/sheet1.xml"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"

#: Makes a workbook: the header is there, the rest is done by a function.
MakeBook = Callable[[Callable[[Worksheet], object]], Path]


@pytest.fixture
def book(tmp_path: Path) -> MakeBook:
    """Make a workbook of one worksheet by openpyxl."""

    def make(fill: Callable[[Worksheet], object]) -> Path:
        workbook = openpyxl.Workbook()
        sheet = workbook.active
        assert isinstance(sheet, Worksheet)
        sheet.title = "Main"
        sheet.append(HEADER)
        fill(sheet)
        path = tmp_path / "book.xlsx"
        workbook.save(path)
        return path

    return make


def rewrite(path: Path, part: str, change: Callable[[str], str]) -> None:
    """Change the text of one part of a zipped workbook."""
    with zipfile.ZipFile(path) as archive:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    parts[part] = change(parts[part].decode()).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
