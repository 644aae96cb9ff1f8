"""Writes small `.ods` workbooks by hand, so that any text can be put into them."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><office:document-content '
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0" '
    'office:version="1.3"><office:body><office:spreadsheet>'
)
_TAIL = "</office:spreadsheet></office:body></office:document-content>"
_MANIFEST = (
    '<?xml version="1.0" encoding="UTF-8"?><manifest:manifest '
    'xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" manifest:version="1.3">'
    '<manifest:file-entry manifest:full-path="/" '
    'manifest:media-type="application/vnd.oasis.opendocument.spreadsheet"/></manifest:manifest>'
)


def write_ods(path: Path, rows: Sequence[Sequence[str]], *, title: str = "Numbers") -> None:
    """Write one worksheet of texts."""
    write_ods_rows(
        path,
        "".join(f"<table:table-row>{''.join(map(_cell, row))}</table:table-row>" for row in rows),
        title=title,
    )


def write_ods_rows(path: Path, rows: str, *, title: str = "Numbers") -> None:
    """Write one worksheet whose rows are XML as they come."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet", zipfile.ZIP_STORED)
        archive.writestr("META-INF/manifest.xml", _MANIFEST)
        table = f"<table:table table:name={quoteattr(title)}>{rows}</table:table>"
        archive.writestr("content.xml", _HEAD + table + _TAIL)


def _cell(text: str) -> str:
    if not text:
        return "<table:table-cell/>"
    lines = "".join(f"<text:p>{_line(line)}</text:p>" for line in text.split("\n"))
    return f'<table:table-cell office:value-type="string">{lines}</table:table-cell>'


def _line(line: str) -> str:
    return escape(line).replace(" ", "<text:s/>").replace("\t", "<text:tab/>")
