"""What any `batch.journal.protocol.Journal` must pass.

    class TestMyJournal(JournalConformance):
        @pytest.fixture
        def journal(self) -> Iterator[Journal]: ...        # a new one, empty

        @pytest.fixture
        def reread(self, journal) -> Reread: ...           # opens the same one anew, to read what is on disk

`JournalMachine` walks two journals through the same steps and compares all that can be read of them.
"""

from __future__ import annotations

from tests.journal_promises.machine import JournalMachine
from tests.journal_promises.of_exchanges import ExchangePromises
from tests.journal_promises.of_fleet import FleetPromises
from tests.journal_promises.of_read_backs import ReadBackPromises
from tests.journal_promises.of_readers import ReaderPromises
from tests.journal_promises.of_runs import RunPromises
from tests.journal_promises.of_waves import WavePromises

__all__ = ["JournalConformance", "JournalMachine"]


class JournalConformance(
    RunPromises, ExchangePromises, ReaderPromises, FleetPromises, ReadBackPromises, WavePromises
):
    """All promises of the Protocol."""
