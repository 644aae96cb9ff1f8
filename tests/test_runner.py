"""How a run goes: what is sent, how it ends, what the journal then says. In virtual time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import anyio
import pytest

from batch.journal import Claim
from batch.memory_journal import MemoryJournal
from batch.pacer import Rate
from batch.retrying import RetryPolicy
from batch.runner import RunOptions
from batch.states import RequestState, RunState, StopReason
from batch.target import Outcome
from tests.rehearsals import ACCEPTED, FAST, REFUSED, SERVER_ERROR, Sent, Stage, rehearse, throttled
from tests.small_plans import small_plan

SLOW_COMMIT_S = 0.2


@pytest.mark.parametrize("moment_s", [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65])
def test_a_run_stopped_while_it_claims_leaves_nothing_in_flight(moment_s: float) -> None:
    """Claims that come from a commit that was under way when the run was stopped go back unsent."""

    async def stop(stage: Stage) -> None:
        await anyio.sleep(moment_s)
        stage.controls.drain(StopReason.SIGTERM)

    done = rehearse(small_plan(60), commit_s=SLOW_COMMIT_S, meddle=stop)

    assert done.ending is not None
    assert done.ending.reason is StopReason.SIGTERM
    assert done.journal.run(done.run_id).state is RunState.INTERRUPTED
    assert done.counts.in_flight == 0
    assert all(row.sends == 0 for row in done.rows if row.state is RequestState.PENDING)


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
    assert done.counts.failed < count // 2


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


def test_an_abort_without_a_drain_before_it_ends_the_run() -> None:
    """Whoever cancels what is in flight wants nothing more to be sent either."""

    async def abort(stage: Stage) -> None:
        await anyio.sleep(1)
        stage.controls.abort()

    done = rehearse(small_plan(9), options=RunOptions(concurrency=4), latency_s=20.0, meddle=abort)

    assert done.ending is not None
    assert done.ending.reason is StopReason.SIGINT
    assert done.lasted_s < 2
    assert {row.error_code for row in done.rows if row.sends} == {"ABORTED"}


def test_a_bug_in_a_target_loses_no_answer() -> None:
    """What was answered before is in the journal, nothing is in flight, and the run can be resumed."""

    def answer(sent: Sent) -> Outcome:
        if sent.index == 7:
            raise TypeError("a bug")
        return ACCEPTED

    first = rehearse(small_plan(20), answer, commit_s=0.2)

    assert isinstance(first.error, BaseExceptionGroup)
    assert first.error.subgroup(TypeError)
    assert first.journal.run(first.run_id).state is RunState.HALTED
    assert first.counts.in_flight == 0
    accepted = {(sent.number, sent.direction) for sent in first.sends if sent.index < 7}
    assert first.counts.succeeded == len(accepted)
    assert rehearse(small_plan(20), again=first).counts.succeeded == 20


def test_a_run_that_has_only_to_wait_says_until_when() -> None:
    """An hour that the API asks for one request is not sat out: all others go, then the run ends."""
    done = rehearse(
        small_plan(30),
        lambda sent: replace(SERVER_ERROR, retry_after_s=3_600) if sent.index == 3 else ACCEPTED,
    )

    assert done.ending is not None
    assert done.ending.reason is StopReason.TRY_LATER
    assert "come back after 2026-07-27T10:" in done.ending.message
    assert (done.counts.succeeded, done.counts.retrying) == (29, 1)
    assert done.lasted_s < 5


def test_a_run_that_is_resumed_too_early_sends_nothing() -> None:
    """It says again when to come back, and is done when it is resumed after that."""
    first = rehearse(small_plan(1), lambda _: replace(SERVER_ERROR, retry_after_s=3_600))
    early = rehearse(small_plan(1), again=first, wall_ahead_s=1_800)
    late = rehearse(small_plan(1), again=first, wall_ahead_s=3_700)

    assert early.ending is not None
    assert (early.ending.reason, early.sends) == (StopReason.TRY_LATER, [])
    assert late.ending is not None
    assert late.ending.reason is StopReason.DONE
