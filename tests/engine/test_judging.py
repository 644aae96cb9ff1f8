"""What answers do to a run: pauses, storms, outages, halts. The whole engine, in virtual time."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from batch.bland.answers import judge
from batch.engine.breaker import FailureLimit
from batch.engine.pacer import Rate
from batch.engine.retrying import RetryPolicy
from batch.runner import RunOptions
from batch.states import RequestState, RunState, StopReason
from batch.target import Advice, Outcome, Verdict
from tests.rehearsals import (
    A_PAGE,
    ACCEPTED,
    FAST,
    NO_ANSWER,
    NO_CONNECTION,
    NO_KEY,
    NOT_FOUND,
    REFUSED,
    SERVER_ERROR,
    THROTTLED,
    Answer,
    Rehearsal,
    Sent,
    rehearse,
    throttled,
)
from tests.simulation.virtual_time import BACKENDS
from tests.small_plans import small_plan

TWENTY_A_SECOND = RunOptions(rates=(Rate(20, 1.0),), concurrency=4)
UNTRUSTED = Outcome(Verdict.TRANSIENT, Advice.UNTRUSTED, error_code="TLS", message="self-signed certificate")


def ended_by(done: Rehearsal, reason: StopReason) -> str:
    """The sentence with which the run ended, for this reason."""
    assert done.ending is not None
    assert done.ending.reason is reason
    assert done.journal.run(done.run_id).state is reason.run_state
    assert done.counts.in_flight == 0
    return done.ending.message


# --- Retry-After, as servers write it -------------------------------------------------------------


def after_one_429(headers: Mapping[str, str], *, seed: int = 0) -> Rehearsal:
    """A run whose first request is answered 429 with these headers, and all others 200."""
    date = {"Date": "Mon, 27 Jul 2026 09:30:00 GMT"}
    first = judge(429, {**date, **headers}, b'{"status": "error", "message": "Rate limit exceeded"}')
    return rehearse(
        small_plan(12),
        lambda sent: first if sent.index == 0 else ACCEPTED,
        RunOptions(rates=(Rate(20, 1.0),), concurrency=1),
        seed=seed,
        latency_s=0.01,
    )


@pytest.mark.parametrize(
    ("retry_after", "pause_s"),
    [
        ("5", 5.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("120", 120.0),
        ("Mon, 27 Jul 2026 09:30:07 GMT", 7.0),
        ("Monday, 27-Jul-26 09:30:07 GMT", 7.0),
        ("Mon, 27 Jul 2026 08:00:00 GMT", 0.0),
    ],
)
def test_everyone_waits_as_long_as_the_api_asks(retry_after: str, pause_s: float) -> None:
    """Seconds, with a fraction or not, or a date, which counts from the answer's own Date."""
    done = after_one_429({"Retry-After": retry_after})
    waited_s = done.sends[1].at_s - 0.01
    assert pause_s - 1e-9 <= waited_s < pause_s + 0.1
    assert done.counts.succeeded == 12


@pytest.mark.parametrize("seed", range(4))
def test_a_retry_after_that_makes_no_sense_is_as_none(seed: int) -> None:
    """`-1`, `soon`: the formula decides, to the same wait as without a header, within its first second."""
    none, *others = (
        after_one_429(headers, seed=seed)
        for headers in ({}, {"Retry-After": "-1"}, {"Retry-After": "soon"}, {"Retry-After": ""})
    )
    assert [[s.at_s for s in other.sends] for other in others] == [[s.at_s for s in none.sends]] * 3
    assert none.sends[1].at_s <= 1.1


@pytest.mark.parametrize("retry_after", ["121", "1000000000", "Tue, 28 Jul 2026 09:30:00 GMT", "9" * 400])
def test_a_wait_beyond_two_minutes_is_not_sat_out(retry_after: str) -> None:
    """The run stops at once, exit 75, and says when to come back; the request uses up no attempt."""
    done = after_one_429({"Retry-After": retry_after})
    message = ended_by(done, StopReason.TRY_LATER)
    assert StopReason.TRY_LATER.exit_code == 75
    assert "more than the 120 s that are sat out" in message
    assert "Come back after 2" in message
    assert done.lasted_s < 1
    assert [row.attempts for row in done.rows if row.sends] == [0]


