"""Decides when to stop sending for a while, and when for good: pure counters, told of every outcome."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from batch.errors import UsageError
from batch.states import RequestState
from batch.target import Advice, Outcome, Verdict


class Gate(StrEnum):
    """How much may be sent."""

    CLOSED = "closed"  #: the circuit is whole: send
    OPEN = "open"  #: an outage: nobody sends until the pause is over
    PROBING = "probing"  #: one request at a time finds out whether it is over


class OutageBreaker:
    """Sees an outage by failures in a row that are no request's own fault, and probes until it is over.

    While it is not closed, an attempt that fails uses up none of its request's attempts, so that an
    outage makes nothing fail for good.
    """

    def __init__(self, *, threshold: int = 5, first_pause_s: float = 1.0, cap_s: float = 30.0) -> None:
        self.gate = Gate.CLOSED
        self.since_s: float | None = None
        self.failed_probes = 0
        self.last_outcome: Outcome | None = None
        self._threshold = threshold
        self._first_pause_s = first_pause_s
        self._cap_s = cap_s
        self._in_a_row = 0

    def told(self, outcome: Outcome, now_s: float) -> float | None:
        """Take in one outcome; returns for how many seconds everyone is to pause, if a pause begins here."""
        if outcome.verdict is Verdict.ACCEPTED:
            self.accepted()
            return None
        if not _is_outage(outcome):
            self._in_a_row = 0
            if self.gate is not Gate.OPEN:
                self._close()
            return None
        self.last_outcome = outcome
        self._in_a_row += 1
        match self.gate:
            case Gate.OPEN:
                return None
            case Gate.PROBING:
                self.failed_probes += 1
            case Gate.CLOSED:
                if self._in_a_row < self._threshold:
                    return None
                self.since_s = now_s
        self.gate = Gate.OPEN
        return float(min(self._cap_s, self._first_pause_s * 2.0 ** min(self.failed_probes, 30)))

    def accepted(self) -> bool:
        """Take in that a request was accepted; returns whether an outage is over with it."""
        self._in_a_row = 0
        if self.gate is Gate.CLOSED:
            return False
        self._close()
        return True

    def _close(self) -> None:
        self.gate, self.since_s, self.failed_probes = Gate.CLOSED, None, 0

    def pause_is_over(self) -> None:
        """The pause that `told` asked for has passed: let one request find out."""
        if self.gate is Gate.OPEN:
            self.gate = Gate.PROBING


def _is_outage(outcome: Outcome) -> bool:
    if outcome.advice in (Advice.THROTTLED, Advice.CREDENTIALS, Advice.UNTRUSTED):
        return False
    return outcome.verdict in (Verdict.TRANSIENT, Verdict.AMBIGUOUS)


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """`--max-failures`: a number of requests, or a share of those that ended, once `sample` have."""

    count: int | None = None
    share: float | None = None
    sample: int = 50

    @classmethod
    def parse(cls, text: str) -> FailureLimit:
        """`200` or `5%`; `UsageError` says what is accepted."""
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", text)
        if found and found[2] and float(found[1]) <= 100:
            return cls(share=float(found[1]) / 100)
        if found and not found[2] and "." not in found[1]:
            return cls(count=int(found[1]))
        raise UsageError(
            f'--max-failures "{text}" is not understood: write a number such as 200, or a share such as 5%'
        )

    def __str__(self) -> str:
        return f"{self.count}" if self.share is None else f"{self.share * 100:g}%"


#: So many first requests that all find nothing at the address mean that the address is wrong.
_FIRST_LOST = 20

#: So many identical failures in a row mean that the next will fail the same way.
_SAME_IN_A_ROW = 100

#: A template all of whose first requests are refused is at fault itself.
_TEMPLATE_SAMPLE = 10


@dataclass(slots=True)
class SafetyBreaker:
    """Counts how requests end, and says when going on would only do the same damage to more numbers.

    `told` returns the sentence to show the operator when the run must halt: what was counted, of what,
    at what sample. `barred` holds the templates in quarantine: all of their first requests were refused,
    while others may go on.
    """

    limit: FailureLimit | None = None
    barred: set[int] = field(default_factory=set)
    ended: int = 0
    failures: int = 0
    _lost_first: int = 0
    _same: tuple[str, int | None, str] | None = None
    _same_count: int = 0
    _by_template: Counter[int] = field(default_factory=Counter)
    _accepted_templates: set[int] = field(default_factory=set)

    @property
    def quarantine(self) -> str:
        """Why a run ends that has nothing left but requests of barred templates."""
        many, them = ("s", "each of them") if len(self.barred) != 1 else ("", "it")
        return (
            f"{len(self.barred)} template{many} in quarantine: the API refused all of the first "
            f"{_TEMPLATE_SAMPLE} requests made from {them}; all others were sent"
        )

    def told(self, state: RequestState, outcome: Outcome, template_id: int) -> str | None:
        """Take in how one request ended for good; returns why to halt, or None."""
        if state is RequestState.SUCCEEDED:
            self.accepted(template_id)
            return None
        self.ended += 1
        self.failures += 1
        self._quarantine(outcome, template_id)
        return self._lost(outcome) or self._identical(outcome) or self._over()

    def accepted(self, template_id: int) -> None:
        """Take in that one request was accepted."""
        self.ended += 1
        self._same_count = 0
        self._same = None
        self._accepted_templates.add(template_id)

    def _lost(self, outcome: Outcome) -> str | None:
        if outcome.advice is Advice.WRONG_ADDRESS:
            self._lost_first += 1
        if self._lost_first == self.ended == _FIRST_LOST:
            return (
                f"the first {_FIRST_LOST} requests all ended with {_said(outcome)}: "
                "the address or the account is probably wrong"
            )
        return None

    def _identical(self, outcome: Outcome) -> str | None:
        shape = (outcome.error_code, outcome.http_status, re.sub(r"\d+", "0", outcome.message))
        self._same_count = self._same_count + 1 if shape == self._same else 1
        self._same = shape
        if self._same_count >= _SAME_IN_A_ROW:
            return f"{self._same_count} requests in a row ended the same way, with {_said(outcome)}"
        return None

    def _over(self) -> str | None:
        limit = self.limit
        if limit is None:
            return None
        if limit.count is not None and self.failures > limit.count:
            return f"{self.failures} of {self.ended} ended requests failed; --max-failures allows {limit}"
        if (
            limit.share is not None
            and self.ended >= limit.sample
            and self.failures > limit.share * self.ended
        ):
            return (
                f"{self.failures} of {self.ended} ended requests failed "
                f"({100 * self.failures / self.ended:.1f}%); --max-failures allows {limit}"
            )
        return None

    def _quarantine(self, outcome: Outcome, template_id: int) -> None:
        if outcome.verdict is Verdict.REFUSED and outcome.advice is Advice.GO_ON:
            self._by_template[template_id] += 1
            if (
                template_id not in self._accepted_templates
                and self._by_template[template_id] >= _TEMPLATE_SAMPLE
            ):
                self.barred.add(template_id)


def _said(outcome: Outcome) -> str:
    status = f"HTTP {outcome.http_status}" if outcome.http_status else "no HTTP answer"
    words = " ".join(part for part in (outcome.error_code, outcome.message) if part)
    return f"{status} ({words})" if words else status
