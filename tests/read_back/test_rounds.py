"""Promises of `batch.read_back.rounds`, in virtual time: all is read once, at the pace, come what may."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import anyio
import pytest

from batch.clock import Clock
from batch.engine.controls import Controls, Order, Verb
from batch.engine.pacer import Rate
from batch.engine.retrying import RetryPolicy
from batch.engine.run_options import RunOptions
from batch.progress import Silent
from batch.read_back.readable import Shown
from batch.read_back.rounds import Reader, Reading, Round, RoundEnding
from batch.states import StopReason
from batch.target import Outcome, Verdict
from tests.readings import (
    A_PAGE,
    DOWN,
    FAST,
    NO_ANSWER,
    NO_KEY,
    NOT_THERE,
    READ,
    Answer,
    PlayedReadable,
    Read,
    pacer_of,
    throttled,
)
from tests.simulation.virtual_time import BACKENDS, run_virtual

SHOWN = Shown({"inbound": {}, "outbound": {}})


@dataclass
class Played:
    """What came of a round."""

    ending: RoundEnding
    target: PlayedReadable
    took: list[Reading[Shown]] = field(default_factory=list)

    @property
    def which(self) -> list[int]:
        """What was taken, in order of its place."""
        return sorted(reading.which for reading in self.took)


Meddle = Callable[[Controls, PlayedReadable], Awaitable[None]]


def play(
    count: int,
    answer: Answer = lambda _: (READ, SHOWN),
    options: RunOptions = FAST,
    *,
    backend: str = "trio",
    seed: int = 0,
    latency_s: float = 0.05,
    meddle: Meddle | None = None,
) -> Played:
    """A round of reads of so many numbers."""

    async def main() -> Played:
        clock = Clock()
        target = PlayedReadable(answer, latency_s, anyio.current_time())
        took: list[Reading[Shown]] = []

        async def read(which: int) -> tuple[Outcome, Shown | None]:
            return await target.read_number(f"+{which}")

        async def take(found: list[Reading[Shown]]) -> None:
            await anyio.sleep(0.001)
            took.extend(found)

        dice = random.Random(seed).random
        reading = Round(
            read,
            take,
            count,
            reader=Reader(options, pacer_of(options, clock), clock, dice=dice),
            progress=Silent(),
            doing="reading",
        )
        async with anyio.create_task_group() as tasks:
            if meddle is not None:
                controls = Controls()
                controls.attach(reading)
                tasks.start_soon(meddle, controls, target)
            ending = await reading.run()
            tasks.cancel_scope.cancel()
        return Played(ending, target, took)

    return run_virtual(main, backend=backend, seed=seed)


@pytest.mark.parametrize("backend", BACKENDS)
def test_everything_is_read_once(backend: str) -> None:
    """A thousand numbers, a thousand reads, all of them taken."""
    played = play(1_000, backend=backend)
    assert played.ending == RoundEnding(StopReason.DONE, "", 0)
    assert played.which == list(range(1_000))
    assert len(played.target.reads) == 1_000


def test_nothing_to_read_is_done_at_once() -> None:
    """An empty round asks nothing."""
    assert play(0).ending == RoundEnding(StopReason.DONE, "", 0)


def test_no_second_sees_more_than_the_rate() -> None:
    """Reads count against the rate, retries included, the first second included."""

    def flaky(read: Read) -> Outcome | tuple[Outcome, Shown | None]:
        return NO_ANSWER if read.nth == 1 and read.index % 3 == 0 else (READ, SHOWN)

    played = play(100, flaky, replace(FAST, rates=(Rate(20, 1.0),)))
    times = played.target.times()
    assert max(sum(at <= other < at + 1.0 for other in times) for at in times) <= 20
    assert len(times) / 20 <= times[-1] + 1.0 < len(times) / 20 * 1.2 + 1.0
    assert played.which == list(range(100))


def test_slow_answers_are_awaited_together() -> None:
    """At 50/s and 2 s each, about a hundred are on their way at once: the rate is kept."""
    played = play(600, options=replace(FAST, rates=(Rate(50, 1.0),), concurrency=None), latency_s=2.0)
    assert played.target.times()[-1] < 25.0
    assert 80 < played.target.most_in_flight <= 256


def test_concurrency_bounds_what_is_in_flight() -> None:
    """`--concurrency 3` is kept."""
    assert play(50, options=replace(FAST, concurrency=3)).target.most_in_flight == 3


def test_a_number_that_answers_late_is_read_again() -> None:
    """What passes is retried, up to the most attempts; the last outcome is what is taken."""
    played = play(3, lambda read: DOWN if read.number == "+1" else (READ, SHOWN))
    assert played.ending.reason is StopReason.DONE
    assert Counter(read.number for read in played.target.reads) == {"+0": 1, "+1": 5, "+2": 1}
    (failed,) = [reading for reading in played.took if reading.value is None]
    assert (failed.which, failed.outcome) == (1, DOWN)


def test_a_refusal_is_not_read_again() -> None:
    """A number that is not there is an answer."""
    played = play(2, lambda _: NOT_THERE)
    assert len(played.target.reads) == 2
    assert played.ending.left == 0


def test_a_hanging_answer_is_given_up_at_the_deadline() -> None:
    """Each attempt has its deadline, and is made again."""
    options = replace(FAST, deadline_s=2.0, retry=RetryPolicy(max_attempts=2))
    played = play(1, options=options, latency_s=60.0)
    (reading,) = played.took
    assert (reading.outcome.error_code, reading.outcome.verdict) == ("DEADLINE", Verdict.AMBIGUOUS)
    assert len(played.target.reads) == 2


def test_a_throttle_pauses_all_and_costs_no_attempt() -> None:
    """After `Retry-After: 7` nobody reads for seven seconds, however often it is said."""
    told: list[float] = []

    def answer(read: Read) -> Outcome | tuple[Outcome, Shown | None]:
        if 1.0 < read.at_s < 1.2 or 10.0 < read.at_s < 10.5:
            told.append(read.at_s)
            return throttled(7.0)
        return READ, SHOWN

    played = play(300, answer, replace(FAST, rates=(Rate(20, 1.0),), retry=RetryPolicy(max_attempts=1)))
    assert told
    assert not [at for at in played.target.times() if told[0] + 0.4 < at < told[0] + 7.0]
    assert played.which == list(range(300))
    assert all(reading.value is SHOWN for reading in played.took)


def test_a_wait_beyond_what_is_sensible_ends_the_round() -> None:
    """An hour is not sat out; what was read counts."""
    played = play(20, lambda read: throttled(3600.0) if read.index > 9 else (READ, SHOWN))
    assert played.ending.reason is StopReason.TRY_LATER
    assert "3600 s" in played.ending.message
    assert played.ending.left == 20 - len(played.took) > 0


def test_a_refused_key_ends_the_round_at_once() -> None:
    """No more than what was in flight is lost to it, and it is told why."""
    played = play(500, lambda read: NO_KEY if read.index >= 40 else (READ, SHOWN))
    assert played.ending.reason is StopReason.CREDENTIALS
    assert "sip:read" in played.ending.message
    assert len(played.target.reads) <= 40 + FAST.most_workers
    assert played.ending.left == 500 - len(played.took)


def test_an_outage_is_sat_out_by_probes() -> None:
    """A minute without answers is asked through a few times, and nothing is lost to it."""
    played = play(
        2_000,
        lambda read: NO_ANSWER if 2.0 < read.at_s < 62.0 else (READ, SHOWN),
        replace(FAST, rates=(Rate(200, 1.0),)),
    )
    assert played.ending.reason is StopReason.DONE
    assert sum(2.5 < at < 62.0 for at in played.target.times()) < 20
    assert all(reading.value is SHOWN for reading in played.took)


def test_pages_in_place_of_answers_end_the_round() -> None:
    """Something that is not the API is not asked for ever."""
    played = play(50, lambda _: A_PAGE)
    assert played.ending.reason is StopReason.SAFETY
    assert played.ending.left == 50 - len(played.took)


def test_an_interrupt_lets_go_and_keeps_what_was_read() -> None:
    """Whatever was answered has been taken; the rest is left."""

    async def interrupt(controls: Controls, target: PlayedReadable) -> None:
        await anyio.sleep(1.0)
        controls.drain(StopReason.SIGTERM)

    played = play(500, options=replace(FAST, rates=(Rate(50, 1.0),)), meddle=interrupt)
    assert played.ending.reason is StopReason.SIGTERM
    assert 40 < len(played.took) < 60
    assert played.ending.left == 500 - len(played.took)
    assert played.target.in_flight == 0


def test_a_round_obeys_from_another_terminal() -> None:
    """Paused, it reads nothing; told to go on at another rate, it does."""
    heard: list[str] = []

    async def handle(controls: Controls, target: PlayedReadable) -> None:
        await anyio.sleep(1.0)
        heard.append(controls.obey(Order(Verb.PAUSE)).text)
        await anyio.sleep(10.0)
        heard.append(controls.obey(Order(Verb.RATE, "100/s")).text)
        heard.append(controls.obey(Order(Verb.CONTINUE)).text)

    played = play(300, options=replace(FAST, rates=(Rate(20, 1.0),)), meddle=handle)
    times = played.target.times()
    assert not [at for at in times if 1.1 < at < 11.0]
    assert times[-1] < 15.0
    assert heard[0].startswith("paused")
    assert "it was 20/s" in heard[1]
    assert played.which == list(range(300))


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_nothing_is_lost_or_taken_twice(seed: int) -> None:
    """By any mixture of answers: what is taken and what is left are all there is, each once."""
    dice = random.Random(seed)
    outcomes = [(READ, SHOWN), NO_ANSWER, DOWN, NOT_THERE, throttled(), throttled(2.0), A_PAGE]
    weights = [40, *(dice.random() * 4 for _ in outcomes[1:])]

    def answer(_: Read) -> Outcome | tuple[Outcome, Shown | None]:
        return dice.choices(outcomes, weights)[0]

    options = replace(FAST, rates=(Rate(50, 1.0),), outage_s=60.0)
    played = play(120, answer, options, seed=seed)
    assert len(set(played.which)) == len(played.which) == 120 - played.ending.left
    assert played.ending.left == 0 or played.ending.reason is not StopReason.DONE
    times = played.target.times()
    assert max(sum(at <= other < at + 1.0 for other in times) for at in times) <= 50