def test_the_one_that_was_throttled_comes_a_little_after_the_others() -> None:
    """Jitter is added after the wait, so that those that were told to wait do not come back as one."""
    waits = []
    for seed in range(30):
        done = after_one_429({"Retry-After": "5"}, seed=seed)
        (again,) = (sent.at_s for sent in done.sends if sent.nth == 2)
        waits.append(again - 5.01)
    assert 0.0 <= min(waits) < 0.3
    assert 0.7 < max(waits) < 1.1


def test_waiting_for_a_throttle_uses_up_no_attempt() -> None:
    """Eight times told to wait, with one attempt allowed: it succeeds at the ninth send."""
    options = RunOptions(rates=FAST.rates, concurrency=1, retry=RetryPolicy(max_attempts=1))
    done = rehearse(small_plan(1), lambda s: throttled(0.5) if s.nth <= 8 else ACCEPTED, options)
    (row,) = done.rows
    assert (row.state, row.attempts, row.sends) == (RequestState.SUCCEEDED, 1, 9)


def test_rate_limit_headers_slow_a_run_down() -> None:
    """The API names five a second: from then on there are five, whatever was asked for."""
    named = Outcome(Verdict.ACCEPTED, http_status=200, rate_per_s=5.0)
    done = rehearse(small_plan(40), lambda _: named, TWENTY_A_SECOND, latency_s=0.01)
    times = [sent.at_s for sent in done.sends]
    assert max(sum(at <= other < at + 1 for other in times) for at in times[2:]) <= 5


# --- a storm of 429 -------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("asks", [throttled(5.0), THROTTLED], ids=["Retry-After", "none"])
def test_a_storm_of_429_is_one_pause_and_no_herd(asks: Outcome, backend: str) -> None:
    """All workers are told at once: one cut of the rate, one pause, and in the second after it no more
    sends than the lower rate; then the rate comes back."""

    def answer(sent: Sent) -> Outcome:
        return asks if 2.0 < sent.at_s < 2.5 else ACCEPTED

    options = RunOptions(rates=(Rate(50, 1.0),), concurrency=32)
    done = rehearse(small_plan(2_500), answer, options, backend=backend, latency_s=0.4)

    assert done.counts.succeeded == 2_500
    storms = done.events("throttled")
    assert len(storms) == 1
    told_s = 2.4
    again_s = next(sent.at_s for sent in done.sends if sent.at_s > 2.92)
    if asks.retry_after_s is not None:
        assert again_s >= told_s + 5.0
        assert not [sent for sent in done.sends if told_s + 0.001 < sent.at_s < told_s + 5.0]
    assert len([s for s in done.sends if again_s <= s.at_s < again_s + 1]) <= 0.7 * 50 + 1
    last_s = done.sends[-1].at_s
    assert len([s for s in done.sends if last_s - 2 <= s.at_s < last_s - 1]) >= 49


def test_an_api_that_only_throttles_is_given_up_after_a_while() -> None:
    """Fifteen minutes of nothing but waiting: the run stops, to be resumed."""
    done = rehearse(small_plan(50), lambda _: throttled(20.0), TWENTY_A_SECOND)
    message = ended_by(done, StopReason.TRY_LATER)
    assert message == "the API has accepted nothing for 15 minutes, only told to wait"
    assert 900 < done.lasted_s < 930
    assert done.counts.pending + done.counts.retrying == 50


