"""Where a sheet's bytes come from: a file, or standard input, which is kept for as long as it is read."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import sys
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from batch.errors import SheetError
from batch.sheets.chunks import Bounds

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes of one file, which can be read as often as needed.

    `name` is what messages call it, `path` what was asked for (`-` is standard input), `suffixes` the ends
    of its name in lower case (`.csv`, `.csv.gz` has two).
    """

    name: str
    path: str
    suffixes: tuple[str, ...]
    size_bytes: int
    sha256: str
    open: Callable[[], BinaryIO]
    check_unchanged: Callable[[], None]


def source_of(path: Path | str, name: str, bounds: Bounds) -> Source:
    """Take in a file by its path, or standard input by `-`; `SheetError` if it cannot be read."""
    if str(path) == "-":
        return _kept(sys.stdin.buffer, name, "-", (), bounds)
    path = Path(path)
    suffixes = tuple(suffix.lower() for suffix in path.suffixes[-2:])
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise SheetError(f"{path} is a folder: name the sheets in it")
        if not stat.S_ISREG(found.st_mode):
            # A pipe, as a shell makes it of <(...): it gives its bytes once.
            with path.open("rb") as pipe:
                return _kept(pipe, name, str(path), suffixes, bounds)
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
    except OSError as error:
        raise _unreadable(path, error) from error

    def open_again() -> BinaryIO:
        try:
            return path.open("rb")
        except OSError as error:
            raise _unreadable(path, error) from error

    def check_unchanged() -> None:
        try:
            now = path.stat()
        except OSError as error:
            raise _unreadable(path, error) from error
        if (now.st_size, now.st_mtime_ns, now.st_ino) != (found.st_size, found.st_mtime_ns, found.st_ino):
            raise SheetError(f"{name} was changed while it was being read: run the command again")

    return Source(name, str(path), suffixes, found.st_size, digest.hexdigest(), open_again, check_unchanged)


def _unreadable(path: Path, error: OSError) -> SheetError:
    if isinstance(error, FileNotFoundError):
        return SheetError(f"{path}: there is no such file")
    return SheetError(f"{path} cannot be read: {error.strerror or error}")


def _kept(stream: BinaryIO, name: str, path: str, suffixes: tuple[str, ...], bounds: Bounds) -> Source:
    """Keep what can be read only once in a file that has no name, and so is gone with the process."""
    # It outlives this function: it is closed when nobody can open it any more.
    file = tempfile.TemporaryFile()  # noqa: SIM115
    digest, size = hashlib.sha256(), 0
    while piece := stream.read(_PIECE_BYTES):
        size += len(piece)
        if size > bounds.unpacked_mb * 1_000_000:
            file.close()
            raise SheetError(
                f"{name}: more than {bounds.unpacked_mb} MB came in, which is what --max-unpacked-mb allows"
            )
        digest.update(piece)
        file.write(piece)
    file.flush()
    opener = _Opener(file.fileno())
    weakref.finalize(opener, file.close)
    return Source(name, path, suffixes, size, digest.hexdigest(), opener, lambda: None)


class _Opener:
    """Opens a kept file again and again, each reader with a place of its own in it."""

    def __init__(self, fileno: int) -> None:
        self.fileno = fileno

    def __call__(self) -> BinaryIO:
        return io.BufferedReader(_Reader(self), _PIECE_BYTES)


class _Reader(io.RawIOBase):
    def __init__(self, opener: _Opener) -> None:
        super().__init__()
        self._opener, self._at = opener, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at}.get(whence)
        self._at = (os.fstat(self._opener.fileno).st_size if start is None else start) + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        with memoryview(buffer).cast("B") as room:
            piece = os.pread(self._opener.fileno, len(room), self._at)
            room[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
