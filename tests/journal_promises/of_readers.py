"""Promises about reading: counts, results, attempts, events, shards, and what is applied where."""

from __future__ import annotations

import pytest

from batch.journal.events import FOUND_RATE, Event
from batch.journal.known import Applied
from batch.journal.protocol import Counts, Journal, Pick, Shard
from batch.plans import Plan
from batch.states import RequestState, StopReason
from batch.target import Outcome
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
    new_run,
    retrying,
    send,
)
from tests.small_plans import FIRST_NUMBER, small_plan

DONE, FAILED, UNKNOWN = RequestState.SUCCEEDED, RequestState.FAILED, RequestState.UNKNOWN
RETRYING, PENDING = RequestState.RETRYING, RequestState.PENDING


def applied_keys(applied: Applied) -> dict[int, tuple[str, bool]]:
    """What is applied, by key: the payload's digest, and whether that is certain."""
    return {
        int(key): (applied.sha256s[int(payload_id)], bool(certain))
        for key, payload_id, certain in zip(applied.keys, applied.payload_ids, applied.certain, strict=True)
    }


class ReaderPromises:
    """What is read adds up, comes in order, and is what is on disk."""

    def test_the_law_of_conservation_holds_at_every_step(self, journal: Journal, reread: Reread) -> None:
        """requests = succeeded + failed + unknown + skipped + retrying + pending + in_flight, always."""
        run_id = begun(journal, small_plan(9, duplicates={8: 0}, rejects=2))
        assert reread().counts(run_id) == Counts(pending=8, skipped=1, rejected=2)
        claims = claim(journal, run_id, 6)
        assert reread().counts(run_id) == Counts(pending=2, in_flight=6, skipped=1, rejected=2)
        journal.exchange(
            run_id,
            ended=[
                ended(claims[0]),
                ended(claims[1], FAILED, REFUSED),
                ended(claims[2], UNKNOWN, AMBIGUOUS),
                retrying(claims[3], START + 1),
            ],
            released=[claims[4].seq],
        )
        counts = reread().counts(run_id)
        assert counts == Counts(
            pending=3, in_flight=1, retrying=1, succeeded=1, failed=1, unknown=1, skipped=1, rejected=2
        )
        assert (counts.requests, counts.left) == (9, 5)

    def test_results_come_in_sheet_order(self, journal: Journal) -> None:
        """Whatever the order in which they ended."""
        run_id = begun(journal, small_plan(5))
        claims = claim(journal, run_id, 5)
        for one in reversed(claims):
            journal.exchange(run_id, ended=[ended(one)])
        assert [row.seq for row in journal.results(run_id)] == [0, 1, 2, 3, 4]

    def test_every_attempt_is_told_by_request_and_by_send(self, journal: Journal, reread: Reread) -> None:
        """Those that were to be retried, those that ended their request, and those lost with a process."""
        run_id = begun(journal, small_plan(3))
        send(journal, run_id, (RETRYING, TRANSIENT), (RETRYING, AMBIGUOUS), at=START + 1, due_at=START + 2)
        send(journal, run_id, (DONE, ACCEPTED), (PENDING, REFUSED), at=START + 3)
        claim(journal, run_id, 2, now=START + 5)
        journal.begin(run_id, START + 6)
        send(journal, run_id, (FAILED, REFUSED), at=START + 7)

        assert [
            (a.seq, a.send, a.sent_at, a.verdict, a.http_status, a.error_code)
            for a in reread().attempts(run_id)
        ] == [
            (0, 1, START + 1, "transient", 503, "DOWN"),
            (0, 2, START + 3, "accepted", 200, ""),
            (1, 1, START + 1, "ambiguous", None, "RESET"),
            (1, 2, START + 3, "refused", 400, "BAD_REQUEST"),
            (1, 3, START + 5, "ambiguous", None, "LOST"),
            (1, 4, START + 7, "refused", 400, "BAD_REQUEST"),
            (2, 1, START + 5, "ambiguous", None, "LOST"),
        ]
        (accepted,) = (a for a in reread().attempts(run_id) if a.verdict == "accepted")
        assert (accepted.duration_s, accepted.message, accepted.request_id) == (0.25, "", "req_1")

    def test_events_are_told_oldest_first(self, journal: Journal, reread: Reread) -> None:
        """With all that they carry, and only those of the run."""
        run_id, other = begun(journal, small_plan(1)), begun(journal, small_plan(1))
        events = [
            Event(START + 2, "throttled", {"wait_s": 1.5, "rate_per_s": 3.5}),
            Event(START + 1, "outage", {"message": "HTTP 503 ünavailable", "failed_probes": 0}),
            Event(START + 3, "outage_over", {}),
        ]
        journal.exchange(run_id, events=events[:2])
        journal.exchange(other, events=[Event(START, "stopped", {"reason": "sigint"})])
        journal.exchange(run_id, events=events[2:])
        assert reread().events(run_id) == events

    def test_a_run_is_cut_into_shards(self, journal: Journal) -> None:
        """In order, all of one size; those in which nothing is left are left out."""
        run_id = begun(journal, small_plan(10, duplicates={4: 0, 5: 1}))
        assert journal.shards(run_id, 4) == [Shard(0, 4), Shard(4, 8), Shard(8, 12)]
        assert journal.shards(run_id, 100) == [Shard(0, 100)]
        claims = claim(journal, run_id, 4)
        assert journal.shards(run_id, 2) == [Shard(0, 2), Shard(2, 4), Shard(6, 8), Shard(8, 10)]
        journal.exchange(run_id, ended=[*map(ended, claims[:3]), retrying(claims[3], START + 1)])
        assert journal.shards(run_id, 2) == [Shard(2, 4), Shard(6, 8), Shard(8, 10)]

    def test_a_search_for_a_rate_is_remembered(self, journal: Journal) -> None:
        """By target and account; the newest search is what counts."""
        run_id = begun(journal, small_plan(1))
        assert journal.found_rate(run_id) is None
        for rate_per_s in (40.0, 47.5):
            journal.exchange(run_id, events=[Event(START, FOUND_RATE, {"rate_per_s": rate_per_s})])
        assert journal.found_rate(run_id) == 47.5
        assert journal.found_rate(begun(journal, small_plan(1), new_run(at=START + 60))) == 47.5
        assert journal.found_rate(begun(journal, small_plan(1), new_run("https://other.test"))) is None
        assert journal.found_rate(begun(journal, small_plan(1), new_run(account="acme"))) is None

    # --- what is applied ------------------------------------------------------------------------

    def test_a_fleet_of_which_nothing_is_known_is_empty(self, journal: Journal) -> None:
        """Neither a run that was only planned nor another target's says anything of it."""
        journal.create_run(small_plan(3), new_run())
        self.sent(journal, small_plan(1), (DONE, ACCEPTED), target="https://other.test")
        self.sent(journal, small_plan(1), (DONE, ACCEPTED), account="acme")
        applied = journal.applied("https://api.test")
        assert (len(applied.keys), len(applied.certain), dict(applied.sha256s)) == (0, 0, {})

    @pytest.mark.parametrize("stop", [StopReason.DONE, StopReason.SIGINT, None], ids=str)
    def test_what_each_ending_says_of_its_number(self, journal: Journal, stop: StopReason | None) -> None:
        """Accepted: certain. Unknown, or in doubt and not accepted since: perhaps. Refused: nothing changed.

        It makes no difference whether the run has stopped or still goes.
        """
        plan = small_plan(7)
        run_id = begun(journal, plan)
        claims = claim(journal, run_id, 6)
        journal.exchange(
            run_id,
            ended=[
                ended(claims[0]),
                ended(claims[1], FAILED, REFUSED),
                ended(claims[2], UNKNOWN, AMBIGUOUS),
                retrying(claims[3], START + 1, AMBIGUOUS),
                retrying(claims[4], START + 2, AMBIGUOUS),
                retrying(claims[5], START + 3, TRANSIENT),
            ],
        )
        (again,) = claim(journal, run_id, 1, now=START + 1)
        journal.exchange(run_id, ended=[ended(again, FAILED, REFUSED, at=START + 1)])
        if stop is not None:
            journal.end(run_id, stop, START + 5)

        keys = [(FIRST_NUMBER + seq // 2) * 2 + seq % 2 for seq in range(7)]
        sha = plan.payloads[0].sha256
        applied = journal.applied("https://api.test")
        assert applied_keys(applied) == {
            keys[0]: (sha, True),
            keys[2]: (sha, False),
            keys[3]: (sha, False),
            keys[4]: (sha, False),
        }
        assert applied.keys.tolist() == sorted(applied.keys.tolist())

    def test_what_is_in_flight_may_be_applied(self, journal: Journal) -> None:
        """A process that died, or still sends, leaves a doubt about what it had claimed."""
        plan = small_plan(2)
        claim(journal, begun(journal, plan), 1)
        assert applied_keys(journal.applied("https://api.test")) == {
            FIRST_NUMBER * 2: (plan.payloads[0].sha256, False)
        }

    def test_what_was_sent_last_counts_whichever_run_sent_it(self, journal: Journal) -> None:
        """Runs are ordered by when each number was sent, not by when they were planned or ended."""
        old, new = small_plan(2, blocks=10), small_plan(2, blocks=20)
        late = journal.create_run(old, new_run(at=START))
        early = begun(journal, new, new_run(at=START + 1))
        send(journal, early, (DONE, ACCEPTED), (DONE, ACCEPTED), at=START + 2)
        journal.begin(late, START + 3)
        send(journal, late, (DONE, ACCEPTED), at=START + 4)
        journal.end(late, StopReason.SIGINT, START + 5)
        journal.end(early, StopReason.DONE, START + 6)
        assert applied_keys(journal.applied("https://api.test")) == {
            FIRST_NUMBER * 2: (old.payloads[0].sha256, True),
            FIRST_NUMBER * 2 + 1: (new.payloads[0].sha256, True),
        }

    def test_a_doubt_about_a_later_payload_takes_certainty_away(self, journal: Journal) -> None:
        """What was certain before is not, once something else may have been applied; a success settles it."""
        self.sent(journal, small_plan(1, blocks=10), (DONE, ACCEPTED), at=START + 1)
        doubtful = small_plan(1, blocks=20)
        self.sent(journal, doubtful, (UNKNOWN, AMBIGUOUS), at=START + 2)
        key = FIRST_NUMBER * 2
        assert applied_keys(journal.applied("https://api.test"))[key] == (doubtful.payloads[0].sha256, False)
        self.sent(journal, small_plan(1, blocks=20), (DONE, ACCEPTED), at=START + 3)
        assert applied_keys(journal.applied("https://api.test"))[key] == (doubtful.payloads[0].sha256, True)

    def test_a_resumed_run_corrects_what_it_said_when_it_stopped(self, journal: Journal) -> None:
        """A doubt that the same run settles later is settled, also while it goes on."""
        plan = small_plan(1)
        run_id = begun(journal, plan)
        send(journal, run_id, (RETRYING, AMBIGUOUS), at=START + 1, due_at=START + 2)
        journal.end(run_id, StopReason.SIGINT, START + 2)
        key = FIRST_NUMBER * 2
        assert applied_keys(journal.applied("https://api.test"))[key][1] is False
        journal.begin(run_id, START + 3)
        send(journal, run_id, (DONE, ACCEPTED), at=START + 4)
        assert applied_keys(journal.applied("https://api.test"))[key][1] is True
        journal.end(run_id, StopReason.DONE, START + 5)
        assert applied_keys(journal.applied("https://api.test"))[key][1] is True

    def test_a_derived_run_counts_like_any_other(self, journal: Journal) -> None:
        """What a retry applied is applied."""
        plan = small_plan(2)
        parent = self.sent(journal, plan, (FAILED, REFUSED), (DONE, ACCEPTED))
        child = journal.derive_run(parent, Pick(frozenset({FAILED})), new_run())
        journal.begin(child, START)
        send(journal, child, (DONE, ACCEPTED), at=START + 9)
        journal.end(child, StopReason.DONE, START + 9)
        assert set(applied_keys(journal.applied("https://api.test"))) == {
            FIRST_NUMBER * 2,
            FIRST_NUMBER * 2 + 1,
        }

    def sent(
        self,
        journal: Journal,
        plan: Plan,
        *endings: tuple[RequestState, Outcome],
        target: str = "https://api.test",
        account: str = "",
        at: float = START,
    ) -> str:
        """A run that went from beginning to end."""
        run_id = begun(journal, plan, new_run(target, account=account))
        send(journal, run_id, *endings, at=at)
        journal.end(run_id, StopReason.DONE, at)
        return run_id
