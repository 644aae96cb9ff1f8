"""Steering a run that is going: pause, rate, windows. The whole engine, in virtual time."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from batch.engine.controls import Answer, Controls, Order, Verb
from batch.engine.pacer import Rate
from batch.engine.windows import Windows
from batch.runner import RunOptions
from batch.states import RunState, StopReason
from tests.rehearsals import ACCEPTED, EPOCH, NO_CONNECTION, Rehearsal, Sent, Stage, rehearse, throttled
from tests.simulation.virtual_time import BACKENDS
from tests.small_plans import small_plan

TEN = RunOptions(rates=(Rate(10, 1.0),), concurrency=8)

#: Rehearsals begin at 09:46:40 UTC: 1,000 seconds of the virtual clock after the epoch.
BEGAN_AT = EPOCH + 1_000


class Operator:
    """Gives orders at their times, in seconds since the run began, and keeps the answers."""

    def __init__(self, *orders: tuple[float, Verb] | tuple[float, Verb, str]) -> None:
        self.orders = orders
        self.answers: list[Answer] = []

    async def __call__(self, stage: Stage) -> None:
        began_s = anyio.current_time()
        for at_s, verb, *value in self.orders:
            await anyio.sleep(began_s + at_s - anyio.current_time())
            self.answers.append(stage.controls.obey(Order(verb, *value)))


def between(done: Rehearsal, from_s: float, to_s: float) -> int:
    """How many requests were sent from one moment to another."""
    return sum(from_s < sent.at_s <= to_s for sent in done.sends)


# --- pause and continue -----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_paused_run_sends_nothing_until_it_is_told_to_go_on(backend: str) -> None:
    """What is in flight ends, what was claimed goes back, and then it goes on as before."""
    operator = Operator((2.0, Verb.PAUSE), (602.0, Verb.CONTINUE))
    done = rehearse(small_plan(60), options=TEN, latency_s=0.3, meddle=operator, backend=backend)

    assert between(done, 2.0, 601.9) == 0
    assert between(done, 601.9, 603.0) == pytest.approx(10, abs=1)
    assert done.counts.succeeded == 60
    assert [answer.is_done for answer in operator.answers] == [True, True]
    assert operator.answers[0].text == "paused; 3 requests in flight may still end"
    assert operator.answers[1].text == "going on"
    (paused,), (continued,) = done.events("paused"), done.events("continued")
    assert continued.at - paused.at == pytest.approx(600)
    in_pause = [(counts, note) for at_s, counts, _, note in done.progress.shown if 1_010 < at_s < 1_600]
    assert {note for _, note in in_pause} == {"paused by the operator"}
    assert {counts.in_flight for counts, _ in in_pause} == {0}


def test_orders_that_change_nothing_say_so() -> None:
    """A second pause, a continue without a pause: done, and told."""
    operator = Operator((1.0, Verb.CONTINUE), (2.0, Verb.PAUSE), (3.0, Verb.PAUSE), (4.0, Verb.STOP))
    done = rehearse(small_plan(60), options=TEN, meddle=operator)
    texts = [answer.text for answer in operator.answers]
    assert texts[0] == "it is not paused"
    assert texts[2] == "it is paused already"
    assert done.ending is not None
    assert done.ending.reason is StopReason.SIGINT


def test_a_pause_does_not_count_as_an_outage() -> None:
    """An hour of pause within an outage is not an hour in which the API did not answer."""

    def answer(sent: Sent) -> Any:
        return NO_CONNECTION if sent.at_s < 3_650 else ACCEPTED

    operator = Operator((20.0, Verb.PAUSE), (3_620.0, Verb.CONTINUE))
    done = rehearse(small_plan(20), answer, TEN, meddle=operator)
    assert done.counts.succeeded == 20


def test_a_pause_in_a_soak_outlasts_it() -> None:
    """The next wave waits for the operator too."""
    options = RunOptions(rates=TEN.rates, canary=2, soak_s=60.0)
    operator = Operator((30.0, Verb.PAUSE), (500.0, Verb.CONTINUE))
    done = rehearse(small_plan(10), options=options, meddle=operator)
    assert between(done, 5.0, 499.9) == 0
    assert done.counts.succeeded == 10


@pytest.mark.parametrize("at_s", [0.24, 0.34, 0.44, 0.54, 0.64])
def test_a_pause_during_a_commit_leaves_nothing_in_flight(at_s: float) -> None:
    """Claims that come from a commit that was under way go back unsent."""
    operator = Operator((at_s, Verb.PAUSE), (at_s + 5, Verb.STOP))
    done = rehearse(small_plan(60), commit_s=0.2, meddle=operator)
    assert done.counts.in_flight == 0
    assert between(done, at_s, at_s + 5) == 0


# --- rate -------------------------------------------------------------------------------------------


def test_a_rate_is_changed_while_the_run_goes() -> None:
    """From then on; the journal tells what it was."""
    operator = Operator((5.0, Verb.RATE, "2/s"), (15.0, Verb.RATE, "50/s"))
    done = rehearse(small_plan(200), options=TEN, meddle=operator)
    assert between(done, 0.0, 5.0) == pytest.approx(50, abs=2)
    assert between(done, 5.0, 15.0) == pytest.approx(20, abs=2)
    assert between(done, 15.0, 17.0) == pytest.approx(100, abs=5)
    assert [event.detail for event in done.events("rate_changed")] == [
        {"rate": "2/s", "was": "10/s"},
        {"rate": "50/s", "was": "2/s"},
    ]
    assert operator.answers[0].text == "sending at 2/s; it was 10/s"
    assert done.counts.succeeded == 200


def test_a_run_that_waits_for_its_next_slot_is_woken_by_a_new_rate() -> None:
    """At one an hour nobody waits an hour for the change."""
    options = RunOptions(rates=(Rate(1, 3_600.0),))
    operator = Operator((10.0, Verb.RATE, "10/s"))
    done = rehearse(small_plan(20), options=options, meddle=operator)
    assert done.lasted_s < 15


def test_a_change_of_rate_makes_no_burst() -> None:
    """In no second more than the higher of the two."""
    operator = Operator(*((at / 4, Verb.RATE, rate) for at, rate in enumerate(["20/s", "10/s"] * 8, 1)))
    done = rehearse(small_plan(120), options=TEN, meddle=operator)
    times = [sent.at_s for sent in done.sends]
    assert all(after - first > 0.99 for first, after in zip(times, times[20:], strict=False))


def test_a_pause_of_the_api_outlasts_a_change_of_rate() -> None:
    """A new rate is no answer to a server that said to wait."""
    operator = Operator((2.0, Verb.RATE, "50/s"))
    done = rehearse(
        small_plan(20), lambda sent: throttled(60.0) if sent.index == 0 else ACCEPTED, TEN, meddle=operator
    )
    assert between(done, 2.0, 60.0) == 0
    assert done.counts.succeeded == 20


def test_a_run_that_finds_its_rate_can_be_told_one_and_sent_back_to_find_it() -> None:
    """`rate 5/s` and `rate auto`."""
    operator = Operator((10.0, Verb.RATE, "5/s"), (20.0, Verb.RATE, "auto"))
    done = rehearse(small_plan(3_000), options=RunOptions(rates=()), meddle=operator)
    assert between(done, 10.5, 20.0) == pytest.approx(48, abs=3)
    assert between(done, 25.0, 30.0) > 100
    assert operator.answers[1].text == "sending at auto; it was 5/s"
    assert done.counts.succeeded == 3_000


def test_a_rate_that_cannot_be_is_refused_and_nothing_changes() -> None:
    """One that is not understood, and `auto` for a run that has never looked for its rate."""
    operator = Operator((1.0, Verb.RATE, "fast"), (2.0, Verb.RATE, "auto"))
    done = rehearse(small_plan(50), options=TEN, meddle=operator)
    assert [answer.is_done for answer in operator.answers] == [False, False]
    assert "not understood" in operator.answers[0].text
    assert "resume with --rate auto" in operator.answers[1].text
    assert done.lasted_s == pytest.approx(5, abs=0.3)


# --- stop -------------------------------------------------------------------------------------------


def test_stop_does_what_the_first_signal_does() -> None:
    """What is in flight ends, the run is interrupted, and the journal tells by whom."""
    operator = Operator((2.0, Verb.STOP), (2.1, Verb.PAUSE), (2.2, Verb.STOP))
    done = rehearse(small_plan(60), options=TEN, latency_s=1.0, meddle=operator)
    assert done.ending is not None
    assert (done.ending.reason, done.ending.message) == (StopReason.SIGINT, "stopped from another terminal")
    assert done.journal.run(done.run_id).state is RunState.INTERRUPTED
    assert done.counts.in_flight == 0
    assert done.counts.succeeded == len(done.sends)
    assert [answer.is_done for answer in operator.answers] == [True, False, True]
    assert operator.answers[1].text.startswith("it is stopping already")


def test_an_order_before_the_run_has_begun_is_not_taken() -> None:
    """Whoever gave it is told to try again."""
    assert Controls().obey(Order(Verb.PAUSE)) == Answer(is_done=False, text="it has not begun to send")


# --- windows ----------------------------------------------------------------------------------------


def in_windows(*texts: str, **more: Any) -> RunOptions:
    return RunOptions(
        **{"rates": (Rate(1, 1.0),), "deadline_s": 10.0, "windows": Windows.parse(texts), **more}
    )


def hm(sent: Sent) -> float:
    """When a request was sent, in minutes since midnight UTC."""
    return ((BEGAN_AT + sent.at_s) % 86_400) / 60


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_waits_for_its_window(backend: str) -> None:
    """Nothing is sent before it opens; progress says until when."""
    done = rehearse(small_plan(20), options=in_windows("10:00-12:00@UTC"), backend=backend)
    assert 10 * 60 <= hm(done.sends[0]) < 10 * 60 + 0.1
    assert done.counts.succeeded == 20
    notes = {note for _, _, _, note in done.progress.shown}
    assert "the window is closed until 10:00 on Mon 27 July, UTC" in notes
    assert [event.kind for event in done.journal.events(done.run_id)][:2] == ["began", "window_closed"]


def test_a_window_is_left_in_time_and_entered_again() -> None:
    """What is sent last may take as long as a request can, and has ended when the window closes."""
    options = in_windows("09:30-09:50@UTC", "11:00-12:00@UTC")
    done = rehearse(small_plan(300), options=options, latency_s=9.9)
    # The window closes 200 s after the run began.
    before = [sent.at_s for sent in done.sends if sent.at_s < 200]
    assert 180 < before[-1] <= 190
    assert not between(done, 190, 73 * 60)
    assert 11 * 60 <= hm(done.sends[len(before)]) < 11 * 60 + 0.1
    assert done.counts.succeeded == 300
    assert {c.in_flight for at_s, c, _, _ in done.progress.shown if 1_200.5 < at_s < 5_390} == {0}


def test_a_run_may_leave_with_its_window() -> None:
    """With the time to come back."""
    options = in_windows("09:30-09:50@UTC", leaves_window=True)
    done = rehearse(small_plan(300), options=options)
    assert done.ending is not None
    assert done.ending.reason is StopReason.TRY_LATER
    assert "the window is closed until 09:30 on Tue 28 July, UTC (2026-07-28T09:30:00" in done.ending.message
    assert 180 < done.lasted_s < 200
    assert done.counts.in_flight == 0


def test_a_run_that_begins_outside_of_its_window_may_leave_at_once() -> None:
    """Nothing was sent."""
    done = rehearse(small_plan(3), options=in_windows("22:00-05:00@Europe/Berlin", leaves_window=True))
    assert done.ending is not None
    assert "22:00 on Mon 27 July, Europe/Berlin" in done.ending.message
    assert not done.sends


def test_the_wall_clock_says_when_a_window_is_open() -> None:
    """A machine whose clock is set, or that was asleep, keeps to the window all the same."""

    def ahead_s() -> float:
        return 3 * 3_600.0 if anyio.current_time() >= 1_060.0 else 0.0

    options = in_windows("09:30-10:30@UTC", "13:00-14:00@UTC")
    done = rehearse(small_plan(100), options=options, wall_ahead_s=ahead_s)
    assert between(done, 0, 61) == pytest.approx(60, abs=2)
    # Three hours later by the wall it is 12:47:40: closed for another 740 s.
    assert not between(done, 62, 799)
    assert done.counts.succeeded == 100