# --- outages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fault", [SERVER_ERROR, NO_CONNECTION, NO_ANSWER], ids=lambda o: o.error_code)
def test_ten_minutes_of_outage_fail_nothing_for_good(fault: Outcome, backend: str) -> None:
    """Few requests find out whether it is over; then the run goes on by itself, and all succeed."""
    done = rehearse(
        small_plan(400),
        lambda sent: fault if 5.0 < sent.at_s < 605.0 else ACCEPTED,
        TWENTY_A_SECOND,
        backend=backend,
    )
    ended_by(done, StopReason.DONE)
    assert done.counts.succeeded == 400
    assert len([sent for sent in done.sends if 5.5 < sent.at_s < 605.0]) < 40
    assert len(done.sends) <= 1.1 * 400
    assert done.lasted_s < 605 + 30 + 400 / 20
    assert len(done.events("outage")) >= 10
    assert len(done.events("outage_over")) == 1


def test_the_operator_is_told_what_is_waited_for() -> None:
    """While the API is away, progress says so, with its own words."""
    done = rehearse(small_plan(50), lambda s: NO_CONNECTION if s.at_s < 60 else ACCEPTED, TWENTY_A_SECOND)
    notes = {note for _, _, _, note in done.progress.shown}
    assert "the API does not answer as it should (REFUSED refused), trying again" in notes
    assert done.progress.shown[-1][3] == ""


def test_an_outage_that_lasts_is_given_up() -> None:
    """After fifteen minutes the run stops with exit 75: nothing has failed, all is there to be resumed."""
    done = rehearse(small_plan(30), lambda _: NO_CONNECTION, TWENTY_A_SECOND)
    message = ended_by(done, StopReason.TRY_LATER)
    assert message == "the API has accepted nothing for 15 minutes: REFUSED refused"
    assert done.counts.left == 30
    assert 900 < done.lasted_s < 935


def test_answers_that_are_not_the_apis_halt_the_run_soon() -> None:
    """HTML pages with status 200: after three probes the address is taken to be wrong; no row has failed."""
    done = rehearse(small_plan(50), lambda _: A_PAGE, TWENTY_A_SECOND)
    message = ended_by(done, StopReason.SAFETY)
    assert message.startswith("the answers are not the API's: HTTP 200 NOT_JSON")
    assert done.counts.left == 50
    assert len(done.sends) < 16
    assert done.lasted_s < 30


# --- credentials ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("concurrency", [1, 4, 32])
def test_a_key_that_is_refused_stops_the_run_at_once(concurrency: int, backend: str) -> None:
    """At most `concurrency` requests were lost to it; they are pending, and none of their attempts counts."""
    options = RunOptions(rates=(Rate(100, 1.0),), concurrency=concurrency)
    done = rehearse(
        small_plan(200),
        lambda sent: NO_KEY if sent.index >= 40 else ACCEPTED,
        options,
        backend=backend,
        latency_s=0.3,
    )
    message = ended_by(done, StopReason.CREDENTIALS)
    assert message == "the API refused the credentials: HTTP 401 AUTH_FAILURE the key is not valid"
    refused = [row for row in done.rows if row.error_code == "AUTH_FAILURE"]
    assert 1 <= len(refused) <= concurrency
    assert {(row.state, row.attempts) for row in refused} == {(RequestState.PENDING, 0)}
    assert done.counts.succeeded == 40
    first_told_s = done.sends[40].at_s + 0.3
    assert not done.target.since(first_told_s + 1e-9)

    again = rehearse(small_plan(200), options=options, backend=backend, again=done)
    ended_by(again, StopReason.DONE)
    assert again.counts.succeeded == 200


