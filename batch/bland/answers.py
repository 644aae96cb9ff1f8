"""Judge an answer of the API: what it says of the request that was sent, and of those that come after it.

No answer of `PATCH /v1/sip/config` is documented; the vendor's other calls answer in several ways, and all
of them are understood. A 2xx is a success only if it is the API's JSON (or empty) and carries no error.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

from batch.bland.bodies import NOT_JSON, STATUS_OF_CODE, Fault, fault_in, fault_of, fold, read_json
from batch.bland.pace import rate_per_s, wait_s
from batch.bland.wording import LONGEST, looks_like_html, mask, one_line, title_of
from batch.target import Advice, Outcome, Verdict

_BY_STATUS = {
    401: (Verdict.REFUSED, Advice.CREDENTIALS),
    402: (Verdict.REFUSED, Advice.CREDENTIALS),
    403: (Verdict.REFUSED, Advice.CREDENTIALS),
    404: (Verdict.REFUSED, Advice.WRONG_ADDRESS),
    405: (Verdict.REFUSED, Advice.WRONG_ADDRESS),
    # A gateway that waited in vain says 408 as well as 504: behind it, the request may have arrived.
    408: (Verdict.AMBIGUOUS, Advice.GO_ON),
    410: (Verdict.REFUSED, Advice.WRONG_ADDRESS),
    425: (Verdict.TRANSIENT, Advice.GO_ON),
    429: (Verdict.TRANSIENT, Advice.THROTTLED),
    501: (Verdict.REFUSED, Advice.WRONG_ADDRESS),
    503: (Verdict.TRANSIENT, Advice.THROTTLED),
}
_BY_CLASS = {
    3: (Verdict.REFUSED, Advice.WRONG_ADDRESS),
    4: (Verdict.REFUSED, Advice.GO_ON),
    # Whatever failed there, the change may have been made before it did.
    5: (Verdict.AMBIGUOUS, Advice.GO_ON),
}
#: What these say is not overruled by a code in the body.
_DECISIVE = frozenset({401, 402, 403, 429, 503})
_TOO_FAST = re.compile(r"(?i)\brate[ -]?limit|\btoo many requests\b|\bslow down\b")
_SCOPE = re.compile(r"(?i)\bscope\s*=\s*\"([^\"]{1,100})\"")
_REQUEST_IDS = ("x-request-id", "request-id", "x-correlation-id", "x-amzn-requestid", "cf-ray")


def judge(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    redact: Callable[[str], str] = str,
    now_s: float | None = None,
) -> Outcome:
    """What one answer means.

    `redact` takes the API key out of a text. `now_s` (seconds since the epoch) stands in for a missing `Date`
    header, and is the time of the call when it is left out.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    now_s = time.time() if now_s is None else now_s
    found = read_json(body)
    fault = fault_in(found) if isinstance(found, dict) else None
    if fault is None and 200 <= status < 300:
        if isinstance(found, dict) or (not body.strip() and "html" not in fields.get("content-type", "")):
            return Outcome(
                Verdict.ACCEPTED,
                http_status=status,
                request_id=_request_id(fields, found, redact),
                rate_per_s=rate_per_s(fields, now_s),
            )
        verdict, advice, code = Verdict.AMBIGUOUS, Advice.SUSPICIOUS, "NOT_THE_API"
        message = f"{_named(status)}, but {_instead(redact(_text(body)), found)} in place of the API's answer"
    else:
        fault = fault or _said(found, body)
        meant = _meant(status, fault)
        verdict, advice = _BY_STATUS.get(meant) or _BY_CLASS.get(
            meant // 100, (Verdict.AMBIGUOUS, Advice.SUSPICIOUS)
        )
        code = one_line(redact(_code(status, meant, fault, fields)), 64)
        message = _redirect(status, fields, redact) if status // 100 == 3 else ""
        message = message or one_line(redact(_message(status, meant, fault, fields, found, body)))
    return Outcome(
        verdict,
        advice,
        http_status=status,
        error_code=code,
        message=message,
        request_id=_request_id(fields, found, redact),
        retry_after_s=wait_s(fields, now_s),
        rate_per_s=rate_per_s(fields, now_s),
    )


