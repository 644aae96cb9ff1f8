"""The retry policy to the letter: states, full jitter, two bases, the budget."""

from __future__ import annotations

import random

import pytest

from batch.engine.retrying import RetryBudget, RetryPolicy, backoff_s, state_after, throttle_wait_s
from batch.states import RequestState
from batch.target import Advice, Outcome, Verdict

POLICY = RetryPolicy()
ALL_ADVICE = list(Advice)
NOT_ITS_OWN = [Advice.CREDENTIALS, Advice.UNTRUSTED]
ITS_OWN = [advice for advice in Advice if advice not in NOT_ITS_OWN]


def after(verdict: Verdict, attempts: int, *, in_doubt: bool = False, advice: Advice = Advice.GO_ON) -> str:
    """The state of a request after its `attempts`-th attempt ended so."""
    return state_after(Outcome(verdict, advice), attempts, in_doubt=in_doubt, policy=POLICY).value


# --- states -------------------------------------------------------------------------------------


@pytest.mark.parametrize("advice", ALL_ADVICE)
@pytest.mark.parametrize("attempts", [1, 5, 9])
def test_what_was_accepted_succeeded(advice: Advice, attempts: int) -> None:
    """Whatever else the answer says, and however many attempts it took."""
    assert after(Verdict.ACCEPTED, attempts, in_doubt=True, advice=advice) == "succeeded"


@pytest.mark.parametrize("advice", ITS_OWN)
def test_what_was_refused_failed(advice: Advice) -> None:
    """At the first attempt: sending the same again would end the same way."""
    assert after(Verdict.REFUSED, 1, advice=advice) == "failed"


@pytest.mark.parametrize("advice", NOT_ITS_OWN)
@pytest.mark.parametrize("verdict", [Verdict.REFUSED, Verdict.TRANSIENT, Verdict.AMBIGUOUS])
def test_what_fell_to_the_key_or_the_certificate_is_pending(verdict: Verdict, advice: Advice) -> None:
    """It is not the request's fault, however many attempts it has had."""
    assert after(verdict, 5, advice=advice) == "pending"


@pytest.mark.parametrize("advice", ITS_OWN)
@pytest.mark.parametrize(
    ("verdict", "in_doubt", "states"),
    [
        (Verdict.TRANSIENT, False, ["retrying"] * 4 + ["failed"] * 2),
        (Verdict.TRANSIENT, True, ["retrying"] * 4 + ["unknown"] * 2),
        (Verdict.AMBIGUOUS, True, ["retrying"] * 4 + ["unknown"] * 2),
    ],
)
def test_five_attempts_and_no_more(
    verdict: Verdict, in_doubt: bool, states: list[str], advice: Advice
) -> None:
    """The fifth that passes without success ends the request: unknown if it may have been applied."""
    assert [after(verdict, n, in_doubt=in_doubt, advice=advice) for n in range(1, 7)] == states


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_decided_state_is_one_that_an_attempt_may_end_in(verdict: Verdict) -> None:
    """For every advice, every count, in doubt or not."""
    for advice in Advice:
        for attempts in range(8):
            for in_doubt in (False, True):
                state = after(verdict, attempts, in_doubt=in_doubt, advice=advice)
                assert RequestState(state) not in (RequestState.IN_FLIGHT, RequestState.SKIPPED)


# --- delays -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nth", "most_s"), [(0, 0.05), (1, 0.1), (2, 0.2), (3, 0.4), (9, 25.6), (10, 30.0), (500, 30.0)]
)
def test_a_retry_waits_up_to_twice_as_long_as_the_one_before(nth: int, most_s: float) -> None:
    """Full jitter: anything from nothing to 0.05 s · 2ⁿ, and never more than 30 s."""
    dice = random.Random(nth).random
    waits = [backoff_s(nth, base_s=POLICY.base_s, policy=POLICY, dice=dice) for _ in range(2_000)]
    assert 0.0 <= min(waits) < 0.02 * most_s
    assert 0.98 * most_s < max(waits) <= most_s
    assert sum(waits) / len(waits) == pytest.approx(most_s / 2, rel=0.1)


@pytest.mark.parametrize(("nth", "most_s"), [(0, 1.0), (1, 2.0), (4, 16.0), (5, 30.0)])
def test_a_throttle_without_a_time_waits_from_a_second_on(nth: int, most_s: float) -> None:
    """The formula with a base of one second."""
    outcome = Outcome(Verdict.TRANSIENT, Advice.THROTTLED)
    assert throttle_wait_s(outcome, nth, policy=POLICY, dice=lambda: 0.0) == 0.0
    assert throttle_wait_s(outcome, nth, policy=POLICY, dice=lambda: 1 - 1e-9) == pytest.approx(most_s)


@pytest.mark.parametrize("asked_s", [0.0, 1.5, 5.0, 1e9])
def test_a_wait_that_is_asked_for_beats_the_formula(asked_s: float) -> None:
    """It is neither undercut nor stretched, however many throttles came before."""
    outcome = Outcome(Verdict.TRANSIENT, Advice.THROTTLED, retry_after_s=asked_s)
    for nth in (0, 7):
        assert throttle_wait_s(outcome, nth, policy=POLICY, dice=lambda: 0.5) == asked_s


def test_a_retry_is_due_within_what_is_sat_out() -> None:
    """What is due later than this was asked for by the API."""
    assert POLICY.longest_due_s == 121.0


# --- the budget ---------------------------------------------------------------------------------


def test_a_full_budget_pays_for_thirty_five_retries() -> None:
    """500 tokens at 14 a retry, and then there is none."""
    budget = RetryBudget(POLICY)
    assert budget.retries == 35
    for _ in range(35):
        budget.spend()
    assert budget.retries == 0


def test_once_spent_one_request_in_fourteen_may_be_a_retry() -> None:
    """Fourteen successes earn one retry: at most a tenth of what is sent."""
    budget = RetryBudget(POLICY)
    for _ in range(36):
        budget.spend()
    retries = 0
    for _ in range(14_000):
        budget.succeeded()
        if budget.retries:
            budget.spend()
            retries += 1
    assert retries == 1_000
    assert retries / (retries + 14_000) < 0.1


def test_a_full_budget_does_not_grow() -> None:
    """A quiet hour saves nothing up for a storm."""
    budget = RetryBudget(POLICY)
    for _ in range(10_000):
        budget.succeeded()
    assert budget.retries == 35


def test_a_retry_on_credit_leaves_no_debt() -> None:
    """What trickles through an empty purse is not asked back."""
    budget = RetryBudget(RetryPolicy(budget_tokens=14, retry_cost=14))
    for _ in range(5):
        budget.spend()
    for _ in range(14):
        budget.succeeded()
    assert budget.retries == 1
