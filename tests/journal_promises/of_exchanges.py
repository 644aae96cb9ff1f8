"""Promises about the exchange: claims, results and releases, in one commit or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from batch.errors import JournalError
from batch.journal.events import Event
from batch.journal.protocol import Claim, Counts, Journal, Shard
from batch.states import REQUEST_MOVES, RequestState
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
    retrying,
    seqs,
    states,
)
from tests.small_plans import FIRST_NUMBER, small_plan

RELEASED = RequestState.PENDING


class ExchangePromises:
    """What an exchange returns is on disk, and what it refuses leaves no trace."""

    # --- claims ---------------------------------------------------------------------------------

    def test_pending_requests_are_claimed_in_sheet_order(self, journal: Journal, reread: Reread) -> None:
        """As many as are wanted, each once, and what is claimed is in flight on disk."""
        run_id = begun(journal, small_plan(5))
        assert seqs(claim(journal, run_id, 2)) == [0, 1]
        assert reread().counts(run_id) == Counts(pending=3, in_flight=2)
        assert seqs(claim(journal, run_id, 9)) == [2, 3, 4]
        assert claim(journal, run_id, 9) == []

    def test_a_claim_says_what_is_to_be_sent(self, journal: Journal) -> None:
        """Its number, direction and payload are those of the plan; it has no past."""
        plan = small_plan(3, templates=2)
        run_id = begun(journal, plan)
        _, second, _ = claims = claim(journal, run_id, 3)
        assert (second.number, second.direction) == (FIRST_NUMBER, 1)
        assert [journal.payload(one.payload_id) for one in claims] == [
            plan.payloads[i].body for i in (0, 1, 0)
        ]
        assert claims[0].template_id == claims[2].template_id != second.template_id
        assert second == Claim(
            1, FIRST_NUMBER, 1, second.payload_id, second.template_id, 0, 0, False, False, False
        )

    def test_equal_payloads_are_one(self, journal: Journal) -> None:
        """The same content has the same id, in every run of the journal."""
        first = claim(journal, begun(journal, small_plan(4, templates=2)), 4)
        second = claim(journal, begun(journal, small_plan(2, templates=2)), 2)
        assert [one.payload_id for one in second] == [one.payload_id for one in first[:2]]

    def test_skipped_requests_are_never_claimed(self, journal: Journal) -> None:
        """What repeats another row is not sent."""
        run_id = begun(journal, small_plan(5, duplicates={2: 0, 4: 1}))
        assert seqs(claim(journal, run_id, 9)) == [0, 1, 3]

    def test_claims_come_from_the_given_shards_alone(self, journal: Journal) -> None:
        """In sheet order, however the shards are given; without a shard there is nothing to claim."""
        run_id = begun(journal, small_plan(12))
        assert claim(journal, run_id, 5, shards=()) == []
        assert seqs(claim(journal, run_id, 9, shards=[Shard(4, 6)])) == [4, 5]
        assert seqs(claim(journal, run_id, 3, shards=[Shard(8, 10), Shard(0, 4)])) == [0, 1, 2]
        assert claim(journal, run_id, 9, shards=[Shard(4, 6), Shard(50, 60)]) == []
        assert seqs(claim(journal, run_id, 9)) == [3, 6, 7, 8, 9, 10, 11]

    def test_due_retries_come_first_by_their_due_time(self, journal: Journal) -> None:
        """Those not due yet wait; those due at this very moment do not; pending ones follow."""
        run_id = begun(journal, small_plan(6))
        dues = [START + 30, START + 10, START + 20, START + 10]
        journal.exchange(
            run_id,
            ended=[
                retrying(one, due_at) for one, due_at in zip(claim(journal, run_id, 4), dues, strict=True)
            ],
        )
        assert seqs(claim(journal, run_id, 1, now=START + 9.75)) == [4]
        assert journal.next_due(run_id) == START + 10
        assert seqs(claim(journal, run_id, 9, now=START + 20)) == [1, 3, 2, 5]
        assert journal.next_due(run_id) == START + 30
        (last,) = claim(journal, run_id, 9, now=START + 31)
        assert (last.seq, last.is_retry, last.attempts, last.sends) == (0, True, 1, 1)
        assert journal.next_due(run_id) is None

    def test_due_retries_come_by_due_time_across_shards(self, journal: Journal) -> None:
        """However a run is cut, who has waited longest goes first; other shards' retries are not told of."""
        run_id = begun(journal, small_plan(9))
        claims = claim(journal, run_id, 9)
        journal.exchange(run_id, ended=[retrying(one, START + 10 - one.seq) for one in claims])
        shards = [Shard(6, 9), Shard(0, 3)]
        assert journal.next_due(run_id, shards=shards) == START + 2
        assert journal.next_due(run_id, shards=[Shard(3, 6)]) == START + 5
        assert seqs(claim(journal, run_id, 4, shards=shards, now=START + 60)) == [8, 7, 6, 2]
        assert journal.next_due(run_id, shards=[Shard(6, 9)]) is None

    @pytest.mark.parametrize(
        ("max_retries", "expected"),
        [(None, [0, 1, 2, 3]), (0, [1, 3, 4, 5]), (1, [0, 1, 3, 4]), (2, [0, 1, 2, 3]), (9, [0, 1, 2, 3])],
    )
    def test_the_budget_bounds_retries_that_are_not_free(
        self, journal: Journal, max_retries: int | None, expected: list[int]
    ) -> None:
        """Free ones pass it by, however many others wait before them; pending ones take what is left."""
        run_id = begun(journal, small_plan(7))
        claims = claim(journal, run_id, 4)
        journal.exchange(
            run_id, ended=[retrying(one, START + 1 + one.seq, is_free=one.seq % 2 == 1) for one in claims]
        )
        got = claim(journal, run_id, 4, now=START + 9, max_retries=max_retries)
        assert seqs(got) == expected
        assert [one.is_free for one in got] == [seq in (1, 3) for seq in expected]
        assert [one.is_paid for one in got] == [seq in (0, 2) for seq in expected]

    def test_a_barred_template_is_not_claimed(self, journal: Journal) -> None:
        """Neither what is pending nor what is retried, nor is it told when that is due; later it may be."""
        run_id = begun(journal, small_plan(8, templates=2))
        first, second = claim(journal, run_id, 2)
        journal.exchange(run_id, ended=[retrying(first, START + 1), retrying(second, START + 2)])
        barred = {first.template_id}
        assert journal.next_due(run_id, barred) == START + 2
        got = claim(journal, run_id, 9, now=START + 5, barred_templates=barred)
        assert seqs(got) == [1, 3, 5, 7]
        assert journal.next_due(run_id, barred) is None
        assert claim(journal, run_id, 9, now=START + 5, barred_templates=barred | {second.template_id}) == []
        assert seqs(claim(journal, run_id, 9, now=START + 5)) == [0, 2, 4, 6]

    # --- results --------------------------------------------------------------------------------

    def test_a_result_is_read_as_it_was_told(self, journal: Journal, reread: Reread) -> None:
        """State, times, answer and words of the last attempt stand in the request's row."""
        run_id = begun(journal, small_plan(3))
        claims = claim(journal, run_id, 3)
        journal.exchange(
            run_id,
            ended=[
                ended(claims[0], at=START + 1),
                ended(claims[1], RequestState.FAILED, REFUSED, at=START + 2),
                retrying(claims[2], START + 9, at=START + 3),
            ],
        )
        rows = list(reread().results(run_id))
        assert [row.state.value for row in rows] == ["succeeded", "failed", "retrying"]
        assert [row.http_status for row in rows] == [200, 400, 503]
        assert [row.error_code for row in rows] == ["", "BAD_REQUEST", "DOWN"]
        assert [row.error for row in rows] == ["", "no such codec", "down for a minute"]
        assert [row.request_id for row in rows] == ["req_1", "", ""]
        assert [row.first_sent_at for row in rows] == [START + 1, START + 2, START + 3]
        assert [row.due_at for row in rows] == [None, None, START + 9]
        assert {(row.attempts, row.sends, row.duration_s) for row in rows} == {(1, 1, 0.25)}

    def test_only_counted_attempts_count(self, journal: Journal) -> None:
        """A wait for an API that throttles is a send, and uses up no attempt."""
        run_id = begun(journal, small_plan(1))
        for counted in (False, True, False):
            (one,) = claim(journal, run_id, 1, now=START + 99)
            journal.exchange(run_id, ended=[retrying(one, START + 1, counted=counted)])
        (row,) = journal.results(run_id)
        assert (row.attempts, row.sends) == (1, 3)
        (one,) = claim(journal, run_id, 1, now=START + 99)
        assert (one.attempts, one.sends) == (1, 3)

    def test_the_first_send_stays_and_the_last_one_moves(self, journal: Journal) -> None:
        """A request knows when it was sent first and when last."""
        run_id = begun(journal, small_plan(1))
        for at in (START + 1, START + 2, START + 4):
            (one,) = claim(journal, run_id, 1, now=at)
            journal.exchange(run_id, ended=[retrying(one, at, at=at)])
        (row,) = journal.results(run_id)
        assert (row.first_sent_at, row.last_sent_at) == (START + 1, START + 4)

    def test_one_ambiguous_attempt_leaves_a_doubt_for_good(self, journal: Journal) -> None:
        """It may have been applied, whatever the attempts after it say."""
        run_id = begun(journal, small_plan(2))
        for outcome in (TRANSIENT, AMBIGUOUS, TRANSIENT):
            one = claim(journal, run_id, 1, now=START + 9)[0]
            assert not one.in_doubt or outcome is TRANSIENT
            journal.exchange(run_id, ended=[retrying(one, START + 1, outcome)])
        again, other = claim(journal, run_id, 2, now=START + 9)
        assert (again.in_doubt, other.in_doubt) == (True, False)

    def test_an_attempt_that_ended_pending_may_be_claimed_at_once(self, journal: Journal) -> None:
        """What lost its chance to a fault that is not its own goes back, with its attempt on record."""
        run_id = begun(journal, small_plan(3))
        first, second, _ = claim(journal, run_id, 3)
        got = journal.exchange(
            run_id, ended=[ended(first, RELEASED, REFUSED, counted=False)], want=1, shards=[Shard(0, 3)]
        )
        assert seqs(got) == [0]
        assert (got[0].attempts, got[0].sends, got[0].is_retry) == (0, 1, False)
        assert [attempt.error_code for attempt in journal.attempts(run_id)] == ["BAD_REQUEST"]
        assert second.seq == 1

    # --- releases -------------------------------------------------------------------------------

    def test_a_released_claim_goes_back_to_where_it_was(self, journal: Journal) -> None:
        """Pending ones are pending, retries keep their due time; nothing says that they were sent."""
        run_id = begun(journal, small_plan(4))
        (one,) = claim(journal, run_id, 1)
        journal.exchange(run_id, ended=[retrying(one, START + 1, is_free=True)])
        before = look(journal, run_id)
        claims = claim(journal, run_id, 3, now=START + 2)
        journal.exchange(run_id, released=seqs(claims))
        assert look(journal, run_id) == before
        assert claim(journal, run_id, 3, now=START + 2) == claims

    def test_a_released_claim_is_found_again_in_its_order(self, journal: Journal) -> None:
        """Also when others after it were claimed in the meantime, and in the same commit."""
        run_id = begun(journal, small_plan(9))
        claim(journal, run_id, 6)
        got = journal.exchange(run_id, released=[4, 1], want=3, shards=[Shard(0, 9)])
        assert seqs(got) == [1, 4, 6]

    def test_what_is_released_in_one_cut_is_found_in_another(self, journal: Journal) -> None:
        """Shards are spans of requests: who cuts them differently finds the same."""
        run_id = begun(journal, small_plan(9))
        claim(journal, run_id, 9, shards=[Shard(0, 3), Shard(3, 6), Shard(6, 9)])
        journal.exchange(run_id, released=[2, 5])
        assert seqs(claim(journal, run_id, 9, shards=[Shard(0, 9)])) == [2, 5]

    # --- all or nothing -------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "state", [s for s in RequestState if s not in REQUEST_MOVES[RequestState.IN_FLIGHT]]
    )
    def test_no_attempt_ends_in_a_state_that_it_may_not(self, journal: Journal, state: RequestState) -> None:
        """The journal checks the table of moves."""
        run_id = begun(journal, small_plan(2))
        (one,) = claim(journal, run_id, 1)
        self.refuses(journal, run_id, ended=[ended(one, state, ACCEPTED)])

    def test_what_is_not_in_flight_cannot_end(self, journal: Journal) -> None:
        """Neither what was never claimed, nor what has ended, been released or is to be retried."""
        run_id = begun(journal, small_plan(5))
        claims = claim(journal, run_id, 4)
        journal.exchange(
            run_id, ended=[ended(claims[0]), retrying(claims[1], START + 1)], released=[claims[2].seq]
        )
        for one in [*claims[:3], claims[3]._replace(seq=4)]:
            self.refuses(journal, run_id, ended=[ended(claims[3]), ended(one)])
            self.refuses(journal, run_id, ended=[ended(claims[3]), retrying(one, START + 1)])
            self.refuses(journal, run_id, ended=[ended(claims[3])], released=[one.seq])

    def test_nothing_ends_twice(self, journal: Journal) -> None:
        """Not by two results, two releases or one of each, in one commit."""
        run_id = begun(journal, small_plan(2))
        (one,) = claim(journal, run_id, 1)
        self.refuses(journal, run_id, ended=[ended(one), ended(one)])
        self.refuses(journal, run_id, ended=[ended(one), ended(one, RequestState.FAILED, REFUSED)])
        self.refuses(journal, run_id, ended=[retrying(one, START + 1), retrying(one, START + 1)])
        self.refuses(journal, run_id, ended=[ended(one)], released=[one.seq])
        self.refuses(journal, run_id, released=[one.seq, one.seq])

    def test_only_what_is_retried_is_due(self, journal: Journal) -> None:
        """A retry has a due time, and nothing else has."""
        run_id = begun(journal, small_plan(2))
        (one,) = claim(journal, run_id, 1)
        self.refuses(journal, run_id, ended=[ended(one, RequestState.RETRYING, TRANSIENT)])
        self.refuses(journal, run_id, ended=[ended(one, RequestState.SUCCEEDED, due_at=START + 1)])

    def refuses(self, journal: Journal, run_id: str, **what: Any) -> None:
        """The exchange is an error; neither its moves, nor its event, nor its claims were made."""
        before = look(journal, run_id)
        with pytest.raises(JournalError):
            claim(journal, run_id, 5, **what, events=[Event(START, "never", {})])
        assert look(journal, run_id) == before

    def test_a_refused_exchange_does_not_hide_what_it_would_have_claimed(self, journal: Journal) -> None:
        """After it, the journal gives out the same as before."""
        run_id = begun(journal, small_plan(6))
        (one,) = claim(journal, run_id, 1)
        self.refuses(journal, run_id, released=[one.seq, 5])
        journal.exchange(run_id, released=[one.seq])
        assert seqs(claim(journal, run_id, 9)) == [0, 1, 2, 3, 4, 5]

    def test_an_exchange_of_nothing_changes_nothing(self, journal: Journal) -> None:
        """It is allowed, since nobody has to ask first whether there is anything to say."""
        run_id = begun(journal, small_plan(2))
        before = look(journal, run_id)
        assert journal.exchange(run_id) == []
        assert look(journal, run_id) == before

    def test_an_exchange_in_two_steps_does_the_same(self, journal: Journal, reread: Reread) -> None:
        """Without its commit it gives the claims; once `commit` has returned, all of it is on disk."""
        run_id = begun(journal, small_plan(6))
        first = claim(journal, run_id, 3)
        claims = claim(
            journal,
            run_id,
            2,
            ended=[ended(first[0]), retrying(first[1], START + 9)],
            released=[first[2].seq],
            events=[Event(START, "paused", {"wait_s": 1})],
            commit=False,
        )
        assert seqs(claims) == [2, 3]
        journal.commit()
        assert reread().counts(run_id) == Counts(pending=2, in_flight=2, retrying=1, succeeded=1)
        assert [event.kind for event in reread().events(run_id)] == ["paused"]
        assert seqs(claim(journal, run_id, 9)) == [4, 5]

    def test_nothing_is_exchanged_while_an_exchange_is_open(self, journal: Journal) -> None:
        """Its claims would count with a commit that nobody has asked for; the open one stays as it is."""
        run_id = begun(journal, small_plan(6))
        claim(journal, run_id, 2, commit=False)
        with pytest.raises(JournalError):
            claim(journal, run_id, 2, commit=False)
        journal.commit()
        assert seqs(claim(journal, run_id, 2)) == [2, 3]

    @pytest.mark.parametrize("is_open", [False, True])
    def test_a_refused_exchange_leaves_nothing_open(self, journal: Journal, is_open: bool) -> None:
        """The next is made as if it had never been."""
        run_id = begun(journal, small_plan(6))
        (one,) = claim(journal, run_id, 1)
        self.refuses(journal, run_id, released=[one.seq, 5], commit=not is_open)
        assert seqs(claim(journal, run_id, 9, released=[one.seq], commit=False)) == [0, 1, 2, 3, 4, 5]
        journal.commit()

    def test_runs_do_not_mix(self, journal: Journal) -> None:
        """Claims, results and events of one run leave another as it was."""
        other = begun(journal, small_plan(4))
        claim(journal, other, 2)
        before = look(journal, other)
        run_id = begun(journal, small_plan(4))
        claims = claim(journal, run_id, 4)
        journal.exchange(
            run_id,
            ended=[ended(claims[0]), retrying(claims[1], START + 1)],
            released=[claims[2].seq],
            events=[Event(START, "paused", {"wait_s": 1})],
        )
        assert look(journal, other) == before
        assert states(journal, run_id)[3] is RequestState.IN_FLIGHT
