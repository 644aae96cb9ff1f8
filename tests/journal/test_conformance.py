"""Every journal there is passes the conformance suite, and all of them tell the same story."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import settings

from batch.journal.memory import MemoryJournal
from batch.journal.protocol import Journal
from batch.journal.reader import SqliteReader
from batch.journal.sqlite import SqliteJournal
from tests.journal_conformance import JournalConformance, JournalMachine
from tests.journal_promises.play import Reread


class TestSqliteJournal(JournalConformance):
    """The one in a file."""

    @pytest.fixture
    def journal(self, journal_path: Path) -> Iterator[Journal]:
        with closing(SqliteJournal(journal_path)) as journal:
            yield journal

    @pytest.fixture
    def reread(self, journal: Journal, journal_path: Path) -> Iterator[Reread]:
        with ExitStack() as stack:
            yield lambda: stack.enter_context(closing(SqliteReader(journal_path)))


class TestMemoryJournal(JournalConformance):
    """The one that forgets."""

    @pytest.fixture
    def journal(self) -> Journal:
        return MemoryJournal()

    @pytest.fixture
    def reread(self, journal: Journal) -> Reread:
        return lambda: journal


class SqliteBesideMemory(JournalMachine):
    """The same steps in a file and in memory."""

    @staticmethod
    def make() -> tuple[Journal, Journal, Callable[[], None]]:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            journal = SqliteJournal(Path(folder, "journal.db"))
            # Nobody pulls the plug here, and a walk of forty steps is not to wait for the disk.
            journal._db.execute("PRAGMA synchronous=OFF")
            stack.callback(journal.close)
            return journal, MemoryJournal(), stack.pop_all().close
        raise AssertionError("an exit stack swallows nothing")


TestSqliteBesideMemory = SqliteBesideMemory.TestCase
TestSqliteBesideMemory.settings = settings(max_examples=40, stateful_step_count=25)
