"""Promises about runs: how they are made, derived, begun and ended."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from batch.errors import JournalError
from batch.journal.protocol import Counts, Journal, Pick, RunRecord
from batch.plans import plan_digest
from batch.states import RequestState, RunState, StopReason
from tests.journal_promises.play import (
    ACCEPTED,
    AMBIGUOUS,
    REFUSED,
    START,
    TRANSIENT,
    Reread,
    begun,
    claim,
    ended,
    look,
    new_run,
    retrying,
    send,
    seqs,
    states,
)
from tests.small_plans import FIRST_NUMBER, HEADER, small_plan

DONE, FAILED, UNKNOWN = RequestState.SUCCEEDED, RequestState.FAILED, RequestState.UNKNOWN


class RunPromises:
    """A run is pinned whole, moves as `RUN_MOVES` allows, and survives the process that sends it."""

    def test_a_new_run_is_pinned_whole(self, journal: Journal, reread: Reread) -> None:
        """All that was planned is read back as it was: sheets, cells, rejects, warnings, digests, options."""
        plan = small_plan(7, templates=2, rejects=2)
        run_id = journal.create_run(plan, new_run(account="acme"))

        found = reread()
        assert found.runs() == [found.run(run_id)]
        assert found.run(run_id) == RunRecord(
            id=run_id,
            state=RunState.PLANNED,
            reason=None,
            target="https://api.test",
            account="acme",
            plan_digest=plan.digest,
            created_at=START,
            started_at=None,
            ended_at=None,
            options={"rate": "5/s", "canary": None},
            parent=None,
            version="1.2.3",
            sheets=plan.sheets,
            template_digests=plan.template_digests,
            warnings=plan.warnings,
        )
        assert tuple(found.cells(run_id)) == plan.cells
        assert tuple(found.rejects(run_id)) == plan.rejects
        assert found.events(run_id) == []
        assert found.counts(run_id) == Counts(pending=7, rejected=2)

    def test_a_new_runs_requests_are_those_of_the_plan(self, journal: Journal, reread: Reread) -> None:
        """Every request is there in sheet order, with its row, template, payload's digest and note."""
        plan = small_plan(4, templates=2, duplicates={3: 0})
        run_id = journal.create_run(plan, new_run())

        rows = list(reread().results(run_id))
        assert [row.seq for row in rows] == [0, 1, 2, 3]
        assert [row.row for row in rows] == [2, 3, 4, 5]
        assert [row.number for row in rows] == [FIRST_NUMBER, FIRST_NUMBER, FIRST_NUMBER + 1, FIRST_NUMBER]
        assert [row.direction for row in rows] == [0, 1, 0, 0]
        assert [row.template for row in rows] == ["template-0", "template-1", "template-0", "template-0"]
        assert [row.payload_sha256 for row in rows] == [plan.payloads[i].sha256 for i in (0, 1, 0, 0)]
        assert [row.note for row in rows] == ["", "{was} was read as {number}", "", ""]
        assert [row.duplicate_of for row in rows] == [None, None, None, 0]
        assert [row.state.value for row in rows] == ["pending", "pending", "pending", "skipped"]
        assert {(row.attempts, row.sends, row.error_code, row.error, row.request_id) for row in rows} == {
            (0, 0, "", "", "")
        }
        assert {(row.first_sent_at, row.last_sent_at, row.duration_s, row.due_at) for row in rows} == {
            (None, None, None, None)
        }

    def test_a_plan_that_cannot_be_pinned_leaves_nothing(self, journal: Journal, reread: Reread) -> None:
        """All or nothing: whatever goes wrong half-way, there is no run, and the next one is pinned well."""
        plan = small_plan(5)
        with pytest.raises((ValueError, IndexError)):
            journal.create_run(replace(plan, rows=plan.rows[:-1]), new_run())
        assert reread().runs() == []

        run_id = journal.create_run(plan, new_run())
        assert [run.id for run in reread().runs()] == [run_id]
        assert reread().counts(run_id).pending == 5

    def test_runs_of_one_second_have_ids_of_their_own(self, journal: Journal) -> None:
        """Ids are unique, say when the run was made, and are listed oldest first."""
        ids = [journal.create_run(small_plan(1), new_run()) for _ in range(3)]
        assert [run.id for run in journal.runs()] == ids
        assert len(set(ids)) == 3
        assert all(run_id.startswith("20260727-093000") for run_id in ids)

    def test_an_unknown_run_is_an_error_that_names_those_there_are(self, journal: Journal) -> None:
        """Whoever mistypes an id is told which there are."""
        run_id = journal.create_run(small_plan(1), new_run())
        for ask in (journal.run, journal.counts, lambda unknown: journal.begin(unknown, START)):
            with pytest.raises(JournalError, match=run_id):
                ask("20260101-000000-9")

    def test_a_plan_of_nothing_is_a_run_like_any_other(self, journal: Journal) -> None:
        """A sheet whose rows were all rejected makes a run with rejects and no requests."""
        run_id = begun(journal, small_plan(0, rejects=3))
        assert claim(journal, run_id, 5) == []
        assert journal.shards(run_id, 10) == []
        journal.end(run_id, StopReason.DONE, START)
        assert journal.counts(run_id) == Counts(rejected=3)

    def test_a_run_moves_as_it_may(self, journal: Journal, reread: Reread) -> None:
        """planned → running → interrupted → running → completed; first start and last end stay."""
        run_id = journal.create_run(small_plan(1), new_run())
        assert journal.begin(run_id, START + 1) == 0
        assert reread().run(run_id).state is RunState.RUNNING
        journal.end(run_id, StopReason.SIGTERM, START + 2)
        stopped = reread().run(run_id)
        assert (stopped.state, stopped.reason) == (RunState.INTERRUPTED, StopReason.SIGTERM)
        assert (stopped.started_at, stopped.ended_at) == (START + 1, START + 2)

        journal.begin(run_id, START + 3)
        resumed = reread().run(run_id)
        assert (resumed.state, resumed.reason, resumed.ended_at) == (RunState.RUNNING, None, None)
        journal.end(run_id, StopReason.DONE, START + 4)
        done = reread().run(run_id)
        assert (done.state, done.started_at, done.ended_at) == (RunState.COMPLETED, START + 1, START + 4)

    def test_a_completed_run_is_not_begun_again(self, journal: Journal) -> None:
        """There is nothing to go on with, and the journal says so."""
        run_id = begun(journal, small_plan(1))
        journal.end(run_id, StopReason.DONE, START)
        before = journal.run(run_id)
        with pytest.raises(JournalError, match="completed"):
            journal.begin(run_id, START)
        assert journal.run(run_id) == before

    @pytest.mark.parametrize("reason", list(StopReason))
    def test_a_run_that_was_never_begun_cannot_end(self, journal: Journal, reason: StopReason) -> None:
        """Only a run that is going ends."""
        run_id = journal.create_run(small_plan(1), new_run())
        with pytest.raises(JournalError, match="planned"):
            journal.end(run_id, reason, START)
        assert journal.run(run_id).state is RunState.PLANNED

    # --- what a dead process left ---------------------------------------------------------------

    def test_claims_of_a_dead_process_are_taken_back(self, journal: Journal, reread: Reread) -> None:
        """They are pending again; an ambiguous attempt is noted, and counts toward nothing."""
        run_id = begun(journal, small_plan(4))
        claims = claim(journal, run_id, 3, now=START + 5)
        journal.exchange(run_id, released=[claims[2].seq])

        assert journal.begin(run_id, START + 60) == 2

        found = reread()
        assert states(found, run_id) == [RequestState.PENDING] * 4
        attempts = list(found.attempts(run_id))
        assert [(a.seq, a.send, a.sent_at, a.verdict) for a in attempts] == [
            (0, 1, START + 5, "ambiguous"),
            (1, 1, START + 5, "ambiguous"),
        ]
        assert {a.error_code for a in attempts} == {"LOST"}
        rows = list(found.results(run_id))
        assert [(row.attempts, row.sends) for row in rows] == [(0, 1), (0, 1), (0, 0), (0, 0)]
        assert [row.first_sent_at for row in rows] == [START + 5, START + 5, None, None]

    def test_what_was_lost_is_in_doubt_from_then_on(self, journal: Journal) -> None:
        """Whoever claims it next knows that it may have been applied; the others are not in doubt."""
        run_id = begun(journal, small_plan(2))
        claim(journal, run_id, 1)
        journal.begin(run_id, START)
        again = claim(journal, run_id, 2)
        assert [(one.seq, one.in_doubt, one.sends, one.attempts) for one in again] == [
            (0, True, 1, 0),
            (1, False, 0, 0),
        ]
        assert [one.is_retry for one in again] == [False, False]

    def test_a_lost_retry_is_due_at_once(self, journal: Journal) -> None:
        """What was being sent again when the process died does not wait; other retries keep their times."""
        run_id = begun(journal, small_plan(2))
        first, second = claim(journal, run_id, 2)
        journal.exchange(run_id, ended=[retrying(first, START + 1), retrying(second, START + 900)])
        claim(journal, run_id, 1, now=START + 2)

        assert journal.begin(run_id, START + 3) == 1
        assert states(journal, run_id) == [RequestState.PENDING, RequestState.RETRYING]
        assert journal.next_due(run_id) == START + 900
        (again,) = claim(journal, run_id, 2, now=START + 3)
        assert (again.seq, again.attempts, again.sends) == (0, 1, 2)

    def test_a_clock_that_was_set_back_prolongs_no_wait(self, journal: Journal) -> None:
        """A retry that was due in thirty seconds is so still, by whatever clock the run goes on."""
        run_id = begun(journal, small_plan(2))
        first, second = claim(journal, run_id, 2)
        earlier, later = (
            ended(first, RequestState.RETRYING, TRANSIENT, at=START - 7_200.0, due_at=START),
            (ended(second, RequestState.RETRYING, TRANSIENT, at=START, due_at=START + 30.0)),
        )
        journal.exchange(run_id, ended=[earlier, later])
        journal.begin(run_id, START - 3_600.0)
        assert journal.next_due(run_id) == START - 3_570.0
        assert seqs(claim(journal, run_id, 2, now=START - 3_570.0)) == [1]
        assert seqs(claim(journal, run_id, 2, now=START)) == [0]

    def test_beginning_one_run_leaves_another_alone(self, journal: Journal) -> None:
        """What another run has in flight is that run's."""
        other = begun(journal, small_plan(2))
        claim(journal, other, 2)
        before = look(journal, other)
        run_id = journal.create_run(small_plan(2), new_run())
        assert journal.begin(run_id, START) == 0
        assert look(journal, other) == before

    # --- derived runs ---------------------------------------------------------------------------

    def derived_from(self, journal: Journal) -> str:
        """A run whose requests ended in every way, but for the last, which is pending."""
        run_id = begun(journal, small_plan(7, templates=2, rejects=1))
        send(
            journal,
            run_id,
            (DONE, ACCEPTED),
            (FAILED, REFUSED),
            (FAILED, TRANSIENT),
            (FAILED, TRANSIENT),
            (UNKNOWN, AMBIGUOUS),
            (DONE, ACCEPTED),
        )
        journal.end(run_id, StopReason.SIGINT, START + 9)
        return run_id

    @pytest.mark.parametrize(
        ("pick", "rows"),
        [
            (Pick(frozenset({FAILED, UNKNOWN})), [3, 4, 5, 6]),
            (Pick(frozenset({FAILED, UNKNOWN}), error_code="DOWN"), [4, 5]),
            (Pick(frozenset({FAILED, UNKNOWN}), template="template-1"), [3, 5]),
            (Pick(frozenset({FAILED}), error_code="DOWN", template="template-0"), [4]),
            (Pick(frozenset({FAILED}), error_code="NONE_SUCH"), []),
            (Pick(frozenset({DONE, RequestState.PENDING})), [2, 7, 8]),
            (Pick(frozenset()), []),
        ],
        ids=lambda given: None if isinstance(given, Pick) else f"rows {given}",
    )
    def test_a_derived_run_takes_up_what_was_picked(
        self, journal: Journal, pick: Pick, rows: list[int]
    ) -> None:
        """By state, by error code, by template: those requests, in order, anew, and nothing else."""
        parent = self.derived_from(journal)
        before = look(journal, parent)
        run_id = journal.derive_run(parent, pick, new_run(at=START + 10))

        found = list(journal.results(run_id))
        assert [row.row for row in found] == rows
        assert [row.seq for row in found] == list(range(len(rows)))
        assert journal.counts(run_id) == Counts(pending=len(rows))
        assert all((row.attempts, row.sends, row.error_code) == (0, 0, "") for row in found)
        assert look(journal, parent) == before

    def test_a_derived_run_keeps_what_was_pinned(self, journal: Journal, reread: Reread) -> None:
        """Its payloads, rows, sheets and cells are its parent's; it says whose child it is."""
        parent = self.derived_from(journal)
        run_id = journal.derive_run(parent, Pick(frozenset({FAILED})), new_run(at=START + 10))
        found = reread()
        was = {row.row: row for row in found.results(parent)}
        rows = list(found.results(run_id))
        assert [(row.number, row.direction, row.template, row.payload_sha256, row.note) for row in rows] == [
            (row.number, row.direction, row.template, row.payload_sha256, row.note)
            for row in (was[3], was[4], was[5])
        ]
        record = found.run(run_id)
        assert record.parent == parent
        assert record.sheets == found.run(parent).sheets
        assert record.sheets[0].header == HEADER
        assert record.template_digests == found.run(parent).template_digests
        assert list(found.cells(run_id)) == list(found.cells(parent))
        assert list(found.rejects(run_id)) == []

    def test_a_derived_runs_digest_is_that_of_what_it_sends(self, journal: Journal) -> None:
        """Two runs with one digest send the same: it does not matter what else the journal holds."""
        journal.create_run(small_plan(3, templates=3, blocks=50), new_run())
        plan = small_plan(7, templates=2)
        parent = journal.create_run(plan, new_run())
        run_id = journal.derive_run(parent, Pick(frozenset({RequestState.PENDING})), new_run())
        assert journal.run(run_id).plan_digest == plan.digest

        one = journal.derive_run(
            parent, Pick(frozenset({RequestState.PENDING}), template="template-1"), new_run()
        )
        picked = np.arange(7) % 2 == 1
        assert journal.run(one).plan_digest == plan_digest(
            plan.numbers[picked],
            plan.directions[picked],
            np.zeros(3, dtype=np.int32),
            [plan.payloads[1]],
        )

    def test_a_run_derived_from_a_derived_one_shows_the_first_ones_sheets(self, journal: Journal) -> None:
        """However often something is retried, the report has the rows of the sheet."""
        parent = self.derived_from(journal)
        child = journal.derive_run(parent, Pick(frozenset({FAILED})), new_run())
        journal.begin(child, START)
        send(journal, child, (FAILED, REFUSED), (DONE, ACCEPTED), (DONE, ACCEPTED))
        journal.end(child, StopReason.DONE, START)
        grandchild = journal.derive_run(child, Pick(frozenset({FAILED})), new_run())
        assert list(journal.cells(grandchild)) == list(journal.cells(parent))
        assert [row.row for row in journal.results(grandchild)] == [3]
        journal.begin(grandchild, START)
        assert seqs(claim(journal, grandchild, 9)) == [0]
