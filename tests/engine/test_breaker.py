"""When to stop sending: the outage breaker, the limit of failures, quarantine, and what each stop says."""

from __future__ import annotations

import pytest

from batch.engine.breaker import FailureLimit, Gate, OutageBreaker, SafetyBreaker
from batch.errors import UsageError
from batch.states import RequestState
from batch.target import Advice, Outcome, Verdict
from tests.rehearsals import (
    A_PAGE,
    ACCEPTED,
    NO_ANSWER,
    NO_CONNECTION,
    NO_KEY,
    NOT_FOUND,
    REFUSED,
    SERVER_ERROR,
    THROTTLED,
)

DONE, FAILED, UNKNOWN = RequestState.SUCCEEDED, RequestState.FAILED, RequestState.UNKNOWN

# --- outages ------------------------------------------------------------------------------------


def opened() -> OutageBreaker:
    """A breaker that has just seen its fifth failure in a row."""
    breaker = OutageBreaker()
    assert [breaker.told(SERVER_ERROR, float(n)) for n in range(5)] == [None, None, None, None, 1.0]
    return breaker


@pytest.mark.parametrize("outcome", [SERVER_ERROR, NO_ANSWER, NO_CONNECTION, A_PAGE])
def test_five_failures_in_a_row_are_an_outage(outcome: Outcome) -> None:
    """Five that are no request's own fault: everyone pauses, from the fifth on."""
    breaker = OutageBreaker()
    for n in range(4):
        assert breaker.told(outcome, float(n)) is None
        assert breaker.gate is Gate.CLOSED
    assert breaker.told(outcome, 4.0) == 1.0
    assert (breaker.gate, breaker.since_s, breaker.last_outcome) == (Gate.OPEN, 4.0, outcome)


@pytest.mark.parametrize("outcome", [ACCEPTED, REFUSED, NOT_FOUND, THROTTLED, NO_KEY])
def test_an_answer_of_the_api_is_no_outage(outcome: Outcome) -> None:
    """Accepted, refused, told to wait: the API is there, and the count begins again."""
    breaker = OutageBreaker()
    for n in range(40):
        assert breaker.told(outcome if n % 5 == 4 else SERVER_ERROR, float(n)) is None
    assert breaker.gate is Gate.CLOSED


def test_one_request_finds_out_and_each_failure_doubles_the_pause() -> None:
    """1, 2, 4 … 30 s, counted from the failure of the probe."""
    breaker, pauses = opened(), []
    for n in range(7):
        breaker.pause_is_over()
        assert breaker.gate is Gate.PROBING
        pauses.append(breaker.told(NO_CONNECTION, 10.0 + n))
        assert breaker.gate is Gate.OPEN
    assert pauses == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert (breaker.since_s, breaker.failed_probes) == (4.0, 7)


@pytest.mark.parametrize("outcome", [ACCEPTED, REFUSED, THROTTLED])
def test_a_probe_that_is_answered_ends_the_outage(outcome: Outcome) -> None:
    """The API is back: whole rate, and a new outage starts from a second again."""
    breaker = opened()
    breaker.pause_is_over()
    breaker.told(NO_CONNECTION, 6.0)
    breaker.pause_is_over()
    assert breaker.told(outcome, 9.0) is None
    assert (breaker.gate, breaker.since_s, breaker.failed_probes) == (Gate.CLOSED, None, 0)
    assert [breaker.told(SERVER_ERROR, 10.0) for _ in range(5)][-1] == 1.0


def test_stragglers_do_not_lengthen_the_pause_that_they_fall_into() -> None:
    """What was in flight when the outage was seen fails too, and says nothing new."""
    breaker = opened()
    assert [breaker.told(SERVER_ERROR, 5.0) for _ in range(50)] == [None] * 50
    assert breaker.failed_probes == 0


def test_a_straggler_that_was_accepted_ends_the_pause_and_a_refused_one_does_not() -> None:
    """Success is proof that the API works; a late refusal was decided before the outage."""
    breaker = opened()
    breaker.told(REFUSED, 5.0)
    assert breaker.gate is Gate.OPEN
    breaker.told(ACCEPTED, 5.0)
    assert breaker.gate is Gate.CLOSED


