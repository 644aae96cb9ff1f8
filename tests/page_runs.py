"""A night as it can be, for the tests of the page: requests by the thousand, and what happens to them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

from batch.journal.events import Event
from batch.journal.protocol import Claim, Ended, Journal, NewRun
from batch.plans import Problem, Warned
from batch.states import RequestState, StopReason
from batch.target import Advice, Outcome, Verdict
from tests.report_runs import EVERYTHING, Draft

#: Requests that are claimed at a time.
_AHEAD = 50

BEGUN = 1_785_200_400.0  #: 2026-07-28T01:00:00Z

_CUSTOMERS = (
    "Möller & Söhne",
    "Acme Dental",
    "Northwind Traders",
    "Contoso Care",
    "Café Zoë",
    "Bluewater Inc",
)
_COUNTRIES = (
    (1415555, 4, "failover-us", 0.42),
    (1212555, 4, "codecs-g722", 0.22),
    (4420794, 5, "failover-emea", 0.14),
    (4930123, 5, "failover-emea", 0.12),
    (3314095, 4, "alerts-noc", 0.06),
    (8135550, 5, "failover-apac", 0.04),
)

ACCEPTED = Outcome(Verdict.ACCEPTED, http_status=200)
BUSY = Outcome(Verdict.TRANSIENT, Advice.THROTTLED, 429, "RATE_LIMIT_EXCEEDED", "Rate limit exceeded")
DOWN = Outcome(Verdict.TRANSIENT, http_status=502, error_code="HTTP_502", message="HTTP 502 Bad Gateway")
FAULT = Outcome(
    Verdict.TRANSIENT, http_status=500, error_code="INTERNAL_ERROR", message="Something went wrong"
)
NO_ANSWER = Outcome(
    Verdict.AMBIGUOUS, error_code="DEADLINE", message="no answer within 30 s; it may have been applied"
)


def night_draft(count: int = 5_000, *, seed: int = 7) -> Draft:
    """A sheet of `count` rows and some that are rejected or repeated, of six countries' numbers."""
    dice = random.Random(seed)
    draft = Draft()
    draft.sheet("carrier-migration.csv", "phone_number", "template", "direction", "customer", "site")
    for index in range(count):
        row = index + 2
        prefix, digits, template, _ = dice.choices(_COUNTRIES, [share for *_, share in _COUNTRIES])[0]
        number = int(f"{prefix}{index % 10**digits:0{digits}d}")
        customer, site = dice.choice(_CUSTOMERS), f"site-{index // 40:03d}"
        cells = [f"+{number}", template, "outbound" if index % 5 else "inbound", customer, site]
        if index % 313 == 200:
            cells[0] = "1.41556E+10"
            draft.row(row, *cells).reject(
                Problem(
                    "phone_number", '"1.41556E+10" has lost digits: write it as text', "number.lost_digits"
                )
            )
        elif index % 700 == 333:
            cells[1] = "failover-uss"
            draft.row(row, *cells).reject(
                Problem("template", 'there is no template "failover-uss"', "template.unknown")
            )
        elif index % 450 == 300:
            draft.row(row, *cells).request(number, cells[2], template, duplicate_of=0)
        else:
            note = 'was "{was}", taken for {number} of the region US' if index % 97 == 0 else ""
            draft.row(row, *cells).request(number, cells[2], template, note=note)
    draft.warnings.append(
        Warned("columns.unused", count, 0, 2, "site", 'no template uses the values of: "site"')
    )
    return draft


