"""What an outcome means: for its own request, and for all that come after it."""

from __future__ import annotations

import math

from batch.clock import Clock
from batch.engine.breaker import FailureLimit, Gate, OutageBreaker, SafetyBreaker
from batch.engine.desk import Desk
from batch.engine.pacer import Pacer
from batch.engine.retrying import Dice, RetryBudget, RetryPolicy, backoff_s, state_after, throttle_wait_s
from batch.journal.protocol import Claim, Ended
from batch.states import RequestState, StopReason
from batch.target import Advice, Outcome, Verdict
from batch.timestamps import utc

#: Failed probes after which answers that are not the API's mean a wrong address, not a bad minute.
_SUSPICIOUS_PROBES = 3

#: A pause this long sends claims back: "in flight" must not be said of what is not sent for a while.
_LONG_PAUSE_S = 1.0

#: The HTTP status that asks to wait without saying that the rate is too high: the rate stays.
_OVERLOADED = 503

#: A request in flight when the operator cancelled: nobody asked what the answer was.
ABORTED = Outcome(
    Verdict.AMBIGUOUS,
    error_code="ABORTED",
    message="cancelled before the answer came; it may have been applied",
)


class Judge:
    """Takes in every outcome; slows, pauses or stops the run by it, and says what becomes of the request.

    `stop` is set once there is a reason to send nothing more: it is called with the reason and a
    sentence for the operator.
    """

    def __init__(
        self,
        *,
        policy: RetryPolicy,
        max_failures: FailureLimit | None,
        outage_s: float,
        pacer: Pacer,
        clock: Clock,
        dice: Dice,
        budget: RetryBudget,
    ) -> None:
        self.outage = OutageBreaker(threshold=max(2, min(5, policy.max_attempts)))
        self.safety = SafetyBreaker(max_failures)
        self._policy = policy
        self._outage_s = outage_s
        self._pacer = pacer
        self._clock = clock
        self._dice = dice
        self._budget = budget
        self._throttles = 0
        self._throttled_since_s: float | None = None
        self._throttled_at_s = -math.inf
        self._stops: list[tuple[StopReason, str]] = []

    def ended(
        self, claim: Claim, outcome: Outcome, *, sent_at: float, started_s: float, desk: Desk
    ) -> tuple[StopReason, str] | None:
        """Take in how a send ended and put its result on the desk; returns why to stop, or None."""
        self._stops.clear()
        if outcome.verdict is Verdict.ACCEPTED:
            self._accepted(claim, outcome, sent_at, started_s, desk)
        else:
            self._failed(claim, outcome, sent_at, started_s, desk)
        return self._stops[0] if self._stops else None

    def _accepted(self, claim: Claim, outcome: Outcome, sent_at: float, started_s: float, desk: Desk) -> None:
        """What nearly all outcomes are: little is to be decided, and whatever trouble there was is over."""
        if outcome.advice is Advice.GO_ON and outcome.rate_per_s is None:
            self._throttles, self._throttled_since_s = 0, None
        else:
            self._heed(outcome, started_s, desk)
        if self.outage.accepted():
            desk.note("outage_over")
        self._budget.succeeded()
        self._pacer.accepted(started_s)
        took_s = self._clock.now() - started_s
        desk.put(Ended(claim, RequestState.SUCCEEDED, outcome, sent_at, took_s))
        self.safety.accepted(claim.template_id)

    def _failed(self, claim: Claim, outcome: Outcome, sent_at: float, started_s: float, desk: Desk) -> None:
        now = self._clock.now()
        self._heed(outcome, started_s, desk)
        if outcome is not ABORTED:
            self._heed_outage(outcome, now, desk)
        counted = self._counts(outcome)
        in_doubt = claim.in_doubt or outcome.verdict is Verdict.AMBIGUOUS
        state = state_after(outcome, claim.attempts + counted, in_doubt=in_doubt, policy=self._policy)
        due_at = None
        if state is RequestState.RETRYING:
            due_at = self._clock.utc_of(self._due_s(claim, outcome, now))
        desk.put(Ended(claim, state, outcome, sent_at, now - started_s, counted, due_at, is_free=not counted))
        if state.is_final:
            self._judge_safety(claim, state, outcome, desk)

    def lasted_too_long(self) -> tuple[StopReason, str] | None:
        """Why to stop waiting for an API that has accepted nothing for too long, or None."""
        now = self._clock.now()
        for since_s, last in (
            (self.outage.since_s, self.outage.last_outcome),
            (self._throttled_since_s, None),
        ):
            if since_s is not None and now - since_s > self._outage_s:
                said = f": {_words(last)}" if last is not None else ", only told to wait"
                minutes = f"{(now - since_s) / 60:.0f} minutes"
                return StopReason.TRY_LATER, f"the API has accepted nothing for {minutes}{said}"
        return None

    def waited(self, held_s: float) -> None:
        """For so long nothing was sent for another reason: that is no part of an outage."""
        if self.outage.since_s is not None:
            self.outage.since_s += held_s
        if self._throttled_since_s is not None:
            self._throttled_since_s += held_s

    def waiting_for(self) -> str:
        """What everyone waits for, in words for the operator; empty if nothing."""
        if self.outage.gate is not Gate.CLOSED:
            last = self.outage.last_outcome
            return f"the API does not answer as it should ({_words(last) if last else ''}), trying again"
        if self._pacer.paused_until_s > self._clock.now() and self._throttled_since_s is not None:
            return "the API asked to wait"
        return ""

    def _stop(self, reason: StopReason, message: str) -> None:
        self._stops.append((reason, message))

    def _counts(self, outcome: Outcome) -> bool:
        """Whether the attempt uses up one of its request's: not if the fault is the API's as a whole."""
        if outcome.advice in (Advice.THROTTLED, Advice.CREDENTIALS, Advice.UNTRUSTED):
            return False
        match outcome.verdict:
            case Verdict.ACCEPTED | Verdict.REFUSED:
                return True
            case Verdict.TRANSIENT | Verdict.AMBIGUOUS:
                return self.outage.gate is Gate.CLOSED

    def _due_s(self, claim: Claim, outcome: Outcome, now: float) -> float:
        policy = self._policy
        if outcome.advice is Advice.THROTTLED:
            wait_s = self._dice() * policy.jitter_after_wait_s
            return max(self._pacer.paused_until_s, now) + wait_s
        if outcome.retry_after_s is not None:
            wait_s = outcome.retry_after_s + self._dice() * policy.jitter_after_wait_s
        else:
            wait_s = backoff_s(claim.attempts, base_s=policy.base_s, policy=policy, dice=self._dice)
        return max(now + wait_s, self._pacer.paused_until_s)

    def _heed(self, outcome: Outcome, started_s: float, desk: Desk) -> None:
        if outcome.rate_per_s is not None:
            self._pacer.at_most(outcome.rate_per_s)
        match outcome.advice:
            case Advice.CREDENTIALS:
                self._stop(StopReason.CREDENTIALS, f"the API refused the credentials: {_words(outcome)}")
            case Advice.UNTRUSTED:
                self._stop(
                    StopReason.UNTRUSTED, f"the server's identity cannot be verified: {_words(outcome)}"
                )
            case Advice.THROTTLED:
                self._heed_throttle(outcome, started_s, desk)
            case Advice.GO_ON | Advice.WRONG_ADDRESS:
                if outcome.verdict in (Verdict.ACCEPTED, Verdict.REFUSED):
                    self._throttles, self._throttled_since_s = 0, None
            case Advice.UNREACHABLE | Advice.SUSPICIOUS:
                pass

    def _heed_throttle(self, outcome: Outcome, started_s: float, desk: Desk) -> None:
        if self._throttled_since_s is None:
            self._throttled_since_s = self._clock.now()
        # What left before the last one that said so saw the same trouble: it is the same throttle.
        is_first_to_say = started_s > self._throttled_at_s
        if is_first_to_say:
            self._throttled_at_s = self._clock.now()
            if outcome.http_status != _OVERLOADED:
                self._pacer.throttled(started_s)
        if outcome.retry_after_s is None and not is_first_to_say:
            return
        wait_s = throttle_wait_s(outcome, self._throttles, policy=self._policy, dice=self._dice)
        if wait_s > self._policy.longest_wait_s:
            come_back = utc(self._clock.utc() + wait_s)
            self._stop(
                StopReason.TRY_LATER,
                f"the API asks to wait {wait_s:.0f} s, more than the {self._policy.longest_wait_s:.0f} s "
                f"that are sat out: {_words(outcome)}. Come back after {come_back}",
            )
            return
        if is_first_to_say:
            self._throttles += 1
            desk.note("throttled", wait_s=round(wait_s, 3), rate_per_s=round(self._pacer.rate_per_s, 3))
        self._pause(wait_s, desk)

    def _heed_outage(self, outcome: Outcome, now: float, desk: Desk) -> None:
        was = self.outage.gate
        pause_s = self.outage.told(outcome, now)
        if pause_s is not None:
            desk.note(
                "outage", pause_s=pause_s, message=_words(outcome), failed_probes=self.outage.failed_probes
            )
            self._pause(pause_s, desk)
            if outcome.advice is Advice.SUSPICIOUS and self.outage.failed_probes >= _SUSPICIOUS_PROBES:
                self._stop(StopReason.SAFETY, f"the answers are not the API's: {_words(outcome)}")
        elif was is not Gate.CLOSED and self.outage.gate is Gate.CLOSED:
            desk.note("outage_over")

    def _pause(self, wait_s: float, desk: Desk) -> None:
        until_s = self._clock.now() + wait_s
        self._pacer.pause_until(until_s)
        if wait_s >= _LONG_PAUSE_S:
            desk.hold(self._clock.utc_of(self._pacer.paused_until_s))

    def _judge_safety(self, claim: Claim, state: RequestState, outcome: Outcome, desk: Desk) -> None:
        barred = len(self.safety.barred)
        why = self.safety.told(state, outcome, claim.template_id)
        if why is not None:
            self._stop(StopReason.SAFETY, why)
        if len(self.safety.barred) > barred:
            desk.note("template_quarantined", template_id=claim.template_id, message=_words(outcome))
            desk.give_back()


def _words(outcome: Outcome) -> str:
    """An outcome in a few words, for the operator."""
    status = f"HTTP {outcome.http_status}" if outcome.http_status else ""
    return " ".join(part for part in (status, outcome.error_code, outcome.message) if part)