def test_a_certificate_that_cannot_be_verified_stops_the_run_at_once() -> None:
    """It is never tried again."""
    done = rehearse(small_plan(9), lambda _: UNTRUSTED, RunOptions(concurrency=1))
    assert "self-signed certificate" in ended_by(done, StopReason.UNTRUSTED)
    assert len(done.sends) == 1
    assert done.counts.pending == 9


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 8])
def test_twenty_first_requests_that_find_nothing_halt_the_run(concurrency: int) -> None:
    """404 for the first twenty: the rest of the sheet is spared."""
    done = rehearse(
        small_plan(500), lambda _: NOT_FOUND, RunOptions(rates=FAST.rates, concurrency=concurrency)
    )
    message = ended_by(done, StopReason.SAFETY)
    assert message.startswith("the first 20 requests all ended with HTTP 404")
    assert 20 <= done.counts.failed <= 20 + concurrency


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("10", "11 of 55 ended requests failed; --max-failures allows 10"),
        ("10%", "10 of 50 ended requests failed (20.0%); --max-failures allows 10%"),
    ],
)
def test_too_many_failures_halt_the_run(limit: str, says: str) -> None:
    """The sentence says what was counted, of what; a resumed run counts anew."""
    options = RunOptions(rates=FAST.rates, concurrency=1, max_failures=FailureLimit.parse(limit))

    def answer(sent: Sent) -> Outcome:
        return REFUSED if sent.index % 5 == 4 else ACCEPTED

    done = rehearse(small_plan(200), answer, options)
    assert ended_by(done, StopReason.SAFETY) == says
    assert done.journal.run(done.run_id).state is RunState.HALTED
    again = rehearse(small_plan(200), options=options, again=done)
    ended_by(again, StopReason.DONE)
    assert again.counts.succeeded + again.counts.failed == 200


def test_a_request_that_fails_every_attempt_has_failed() -> None:
    """Five transient answers, while others go on well: it failed, and the API's own words are kept."""
    stubborn = 14_155_550_103

    def answer(sent: Sent) -> Outcome:
        return SERVER_ERROR if sent.number == f"+{stubborn}" else ACCEPTED

    done = rehearse(small_plan(200), answer, RunOptions(rates=(Rate(20, 1.0),), concurrency=2))
    failed = [row for row in done.rows if row.state is RequestState.FAILED]
    assert {(row.number, row.attempts, row.sends) for row in failed} == {(stubborn, 5, 5)}
    assert {row.error_code for row in failed} == {"INTERNAL_SERVER_ERROR"}
    assert done.counts.succeeded == 198


def test_a_request_whose_answers_are_lost_is_unknown() -> None:
    """Five times sent, never answered: nobody can say that it failed."""

    def answer(sent: Sent) -> Outcome:
        return NO_ANSWER if sent.number.endswith("103") else ACCEPTED

    done = rehearse(small_plan(200), answer, RunOptions(rates=(Rate(20, 1.0),), concurrency=2))
    assert done.counts.unknown == 2
    assert done.counts.succeeded == 198


# --- the budget -----------------------------------------------------------------------------------


def test_once_the_budget_is_spent_retries_are_a_tenth_at_most() -> None:
    """Two answers in five are 500: retries first go from the purse, then at the pace of successes; and when
    nothing else is left they trickle, so that the run ends."""

    def answer(sent: Sent) -> Outcome:
        return SERVER_ERROR if sent.nth == 1 and sent.index % 5 in (1, 3) else ACCEPTED

    options = RunOptions(rates=(Rate(200, 1.0),), concurrency=8)
    done = rehearse(small_plan(3_000), answer, options, latency_s=0.01)

    ended_by(done, StopReason.DONE)
    assert done.counts.succeeded == 3_000
    while_fresh = done.sends[: max(sent.index for sent in done.sends if sent.nth == 1) + 1]
    retries = sum(sent.nth > 1 for sent in while_fresh)
    assert 36 < retries <= 36 + len(while_fresh) / 14


# --- how much it asks of the machine ----------------------------------------------------------------


def busyness(answer: Answer) -> float:
    """How often a second the journal was written to, in a run that mostly waits."""
    done = rehearse(small_plan(40), answer, TWENTY_A_SECOND)
    return done.exchanges / done.lasted_s


@pytest.mark.parametrize(
    "fault", [throttled(60.0), SERVER_ERROR, NO_CONNECTION], ids=lambda outcome: outcome.error_code
)
def test_waiting_costs_nothing(fault: Outcome) -> None:
    """A run that waits for the API does not ask the journal again and again."""
    assert busyness(lambda sent: fault if 0.5 < sent.at_s < 500 else ACCEPTED) < 0.5
