"""Promises about what was read back: it is kept as it was found, the last of it, in sheet order."""

from __future__ import annotations

import pytest

from batch.errors import JournalError
from batch.journal.protocol import Journal
from batch.journal.verification import Drift, Proof, Snapshot, Verification
from batch.plans import Payload
from tests.journal_promises.play import START, Reread, begun, look, new_run
from tests.small_plans import small_plan

FOUND = Verification(
    3,
    START + 60.25,
    Proof.DRIFTED,
    {"alert_config": Proof.VERIFIED, "codec_config": Proof.DRIFTED},
    (Drift("codec_config.codecs", '["PCMU"]', "nothing"), Drift("codec_config.transcode", "true", '"ja"')),
    "alert_config.channels.webhook: shown only masked",
    2,
)
WELL = Verification(0, START + 60.0, Proof.VERIFIED, {"alert_config": Proof.VERIFIED})
BLOCKS = Payload.of({"codec_config": {"codecs": ["PCMA"], "transcode": False}})


class ReadBackPromises:
    """Verifications and snapshots."""

    def test_what_was_found_is_read_as_it_was_recorded(self, journal: Journal, reread: Reread) -> None:
        """Every field, in sheet order, however it was recorded; requests without are left out."""
        run_id = begun(journal, small_plan(6))
        journal.record_verified(run_id, [FOUND])
        journal.record_verified(run_id, [WELL])
        assert list(reread().verifications(run_id)) == [WELL, FOUND]

    @pytest.mark.parametrize("proof", list(Proof))
    def test_every_proof_is_kept(self, journal: Journal, reread: Reread, proof: Proof) -> None:
        """None is taken for another."""
        run_id = begun(journal, small_plan(1))
        journal.record_verified(run_id, [WELL._replace(proof=proof, blocks={"alert_config": proof})])
        (found,) = reread().verifications(run_id)
        assert (found.proof, found.blocks) == (proof, {"alert_config": proof})

    def test_the_last_finding_counts(self, journal: Journal, reread: Reread) -> None:
        """A request that is read back again has one finding, and it is the new one."""
        run_id = begun(journal, small_plan(6))
        journal.record_verified(run_id, [FOUND])
        journal.record_verified(run_id, [FOUND._replace(proof=Proof.VERIFIED, drifts=(), pass_no=3)])
        (found,) = reread().verifications(run_id)
        assert (found.proof, found.drifts, found.pass_no) == (Proof.VERIFIED, (), 3)

    def test_findings_belong_to_their_run(self, journal: Journal, reread: Reread) -> None:
        """Another run of the same numbers has none of them, and no run changes by them."""
        first, second = begun(journal, small_plan(6)), journal.create_run(small_plan(6), new_run())
        before = look(journal, first)
        journal.record_verified(first, [FOUND])
        journal.record_snapshot(first, [Snapshot(0, START, is_there=True, payload=BLOCKS)])
        assert look(journal, first) == before
        assert list(reread().verifications(second)) == []
        assert list(reread().snapshots(second)) == []

    def test_snapshots_are_read_as_they_were_recorded(self, journal: Journal, reread: Reread) -> None:
        """With their blocks, without, and where nothing was there; several with the same blocks."""
        run_id = begun(journal, small_plan(6))
        taken = [
            Snapshot(1, START, is_there=True, payload=BLOCKS),
            Snapshot(2, START + 1, is_there=True, payload=None),
            Snapshot(4, START + 2, is_there=False, payload=None),
            Snapshot(5, START + 3, is_there=True, payload=BLOCKS),
        ]
        journal.record_snapshot(run_id, taken[2:])
        journal.record_snapshot(run_id, taken[:2])
        assert list(reread().snapshots(run_id)) == taken

    def test_nothing_to_record_is_no_error(self, journal: Journal, reread: Reread) -> None:
        """An empty group changes nothing."""
        run_id = begun(journal, small_plan(1))
        journal.record_verified(run_id, [])
        journal.record_snapshot(run_id, [])
        assert list(reread().verifications(run_id)) == []

    def test_unknown_run_is_told(self, journal: Journal) -> None:
        """What was read back of a run that there is not is not kept."""
        with pytest.raises(JournalError, match="there is no run"):
            journal.record_verified("20260101-000000-9", [WELL])
        with pytest.raises(JournalError, match="there is no run"):
            journal.record_snapshot("20260101-000000-9", [Snapshot(0, START, is_there=False, payload=None)])
