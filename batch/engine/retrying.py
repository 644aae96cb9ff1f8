"""What becomes of a request after an attempt: pure decisions, with clock and dice handed in.

The policy: full jitter, `U(0, min(30 s, base · 2^n))`, with a base of 0.05 s for transient and ambiguous
outcomes and 1 s for throttled ones; at most 5 attempts; a run-wide budget of retries. A wait that the
server asks for beats the formula and is never undercut; jitter is added after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from batch.states import RequestState
from batch.target import Advice, Outcome, Verdict

#: A number from 0 up to, not including, 1: `random.Random(seed).random`.
Dice = Callable[[], float]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a request is sent again; times in seconds.

    `longest_wait_s` is the longest wait asked for by a server that is sat out; beyond it the run stops
    and says when to come back. `budget_tokens` and `retry_cost` are those of the run's `RetryBudget`.
    """

    max_attempts: int = 5
    base_s: float = 0.05
    throttled_base_s: float = 1.0
    cap_s: float = 30.0
    longest_wait_s: float = 120.0
    jitter_after_wait_s: float = 1.0
    budget_tokens: int = 500
    retry_cost: int = 14

    @property
    def longest_due_s(self) -> float:
        """How far ahead a retry can be due at most, if the API asks for no more than is sat out."""
        return max(self.cap_s, self.longest_wait_s) + self.jitter_after_wait_s


def state_after(outcome: Outcome, attempts: int, *, in_doubt: bool, policy: RetryPolicy) -> RequestState:
    """The state of a request whose attempt ended so; `attempts` counts those used up, this one included.

    `in_doubt` says that an earlier attempt was ambiguous. Then a request that ends without an answer of
    its own is `unknown` even if the last attempt was surely not applied: an earlier one may have been.
    """
    if outcome.advice in (Advice.CREDENTIALS, Advice.UNTRUSTED) and outcome.verdict is not Verdict.ACCEPTED:
        return RequestState.PENDING
    match outcome.verdict:
        case Verdict.ACCEPTED:
            return RequestState.SUCCEEDED
        case Verdict.REFUSED:
            return RequestState.FAILED
        case Verdict.TRANSIENT:
            if attempts < policy.max_attempts:
                return RequestState.RETRYING
            return RequestState.UNKNOWN if in_doubt else RequestState.FAILED
        case Verdict.AMBIGUOUS:
            return RequestState.RETRYING if attempts < policy.max_attempts else RequestState.UNKNOWN


def backoff_s(nth: int, *, base_s: float, policy: RetryPolicy, dice: Dice) -> float:
    """The wait in seconds before the retry that follows the `nth` (from 0) failure of its kind."""
    return dice() * min(policy.cap_s, base_s * 2.0 ** min(nth, 30))


def throttle_wait_s(outcome: Outcome, nth: int, *, policy: RetryPolicy, dice: Dice) -> float:
    """How long everyone waits after the `nth` (from 0) throttle in a row, in seconds.

    What the server asked for is never undercut; without it the formula decides.
    """
    if outcome.retry_after_s is not None:
        return outcome.retry_after_s
    return backoff_s(nth, base_s=policy.throttled_base_s, policy=policy, dice=dice)


class RetryBudget:
    """A run-wide purse that keeps retries from becoming the load: a retry costs, a success gives 1 back.

    Once it is spent, one request in `cost` may be a retry. Throttled retries are free: the pacer
    bounds them already.
    """

    __slots__ = ("_cost", "_full", "_tokens")

    def __init__(self, policy: RetryPolicy) -> None:
        self._full = self._tokens = policy.budget_tokens
        self._cost = policy.retry_cost

    @property
    def retries(self) -> int:
        """How many retries it still pays for."""
        return self._tokens // self._cost

    def spend(self) -> None:
        """A retry was sent."""
        self._tokens = max(0, self._tokens - self._cost)

    def succeeded(self) -> None:
        """A request was accepted."""
        if self._tokens < self._full:
            self._tokens += 1
