"""Looks at what a run stands on, before it has to: the workspace, its journal, and this machine."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from batch.checks import Check, Level, ok, warning, wrong
from batch.errors import JournalError, OtherJournalError
from batch.states import RunState
from batch.workspace import Workspace

# --- the workspace ----------------------------------------------------------------------------------

#: A million requests with their report take about this.
_ROOM_BYTES = 1 << 30
#: Below this not even the journal of a small run is sure of its room.
_LEAST_ROOM_BYTES = 32 << 20
_LEAST_FREE_FILES = 100

#: File systems that are on another machine: SQLite's write-ahead log needs memory that all readers share.
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "fuse.s3fs", "afs", "ceph"})


def workspace_checks(workspace: Workspace) -> Iterator[Check]:
    """The folder, its room, its lock, its journal and every run in it; changes nothing."""
    folder = _check_folder(workspace.path)
    yield folder
    if folder.level is Level.WRONG:
        return
    yield _check_file_system(workspace.path)
    yield _check_room(workspace.path)
    if not workspace.path.exists():
        return
    if workspace.lock_path.exists() and not workspace.lock_path.is_file():
        yield wrong("lock", f"{workspace.lock_path} is no file", "move it away")
        return
    try:
        holder = workspace.holder()
    except JournalError as error:
        yield wrong("lock", str(error), "mend the rights of that file, or of its folder")
        holder = None
    else:
        yield ok("lock", f"held by {holder}" if holder else "free: nobody sends from this workspace")
    yield from _check_journal(workspace, is_held=holder is not None)


def _check_folder(path: Path) -> Check:
    about = "workspace"
    shown = shlex.quote(str(path))
    if path.is_symlink() and not path.exists():
        return wrong(
            about, f"{path} is a link that leads nowhere", "mend the link, or name another --workspace"
        )
    if not path.exists():
        above = next(parent for parent in path.absolute().parents if parent.exists())
        if not os.access(above, os.W_OK | os.X_OK):
            return wrong(
                about, f"{path} is not there, and cannot be made in {above}", f"get rights on {above}"
            )
        return ok(about, f"{path} is not there yet; the first run makes it")
    if not path.is_dir():
        return wrong(
            about, f"{path} is a file, and the workspace must be a folder", "name another --workspace"
        )
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        to_do = "mount it to be written (what is there can be looked at), or name another --workspace"
        return wrong(about, f"the file system of {path} is read-only", to_do)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return wrong(about, f"{path} cannot be read and written by you", f"chmod u+rwx {shown}, or chown it")
    found = path.stat()
    if found.st_uid != os.geteuid():
        return warning(about, f"{path} belongs to another user (id {found.st_uid})", "run as that user")
    if stat.S_IMODE(found.st_mode) & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        return warning(about, f"others can look into {path} (mode {mode:04o})", f"chmod 700 {shown}")
    return ok(about, f"{path}, yours alone")


def _check_file_system(path: Path) -> Check:
    name, mounted = _file_system(_existing(path))
    if name in _REMOTE:
        return warning(
            "file system",
            f"{path} is on {mounted}, which is on another machine ({name})",
            "use a --workspace on a disk of this machine: neither lock nor journal is safe there",
        )
    return ok("file system", f"{name or 'unknown'}, of this machine")


def _file_system(path: Path) -> tuple[str, str]:
    """The kind of the file system that a path is on, and where it is mounted; blank where nothing says it."""
    best, kind = "", ""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "", ""
    real = os.path.realpath(path)
    for line in mounts:
        _, raw, name, *_ = line.split(" ")
        point = raw.replace("\\040", " ")
        if (real == point or real.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, name
    return kind, best


def _check_room(path: Path) -> Check:
    about, there = "room", _existing(path)
    free = shutil.disk_usage(there).free
    files = os.statvfs(there)
    said = f"{_size(free)} free"
    if files.f_files and files.f_favail < _LEAST_FREE_FILES:
        return wrong(about, f"{said}, but only {files.f_favail} more files can be made", "remove some files")
    if free < _LEAST_ROOM_BYTES:
        return wrong(about, said, "make room: a run would stop with a full disk")
    if free < _ROOM_BYTES:
        return warning(about, said, "enough for small runs; a million requests need about 1 GB")
    return ok(about, said)


def _check_journal(workspace: Workspace, *, is_held: bool) -> Iterator[Check]:
    from batch.journal.audit import JournalAudit

    about, path = "journal", workspace.journal_path
    if not path.exists():
        yield ok(about, "there is none yet; the first run makes it")
        return
    yield from _check_rights(path)
    try:
        with closing(JournalAudit(path)) as journal:
            damage = journal.integrity()
            if damage:
                yield wrong(about, f"{path} is damaged: {'; '.join(damage)}", _RESTORE)
                return
            runs = journal.runs()
            yield ok(about, f"{path} is whole, with {len(runs):,} run{'' if len(runs) == 1 else 's'}")
            for run in runs:
                contradictions = journal.contradictions(run)
                # A run that is going may have moved on between two looks: the second decides.
                if contradictions and is_held:
                    contradictions = journal.contradictions(run)
                counts = journal.counts(run.id)
                if contradictions:
                    yield wrong(f"run {run.id}", f"does not add up: {'; '.join(contradictions)}", _RESTORE)
                elif run.state is RunState.RUNNING and not is_held:
                    text = f"was killed with {counts.left:,} of {counts.requests:,} requests left; it adds up"
                    yield warning(f"run {run.id}", text, f"go on with it: sipbatch resume {run.id}")
                else:
                    yield ok(f"run {run.id}", f"{run.state}, {counts.requests:,} requests; it adds up")
    except OtherJournalError as error:
        yield wrong(about, str(error), "")  # it says itself what to do
    except JournalError as error:
        yield wrong(about, str(error), _RESTORE)


_RESTORE = (
    "keep a copy of the whole folder, then restore the journal from a backup or use another --workspace; "
    "if no disk failed, report it"
)


def _check_rights(path: Path) -> Iterator[Check]:
    for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        try:
            found = file.stat()
        except FileNotFoundError:
            continue
        mode = stat.S_IMODE(found.st_mode)
        if mode & 0o077:
            yield warning(
                "journal", f"others can read {file} (mode {mode:04o})", f"chmod 600 {shlex.quote(str(file))}"
            )
        if not os.access(file, os.R_OK | os.W_OK):
            yield wrong(
                "journal",
                f"{file} cannot be written by you (mode {mode:04o})",
                f"chmod u+rw {shlex.quote(str(file))}, or chown it",
            )


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:,.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:,.0f} MB"


# --- this machine -----------------------------------------------------------------------------------

#: How many files a run of the usual size has open at once, its connections among them.
_FILES_WANTED = 300
_FILES_NEEDED = 64


def machine_checks() -> Iterator[Check]:
    """The database library, open files, and the time zone."""
    yield check_sqlite(sqlite3.sqlite_version_info)
    yield _check_open_files()
    yield check_time_zone(os.environ.get("TZ", ""))


def check_sqlite(version: tuple[int, ...]) -> Check:
    """Whether this SQLite has the bug that can damage a write-ahead log.

    By https://www.sqlite.org/wal.html#walresetbug it is in 3.7.0 to 3.51.2, but for the later releases
    3.44.6 and 3.50.7, and takes two connections that write or checkpoint at the same time.
    """
    about, said = "SQLite", ".".join(map(str, version))
    if version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45):
        return ok(about, said)
    return warning(
        about,
        f"{said} has the WAL-reset bug, which can damage a journal that two programs write at once",
        "a run is its journal's only writer, so it cannot strike by itself: let no other program write to a "
        "journal.db, and take SQLite 3.51.3 or newer when your system has it",
    )


def _check_open_files() -> Check:
    about, (soft, _) = "open files", resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _FILES_WANTED:
        return ok(about, f"{'any number' if soft == resource.RLIM_INFINITY else f'{soft:,}'} allowed")
    if soft < _FILES_NEEDED:
        return warning(
            about, f"only {soft} allowed", "raise it (ulimit -n 1024), or send with --concurrency 8"
        )
    return warning(
        about, f"only {soft} allowed", f"raise it (ulimit -n 1024), or keep --concurrency below {soft - 40}"
    )


def check_time_zone(name: str) -> Check:
    """Whether the time zone that is set (`TZ`) is known here: an unknown one is taken for UTC in silence."""
    about = "time zone"
    here = datetime.now().astimezone()
    if name and "/" in name and not _is_zone(name.removeprefix(":")):
        return warning(
            about,
            f"TZ is {name}, which is not known here, so that cron and logs may be on UTC",
            "install tzdata, or mend TZ",
        )
    return ok(about, f"{here:%Z (UTC%z)}; reports are in UTC, whatever it is")


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        return False
    return True


#: Less than this is the network's, or the second that an HTTP date leaves out.
_CLOCK_FINE_S = 5
_CLOCK_BAD_S = 60


def check_clock(date: str, *, asked_at: float, answered_at: float) -> Check:
    """This machine's clock against the `Date` of an answer; both times are UTC, seconds since the epoch."""
    about = "clock"
    try:
        told = parsedate_to_datetime(date)
    except (TypeError, ValueError):
        return warning(about, "the API's answer has no date to compare with", "compare it with another clock")
    if told.tzinfo is None:
        told = told.replace(tzinfo=UTC)
    # The date was written between the two, and has no fraction of a second.
    theirs = told.timestamp()
    ahead_s = max(asked_at - (theirs + 1), 0.0) or min(answered_at - theirs, 0.0)
    if abs(ahead_s) <= _CLOCK_FINE_S:
        return ok(about, "as the API's, within a few seconds")
    said = f"{abs(ahead_s):,.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the API's"
    to_do = "set it (timedatectl set-ntp true): the times in journal and report are this machine's"
    if abs(ahead_s) > _CLOCK_BAD_S:
        to_do += ", and certificates may be refused"
    return warning(about, said, to_do)
