"""The simulation is worth its time only if it finds bugs: here are some, planted, and each is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from batch.clock import Clock
from batch.engine import pacer
from batch.engine.desk import Desk, Ready
from batch.engine.judging import Judge
from batch.engine.pacer import Pacer
from batch.engine.retrying import RetryBudget
from batch.journal import sql as journal_sql
from batch.journal.protocol import Ended
from batch.plans import DIRECTIONS
from batch.report.lines import Line
from batch.report.results_csv import ResultsCsv
from batch.runner import Engine
from batch.states import RequestState, StopReason
from batch.target import Outcome, Verdict
from tests.simulation.__main__ import backend_of, try_seed

Plant = Callable[[pytest.MonkeyPatch], None]

#: So many seeds at most until a planted bug is found.
SEEDS = 150


def result_before_the_answer(patch: pytest.MonkeyPatch) -> None:
    """A success is put down when the request leaves."""

    async def attempt(self: Any, me: Any, departure: Any) -> None:
        claim, now = departure.claim, self._clock.now()
        accepted = Outcome(Verdict.ACCEPTED, http_status=200)
        self._judge.ended(claim, accepted, sent_at=self._clock.utc(), started_s=now, desk=self.desk)
        try:
            await self._target.send(f"+{claim.number}", DIRECTIONS[claim.direction], departure.payload)
        finally:
            self._in_flight -= 1
            self._bell.ring()

    patch.setattr(Engine, "_attempt", attempt)


def retry_lost(patch: pytest.MonkeyPatch) -> None:
    """What is to be sent again is forgotten."""
    put = Desk.put

    def forget_retries(self: Desk, ended: Ended) -> None:
        if ended.state is not RequestState.RETRYING:
            put(self, ended)

    patch.setattr(Desk, "put", forget_retries)


def claim_given_out_twice(patch: pytest.MonkeyPatch) -> None:
    """Two workers get the same request."""
    take = Engine._take

    def take_and_leave(self: Any) -> Any:
        departure = take(self)
        if departure.claim.seq % 5 == 3 and not departure.claim.sends:
            self.desk.ready.append(Ready(departure.claim, departure.payload))
        return departure

    patch.setattr(Engine, "_take", take_and_leave)


def pause_ignored(patch: pytest.MonkeyPatch) -> None:
    """The API asks to wait, and nobody does."""
    patch.setattr(Pacer, "pause_until", lambda self, until_s: None)


def resume_takes_what_was_in_flight_for_done(patch: pytest.MonkeyPatch) -> None:
    """After a crash, what was being sent counts as sent."""
    patch.setattr(
        journal_sql, "TAKE_BACK", journal_sql.TAKE_BACK.replace("state = 'pending'", "state = 'succeeded'")
    )


def resume_skips_what_was_in_flight(patch: pytest.MonkeyPatch) -> None:
    """After a crash, what was being sent is left where it is."""
    patch.setattr(journal_sql, "SELECT_LOST", journal_sql.SELECT_LOST + " AND 1 = 0")


def burst(patch: pytest.MonkeyPatch) -> None:
    """Slots that passed while nobody could send are made up for at once."""
    patch.setattr(pacer, "CATCH_UP_S", 1e9)
    patch.setattr(pacer, "_WINDOW", 0.0)


def budget_ignored(patch: pytest.MonkeyPatch) -> None:
    """Retries are had however many there were."""
    patch.setattr(RetryBudget, "retries", 1_000_000)


def one_attempt_too_many(patch: pytest.MonkeyPatch) -> None:
    """The first attempt is not counted."""
    counts = Judge._counts
    patch.setattr(Judge, "_counts", lambda self, outcome: counts(self, outcome) * 2)


def credentials_ignored(patch: pytest.MonkeyPatch) -> None:
    """A refused key stops nothing."""
    stop = Judge._stop

    def stop_for_all_else(self: Judge, reason: StopReason, message: str) -> None:
        if reason is not StopReason.CREDENTIALS:
            stop(self, reason, message)

    patch.setattr(Judge, "_stop", stop_for_all_else)


def progress_ahead_of_the_disk(patch: pytest.MonkeyPatch) -> None:
    """A result is shown before it is committed."""
    put = Desk.put

    def put_and_show(self: Desk, ended: Ended) -> None:
        put(self, ended)
        self._count([ended], [], [])
        self._on_commit()

    patch.setattr(Desk, "put", put_and_show)


def claims_kept_by_a_stopped_run(patch: pytest.MonkeyPatch) -> None:
    """A commit that was under way when the run was stopped brings claims that nobody sends or gives back."""
    give_back = Desk.give_back

    def give_back_what_is_here(self: Desk) -> None:
        give_back(self)
        self._recalls -= 1

    patch.setattr(Desk, "give_back", give_back_what_is_here)


def doubt_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A request whose answer was lost, and that then fails, is said to have failed for certain."""
    end = journal_sql.END_REQUEST.replace("MAX(in_doubt, ?6)", "0 * ?6")
    patch.setattr(journal_sql, "END_REQUEST", end)