# --- the limit of failures ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", FailureLimit(count=0)),
        ("200", FailureLimit(count=200)),
        (" 5 % ", FailureLimit(share=0.05)),
        ("0%", FailureLimit(share=0.0)),
        ("2.5%", FailureLimit(share=0.025)),
        ("100%", FailureLimit(share=1.0)),
    ],
)
def test_max_failures_as_people_write_it(text: str, expected: FailureLimit) -> None:
    """A number, or a share."""
    assert FailureLimit.parse(text) == expected


@pytest.mark.parametrize("text", ["", "%", "-1", "5.5", "101%", "five", "5 %%", "1e3"])
def test_what_is_no_limit_is_refused_with_examples(text: str) -> None:
    """The error shows how it is written."""
    with pytest.raises(UsageError, match="such as 200, or a share such as 5%"):
        FailureLimit.parse(text)


@pytest.mark.parametrize("text", ["0", "200", "5%", "2.5%", "100%"])
def test_a_limit_reads_back_as_it_was_written(text: str) -> None:
    """What a message says is what the operator wrote."""
    assert str(FailureLimit.parse(text)) == text


def told(
    breaker: SafetyBreaker, *endings: tuple[RequestState, Outcome], template_id: int = 0
) -> list[str | None]:
    """What the breaker says to each of these endings."""
    return [breaker.told(state, outcome, template_id) for state, outcome in endings]


