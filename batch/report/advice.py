"""What the operator does next about a request: one short sentence for every way it can stand.

Nothing here knows a particular API. An answer's meaning is read off its error code where that says
more than the HTTP status (a 200 can carry `NOT_FOUND`), else off the status.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache

from batch.plans import Problem
from batch.states import RequestState

#: The kinds of problem by which a request of an earlier run cannot be taken back begin so.
ROLLBACK = "rollback."


class Meaning(Enum):
    """What an answer says of a request that was not accepted; the value is what to do about it first."""

    NO_ANSWER = "see whether the API can be reached"
    CERTIFICATE = "have the server's certificate mended, or check the base URL"
    BUSY = "lower the rate"
    FAULT = ""  #: the API's own; passes by itself
    KEY = "mend the API key"
    RIGHTS = "have the account or the key given the right to do this"
    MONEY = "settle the account's balance"
    NUMBER = "check the number with the carrier"
    CONFLICT = "see what else changes this number"
    PAYLOAD = "mend the template or the sheet"
    ADDRESS = "check the base URL"
    OTHER = "read the API's message"


#: What is no fault of the request that met it, which waits until the fault is mended.
_STOPS_EVERYTHING = frozenset({Meaning.KEY, Meaning.RIGHTS, Meaning.MONEY, Meaning.CERTIFICATE})

#: The first that is found in an upper-case error code decides.
_BY_CODE = tuple(
    (re.compile(pattern), meaning)
    for pattern, meaning in (
        (r"NOT_?ENABLED|SCOPE|FORBIDDEN|PERMISSION", Meaning.RIGHTS),
        (r"AUTH|API_?KEY|CREDENTIAL", Meaning.KEY),
        (r"PAYMENT|BALANCE|BILLING|CREDITS", Meaning.MONEY),
        (r"RATE_?LIMIT|TOO_MANY|THROTTL|UNAVAILABLE|OVERLOAD", Meaning.BUSY),
        (r"NOT_?FOUND|GONE", Meaning.NUMBER),
        (r"CONFLICT", Meaning.CONFLICT),
        (r"INTERNAL|SERVER_ERROR|TIMEOUT", Meaning.FAULT),
        (r"BAD_REQUEST|VALIDATION|INVALID|UNPROCESSABLE", Meaning.PAYLOAD),
    )
)

_BY_STATUS = {
    401: Meaning.KEY,
    402: Meaning.MONEY,
    403: Meaning.RIGHTS,
    404: Meaning.NUMBER,
    408: Meaning.FAULT,
    409: Meaning.CONFLICT,
    410: Meaning.NUMBER,
    425: Meaning.BUSY,
    429: Meaning.BUSY,
    503: Meaning.BUSY,
}


@lru_cache(maxsize=1024)
def meaning_of(http_status: int | None, error_code: str) -> Meaning:
    """What an answer that was no success says; `http_status` is None where no answer came."""
    if http_status is None:
        return Meaning.CERTIFICATE if error_code.startswith("TLS") else Meaning.NO_ANSWER
    code = re.sub(r"[^A-Z0-9]+", "_", error_code.upper())
    for pattern, meaning in _BY_CODE:
        if pattern.search(code):
            return meaning
    if http_status in _BY_STATUS:
        return _BY_STATUS[http_status]
    if http_status >= 500:
        return Meaning.FAULT
    if http_status >= 400:
        return Meaning.PAYLOAD
    return Meaning.ADDRESS if http_status >= 300 else Meaning.OTHER


def is_worth_resending(meaning: Meaning) -> bool:
    """Whether the very same payload may fare better another time."""
    return meaning is not Meaning.PAYLOAD


@lru_cache(maxsize=1024)
def next_action(
    state: RequestState, http_status: int | None, error_code: str, *, is_taken_back: bool = False
) -> str:
    """What to do about a request that stands so, as `result_next_action` says it.

    The rows of what is taken back say what the run sent that is taken back: they are never run again.
    """
    match state:
        case RequestState.SUCCEEDED | RequestState.SKIPPED:
            return "nothing"
        case RequestState.UNKNOWN:
            return "retry: it may have been applied, and sending it again does no harm"
        case RequestState.PENDING:
            meaning = meaning_of(http_status, error_code)
            return _first(meaning, "resume") if meaning in _STOPS_EVERYTHING else "resume"
        case RequestState.IN_FLIGHT:
            return "resume: it may have been applied, and sending it again does no harm"
        case RequestState.RETRYING:
            return "resume: it is sent again when its time comes"
        case RequestState.FAILED:
            meaning = meaning_of(http_status, error_code)
            if is_taken_back and not is_worth_resending(meaning):
                return "see why the API refuses what it had before, then retry"
            return _first(meaning, "retry" if is_worth_resending(meaning) else "run those rows again")


def after_reject(problems: Sequence[Problem]) -> str:
    """What to do about a rejected row."""
    if all(problem.kind.startswith(ROLLBACK) for problem in problems):
        return "leave it, or run a sheet that says what it is to be"
    named = ", ".join(dict.fromkeys(problem.column for problem in problems if problem.column))
    return f"mend the sheet: {named}" if named else "mend the sheet"


def _first(meaning: Meaning, then: str) -> str:
    return f"{meaning.value}, then {then}" if meaning.value else then
