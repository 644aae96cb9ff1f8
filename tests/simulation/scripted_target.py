"""A target that does to requests what its scenario says, and remembers what came and what was applied."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from batch.engine.pacer import Rate
from batch.target import Advice, Outcome, Verdict
from tests.simulation.scenario import Scenario
from tests.simulation.world import World

Key = tuple[str, str]

#: The longest wait that a run is to sit out, as `batch.engine.retrying.RetryPolicy` has it.
LONGEST_WAIT_S = 120.0


@dataclass(slots=True)
class Send:
    """One request on its way."""

    key: Key
    payload: bytes
    life: int
    rates: tuple[Rate, ...]
    at_s: float
    ended_s: float | None = None
    applied_s: float | None = None
    outcome: Outcome | None = None


class ScriptedTarget:
    """Answers, applies, hangs and refuses by the scenario's dice, and watches for promises that are broken.

    `sends` are all that left, `applied` the payloads that each key was given, in order.
    """

    name = "simulation"

    def __init__(self, scenario: Scenario, world: World, *, now: Callable[[], float]) -> None:
        self.sends: list[Send] = []
        self.applied: defaultdict[Key, list[bytes]] = defaultdict(list)
        self.in_flight: Counter[Key] = Counter()
        self.most_in_flight = 0
        self.quiet_s = (0.0, 0.0)
        self.not_before_s: dict[Key, float] = {}
        self.longest_asked_s = 0.0
        self.bad_template = scenario.bad_template
        self.rates: tuple[Rate, ...] = ()
        self.watch: Callable[[Send], None] = lambda _: None
        self.template_of: dict[Key, int] = {}
        self.seq_of: dict[Key, int] = {}
        self._scenario = scenario
        self._world = world
        self._now = now
        self._began_s = now()
        self._dice = random.Random(f"target {scenario.seed}")
        self._revoked_after = scenario.revoked_after_sends

    async def __aenter__(self) -> ScriptedTarget:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    def begin_life(self) -> None:
        """A new process knows of no pause and has nothing in flight."""
        self.in_flight.clear()
        self.quiet_s = (0.0, 0.0)
        self.not_before_s.clear()

    def mend(self) -> None:
        """The operator has done what a stopped run asked for: a new key, a better template."""
        self._revoked_after = None
        self.bad_template = None

    async def send(self, number: str, direction: str, payload: bytes) -> Outcome:
        """One request, as `batch.target.Target` says."""
        self._world.step("before a send")
        send = Send((number, direction), payload, self._world.life, self.rates, self._now())
        self._note_send(send)
        kind = self._choose(send)
        outcome, applies = self._answers(kind, send)
        low, high = (0.0, 0.1) if self._world.is_peaceful else self._scenario.latency_s
        try:
            await anyio.sleep(self._dice.uniform(low, high))
            if applies:
                self._apply(send)
            self._world.step("before an answer")
            if kind == "hang":
                await anyio.sleep(10 * self._scenario.deadline_s)
            await anyio.sleep(self._dice.uniform(low, high))
        except BaseException:
            if send.applied_s is None and verdict_may_apply(outcome) and self._dice.random() < 0.5:
                self._apply(send)  # it had left before the connection was dropped
            raise
        finally:
            send.ended_s = self._now()
            self.in_flight[send.key] -= 1
        self._world.step("after an answer")
        send.outcome = outcome
        self._note_answer(kind, send, outcome)
        return outcome

    def _note_send(self, send: Send) -> None:
        self.in_flight[send.key] += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight.total())
        self.sends.append(send)
        self._world.tell("send", *send.key)
        if self.in_flight[send.key] > 1:
            self._world.broken(f"{send.key} is in flight twice")
        if self.quiet_s[0] < send.at_s < self.quiet_s[1] - 1e-6:
            self._world.broken(f"{send.key} was sent in a pause that lasts until {self.quiet_s[1]:.3f} s")
        if send.at_s < (not_before_s := self.not_before_s.get(send.key, 0.0)) - 1e-6:
            self._world.broken(f"{send.key} was sent again, and was to wait until {not_before_s:.3f} s")
        if not self._world.may_send:
            self._world.broken(f"{send.key} was sent although the run was stopped or paused")
        self._world.sent(self.seq_of[send.key])
        self.watch(send)

    def _note_answer(self, kind: str, send: Send, outcome: Outcome) -> None:
        now = self._now()
        self._world.tell("answer", kind)
        wait_s = outcome.retry_after_s
        if outcome.advice is Advice.THROTTLED and wait_s is not None and wait_s <= LONGEST_WAIT_S:
            self.quiet_s = (now, max(self.quiet_s[1], now + wait_s))
        if wait_s is not None:
            self.not_before_s[send.key] = now + wait_s
            self.longest_asked_s = max(self.longest_asked_s, wait_s)
        if outcome.advice in (Advice.CREDENTIALS, Advice.UNTRUSTED):
            self._world.stopped()
        if outcome.verdict is Verdict.ACCEPTED:
            self._world.accepted()

    def _apply(self, send: Send) -> None:
        send.applied_s = self._now()
        self.applied[send.key].append(send.payload)
        self._world.tell("applied", *send.key)

    # --- what the scenario says -----------------------------------------------------------------

    def _choose(self, send: Send) -> str:
        scenario, dice = self._scenario, self._dice
        if self._world.is_peaceful:
            return "accepted"
        if self._revoked_after is not None and len(self.sends) > self._revoked_after:
            return "credentials"
        since_s = send.at_s - self._began_s
        for storm in scenario.storms:
            if storm.from_s <= since_s < storm.until_s:
                return storm.kind
        if self.bad_template is not None and self.template_of.get(send.key) == self.bad_template:
            return "refused"
        if random.Random(f"{send.key} {scenario.seed}").random() < scenario.refused_share:
            return "refused"
        if scenario.server_limit is not None and self._sent_within(1.0) > scenario.server_limit:
            return dice.choice(("throttled", "throttled_and_wait"))
        return dice.choice(scenario.faults) if dice.random() < scenario.fault_share else "accepted"

    def _sent_within(self, last_s: float) -> int:
        since_s = self._now() - last_s
        return sum(send.at_s > since_s for send in self.sends[-50:])

    def _answers(self, kind: str, send: Send) -> tuple[Outcome, bool]:
        """The outcome, and whether the payload is applied before it is known."""
        dice, coin = self._dice, self._dice.random() < 0.5
        match kind:
            case "accepted":
                return Outcome(Verdict.ACCEPTED, http_status=200, request_id=f"req_{len(self.sends)}"), True
            case "named_rate":
                return Outcome(Verdict.ACCEPTED, http_status=200, rate_per_s=dice.uniform(0.5, 20)), True
            case "refused":
                return Outcome(Verdict.REFUSED, Advice.GO_ON, 400, "VALIDATION_ERROR", "no such codec"), False
            case "not_found":
                return Outcome(Verdict.REFUSED, Advice.WRONG_ADDRESS, 404, "NOT_FOUND", "no number"), False
            case "credentials":
                return Outcome(Verdict.REFUSED, Advice.CREDENTIALS, 401, "AUTH_FAILURE", "the key"), False
            case "server_error":
                return Outcome(Verdict.TRANSIENT, Advice.GO_ON, 500, "INTERNAL_SERVER_ERROR", "oh"), False
            case "server_error_and_wait":
                wait_s = dice.choice((0.0, 0.5, 3.0, 40.0, 4_000.0))
                return Outcome(Verdict.TRANSIENT, http_status=500, retry_after_s=wait_s), False
            case "throttled":
                return Outcome(Verdict.TRANSIENT, Advice.THROTTLED, 429, "TOO_MANY_REQUESTS"), False
            case "throttled_and_wait":
                wait_s = dice.choice((0.0, 0.25, 1.0, 1.5, 5.0, 5.0, 20.0, 119.0, 121.0, 1e9))
                return Outcome(Verdict.TRANSIENT, Advice.THROTTLED, 429, retry_after_s=wait_s), False
            case "unreachable":
                return Outcome(Verdict.TRANSIENT, Advice.UNREACHABLE, message="connection refused"), False
            case "html":
                return Outcome(Verdict.AMBIGUOUS, Advice.SUSPICIOUS, 200, "NOT_JSON", "a page"), coin
            case "lost_answer":
                return Outcome(Verdict.AMBIGUOUS, error_code="RESET"), True
            case "lost_request" | "hang":
                return Outcome(Verdict.AMBIGUOUS, error_code="RESET"), kind == "hang" and coin
            case "odd":
                verdict = dice.choice(list(Verdict))
                # What stops a run for good is rare in the world, and would end every run here at once.
                advice = dice.choices(list(Advice), weights=[8, 4, 1, 4, 1, 4, 4])[0]
                applies = verdict is Verdict.ACCEPTED or (verdict is Verdict.AMBIGUOUS and coin)
                return Outcome(verdict, advice, error_code="ODD"), applies
        raise AssertionError(kind)


def verdict_may_apply(outcome: Outcome) -> bool:
    """Whether the API may have applied what it answers so."""
    return outcome.verdict in (Verdict.ACCEPTED, Verdict.AMBIGUOUS)
