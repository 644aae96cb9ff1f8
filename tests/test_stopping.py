"""How a run is stopped, at any moment and for any reason, and what the journal then says. In virtual time."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from batch.engine.pacer import Rate
from batch.errors import JournalError
from batch.journal.memory import MemoryJournal
from batch.journal.protocol import Claim
from batch.runner import RunOptions
from batch.states import RequestState, RunState, StopReason
from batch.target import Outcome
from tests.rehearsals import (
    ACCEPTED,
    Sent,
    Stage,
    rehearse,
)
from tests.simulation.virtual_time import BACKENDS, stall
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


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_drained_run_lets_what_is_in_flight_end(backend: str) -> None:
    """The first signal: nothing more is sent, every answer that comes is kept, nothing is sent twice."""

    async def drain(stage: Stage) -> None:
        await anyio.sleep(2.05)
        stage.controls.drain(StopReason.SIGINT)

    options = RunOptions(rates=(Rate(10, 1.0),), concurrency=20)
    first = rehearse(small_plan(60), options=options, latency_s=1.5, backend=backend, meddle=drain)

    assert first.ending is not None
    assert (first.ending.reason, first.ending.message) == (StopReason.SIGINT, "interrupted by SIGINT")
    assert not first.target.since(2.05)
    assert first.counts.succeeded == len(first.sends) == first.ending.counts.succeeded
    assert 3.4 < first.lasted_s < 3.7
    again = rehearse(small_plan(60), options=options, latency_s=0.1, backend=backend, again=first)
    assert again.counts.succeeded == 60
    assert len(first.sends) + len(again.sends) == 60


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_drain_does_not_wait_for_ever(backend: str) -> None:
    """After its deadline what is in flight is given up: ambiguous, and sent again by `resume`."""

    async def drain(stage: Stage) -> None:
        await anyio.sleep(1)
        stage.controls.drain(StopReason.SIGTERM)

    options = RunOptions(rates=(Rate(10, 1.0),), concurrency=4, deadline_s=600, drain_s=5)
    first = rehearse(small_plan(9), options=options, latency_s=500, backend=backend, meddle=drain)

    assert first.ending is not None
    assert first.ending.reason is StopReason.SIGTERM
    assert 6 <= first.lasted_s < 7.5
    assert [row.error_code for row in first.rows if row.sends] == ["ABORTED"] * 4
    assert {attempt.verdict for attempt in first.journal.attempts(first.run_id)} == {"ambiguous"}
    again = rehearse(small_plan(9), options=options, backend=backend, again=first)
    assert again.counts.succeeded == 9


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_signal_ends_a_run_at_once(backend: str) -> None:
    """What is in flight is cancelled, and journaled as ambiguous."""

    async def abort(stage: Stage) -> None:
        await anyio.sleep(1)
        stage.controls.drain(StopReason.SIGINT)
        await anyio.sleep(0.5)
        stage.controls.abort()

    done = rehearse(
        small_plan(9), options=RunOptions(concurrency=4), latency_s=20, backend=backend, meddle=abort
    )
    assert 1.5 <= done.lasted_s < 1.6
    assert done.counts.in_flight == 0
    assert {row.error_code for row in done.rows if row.sends} == {"ABORTED"}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("commit_s", [0.0, 0.3])
@pytest.mark.parametrize("moment_s", [0.0, 0.1, 0.6, 1.01, 2.33])
def test_a_caller_who_cancels_finds_all_that_was_sent_in_the_journal(
    moment_s: float, commit_s: float, backend: str
) -> None:
    """A cancelled scope around the run ends it like a signal: nothing is in flight, nothing forgotten."""

    async def cancel(stage: Stage) -> None:
        await anyio.sleep(moment_s)
        stage.caller.cancel()

    done = rehearse(
        small_plan(60),
        options=RunOptions(rates=(Rate(20, 1.0),), concurrency=4),
        latency_s=0.1,
        commit_s=commit_s,
        backend=backend,
        meddle=cancel,
    )
    assert done.ending is None
    assert done.lasted_s <= moment_s + 4 * commit_s + 0.01
    assert done.counts.in_flight == 0
    assert sum(row.sends for row in done.rows) == len(done.sends)
    assert rehearse(small_plan(60), backend=backend, again=done).counts.succeeded == 60


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_claim_that_is_handed_to_a_cancelled_worker_goes_back(backend: str) -> None:
    """The process gets no turn for a while; then the caller cancels at the moment at which a slot is due."""

    async def stop_and_cancel(stage: Stage) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel, stage.caller)
            await anyio.sleep(1.0)
            stall(60.0)

    async def cancel(caller: anyio.CancelScope) -> None:
        await anyio.sleep(1.004)  # the slot is due at 1.008
        caller.cancel()

    options = RunOptions(rates=(Rate(20, 1.0),), concurrency=4)
    done = rehearse(small_plan(60), options=options, latency_s=0.01, backend=backend, meddle=stop_and_cancel)
    assert done.ending is None
    assert done.counts.in_flight == 0
    assert sum(row.sends for row in done.rows) == len(done.sends)


def test_a_stop_before_the_start_is_kept() -> None:
    """Whoever presses Ctrl-C while the run is being begun does not have to press it again."""

    async def stop(stage: Stage) -> None:
        stage.controls.drain(StopReason.SIGINT)

    done = rehearse(small_plan(9), commit_s=1.0, meddle=stop)
    assert done.ending is not None
    assert done.ending.reason is StopReason.SIGINT
    assert done.sends == []
    assert done.counts.pending == 9


class FullJournal(MemoryJournal):
    """One whose disk is full from the nth exchange on."""

    def __init__(self, room_for: int) -> None:
        super().__init__()
        self.room = room_for

    def exchange(self, run_id: str, **what: Any) -> list[Claim]:
        if self.room <= 0:
            raise JournalError("the disk is full")
        self.room -= 1
        return super().exchange(run_id, **what)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("room_for", [0, 1, 2, 5, 12])
def test_a_journal_that_cannot_be_written_stops_the_sending_at_once(room_for: int, backend: str) -> None:
    """The error says how many results are recorded and how many are in doubt; `resume` loses nothing."""
    journal = FullJournal(room_for)
    options = RunOptions(rates=(Rate(50, 1.0),), concurrency=4)
    first = rehearse(small_plan(30), options=options, commit_s=0.05, journal=journal, backend=backend)

    assert isinstance(first.error, JournalError)
    recorded = first.counts.succeeded
    in_doubt = len(first.sends) - recorded
    assert f"{recorded} results are recorded, {in_doubt} are in doubt" in str(first.error)
    assert in_doubt <= 8
    assert first.target.in_flight == 0
    journal.room = 1_000
    again = rehearse(small_plan(30), options=options, again=first, backend=backend)
    assert again.counts.succeeded == 30
    assert len(again.sends) == 30 - recorded
