"""The ways an answer can go wrong, by name, and the seeded dice that choose one for each request.

A fault is written `NAME[/FORM][:CODE][+applied|+unapplied]`:

    ok/null  ok/bare  ok/empty ...   applied, and answered by another of the API's success bodies
    404  422  503 ...                refused with this status, in the API's failure body for it
    200/1  503/html  500/5           a status in one of the failure bodies 1 to 5, or as a page (html)
    403:SIP_NOT_ENABLED              a status with another error code
    html                             an HTML page with status 200
    redirect  308                    a redirect (307) to another path of the same server
    reset_before  reset_after        the connection reset, before or after the request was applied
    hang                             no answer at all
    drip  endless_headers            an answer byte by byte; headers that never end
    truncated  bad_gzip  bomb        a body cut short; one that does not unpack; one that unpacks to 200 MB
    garbage  huge_headers            no HTTP; a megabyte of headers

Each has its natural effect (a 503 applies nothing, a truncated success was applied), which `+applied` and
`+unapplied` turn round: `504+applied` is a gateway that gave up on a write that then succeeded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from batch.errors import UsageError


class FaultKind(StrEnum):
    """What happens to the connection; the value is the fault's name where it has one of its own."""

    OK = "ok"  #: applied and answered, as the API does
    STATUS = "status"  #: answered with a failure: the fault's name is the status
    HTML = "html"  #: an HTML page with status 200
    REDIRECT = "redirect"
    RESET_BEFORE = "reset_before"  #: reset, nothing applied
    RESET_AFTER = "reset_after"  #: applied, then reset
    HANG = "hang"
    DRIP = "drip"
    ENDLESS_HEADERS = "endless_headers"
    TRUNCATED = "truncated"
    BAD_GZIP = "bad_gzip"
    BOMB = "bomb"
    GARBAGE = "garbage"
    HUGE_HEADERS = "huge_headers"


#: The API's success bodies, and two answers without any.
SUCCESS_FORMS = ("data", "null", "status200", "success", "bare", "empty", "204")
#: The API's failure bodies, numbered as its notes number them, and a proxy's page.
FAILURE_FORMS = ("1", "2", "3", "4", "5", "html")

#: Faults after which the request was applied, unless told otherwise: the answer came too late or damaged.
_APPLIED = frozenset(
    {
        FaultKind.OK,
        FaultKind.RESET_AFTER,
        FaultKind.DRIP,
        FaultKind.ENDLESS_HEADERS,
        FaultKind.TRUNCATED,
        FaultKind.BAD_GZIP,
        FaultKind.BOMB,
        FaultKind.GARBAGE,
        FaultKind.HUGE_HEADERS,
    }
)
_SPELLING = re.compile(
    r"(?P<name>[a-z_]+|[1-5]\d\d)(?:/(?P<form>[a-z0-9]+))?(?::(?P<code>[\w .-]+))?"
    r"(?:\+(?P<effect>applied|unapplied))?"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to answer a request.

    `name` is the whole spelling. An empty `form` or `code` means the usual one.
    """

    name: str
    kind: FaultKind
    status: int = 0
    form: str = ""
    code: str = ""
    applies: bool = False


OK = Fault("ok", FaultKind.OK, 200, applies=True)


def parse_fault(text: str) -> Fault:
    """A fault by its spelling, as this module's first lines tell it; `UsageError` if there is none such."""
    found = _SPELLING.fullmatch(text.strip())
    if not found:
        raise _unknown(text)
    name, form, code = found["name"], found["form"] or "", found["code"] or ""
    if name == "empty":  # the name that people try first
        name, form = "ok", "empty"
    if name.isdigit():
        kind, status = FaultKind.STATUS, int(name)
        # Statuses below 200 end no exchange, 204 and 304 have no body, and a 2xx without a failure is "ok".
        if status < 200 or status in (204, 304) or (status < 300 and form not in FAILURE_FORMS):
            raise _unknown(text)
        if 300 <= status < 400:
            kind = FaultKind.REDIRECT
    elif name in _NAMED:
        kind, status = FaultKind(name), 307 if name == "redirect" else 200
    else:
        raise _unknown(text)
    forms = {FaultKind.STATUS: FAILURE_FORMS, FaultKind.OK: SUCCESS_FORMS}.get(kind, ())
    if (form and form not in forms) or (code and kind is not FaultKind.STATUS):
        raise _unknown(text)
    applies = kind in _APPLIED if found["effect"] is None else found["effect"] == "applied"
    if kind is FaultKind.RESET_BEFORE and applies:
        raise _unknown(text)
    return Fault(text.strip(), kind, status, form, code, applies)


_NAMED = frozenset(kind.value for kind in FaultKind) - {FaultKind.STATUS.value}


def _unknown(text: str) -> UsageError:
    return UsageError(
        f'"{text}" is no fault of the sandbox. There are: a status such as 503, 200/1 or 503/html (failure '
        f"bodies {', '.join(FAILURE_FORMS)}; a 2xx needs one), 403:SIP_NOT_ENABLED (another code), "
        f"{', '.join(sorted(_NAMED))}, and ok/FORM ({', '.join(SUCCESS_FORMS)}); each may end in +applied "
        "or +unapplied."
    )


class Roll(NamedTuple):
    """What chance gives one arrival of one request: two numbers in [0, 1), for its fault and its latency."""

    fault: float
    latency: float


def roll(seed: int, number: str, direction: str, arrival: int) -> Roll:
    """Chance for the how-many-th arrival of a key.

    It depends on nothing else, so that what happens to a request is the same however the others fall.
    """
    digest = hashlib.blake2b(f"{seed}|{number}|{direction}|{arrival}".encode(), digest_size=16).digest()
    return Roll(int.from_bytes(digest[:7], "big") / 2**56, int.from_bytes(digest[8:15], "big") / 2**56)


class Dice:
    """Faults with their probabilities: `{"503": 0.02, "hang": 0.001}`."""

    def __init__(self, chances: Mapping[str, float]) -> None:
        """Raises `UsageError` for an unknown fault, or probabilities that are none."""
        self._steps: list[tuple[float, Fault]] = []
        total = 0.0
        for text, chance in chances.items():
            if not 0 <= chance <= 1:
                raise UsageError(
                    f'The probability of the fault "{text}" must be from 0 to 1, not {chance:g}.'
                )
            total += chance
            self._steps.append((total, parse_fault(text)))
        if total > 1 + 1e-9:
            raise UsageError(f"The probabilities of all faults add up to {total:g}: at most 1 is possible.")

    def pick(self, chance: float) -> Fault:
        """The fault for a number in [0, 1); `OK` for most."""
        for step, fault in self._steps:
            if chance < step:
                return fault
        return OK
