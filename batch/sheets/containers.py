"""What a file really is, whatever it is called, and whether it is safe to unpack."""

from __future__ import annotations

import posixpath
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import BinaryIO
from xml.etree import ElementTree
from xml.parsers import expat

from batch.errors import SheetError
from batch.sheets.chunks import Bounds

#: Bytes at the beginning of a file that are looked at.
HEAD_BYTES = 65_536

_PIECE_BYTES = 1 << 20

#: A workbook or `.gz` below this is not held to a ratio: a small sheet of blanks packs very well.
_SMALL_BYTES = 50_000_000

#: What zip archives, XML and binary records raise when they are not what they should be.
_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    expat.ExpatError,
    ElementTree.ParseError,
    struct.error,
    LookupError,
    ValueError,
    OverflowError,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
)

#: An object, or a list of them; a CSV may begin with a brace too.
_JSON = re.compile(rb'\[?\s*\{\s*"[^"\n]*"\s*:')

_ENCRYPTED_OFFICE = "EncryptedPackage".encode("utf-16-le")


class Container(StrEnum):
    """What holds a sheet; the texts are what messages call it."""

    TEXT = "a text file"
    GZIP = "a gzip file"
    OFFICE_XML = "an Excel workbook (.xlsx)"  #: also .xlsm
    OFFICE_BINARY = "an Excel binary workbook (.xlsb)"
    OLE = "an old Excel workbook (.xls)"
    OPEN_DOCUMENT = "an OpenDocument spreadsheet (.ods)"
    ENCRYPTED = "a workbook that is protected by a password"
    ZIP = "a zip archive"
    WEB_PAGE = "a web page (HTML)"
    XML = "an XML file"
    PDF = "a PDF"
    JSON = "a JSON file"

    @property
    def is_workbook(self) -> bool:
        """Whether the workbook reader reads it."""
        return self in _WORKBOOKS


_WORKBOOKS = (Container.OFFICE_XML, Container.OFFICE_BINARY, Container.OLE, Container.OPEN_DOCUMENT)
_ZIPPED = (Container.OFFICE_XML, Container.OFFICE_BINARY, Container.OPEN_DOCUMENT)


