"""Files that appear whole or not at all: written under another name, made durable, then renamed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from batch.errors import ReportError

_SUFFIX = ".partial"
_BUFFER_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class FileDigest:
    """What a whole file is: its SHA-256 in hex and its size in bytes."""

    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, path: Path) -> FileDigest:
        """The digest of a file that is there; `OSError` as it comes."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(digest, file.tell())


class Staging:
    """New files for one folder; none has its name before `commit`, and all that are left then get it.

    A context manager: what was not committed is removed. `way_on` ends every error's message with what
    to do. The files can be read by their owner only. A process that is killed leaves a hidden
    `.NAME.*.partial` behind, which the next `Staging` for that name removes: it is known to be left
    behind because nobody holds its lock.
    """

    def __init__(self, folder: Path, *, way_on: str) -> None:
        self._folder = folder
        self._way_on = way_on
        self._staged: dict[str, StagedFile] = {}
        with _told(folder, self._way_on):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def file(self, name: str) -> StagedFile:
        """Begin the file that will be called `name`; `ReportError` if that cannot be."""
        target = self._folder / name
        with _told(target, self._way_on):
            if target.is_dir():
                raise IsADirectoryError(21, "there is a folder of that name")
            self._sweep(name)
            temporary, descriptor = _create(target)
        staged = StagedFile(target, temporary, descriptor, self._way_on)
        self._staged[name] = staged
        return staged

    def finish(self) -> dict[str, FileDigest]:
        """Make every file that was begun durable; what each is."""
        return {name: staged.finish() for name, staged in self._staged.items()}

    def commit(self) -> None:
        """Give every file its name, in the order in which they were begun, once all of them are durable."""
        self.finish()
        for staged in self._staged.values():
            with _told(staged.target, self._way_on):
                staged.temporary.replace(staged.target)
            staged.close()
        self._staged.clear()
        with _told(self._folder, self._way_on):
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def remove(self, name: str) -> None:
        """Take away a file that would be out of date beside the new ones, and what was left behind of it."""
        with _told(self._folder / name, self._way_on):
            self._sweep(name)
            (self._folder / name).unlink(missing_ok=True)

    def _sweep(self, name: str) -> None:
        for left in self._folder.glob(f".{name}.*{_SUFFIX}"):
            # A folder on a file system without locks keeps what was left behind; it does no harm.
            with contextlib.suppress(OSError), left.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()

    def __enter__(self) -> Staging:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for staged in self._staged.values():
            staged.abandon()
        self._staged.clear()


class StagedFile:
    """One file on its way: bytes are appended, and digested as they are."""

    def __init__(self, target: Path, temporary: Path, descriptor: int, way_on: str) -> None:
        self.target = target
        self.temporary = temporary
        self._way_on = way_on
        self._file = os.fdopen(descriptor, "wb", buffering=_BUFFER_BYTES)
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self._digest: FileDigest | None = None

    def write(self, data: bytes) -> None:
        """Append; `ReportError` if the disk does not take it."""
        with _told(self.target, self._way_on):
            self._file.write(data)
        self._hash.update(data)
        self._size_bytes += len(data)

    def written_by(self, path: Path) -> None:
        """Take the contents of a file that a library wrote elsewhere."""
        with _told(self.target, self._way_on), path.open("rb") as source:
            while block := source.read(_BUFFER_BYTES):
                self.write(block)

    def finish(self) -> FileDigest:
        """Make it durable; what it is from now on. May be called again."""
        if self._digest is None:
            with _told(self.target, self._way_on):
                self._file.flush()
                os.fsync(self._file.fileno())
            self._digest = FileDigest(self._hash.hexdigest(), self._size_bytes)
        return self._digest

    def close(self) -> None:
        """Let go of it, and so of the lock that says it is being written."""
        # Closing flushes what is left, which fails again on the full disk that made us give up.
        with contextlib.suppress(OSError):
            self._file.close()

    def abandon(self) -> None:
        """Remove it, whatever state it is in."""
        self.close()
        with contextlib.suppress(OSError):
            self.temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _told(path: Path, way_on: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise ReportError(f"{path}: cannot be written ({why}). {way_on}") from error


def _create(target: Path) -> tuple[Path, int]:
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_SUFFIX}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another process may have swept it away between those two calls.
        if temporary.exists():
            return temporary, descriptor
        os.close(descriptor)
