"""Turns the bytes of a text file into text: packed or not, in whatever encoding, within bounds."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO, cast

from batch.errors import SheetError, UsageError
from batch.sheets.chunks import Bounds
from batch.sheets.containers import HEAD_BYTES, Container, check_unpacked, container_of, text_kind
from batch.sheets.sources import Source

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: The marks at the beginning of a text that say its encoding; the longer ones come first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_BUFFER_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Text:
    """A text file whose encoding is known."""

    source: Source
    encoding: str
    is_gzip: bool
    bounds: Bounds

    @contextmanager
    def open(self) -> Iterator[TextIO]:
        """The text from its beginning, line ends as they are, without a byte order mark.

        What goes wrong with it inside the `with` block, in decoding or unpacking, becomes a `SheetError`.
        """
        name = self.source.name
        try:
            with ExitStack() as stack:
                raw = _bytes_of(self.source, stack, self.bounds, is_gzip=self.is_gzip)
                yield stack.enter_context(io.TextIOWrapper(raw, self.encoding, newline=""))
        except UnicodeError as error:
            raise SheetError(self._undecodable()) from error
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise SheetError(f"{name}: the gzip file is damaged or was cut short: fetch it again") from error
        except OSError as error:
            raise SheetError(f"{name} cannot be read: {error.strerror or 'the file is damaged'}") from error

    def _undecodable(self) -> str:
        """Say which line of the file is not in the encoding."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        line = 1
        with ExitStack() as stack:
            raw = _bytes_of(self.source, stack, self.bounds, is_gzip=self.is_gzip)
            while piece := raw.read(1 << 16):
                try:
                    line += decoder.decode(piece).count("\n")
                except UnicodeDecodeError as error:
                    line += _line_ends(error.object[: error.start], self.encoding)
                    break
        name = self.encoding.removesuffix("-sig").upper()
        return (
            f"{self.source.name}: line {line} of the file is not {name}: save the sheet as UTF-8, or name "
            "its encoding, as in --encoding cp1252"
        )


def text_of(source: Source, encoding: str | None, bounds: Bounds) -> Text:
    """Find out how a text file is encoded: by its byte order mark, else as told, else UTF-8.

    Raises `SheetError` where it is empty, or no text, `UsageError` for an encoding that does not exist.
    """
    with ExitStack() as stack:
        file = stack.enter_context(source.open())
        is_gzip = file.read(2) == b"\x1f\x8b"
        try:
            head = _bytes_of(source, stack, bounds, is_gzip=is_gzip).read(HEAD_BYTES)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise SheetError(
                f"{source.name}: the gzip file is damaged or was cut short: fetch it again"
            ) from error
    kind = container_of(io.BytesIO(head)) if is_gzip else text_kind(head)
    if kind is not Container.TEXT:
        packed = "unpacks to" if is_gzip else "is in truth"
        way_on = "unpack it, and give that" if kind.is_workbook else "save it as a CSV or a workbook"
        raise SheetError(f"{source.name} {packed} {kind}: {way_on}")
    marked = next((codec for mark, codec in _MARKS if head.startswith(mark)), None)
    if encoding is not None:
        try:
            # Not all codecs of Python make text; the wrapper knows which do.
            io.TextIOWrapper(io.BytesIO(), encoding).close()
        except LookupError as error:
            raise UsageError(f"--encoding {encoding}: there is no such encoding of text") from error
    chosen = marked or encoding or "utf-8"
    if not head.strip(b"\xef\xbb\xbf\xfe\xff\0 \t\r\n"):
        raise SheetError(f"{source.name} is empty: a sheet has a header row and a row for each number")
    if marked is None and encoding is None and head.count(0) > len(head) // 4:
        order = "le" if head[1::2].count(0) > head[::2].count(0) else "be"
        raise SheetError(f"{source.name} looks like UTF-16 without its mark: add --encoding utf-16-{order}")
    return Text(source, chosen, is_gzip, bounds)


def _bytes_of(source: Source, stack: ExitStack, bounds: Bounds, *, is_gzip: bool) -> io.BufferedReader:
    file = stack.enter_context(source.open())
    if not is_gzip:
        return cast(io.BufferedReader, file)
    unpacked = stack.enter_context(gzip.GzipFile(fileobj=file, mode="rb"))
    return stack.enter_context(io.BufferedReader(_Counted(unpacked, source, bounds), _BUFFER_BYTES))


class _Counted(io.RawIOBase):
    """Passes on what is unpacked, until it is more than the bounds allow."""

    def __init__(self, unpacked: gzip.GzipFile, source: Source, bounds: Bounds) -> None:
        super().__init__()
        self._unpacked, self._source, self._bounds = unpacked, source, bounds
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        count = self._unpacked.readinto(buffer)
        self._size += count
        check_unpacked(self._size, self._source.size_bytes, self._source.name, self._bounds)
        return count


def _line_ends(undecoded: bytes, encoding: str) -> int:
    try:
        return undecoded.decode(encoding.removesuffix("-sig"), "replace").count("\n")
    except UnicodeError:
        return undecoded.count(b"\n")
