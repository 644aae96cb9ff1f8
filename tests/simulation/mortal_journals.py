"""The real journals, with numbered steps at which their process may die, or find the disk full."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batch.errors import JournalError
from batch.journal.memory import MemoryJournal
from batch.journal.protocol import Claim
from batch.journal.sqlite import SqliteJournal
from batch.states import StopReason
from tests.simulation.world import World


class MortalSqliteJournal(SqliteJournal):
    """SQLite's, dying before, within and after its transactions."""

    def __init__(self, path: Path, world: World) -> None:
        self._world = world
        super().__init__(path)

    def _prepare(self) -> None:
        super()._prepare()
        # Nobody pulls the plug of this machine: a process that dies leaves its writes to the kernel.
        self._db.execute("PRAGMA synchronous=OFF")

    def _begin(self) -> None:
        self._world.step("before a transaction")
        super()._begin()

    def _commit(self) -> None:
        self._world.step("before a commit")
        if self._world.is_disk_full():
            raise sqlite3.OperationalError("database or disk is full")
        super()._commit()
        self._world.step("after a commit")

    def exchange(self, run_id: str, **what: Any) -> list[Claim]:
        claims = super().exchange(run_id, **what)
        self._world.claimed(claims, what.get("want", 0))
        return claims

    def reborn(self) -> MortalSqliteJournal:
        """The journal as the next process finds it: the files as they are, without a farewell to them."""
        path = self._path.with_name(f"journal-{self._world.life}.db")
        for suffix in ("", "-wal"):
            left = self._path.with_name(self._path.name + suffix)
            if left.exists():
                shutil.copyfile(left, path.with_name(path.name + suffix))
        self.close()
        return MortalSqliteJournal(path, self._world)

    def is_sound(self) -> bool:
        """Whether SQLite finds the file whole."""
        return self._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


class MortalMemoryJournal(MemoryJournal):
    """The one in memory, dying before and after what would be its transactions."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def begin(self, run_id: str, at: float) -> int:
        with self._mortal():
            return super().begin(run_id, at)

    def exchange(self, run_id: str, **what: Any) -> list[Claim]:
        # It keeps nothing apart until the commit, so that what may happen to one happens here.
        with self._mortal():
            claims = super().exchange(run_id, **what)
        self._world.claimed(claims, what.get("want", 0))
        return claims

    def commit(self) -> None:
        super().commit()
        self._world.step("after a commit")

    def end(self, run_id: str, reason: StopReason, at: float) -> None:
        with self._mortal():
            super().end(run_id, reason, at)

    @contextmanager
    def _mortal(self) -> Iterator[None]:
        self._world.step("before a commit")
        if self._world.is_disk_full():
            raise JournalError("the disk is full")
        yield
        self._world.step("after a commit")

    def reborn(self) -> MortalMemoryJournal:
        """As it is: what was committed stays, and what was left open counts as committed."""
        super().commit()
        return self

    def is_sound(self) -> bool:
        """It has no file that could be damaged."""
        return True


MortalJournal = MortalSqliteJournal | MortalMemoryJournal
