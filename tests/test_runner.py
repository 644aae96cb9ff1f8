"""How a run goes: what is sent, how it ends, what the journal then says. In virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from typing import Any

import anyio
import pytest

from batch.engine.pacer import Rate
from batch.engine.retrying import RetryPolicy
from batch.errors import BusyJournalError
from batch.journal.memory import MemoryJournal
from batch.journal.protocol import Claim
from batch.runner import RunOptions
from batch.states import RequestState, RunState, StopReason
from batch.target import Outcome
from tests.rehearsals import (
    ACCEPTED,
    FAST,
    NO_ANSWER,
    REFUSED,
    SERVER_ERROR,
    Sent,
    Stage,
    rehearse,
    throttled,
)
from tests.simulation.virtual_time import BACKENDS
from tests.small_plans import small_plan


def test_a_canary_that_passes_during_a_commit_lets_the_others_go() -> None:
    """An answer that comes while the journal is busy is not forgotten: the run goes on by itself."""
    done = rehearse(
        small_plan(8),
        options=RunOptions(rates=FAST.rates, concurrency=2, canary=1),
        latency_s=0.05,
        commit_s=0.3,
    )

    assert done.counts.succeeded == 8
    assert done.lasted_s < 10


def of_first_template(sent: Sent) -> bool:
    """Whether `small_plan` made this request from its first template (of two, with a payload each)."""
    return b'"unreachable_minutes":0' in sent.payload


@pytest.mark.parametrize("commit_s", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("count", [23, 30, 41])
def test_a_run_with_a_template_in_quarantine_sends_all_others_and_ends(count: int, commit_s: float) -> None:
    """Whatever the quarantine leaves behind, the run does not wait for it, and sends all others."""

    def answer(sent: Sent) -> Outcome:
        if of_first_template(sent):
            return REFUSED
        return ACCEPTED if sent.nth == 3 else SERVER_ERROR

    done = rehearse(small_plan(count, templates=2), answer, commit_s=commit_s)

    assert done.ending is not None
    assert done.ending.reason is StopReason.SAFETY
    assert "1 template in quarantine" in done.ending.message
    assert {row.state for row in done.rows if row.template == "template-1"} == {RequestState.SUCCEEDED}
    of_first = (count + 1) // 2
    assert done.counts.failed + done.counts.pending == of_first
    assert done.counts.pending > 0  # the quarantine kept them back


def test_a_resumed_run_sends_its_canary_and_nothing_else_first() -> None:
    """What was being retried when the run stopped waits for the canary too, wherever it stands."""

    async def stop(stage: Stage) -> None:
        await anyio.sleep(0.3)
        stage.controls.drain(StopReason.SIGINT)

    options = RunOptions(rates=(Rate(20, 1.0),), concurrency=4, canary=2)
    slow = RetryPolicy(base_s=30)
    # Without a canary at first, so that the run is stopped with retries far in the future.
    first = rehearse(
        small_plan(20), lambda _: SERVER_ERROR, RunOptions(rates=options.rates, retry=slow), meddle=stop
    )
    again = rehearse(small_plan(20), options=options, again=first, latency_s=2.0)

    assert first.ending is not None
    assert first.ending.counts.retrying > 0
    assert again.counts.succeeded == 20
    (passed,) = again.events("canary_passed")
    began = again.events("began")[-1]
    before = [sent for sent in again.sends if sent.at_s < passed.at - began.at - 0.001]
    assert len({(sent.number, sent.direction) for sent in before}) == 2


def test_a_retry_that_was_claimed_and_given_back_costs_the_budget_nothing() -> None:
    """Only what is sent is paid for: a pause between claim and send does not use up the retry budget."""

    def answer(sent: Sent) -> Outcome:
        if sent.nth == 1 and sent.index == 0:
            return SERVER_ERROR
        return throttled(5.0) if sent.index == 3 else ACCEPTED

    options = RunOptions(
        rates=(Rate(10, 1.0),),
        concurrency=8,
        retry=RetryPolicy(base_s=0.001, budget_tokens=14, retry_cost=14),
    )
    done = rehearse(small_plan(12), answer, options, latency_s=0.15)

    retried = next(sent.index for sent in done.sends if sent.number == done.sends[0].number and sent.nth == 2)
    assert retried < 6


def test_nothing_is_sent_before_its_claim_is_on_disk() -> None:
    """Claims that are made in the event loop count when their commit has returned, however long it takes."""

    class Slow(MemoryJournal):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[int] = []
            self.on_disk: set[str] = set()

        def exchange(self, run_id: str, **what: Any) -> list[Claim]:
            claims = super().exchange(run_id, **what)
            self.open += [claim.number for claim in claims]
            return claims

        def commit(self) -> None:
            super().commit()
            self.on_disk |= {f"+{number}" for number in self.open}

    journal = Slow()
    early: list[str] = []

    def answer(sent: Sent) -> Outcome:
        if sent.number not in journal.on_disk:
            early.append(sent.number)
        return ACCEPTED

    done = rehearse(small_plan(60), answer, journal=journal, commit_s=0.03, latency_s=0.01)

    assert done.counts.succeeded == 60
    assert early == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_waits_for_another_process_that_writes_to_its_journal(backend: str) -> None:
    """What the event loop may not wait for, a thread does: nothing is lost, and nothing fails for it."""

    class Busy(MemoryJournal):
        waited = 0

        def exchange(self, run_id: str, *, commit: bool = True, **what: Any) -> list[Claim]:
            if commit:
                self.waited += 1
            elif self.waited < 5:
                raise BusyJournalError("another process is writing")
            return super().exchange(run_id, commit=commit, **what)

    journal = Busy()
    done = rehearse(small_plan(30), journal=journal, commit_s=0.01, backend=backend)

    assert done.counts.succeeded == 30
    assert journal.waited == 5


def test_what_the_journals_thread_reads_does_not_change_under_it() -> None:
    """A quarantine that begins during a commit does not reach into it: the commit has a copy of its own."""
    handed: list[tuple[Collection[int], set[int]]] = []

    class Watched(MemoryJournal):
        def exchange(self, run_id: str, **what: Any) -> list[Claim]:
            handed.append((what["barred_templates"], set(what["barred_templates"])))
            return super().exchange(run_id, **what)

    rehearse(
        small_plan(40, templates=2),
        lambda sent: REFUSED if of_first_template(sent) else ACCEPTED,
        journal=Watched(),
    )

    assert {frozenset(now) for now, _ in handed} > {frozenset()}
    assert all(set(now) == then for now, then in handed)


def test_a_resumed_run_keeps_its_distance_from_the_sends_before_it() -> None:
    """At one send a second, a process that takes over at once waits a second too."""

    async def stop(stage: Stage) -> None:
        await anyio.sleep(3.1)
        stage.controls.drain(StopReason.SIGINT)

    options = RunOptions(rates=(Rate(1, 1.0),), concurrency=4)
    first = rehearse(small_plan(9), options=options, latency_s=0.0, meddle=stop)
    again = rehearse(small_plan(9), options=options, latency_s=0.0, again=first)

    assert [round(sent.at_s) for sent in first.sends] == [0, 1, 2, 3]
    assert again.sends[0].at_s >= 1.0
    assert again.counts.succeeded == 9


def test_a_resumed_run_keeps_the_pause_that_it_was_stopped_in() -> None:
    """What the API asked for holds for the run, not for the process that heard it."""

    async def stop(stage: Stage) -> None:
        await anyio.sleep(10)
        stage.controls.drain(StopReason.SIGINT)

    first = rehearse(small_plan(9), lambda _: throttled(60.0), meddle=stop)
    again = rehearse(small_plan(9), again=first, wall_ahead_s=30.0)

    assert first.lasted_s == pytest.approx(10, abs=0.5)
    assert again.sends[0].at_s == pytest.approx(30.0, abs=0.5)
    assert again.counts.succeeded == 9


def test_a_run_that_has_only_to_wait_says_until_when() -> None:
    """An hour that the API asks for one request is not sat out: all others go, then the run ends."""
    done = rehearse(
        small_plan(30),
        lambda sent: SERVER_ERROR._replace(retry_after_s=3_600) if sent.index == 3 else ACCEPTED,
    )

    assert done.ending is not None
    assert done.ending.reason is StopReason.TRY_LATER
    assert "come back after 2026-07-27T10:" in done.ending.message
    assert (done.counts.succeeded, done.counts.retrying) == (29, 1)
    assert done.lasted_s < 5


def test_a_run_that_is_resumed_too_early_sends_nothing() -> None:
    """It says again when to come back, and is done when it is resumed after that."""
    first = rehearse(small_plan(1), lambda _: SERVER_ERROR._replace(retry_after_s=3_600))
    early = rehearse(small_plan(1), again=first, wall_ahead_s=1_800)
    late = rehearse(small_plan(1), again=first, wall_ahead_s=3_700)

    assert early.ending is not None
    assert (early.ending.reason, early.sends) == (StopReason.TRY_LATER, [])
    assert late.ending is not None
    assert late.ending.reason is StopReason.DONE


def test_a_run_of_which_nothing_is_left_is_done_at_once() -> None:
    """An empty plan, or one whose last answer came just before the end."""
    done = rehearse(small_plan(0, rejects=2))
    assert done.ending is not None
    assert done.ending.reason is StopReason.DONE
    assert done.journal.run(done.run_id).state is RunState.COMPLETED
    assert done.lasted_s == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_request_has_one_deadline_for_all_of_it(backend: str) -> None:
    """A server that does not answer is given up after it: ambiguous, tried again, in the end unknown."""

    async def hang() -> Outcome:
        await anyio.sleep_forever()
        raise AssertionError("it sleeps for ever")

    def answer(sent: Sent) -> Outcome | Awaitable[Outcome]:
        return hang() if sent.number.endswith("102") else ACCEPTED

    options = RunOptions(rates=(Rate(5, 1.0),), concurrency=4, deadline_s=3)
    done = rehearse(small_plan(80), answer, options, backend=backend)
    unknown = [row for row in done.rows if row.state is RequestState.UNKNOWN]
    assert [(row.attempts, row.sends, row.error_code) for row in unknown] == [(5, 5, "DEADLINE")] * 2
    assert [row.duration_s for row in unknown] == [pytest.approx(3)] * 2
    assert unknown[0].error == "no answer within 3 s; it may have been applied"
    assert done.counts.succeeded == 78


def test_a_canary_that_fails_stops_the_run_before_the_others() -> None:
    """The sentence says how many of it failed; the others were not sent."""
    options = RunOptions(rates=FAST.rates, concurrency=8, canary=5)
    done = rehearse(small_plan(40), lambda sent: REFUSED if sent.index == 2 else ACCEPTED, options)
    assert done.ending is not None
    assert done.ending.reason is StopReason.SAFETY
    assert "1 of the 5 canary requests did not succeed" in done.ending.message
    assert len(done.sends) == 5
    assert done.counts.pending == 35


@pytest.mark.parametrize("canary", [2, 5, 39])
def test_a_canary_that_passes_lets_the_others_go(canary: int) -> None:
    """It may be tried again like any other, and until it has succeeded nothing else is sent."""

    def answer(sent: Sent) -> Outcome:
        return SERVER_ERROR if sent.index == 0 else ACCEPTED

    options = RunOptions(rates=(Rate(50, 1.0),), concurrency=8, canary=canary)
    done = rehearse(small_plan(40), answer, options, commit_s=0.05)
    assert done.counts.succeeded == 40
    (passed,) = done.events("canary_passed")
    began = done.events("began")[0]
    before = {(s.number, s.direction) for s in done.sends if s.at_s < passed.at - began.at - 0.001}
    assert len(before) == canary


def test_a_canary_of_more_than_there_are_is_all_there_are() -> None:
    """Nobody is left to wait for it."""
    done = rehearse(small_plan(9), options=RunOptions(rates=FAST.rates, canary=50))
    assert done.counts.succeeded == 9


@pytest.mark.parametrize("concurrency", [1, 3, 16])
def test_no_more_are_in_flight_than_asked_for(concurrency: int) -> None:
    """However slow the API is."""
    options = RunOptions(rates=(Rate(100, 1.0),), concurrency=concurrency)
    done = rehearse(small_plan(60), options=options, latency_s=1.0)
    assert done.target.most_in_flight == concurrency


@pytest.mark.parametrize("latency_s", [0.02, 0.5, 2.0])
def test_unless_told_as_many_are_in_flight_as_the_rate_needs(latency_s: float) -> None:
    """The rate is kept, fast API or slow."""
    options = RunOptions(rates=(Rate(40, 1.0),))
    done = rehearse(small_plan(600), options=options, latency_s=latency_s)
    steady = [sent.at_s for sent in done.sends if sent.at_s > 5]
    assert (len(steady) - 1) / (steady[-1] - steady[0]) >= 0.97 * 40
    assert done.target.most_in_flight <= max(20, 3 * 40 * latency_s)


def test_a_soak_that_another_process_began_is_no_longer_for_a_clock_that_was_set_back() -> None:
    """Five minutes of looking on are five minutes at most, also when the wall clock moved back an hour."""

    async def stop(stage: Stage) -> None:
        await anyio.sleep(10)
        stage.controls.drain(StopReason.SIGINT)

    options = RunOptions(rates=FAST.rates, canary=2, soak_s=300)
    first = rehearse(small_plan(9), options=options, meddle=stop)
    again = rehearse(small_plan(9), options=options, again=first, wall_ahead_s=-3_600)
    assert len(first.sends) == 2
    assert again.counts.succeeded == 9
    assert again.lasted_s < 310


@pytest.mark.parametrize("jump_s", [3_600.0, -3_600.0])
def test_a_jump_of_the_wall_clock_moves_nothing(jump_s: float) -> None:
    """Pacing, back-off, pauses and retries go by the steady clock, whatever is done to the other one."""

    def answer(sent: Sent) -> Outcome:
        return {3: SERVER_ERROR, 7: throttled(5.0), 11: NO_ANSWER}.get(sent.index, ACCEPTED)

    def jumping() -> float:
        return jump_s if anyio.current_time() > 1_001 else 0.0

    options = RunOptions(rates=(Rate(10, 1.0),), concurrency=4)
    steady = rehearse(small_plan(60), answer, options)
    jumped = rehearse(small_plan(60), answer, options, wall_ahead_s=jumping)
    assert [sent.at_s for sent in jumped.sends] == [sent.at_s for sent in steady.sends]
    assert [row.last_sent_at for row in jumped.rows] == [row.last_sent_at for row in steady.rows]
    assert jumped.counts.succeeded == 60