def _said(found: object, body: bytes) -> Fault:
    """What the body of a failure says where nothing in it is named an error."""
    if found is not NOT_JSON:
        return fault_of(found)
    text = _text(body).strip()
    return Fault() if not text or looks_like_html(text) else Fault(words=(text,))


def _meant(status: int, fault: Fault) -> int:
    """The status that the answer amounts to: a body may say something else than its status does."""
    if status in _DECISIVE or status // 100 not in (2, 4, 5):
        return status
    for name in (fault.code, *fault.words):
        if (known := STATUS_OF_CODE.get(fold(name))) is not None:
            return known
    if not fault.code and any(_TOO_FAST.search(words) for words in fault.words):
        return 429
    return status if status >= 400 else fault.status or 400


def _code(status: int, meant: int, fault: Fault, fields: Mapping[str, str]) -> str:
    """The server's own code, or one by which the like can be counted."""
    if fault.code:
        return fault.code
    if "insufficient_scope" in fields.get("www-authenticate", "").lower():
        return "INSUFFICIENT_SCOPE"
    if status // 100 == 3:
        return "REDIRECT"
    if status // 100 == 2:
        return "ERROR_IN_ANSWER" if meant == 400 else f"HTTP_{meant}"
    return f"HTTP_{status}"


def _message(
    status: int, meant: int, fault: Fault, fields: Mapping[str, str], found: object, body: bytes
) -> str:
    """The server's words; where it has none, what it sent."""
    said = "; ".join(fault.words) or fault.code
    if not said:
        page = _text(body)
        title = title_of(page)
        said = _named(status) + (" with an HTML page" if looks_like_html(page) else "")
        said += f' "{title}"' if title else ""
        said += ", but its body says that something went wrong" if status // 100 == 2 else ""
    if meant in (401, 402, 403) and (scope := _scope(fields, found)):
        said = f"{said} (the key lacks the scope {scope})"
    return said


def _scope(fields: Mapping[str, str], found: object) -> str:
    scope = found.get("required_scope") if isinstance(found, dict) else None
    if isinstance(scope, str) and scope:
        return scope
    challenge = fields.get("www-authenticate", "")
    told = _SCOPE.search(challenge) if "insufficient_scope" in challenge.lower() else None
    return told[1] if told else ""


def _redirect(status: int, fields: Mapping[str, str], redact: Callable[[str], str]) -> str:
    """Where a redirect leads, without its query and without what else may be a secret in it."""
    try:
        parts = urlsplit(redact(fields.get("location", "").strip()))
        host = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return ""
    where = f"{parts.scheme}://{host}{parts.path}" if host and parts.scheme else f"{host}{parts.path}"
    if not where:
        return ""
    # Masked by its parts: as a whole it would be cut to its host, like any other URL.
    where = mask(where.removeprefix(f"{parts.scheme}://"))
    scheme = f"{parts.scheme}://" if host and parts.scheme else ""
    plain = "".join(letter for letter in f"{scheme}{where}" if letter.isprintable())
    return f"{_named(status)}: redirected to {plain}, which was not followed"[:LONGEST]


def _named(status: int) -> str:
    """`HTTP 502 Bad Gateway`."""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _instead(text: str, found: object) -> str:
    """What stands in a 2xx where the API's JSON should."""
    if looks_like_html(text):
        title = title_of(text)
        return f'an HTML page "{title}"' if title else "an HTML page"
    if not text.strip():
        return "an empty page"
    return "something that is not its JSON" if found is NOT_JSON else "JSON that is no object"


def _request_id(fields: Mapping[str, str], found: object, redact: Callable[[str], str]) -> str:
    """Under what the vendor's support finds the request; not masked, though it looks like a key."""
    value: object = next((fields[name] for name in _REQUEST_IDS if fields.get(name)), None)
    if value is None and isinstance(found, dict):
        value = found.get("request_id")
    if not isinstance(value, str):
        return ""
    value = redact(value)[:100]
    if not value.isprintable():
        value = "".join(letter for letter in value if letter.isprintable())
    return value.strip()


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")