def canary_outrun(patch: pytest.MonkeyPatch) -> None:
    """The others are sent together with the canary."""
    patch.setattr(Engine, "_claimable", lambda self: self.desk.shards)


def released_for_good(patch: pytest.MonkeyPatch) -> None:
    """What was claimed and given back is never found again."""
    patch.setattr(journal_sql, "RELEASE", journal_sql.RELEASE.replace("'pending'", "'skipped'"))


def wall_clock_trusted(patch: pytest.MonkeyPatch) -> None:
    """What is due is taken from a clock that somebody may set."""
    patch.setattr(Clock, "utc", lambda self: self.wall())


def clock_waited_for(patch: pytest.MonkeyPatch) -> None:
    """After the clock was set back, a resumed run waits until it has caught up."""
    patch.setattr(journal_sql, "SET_BACK", journal_sql.SET_BACK + " AND 1 = 0")


def wait_of_one_undercut(patch: pytest.MonkeyPatch) -> None:
    """An answer other than 429 that asks to wait is not listened to."""
    due_s = Judge._due_s

    def due_at_once(self: Judge, claim: Any, outcome: Outcome, now: float) -> float:
        return now if outcome.http_status == 500 else due_s(self, claim, outcome, now)

    patch.setattr(Judge, "_due_s", due_at_once)


def report_of_another_number(patch: pytest.MonkeyPatch) -> None:
    """What was tried more than once is reported under a number that it has not."""
    add = ResultsCsv.add

    def add_to_another(self: ResultsCsv, line: Line) -> None:
        if line.result is not None and line.result.sends > 1:
            line = line._replace(cells=["+14155559999", *line.cells[1:]])
        add(self, line)

    patch.setattr(ResultsCsv, "add", add_to_another)


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (result_before_the_answer, "is succeeded after"),
        (retry_lost, "neither ends nor stops"),
        (claim_given_out_twice, "in flight twice"),
        (pause_ignored, "was sent in a pause"),
        (resume_takes_what_was_in_flight_for_done, "is succeeded after"),
        (resume_skips_what_was_in_flight, "in flight, and nobody is sending"),
        (burst, "more than"),
        (budget_ignored, "retries for"),
        (one_attempt_too_many, "attempts"),
        (credentials_ignored, "although the run was stopped"),
        (progress_ahead_of_the_disk, "progress shows"),
        (claims_kept_by_a_stopped_run, "in flight, and nobody is sending"),
        (doubt_forgotten, "is failed after"),
        (canary_outrun, "than the canary"),
        (released_for_good, "is skipped after"),
        (wall_clock_trusted, "nobody asked it to"),
        (clock_waited_for, "nobody asked it to"),
        (wait_of_one_undercut, "was to wait until"),
        (report_of_another_number, "the report says"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_the_simulation_finds_a_planted_bug(monkeypatch: pytest.MonkeyPatch, plant: Plant, says: str) -> None:
    """By the promise that the bug breaks, and mostly by one of the first seeds."""
    plant(monkeypatch)
    found = (failure for seed in range(SEEDS) if says in (failure := try_seed(seed, backend_of(seed))))
    assert next(found, None), f"no seed below {SEEDS} finds it"
