"""The workspace: the folder that holds all that is written, and the lock that one run at a time holds."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from batch.errors import JournalError, LockedError, UsageError
from batch.states import RunState

if TYPE_CHECKING:
    from batch.journal.protocol import Journal, RunRecord
    from batch.journal.sqlite import SqliteJournal

DEFAULT_WORKSPACE = Path("sipbatch-runs")

#: States from which `resume` goes on. A `running` run whose process lives cannot be had: it holds the lock.
UNFINISHED = frozenset({RunState.PLANNED, RunState.RUNNING, RunState.INTERRUPTED, RunState.HALTED})

#: A look at the lock (`holder`) holds it for an instant, so one that is busy is tried again.
LOCK_TRIES = 5
LOCK_RETRY_S = 0.02


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a workspace, as they wrote it down when they took it; times are UTC, ISO 8601."""

    pid: int
    host: str
    command: str
    run: str | None
    since: str

    @classmethod
    def here(cls, command: str, run: str | None) -> Holder:
        """This process, from now on."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(os.getpid(), socket.gethostname(), command, run, since)

    def __str__(self) -> str:
        run = f" of run {self.run}" if self.run else ""
        return f"`sipbatch {self.command}`{run}, process {self.pid} on {self.host}, since {self.since}"


class Lock:
    """The workspace's lock while this process holds it.

    It is the kernel's (`flock`): it is gone the moment the process is, however that ends, and the file
    that stays behind means nothing by itself. `descriptor` is that file's, which says who holds it; `folder`
    is the workspace's own, locked as well: whoever removes the file, taking it for stale, lets nobody in.
    """

    def __init__(self, descriptor: int, folder: int, command: str) -> None:
        self._descriptor = descriptor
        self._folder = folder
        self._command = command
        self.name_run(None)

    def name_run(self, run_id: str | None) -> None:
        """Write down which run holds the workspace, for whoever finds it locked."""
        text = json.dumps(asdict(Holder.here(self._command, run_id))).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)

    def release(self) -> None:
        """Let the next one in; doing it twice does nothing."""
        if self._descriptor >= 0:
            os.close(self._folder)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder with `journal.db` and a folder for every run; only its owner can read it."""

    path: Path

    @property
    def journal_path(self) -> Path:
        """Where the journal is, or will be."""
        return self.path / "journal.db"

    @property
    def lock_path(self) -> Path:
        """The file that is locked; it also says who holds it."""
        return self.path / "lock"

    @property
    def control_path(self) -> Path:
        """The folder in which orders are put for a run that is going; there is none while nobody sends."""
        return self.path / "control"

    def lock(self, command: str) -> Lock:
        """Take the workspace for this process, making its folder first if there is none.

        Raises `LockedError`, naming the holder, if another process has it, and `JournalError` if the
        folder cannot be made or written.
        """
        with _refused(self.path):
            _make_private(self.path)
            if os.statvfs(self.path).f_flag & os.ST_RDONLY:
                raise OSError(errno.EROFS, "its file system is read-only")
            if not os.access(self.path, os.W_OK | os.X_OK):  # the journal may be writable all the same
                raise PermissionError(errno.EACCES, "you have no right to write in this folder")
            descriptor = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            folder = -1
            try:
                folder = os.open(self.path, _FOLDER)
                self._take(descriptor, folder)
                return Lock(descriptor, folder, command)
            except BaseException:
                for one in (descriptor, folder):
                    if one >= 0:
                        os.close(one)
                raise

    def _take(self, descriptor: int, folder: int) -> None:
        for attempt in range(LOCK_TRIES):
            if _is_taken(descriptor, fcntl.LOCK_EX) and _is_taken(folder, fcntl.LOCK_EX, is_needed=False):
                return
            if attempt < LOCK_TRIES - 1:
                time.sleep(LOCK_RETRY_S)
        raise self._held_by(self._written_holder())

    def check_free(self) -> None:
        """`LockedError`, as `lock` raises it, if another process has it now; makes and takes nothing."""
        holder = self.holder()
        if holder is not None:
            raise self._held_by(holder)

    def _held_by(self, holder: Holder | None) -> LockedError:
        return LockedError(
            f"{self.path}: another run holds this workspace: {holder or 'it does not say who'}. "
            f"Wait until it ends, or use another --workspace. `sipbatch status --workspace {self.path}` "
            "shows where it stands."
        )

    def holder(self) -> Holder | None:
        """Who holds the workspace now, or None if it is free."""
        # To open a pipe would take for ever; a file does not mind being asked not to.
        flags_of = {self.lock_path: os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, self.path: _FOLDER}
        for path, flags in flags_of.items():
            try:
                descriptor = os.open(path, flags)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise JournalError(f"{path}: cannot be read: {error.strerror}.") from None
            try:
                if not _is_taken(descriptor, fcntl.LOCK_SH, is_needed=path is not self.path):
                    return self._written_holder() or Holder(0, "", "unknown", None, "")
            finally:
                os.close(descriptor)
        return None

    def _written_holder(self) -> Holder | None:
        try:
            return Holder(**json.loads(self.lock_path.read_bytes()))
        except (OSError, ValueError, TypeError):  # being written at this moment
            return None

    def journal(self) -> SqliteJournal:
        """The journal to read and write, made if there is none; only while the lock is held."""
        from batch.journal.sqlite import SqliteJournal

        return SqliteJournal(self.journal_path)

    def reader(self) -> Journal:
        """The journal to read only, also while a run is going; `UsageError` if there is none."""
        from batch.journal.reader import SqliteReader

        self.check_begun()
        return cast("Journal", SqliteReader(self.journal_path))  # the reading half, for those who only read

    def check_begun(self) -> None:
        """`UsageError` if there is no journal yet."""
        if not self.journal_path.exists():
            raise UsageError(
                f"{self.path}: there are no runs here. `sipbatch run SHEET` makes the first one; "
                "--workspace names another folder."
            )

    def records(self) -> list[RunRecord]:
        """All runs, oldest first; `UsageError` if there is no journal."""
        with closing(self.reader()) as reader:
            return reader.runs()

    def run_folder(self, run_id: str) -> Path:
        """Where a run's report is, or will be; the report makes it, for its owner alone."""
        return self.path / run_id


