"""Waves of a run: what is sent first, what is at risk at once, what happens in between. In virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import anyio
import numpy as np
import pytest

from batch.engine.breaker import FailureLimit
from batch.engine.pacer import Rate
from batch.engine.retrying import RetryPolicy
from batch.engine.waves import parse_waves
from batch.journal.protocol import Shard
from batch.plans import Plan
from batch.runner import RunOptions
from batch.states import RequestState, StopReason
from tests.rehearsals import ACCEPTED, REFUSED, SERVER_ERROR, Rehearsal, Sent, Stage, rehearse
from tests.small_plans import FIRST_NUMBER, small_plan

FAST = Rate(1_000, 1.0)
GERMAN = 4_930_901_820_00


def waving(waves: str = "", **more: Any) -> RunOptions:
    return RunOptions(
        **{"rates": (FAST,), "concurrency": 8, "waves": parse_waves(waves) if waves else (), **more}
    )


def plan_of(count: int, *, germans: int = 0, templates: int = 1) -> Plan:
    """A plan whose last requests are for German numbers."""
    plan = small_plan(count, templates=templates)
    numbers = plan.numbers.copy()
    numbers[count - germans :] = GERMAN + np.arange(germans)
    return replace(plan, numbers=numbers)


def seqs(done: Rehearsal, plan: Plan) -> list[int]:
    """Which requests were sent, in order."""
    keys = zip(plan.numbers.tolist(), plan.directions.tolist(), strict=True)
    places = {(f"+{number}", ("inbound", "outbound")[way]): seq for seq, (number, way) in enumerate(keys)}
    return [places[sent.number, sent.direction] for sent in done.sends]


def passed(done: Rehearsal) -> list[int]:
    """How many requests each wave had that passed."""
    events = done.journal.events(done.run_id)
    return [
        int(str(event.detail["requests"]))
        for event in events
        if event.kind in ("canary_passed", "wave_passed")
    ]


def refusing(*which: int) -> Callable[[Sent], Any]:
    """Refuses the sends of these indices."""
    return lambda sent: REFUSED if sent.index in which else ACCEPTED


# --- the first wave ---------------------------------------------------------------------------------


def test_the_canary_holds_one_of_every_template_direction_and_country() -> None:
    """Wherever they stand in the sheet; nothing else is sent before they have ended."""
    plan = plan_of(60, germans=3, templates=2)
    done = rehearse(plan, options=waving(canary=1), latency_s=0.5)

    first = seqs(done, plan)[:4]
    groups = {(seq % 2, seq >= 57) for seq in first}
    assert groups == {(0, False), (1, False), (0, True), (1, True)}
    assert max(sent.at_s for sent in done.sends[:4]) + 0.5 <= done.sends[4].at_s
    assert done.counts.succeeded == 60


def test_an_automatic_canary_is_a_few_of_each() -> None:
    """Three of every template, direction and country."""
    done = rehearse(plan_of(60, germans=10), options=waving(canary="auto"))
    assert passed(done) == [12]


def test_a_canary_with_one_failure_stops_the_run() -> None:
    """What was sent has ended; all else is left, and the message says how many of how many."""
    done = rehearse(small_plan(40), refusing(3), waving(canary=5))

    assert done.ending is not None
    assert done.ending.reason is StopReason.SAFETY
    assert done.ending.message == "1 of the 5 canary requests did not succeed; nothing else was sent"
    assert (done.counts.succeeded, done.counts.failed, done.counts.pending) == (4, 1, 35)
    assert len(done.sends) == 5


def test_a_canary_waits_for_its_retries() -> None:
    """One that is sent again is not a failure yet, and nobody overtakes it."""

    def answer(sent: Sent) -> Any:
        return SERVER_ERROR if sent.nth == 1 and sent.index == 0 else ACCEPTED

    done = rehearse(small_plan(30), answer, waving(canary=2, retry=RetryPolicy(base_s=20)))
    again = next(sent.index for sent in done.sends if sent.nth == 2)
    assert again == 2
    assert done.counts.succeeded == 30


# --- waves that grow --------------------------------------------------------------------------------


def test_waves_follow_each_other() -> None:
    """Each begins when the one before has ended."""
    plan = small_plan(200)
    done = rehearse(plan, options=waving("5%,50%,100%", canary=4), latency_s=0.2)

    assert passed(done) == [4, 6, 90]
    order = seqs(done, plan)
    assert sorted(order[:10]) == list(range(10))
    assert sorted(order[10:100]) == list(range(10, 100))
    for end in (4, 10, 100):
        assert max(sent.at_s for sent in done.sends[:end]) + 0.2 <= done.sends[end].at_s
    assert done.counts.succeeded == 200


def test_a_wave_beyond_the_open_shards_opens_them() -> None:
    """A run of several shards has its waves all the same."""
    plan = plan_of(90, germans=2)

    class InTens:
        def __init__(self) -> None:
            self.shards = [Shard(first, first + 10) for first in range(0, 90, 10)]

        async def take(self) -> Shard | None:
            return self.shards.pop(0) if self.shards else None

    done = rehearse(plan, options=waving("10%,100%", canary=3), dispatcher=InTens())
    assert set(seqs(done, plan)[:4]) >= {88, 89}
    assert done.counts.succeeded == 90


def test_without_a_limit_a_wave_may_have_a_few_failures() -> None:
    """Up to 5 % of it; the run goes on."""
    done = rehearse(small_plan(200), refusing(3, 30), waving("50%,100%"))
    assert passed(done) == [100]
    assert done.counts.failed == 2


def test_without_a_limit_a_wave_with_many_failures_stops_the_run() -> None:
    """More than 5 % of it: the next wave is not begun."""
    done = rehearse(small_plan(200), refusing(*range(0, 100, 10)), waving("50%,100%"))
    assert done.ending is not None
    assert done.ending.reason is StopReason.SAFETY
    assert "10 of the 100 requests of wave 1 did not succeed" in done.ending.message
    assert len(done.sends) == 100


def test_a_wave_of_which_nothing_succeeded_stops_the_run_whatever_is_allowed() -> None:
    """A limit says how many may fail, not that a wave may tell nothing."""
    options = waving("3,100%", max_failures=FailureLimit(count=50))
    done = rehearse(small_plan(60), lambda _: REFUSED, options)
    assert done.ending is not None
    assert "none of the 3 requests of wave 1 succeeded" in done.ending.message
    assert len(done.sends) == 3


def test_a_template_in_quarantine_holds_no_wave_up() -> None:
    """Its requests are left, and all others of all waves are sent."""

    def answer(sent: Sent) -> Any:
        return REFUSED if b'"unreachable_minutes":0' in sent.payload else ACCEPTED

    options = waving("50%,100%", max_failures=FailureLimit(count=50))
    done = rehearse(small_plan(200, templates=2), answer, options)
    assert done.ending is not None
    assert "in quarantine" in done.ending.message
    assert done.counts.succeeded == 100
    assert done.counts.failed < 40


# --- what is at risk at once ------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "most"), [(FailureLimit(count=3), 3), (FailureLimit(share=0.02), 4)])
def test_no_more_is_at_risk_than_may_still_fail(limit: FailureLimit, most: int) -> None:
    """However wide the wave, and however many workers: of 200 requests with 2 % allowed, four at once."""
    done = rehearse(small_plan(200), options=waving("100%", max_failures=limit), latency_s=0.2)
    assert done.target.most_in_flight == most
    assert done.counts.succeeded == 200


def test_each_failure_narrows_what_is_at_risk() -> None:
    """Down to one at a time, when nothing more is allowed."""
    at_risk: list[tuple[int, int]] = []
    failed = 0

    async def answer(sent: Sent) -> Any:
        nonlocal failed
        at_risk.append((5 - failed, done_target[0].in_flight))
        if sent.index in (20, 40, 60, 80, 100):
            failed += 1
            return REFUSED
        return ACCEPTED

    done_target: list[Any] = []

    async def look(stage: Stage) -> None:
        done_target.append(stage.target)

    options = waving("100%", max_failures=FailureLimit(count=5))
    done = rehearse(small_plan(200), answer, options, latency_s=0.1, meddle=look)
    assert done.counts.failed == 5
    assert done.counts.succeeded == 195
    # What was claimed before a failure was known may still be under way.
    assert all(in_flight <= max(1, left + 1) for left, in_flight in at_risk)
    assert {in_flight for left, in_flight in at_risk if left == 0} == {1}


def test_requests_that_wait_to_be_sent_again_are_at_risk_too() -> None:
    """Three that may fail are out, retrying: nobody else is sent until one of them has ended."""
    options = waving("100%", max_failures=FailureLimit(count=3), retry=RetryPolicy(base_s=30, max_attempts=3))

    def answer(sent: Sent) -> Any:
        return SERVER_ERROR if sent.nth == 1 and sent.index < 3 else ACCEPTED

    done = rehearse(small_plan(50), answer, options)
    first_retry = next(sent.index for sent in done.sends if sent.nth == 2)
    assert first_retry == 3
    assert done.counts.succeeded == 50


def test_even_if_all_of_a_wave_fail_the_limit_holds() -> None:
    """An API that turns bad in the widest wave costs what is allowed and the one that shows it."""

    def answer(sent: Sent) -> Any:
        return ACCEPTED if sent.index < 50 else REFUSED

    options = waving("1%,10%,100%", canary="auto", concurrency=64, max_failures=FailureLimit(count=7))
    done = rehearse(small_plan(500), answer, options)
    assert done.ending is not None
    assert done.ending.reason is StopReason.SAFETY
    assert done.counts.failed == 8


# --- between the waves ------------------------------------------------------------------------------


def test_a_soak_is_kept_before_the_next_wave() -> None:
    """Nothing is sent while it lasts, and progress says so."""
    done = rehearse(small_plan(20), options=waving("50%,100%", soak_s=300.0))
    assert 300 <= done.sends[10].at_s - done.sends[9].at_s < 302
    assert "soaking after wave 1 of 2" in {note for _, _, _, note in done.progress.shown}
    (ended,) = done.events("wave_ended")
    assert ended.detail["wait_s"] == 300.0


def test_a_wave_that_went_wrong_is_not_soaked() -> None:
    """Why to stop is known: nobody has to wait for it."""
    done = rehearse(small_plan(20), refusing(0), waving(canary=4, soak_s=300.0))
    assert done.lasted_s < 5


def test_a_run_is_stopped_in_a_soak() -> None:
    """A signal need not wait for it."""

    async def stop(stage: Stage) -> None:
        await anyio.sleep(60)
        stage.controls.drain(StopReason.SIGTERM)

    done = rehearse(small_plan(20), options=waving("50%,100%", soak_s=300.0), meddle=stop)
    assert done.ending is not None
    assert done.ending.reason is StopReason.SIGTERM
    assert done.lasted_s < 65
    assert done.counts.pending == 10


def test_a_resumed_run_soaks_for_what_is_left_of_it() -> None:
    """A soak is the run's, not the process's: and then it is decided as it would have been."""

    async def stop(stage: Stage) -> None:
        await anyio.sleep(60)
        stage.controls.drain(StopReason.SIGTERM)

    options = waving(canary=4, soak_s=300.0)
    first = rehearse(small_plan(20), options=options, meddle=stop)
    assert first.counts.succeeded == 4
    again = rehearse(small_plan(20), options=options, again=first, wall_ahead_s=100.0)
    assert again.sends[0].at_s == pytest.approx(200, abs=3)
    assert passed(again) == [4]
    assert again.counts.succeeded == 20


def test_a_run_that_was_stopped_by_its_canary_begins_with_another() -> None:
    """`resume` goes on: with one of each again, and then with the waves that are left."""
    options = waving("50%,100%", canary=4)
    first = rehearse(small_plan(40), refusing(0), options)
    assert first.counts.pending == 36
    again = rehearse(small_plan(40), options=options, again=first)
    assert passed(again) == [4, 12]
    assert again.counts.succeeded == 39


def test_a_run_that_was_killed_in_a_wave_goes_on_in_it() -> None:
    """The canary that has passed is not sent again, and the wave ends where it would have."""

    async def cancel(stage: Stage) -> None:
        await anyio.sleep(0.5)
        stage.caller.cancel()

    options = waving("50%,100%", canary=4, rates=(Rate(100, 1.0),))
    first = rehearse(small_plan(100), options=options, meddle=cancel)
    sent = first.counts.succeeded
    assert 4 < sent < 50
    again = rehearse(small_plan(100), options=options, again=first)
    assert passed(again) == [4, 50 - sent]
    assert again.counts.succeeded == 100


def asking(*answers: bool, after_s: float = 0.0) -> tuple[list[str], Callable[[str], Awaitable[bool]]]:
    """An operator who gives these answers, and what he was asked."""
    asked: list[str] = []

    async def ask(question: str) -> bool:
        await anyio.sleep(after_s)
        asked.append(question)
        return answers[len(asked) - 1]

    return asked, ask


def test_an_operator_is_asked_between_the_waves() -> None:
    """With how the wave went, and how many come next; nothing is sent meanwhile."""
    asked, ask = asking(True, True, after_s=600.0)
    done = rehearse(small_plan(80), refusing(7), waving("50%,100%", canary=4), ask=ask)
    assert asked == [
        "Wave 1 of 3, the canary: 4 requests, all of them succeeded. Go on with the next 36?",
        "Wave 2 of 3: 36 requests, 1 of them did not succeed. Go on with the next 40?",
    ]
    assert done.counts.succeeded == 79
    assert done.lasted_s > 1_200


def test_an_operator_who_says_no_stops_the_run() -> None:
    """It can be resumed."""
    _, ask = asking(False)
    done = rehearse(small_plan(40), options=waving(canary=4), ask=ask)
    assert done.ending is not None
    assert done.ending.reason is StopReason.SAFETY
    assert "the operator said no after wave 1 of 2, the canary" in done.ending.message
    assert done.counts.pending == 36


def test_an_operator_may_go_on_in_spite_of_a_failure() -> None:
    """He is told what is wrong; without him the run would stop."""
    asked, ask = asking(True)
    done = rehearse(small_plan(40), refusing(0), waving(canary=4), ask=ask)
    assert asked == [
        "1 of the 4 canary requests did not succeed; nothing else was sent. "
        "Go on all the same with the next 36?"
    ]
    assert done.counts.succeeded == 39


def test_a_run_is_stopped_while_it_asks() -> None:
    """Nobody has to answer first."""
    _, ask = asking(True, after_s=9_000.0)

    async def stop(stage: Stage) -> None:
        await anyio.sleep(60)
        stage.controls.drain(StopReason.SIGINT)

    done = rehearse(small_plan(40), options=waving(canary=4), ask=ask, meddle=stop)
    assert done.lasted_s < 65
    assert done.counts.in_flight == 0


# --- read back --------------------------------------------------------------------------------------


def reading(*found: str) -> tuple[list[set[int]], Callable[[list[Shard]], Awaitable[str]]]:
    """Reads back, with these findings in turn, and what it was to read."""
    read: list[set[int]] = []

    async def read_back(shards: list[Shard]) -> str:
        await anyio.sleep(5)
        read.append({seq for shard in shards for seq in range(shard.first, shard.end)})
        return found[len(read) - 1] if len(read) <= len(found) else ""

    return read, read_back


def test_a_wave_is_read_back_before_the_next() -> None:
    """What it sent and nothing else, after the soak."""
    plan = plan_of(40, germans=2)
    read, read_back = reading()
    done = rehearse(plan, options=waving("50%,100%", canary=3, soak_s=60.0), read_back=read_back)
    assert read[0] == set(seqs(done, plan)[:4])
    assert read[0] | read[1] == set(seqs(done, plan)[:20])
    assert len(read) == 2
    assert done.sends[4].at_s > 65


def test_what_is_found_by_reading_back_stops_the_run() -> None:
    """A wave of which every answer was good, and which has done no good."""
    _, read_back = reading("2 of 4 numbers have drifted")
    done = rehearse(small_plan(40), options=waving(canary=4), read_back=read_back)
    assert done.ending is not None
    assert (done.ending.reason, done.ending.message) == (StopReason.SAFETY, "2 of 4 numbers have drifted")
    assert len(done.sends) == 4


def test_what_was_not_read_back_is_at_risk() -> None:
    """A wave wider than what may fail is read back part by part: never more than that goes out unread."""
    read, read_back = reading()
    options = waving("50%,100%", canary=2, max_failures=FailureLimit(count=10))
    done = rehearse(small_plan(60), options=options, read_back=read_back)
    assert [len(part) for part in read] == [2, 10, 10, 8, 10, 10]
    assert done.counts.succeeded == 60


@pytest.mark.parametrize("commit_s", [0.0, 0.05, 0.4])
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_waves_end_however_slow_the_journal_is(commit_s: float, backend: str) -> None:
    """No wave is forgotten because something else happened in the same moment."""

    def answer(sent: Sent) -> Any:
        return SERVER_ERROR if sent.nth == 1 and sent.index % 7 == 0 else ACCEPTED

    for seed in range(6):
        options = waving("5%,30%,100%", canary="auto", max_failures=FailureLimit(share=0.1), soak_s=3.0)
        done = rehearse(small_plan(120), answer, options, commit_s=commit_s, backend=backend, seed=seed)
        assert done.counts.succeeded == 120
        assert all(row.state is RequestState.SUCCEEDED for row in done.rows)
        assert done.rows[0].number == FIRST_NUMBER