def container_of(file: BinaryIO) -> Container:
    """Look into a file that can seek; what is none of the others is text."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(file)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return Container.ENCRYPTED if _contains(file, _ENCRYPTED_OFFICE) else Container.OLE
    if head.startswith(b"\x1f\x8b"):
        return Container.GZIP
    return text_kind(head)


def text_kind(head: bytes) -> Container:
    """Which text it is that begins so: a sheet, or something that is no sheet."""
    if head.startswith(b"%PDF-"):
        return Container.PDF
    start = head[:4_096].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xfe\xff \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<table", b"<body", b"<meta", b"<div", b"<style")):
        return Container.WEB_PAGE
    if start.startswith((b"<?xml", b"<workbook")):
        return Container.WEB_PAGE if b"<html" in start else Container.XML
    if _JSON.match(start):
        return Container.JSON
    return Container.TEXT


def check_zip(file: BinaryIO, container: Container, name: str, bounds: Bounds) -> None:
    """Refuse, with `SheetError`, a workbook that would unpack to more than the bounds allow.

    Its parts are unpacked for it a piece at a time, and no further than they say.
    """
    if container not in _ZIPPED:
        return
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > bounds.entries:
            raise SheetError(
                f"{name}: the workbook consists of {len(entries):,} files; --max-entries {bounds.entries} "
                "allows no more"
            )
        if len({_part_name(entry.filename) for entry in entries}) < len(entries):
            raise SheetError(f"{name}: the workbook has two files of one name in it: save it anew")
        if any(entry.flag_bits & 1 for entry in entries):
            raise SheetError(_protected(name))
        unpacked = sum(entry.file_size for entry in entries)
        packed = sum(entry.compress_size for entry in entries)
        check_unpacked(unpacked, packed, name, bounds)
        for entry in entries:
            _check_entry(file, entry, name)


def check_unpacked(unpacked: int, packed: int, name: str, bounds: Bounds) -> None:
    """Refuse what unpacks to too many bytes, or to too many times its size."""
    if unpacked > bounds.unpacked_mb * 1_000_000:
        raise SheetError(
            f"{name}: unpacks to {unpacked / 1e6:,.0f} MB or more; --max-unpacked-mb {bounds.unpacked_mb} "
            "allows no more"
        )
    if unpacked > _SMALL_BYTES and unpacked > bounds.ratio * max(packed, 1):
        raise SheetError(
            f"{name}: unpacks to {unpacked // max(packed, 1):,} times its size, which no honest sheet does; "
            f"--max-ratio {bounds.ratio} allows no more"
        )


@contextmanager
def refusing_damage(name: str) -> Iterator[None]:
    """Turn whatever a damaged file leads to, when it is taken apart, into a `SheetError`."""
    try:
        yield
    except _DAMAGES as error:
        raise SheetError(f"{name} is damaged or was cut short: fetch it, or save it, again") from error


def entry_of(archive: zipfile.ZipFile, part: str, folder: str = "") -> zipfile.ZipInfo:
    """The entry of a part, by its path from the root or from a folder; `KeyError` if there is none.

    Case does not count in such names, and some programs write them with backslashes (ECMA-376 part 2, 6.2.2).
    """
    wanted = _part_name(part if part.startswith("/") else f"{folder}/{part}")
    for entry in archive.infolist():
        if _part_name(entry.filename) == wanted:
            return entry
    raise KeyError(part)


def _part_name(path: str) -> str:
    return posixpath.normpath("/" + path.replace("\\", "/")).lstrip("/").casefold()


def unpack(file: BinaryIO, entry: zipfile.ZipInfo, name: str) -> Iterator[bytes]:
    """The bytes of one entry, a piece at a time, never more than it says it has.

    `zipfile` itself stops at the size that an entry claims, and so would not notice a lie that the
    library which reads the workbook believes.
    """
    file.seek(entry.header_offset)
    local = file.read(30)
    if len(local) < 30 or local[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("there is no entry where the directory says")
    file.seek(int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little"), 1)
    left = entry.compress_size
    inflater = zlib.decompressobj(-zlib.MAX_WBITS) if entry.compress_type == zipfile.ZIP_DEFLATED else None
    if inflater is None and entry.compress_type != zipfile.ZIP_STORED:
        raise SheetError(
            f"{name}: the workbook is packed in a way that no spreadsheet program uses: save it anew"
        )
    size = 0
    at = file.tell()
    while left > 0:
        # Others read other entries of the file in between.
        file.seek(at)
        packed = file.read(min(left, _PIECE_BYTES))
        at, left = file.tell(), (left - len(packed) if packed else 0)
        while packed:
            piece = inflater.decompress(packed, _PIECE_BYTES) if inflater else packed
            packed = inflater.unconsumed_tail if inflater else b""
            if inflater and not packed and not left:
                piece += inflater.flush()
            size += len(piece)
            if size > entry.file_size:
                raise SheetError(
                    f"{name}: the workbook unpacks to more than it says: it is damaged or an attack"
                )
            yield piece


def _check_entry(file: BinaryIO, entry: zipfile.ZipInfo, name: str) -> None:
    """Refuse entries that lie about their size, and XML that declares entities."""
    is_xml = entry.filename.casefold().endswith((".xml", ".rels"))
    if not is_xml and not entry.filename.casefold().endswith(".bin"):
        return
    # Worksheets are looked through when one of them is picked: they are most of a workbook.
    part = _part_name(entry.filename)
    is_worksheet = part.startswith("xl/worksheets/") or part == "content.xml"
    guard = _no_doctype(name) if is_xml else None
    for piece in unpack(file, entry, name):
        if guard is not None:
            try:
                guard.Parse(piece)
            except (_RootSeen, expat.ExpatError, LookupError):
                # Whether it is XML at all is for the reader to say.
                guard = None
        if guard is None and is_worksheet:
            return


class _RootSeen(Exception):  # noqa: N818 - ends the parse, and is no error
    pass


def _no_doctype(name: str) -> expat.XMLParserType:
    """A parser that goes no further than the first element, and refuses a document type before it."""

    def refuse(*_: object) -> None:
        raise SheetError(f"{name}: the workbook declares entities in its XML, as only an attack does")

    def seen(*_: object) -> None:
        raise _RootSeen

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = seen
    return parser


def _zip_kind(file: BinaryIO) -> Container:
    try:
        with zipfile.ZipFile(file) as archive:
            names = {_part_name(name) for name in archive.namelist()}
            if "mimetype" in names and archive.getinfo("mimetype").file_size < 200:
                mimetype = archive.read("mimetype")
                if mimetype.startswith(b"application/vnd.oasis.opendocument.spreadsheet"):
                    return Container.ENCRYPTED if _is_encrypted(archive) else Container.OPEN_DOCUMENT
    except _DAMAGES:
        # Cut short: what it was meant to be is what its name says.
        return Container.ZIP
    if "xl/workbook.bin" in names:
        return Container.OFFICE_BINARY
    if "xl/workbook.xml" in names or (
        "[content_types].xml" in names and any(n.startswith("xl/") for n in names)
    ):
        return Container.OFFICE_XML
    return Container.ZIP


def _is_encrypted(archive: zipfile.ZipFile) -> bool:
    try:
        manifest = archive.getinfo("META-INF/manifest.xml")
    except KeyError:
        return False
    return manifest.file_size < _PIECE_BYTES and b"encryption-data" in archive.read(manifest)


def _contains(file: BinaryIO, wanted: bytes) -> bool:
    file.seek(0)
    carried = b""
    while piece := file.read(_PIECE_BYTES):
        if wanted in carried + piece:
            return True
        carried = piece[-len(wanted) :]
    return False


def _protected(name: str) -> str:
    return f"{name} is protected by a password: open it, save it without one, and give that"