def _is_taken(descriptor: int, kind: int, *, is_needed: bool = True) -> bool:
    """Take a lock of this kind, or find that another process has it.

    One that is not needed counts as taken where there is no such lock: on a network's file system folders
    have none.
    """
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        if is_needed:
            raise
    return True


def find_run(
    runs: Sequence[RunRecord],
    wanted: str | None,
    *,
    fits: Callable[[RunRecord], bool] = lambda _: True,
    fitting: str = "",
) -> RunRecord:
    """The run that an operator means: by its id, by the start of it, or the newest one that fits.

    `runs` are oldest first. `fitting` says in words what `fits` asks, such as "that can be resumed". Raises
    `UsageError`, listing the runs there are, if none or several are meant. A run that is named is returned
    whether it fits or not: what that means, its command says better.
    """
    if wanted is None:
        found = next((run for run in reversed(runs) if fits(run)), None)
        if found is None:
            what = f"no run {fitting}".rstrip()
            raise UsageError(f"There is {what}.{_listed(runs)}")
        return found
    matching = [run for run in runs if run.id == wanted] or [run for run in runs if run.id.startswith(wanted)]
    match matching:
        case [run]:
            return run
        case []:
            raise UsageError(f'There is no run "{wanted}".{_listed(runs)}')
        case _:
            raise UsageError(f'"{wanted}" begins the ids of several runs.{_listed(matching)}')


def _listed(runs: Sequence[RunRecord], most: int = 5) -> str:
    if not runs:
        return " This workspace has no runs yet."
    newest = ", ".join(f"{run.id} ({run.state.value})" for run in reversed(runs[-most:]))
    more = f", and {len(runs) - most} older" if len(runs) > most else ""
    return f" There are, newest first: {newest}{more}."


def _make_private(folder: Path) -> None:
    """Make a folder that only its owner can enter; one that is there stays as it is."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def _refused(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise JournalError(f"{folder}: this is a file, and the workspace must be a folder.") from None
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise JournalError(f"{folder}: cannot be written: {reason}. Nothing was sent.") from None