def mixed(failures: int, successes: int) -> list[tuple[RequestState, Outcome]]:
    """So many endings, the failures spread among the successes and unlike each other."""
    endings = [(DONE, ACCEPTED)] * successes
    for n in range(failures):
        word = "abcdefghijklmnopqrstuvwxyz"[n % 26] * (n // 26 + 1)
        endings.insert(
            n * (successes + failures) // failures,
            (FAILED, Outcome(Verdict.REFUSED, http_status=400, message=word)),
        )
    return endings


def test_more_failures_than_allowed_halt_the_run() -> None:
    """Three are allowed: the fourth halts, and the sentence says what was counted, of what."""
    said = told(SafetyBreaker(FailureLimit(count=3)), *mixed(4, 40))
    (why,) = (sentence for sentence in said if sentence)
    assert why.startswith("4 of ")
    assert why.endswith("ended requests failed; --max-failures allows 3")


def test_no_failure_allowed_means_that_the_first_halts() -> None:
    """`--max-failures 0`."""
    breaker = SafetyBreaker(FailureLimit(count=0))
    assert told(breaker, (DONE, ACCEPTED)) == [None]
    assert told(breaker, (FAILED, REFUSED)) == ["1 of 2 ended requests failed; --max-failures allows 0"]


def test_a_share_is_judged_from_fifty_on() -> None:
    """The first failures of a run are no share of anything: fifty must have ended."""
    breaker = SafetyBreaker(FailureLimit(share=0.05))
    assert told(breaker, *[(FAILED, REFUSED)] * 9, *[(DONE, ACCEPTED)] * 40) == [None] * 49
    assert told(breaker, (FAILED, REFUSED)) == [
        "10 of 50 ended requests failed (20.0%); --max-failures allows 5%"
    ]


def test_a_share_that_is_kept_halts_nothing() -> None:
    """Exactly the share is allowed; one more is not."""
    breaker = SafetyBreaker(FailureLimit(share=0.1))
    assert told(breaker, *[(DONE, ACCEPTED)] * 90, *[(FAILED, REFUSED)] * 10) == [None] * 100
    assert told(breaker, (FAILED, REFUSED))[0] is not None


def test_unknown_ones_count_as_failures() -> None:
    """Whoever limits failures does not want to be left in the dark either."""
    breaker = SafetyBreaker(FailureLimit(count=1))
    assert told(breaker, (UNKNOWN, NO_ANSWER), (UNKNOWN, NO_ANSWER))[1] is not None


def test_without_a_limit_scattered_failures_halt_nothing() -> None:
    """They are told in the report."""
    assert told(SafetyBreaker(), *mixed(500, 500)) == [None] * 1_000


# --- what cannot go on anyway ---------------------------------------------------------------------


def test_twenty_first_requests_that_find_nothing_halt_the_run() -> None:
    """404 for all of the first twenty: the address or the account is wrong."""
    said = told(SafetyBreaker(), *[(FAILED, NOT_FOUND)] * 20)
    assert said[:19] == [None] * 19
    assert said[19] is not None
    assert said[19].startswith("the first 20 requests all ended with HTTP 404 (NOT_FOUND no such number)")


@pytest.mark.parametrize("other", [(DONE, ACCEPTED), (FAILED, REFUSED)])
def test_one_that_was_found_among_the_first_shows_that_the_address_is_right(
    other: tuple[RequestState, Outcome],
) -> None:
    """Numbers that are not there are then their rows' own failure."""
    breaker = SafetyBreaker()
    said = told(breaker, *[(FAILED, NOT_FOUND)] * 10, other, *[(FAILED, NOT_FOUND)] * 60)
    assert said == [None] * 71


def test_a_hundred_failures_of_one_kind_in_a_row_halt_the_run() -> None:
    """The same code, status and words, numbers aside: the next would fail the same way."""
    same = [
        (FAILED, Outcome(Verdict.REFUSED, Advice.GO_ON, 409, "CONFLICT", f"+1415555{n:04d} is in trunk {n}"))
        for n in range(100)
    ]
    breaker = SafetyBreaker()
    told(breaker, (DONE, ACCEPTED), template_id=0)
    said = told(breaker, *same)
    assert said[:99] == [None] * 99
    assert said[99] is not None
    assert said[99].startswith("100 requests in a row ended the same way, with HTTP 409 (CONFLICT ")


def test_a_success_or_another_failure_begins_the_row_anew() -> None:
    """Ninety-nine alike, one other, ninety-nine alike: no halt."""
    for other in ((DONE, ACCEPTED), (UNKNOWN, NO_ANSWER)):
        breaker = SafetyBreaker()
        told(breaker, (DONE, ACCEPTED))
        assert not any(told(breaker, *[(FAILED, REFUSED)] * 99, other, *[(FAILED, REFUSED)] * 99))


# --- quarantine -----------------------------------------------------------------------------------


def test_a_template_all_of_whose_first_ten_are_refused_is_barred() -> None:
    """The tenth; others are not."""
    breaker = SafetyBreaker()
    told(breaker, *[(FAILED, REFUSED)] * 9, template_id=7)
    told(breaker, *[(DONE, ACCEPTED)] * 20, template_id=8)
    assert breaker.barred == set()
    told(breaker, (FAILED, REFUSED), template_id=7)
    assert breaker.barred == {7}


def test_quarantine_says_what_was_counted_and_of_how_many() -> None:
    """How many templates, and how many of the first requests of each were refused."""
    breaker = SafetyBreaker()
    told(breaker, *[(FAILED, REFUSED)] * 10, template_id=7)
    assert breaker.quarantine == (
        "1 template in quarantine: the API refused all of the first 10 requests made from it; "
        "all others were sent"
    )
    told(breaker, *[(FAILED, REFUSED)] * 10, template_id=8)
    assert breaker.quarantine == (
        "2 templates in quarantine: the API refused all of the first 10 requests made from each of them; "
        "all others were sent"
    )


def test_a_template_that_once_worked_is_never_barred() -> None:
    """One request of it was accepted: it is its rows that differ."""
    breaker = SafetyBreaker()
    told(breaker, *[(FAILED, REFUSED)] * 9, (DONE, ACCEPTED), *[(FAILED, REFUSED)] * 50, template_id=7)
    assert breaker.barred == set()


@pytest.mark.parametrize(
    ("state", "outcome"), [(FAILED, NOT_FOUND), (FAILED, SERVER_ERROR), (UNKNOWN, NO_ANSWER)]
)
def test_what_is_no_fault_of_a_template_bars_none(state: RequestState, outcome: Outcome) -> None:
    """A number that is not there, a server that fails, an answer that is lost."""
    breaker = SafetyBreaker()
    told(breaker, *[(state, outcome)] * 15, template_id=7)
    assert breaker.barred == set()