class Night:
    """Plays a run request by request: waits the API asks for, an outage, refusals of several causes."""

    def __init__(self, journal: Journal, run_id: str, *, rate: float = 2.0, seed: int = 11) -> None:
        self.at = BEGUN
        self._journal = journal
        self._run_id = run_id
        self._rate = rate
        self._dice = random.Random(seed)
        self._ahead: set[int] = set()
        self._outage: tuple[float, float] | None = None
        self._storms: list[tuple[float, float]] = []

    def begin(self, left: int) -> None:
        """Set the run going, or going again."""
        lost = self._journal.begin(self._run_id, self.at)
        self._note("began", left=left, lost=lost, rate=f"{self._rate:g}/s")

    def outage(self, from_s: float, lasts_s: float) -> None:
        """From so many seconds after the beginning, nothing usable comes back for so long."""
        self._outage = (BEGUN + from_s, BEGUN + from_s + lasts_s)

    def storm(self, from_s: float, lasts_s: float) -> None:
        """For so long, the API often asks to wait."""
        self._storms.append((BEGUN + from_s, BEGUN + from_s + lasts_s))

    def send(self, most: int = 1 << 40) -> None:
        """Send up to `most` times, or until nothing is left to send."""
        results = {result.seq: result.template for result in self._journal.results(self._run_id)}
        for claim in islice(self._claims(), most):
            self._send(claim, results[claim.seq])
        self._journal.exchange(self._run_id, released=sorted(self._ahead))
        self._ahead = set()

    def end(self, reason: StopReason, message: str = "") -> None:
        """The run ends for a reason."""
        if reason is not StopReason.DONE:
            self._note("stopped", reason=reason.value, message=message)
        self._journal.end(self._run_id, reason, self.at)

    def _claims(self) -> Iterator[Claim]:
        while True:
            claims = self._journal.exchange(self._run_id, want=_AHEAD, shards=EVERYTHING, now=self.at)
            if claims:
                self._ahead = {claim.seq for claim in claims}
                for claim in claims:
                    self._ahead.discard(claim.seq)
                    yield claim
                continue
            due_at = self._journal.next_due(self._run_id)
            if due_at is None:
                return
            self.at = max(self.at + 0.001, due_at)

    def _send(self, claim: Claim, template: str) -> None:
        self.at += 1 / self._rate
        outcome, took_s = self._answer(claim, template)
        counted = outcome is not BUSY and outcome is not DOWN
        attempts = claim.attempts + counted
        due_at = None
        match outcome.verdict:
            case Verdict.ACCEPTED:
                state = RequestState.SUCCEEDED
            case Verdict.REFUSED:
                state = RequestState.FAILED
            case Verdict.TRANSIENT | Verdict.AMBIGUOUS if attempts < 3:
                state = RequestState.RETRYING
                due_at = self.at + self._dice.uniform(1, 20)
            case Verdict.TRANSIENT:
                state = RequestState.FAILED
            case Verdict.AMBIGUOUS:
                state = RequestState.UNKNOWN
        request_id = f"req_{self._dice.getrandbits(64):016x}" if outcome.http_status else ""
        outcome = outcome._replace(request_id=request_id)
        ended = Ended(claim, state, outcome, self.at, took_s, counted, due_at, is_free=not counted)
        self._journal.exchange(self._run_id, ended=[ended])
        if outcome.http_status == 429:
            wait_s = self._dice.choice((2.0, 5.0, 10.0))
            self._note("throttled", wait_s=wait_s, rate_per_s=round(self._rate * 0.7, 2))
            self.at += wait_s
        if outcome.http_status == 502:
            self._sit_out(outcome)

    def _sit_out(self, outcome: Outcome) -> None:
        """An outage: a probe now and then, until it is over."""
        assert self._outage is not None
        self._note("outage", pause_s=30.0, message=outcome.message, failed_probes=0)
        self.at += 30
        if self.at >= self._outage[1]:
            self._note("outage_over")
            self._outage = None

    def _answer(self, claim: Claim, template: str) -> tuple[Outcome, float]:
        """What the API answers, and after how many seconds."""
        number, dice = claim.number, self._dice
        took_s = min(4.0, dice.lognormvariate(-2.1, 0.45))
        if self._outage is not None and self.at >= self._outage[0]:
            return DOWN, 0.9
        if any(begin <= self.at < end for begin, end in self._storms) and dice.random() < 0.25:
            return BUSY, 0.02
        if number % 89 == 17:
            message = f"No SIP configuration found for +{number} (request req_{dice.getrandbits(64):016x})"
            return Outcome(Verdict.REFUSED, Advice.WRONG_ADDRESS, 404, "NOT_FOUND", message), took_s
        if template == "failover-apac" and number % 3:
            message = f"failover_config.endpoints[0].host: sip{number % 7}.apac.example.net does not resolve"
            return Outcome(
                Verdict.REFUSED, http_status=400, error_code="VALIDATION_ERROR", message=message
            ), took_s
        if number % 401 == 5:
            return Outcome(
                Verdict.REFUSED, http_status=409, error_code="CONFLICT", message="The number is being ported"
            ), took_s
        if number % 499 == 7:
            return FAULT, took_s * 3
        if number % 613 == 11:
            return NO_ANSWER, 30.0
        return ACCEPTED, took_s

    def _note(self, kind: str, **detail: object) -> None:
        self._journal.exchange(self._run_id, events=[Event(self.at, kind, detail)])


def night_run(journal: Journal, count: int = 5_000) -> str:
    """The whole night, to its end, with a break of four hours in the middle; returns the run's id."""
    plan = night_draft(count).plan()
    new = NewRun("https://api.example.com", BEGUN - 40, {"rate": "2/s"}, "org_8842", version="1.2.3")
    run_id = journal.create_run(plan, new)
    night = Night(journal, run_id)
    night.storm(400, 150)
    night.storm(1_500, 60)
    night.outage(900, 260)
    night.begin(plan.to_send_count)
    night.send(20)
    journal.exchange(run_id, events=[Event(night.at, "canary_passed", {"requests": 20})])
    night.send()
    night.end(StopReason.DONE)
    return run_id


def broken_night(journal: Journal, count: int = 2_000) -> str:
    """A run that was interrupted, went on four hours later, and halted for safety; returns its id."""
    plan = night_draft(count, seed=8).plan()
    run_id = journal.create_run(
        plan, NewRun("https://api.example.com", BEGUN - 40, {"rate": "2/s"}, version="1.2.3")
    )
    night = Night(journal, run_id)
    night.storm(100, 60)
    night.begin(plan.to_send_count)
    night.send(700)
    night.end(StopReason.SIGINT, "interrupted by SIGINT")
    night.at += 4 * 3_600
    night.begin(journal.counts(run_id).left)
    night.send(500)
    night.end(StopReason.SAFETY, "31 of 600 ended requests failed (5.2%); --max-failures allows 5%")
    return run_id
