"""Find what a body of the API says went wrong, in whichever of its forms it says so.

Forms seen in the vendor's calls: `{"data": null, "errors": [{"error": "CODE", "message": "..."}]}`,
`{"status": "error", "message": "..."}`, the same with `"errors": ["a string"]` or a list of objects,
`{"error": "..."}`, and pages of HTML. Others that are common are understood too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import orjson

#: The status that a code in a body stands for: the names of the statuses, and the vendor's own codes.
STATUS_OF_CODE = {status.name: status.value for status in HTTPStatus if status >= 400} | {
    "AUTH_FAILURE": 401,
    "INSUFFICIENT_SCOPE": 403,
    "SIP_NOT_ENABLED": 404,  # like a number that is not there: perhaps it is not the right account
    "VALIDATION_ERROR": 400,
    "RATE_LIMIT_EXCEEDED": 429,
    "RATE_LIMITED": 429,
    "INTERNAL_ERROR": 500,
    "SERVER_ERROR": 500,
    "TIMEOUT": 504,
}
#: Stands for a body that is no JSON; null is JSON.
NOT_JSON = object()

_BAD_WORDS = frozenset({"error", "errors", "fail", "failed", "failure", "denied", "rejected", "invalid"})
_CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*|[a-z][a-z0-9]*(_[a-z0-9]+)+")
_CODE_NAMES = ("code", "error_code", "error", "type")
_WORD_NAMES = ("message", "detail", "description", "error_description", "title", "msg", "reason")
_PLACE_NAMES = ("path", "field", "param", "property", "loc")
#: How deep, and how many, errors are looked for in a body.
_DEPTH, _MOST = 4, 10


@dataclass(frozen=True, slots=True)
class Fault:
    """What a body says went wrong: its code and status where it names them, and its words."""

    code: str = ""
    status: int | None = None
    words: tuple[str, ...] = ()


def read_json(body: bytes) -> object:
    """The body as a JSON value, or `NOT_JSON`."""
    try:
        return orjson.loads(body.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return NOT_JSON


def fold(text: str) -> str:
    """A code or a phrase as `STATUS_OF_CODE` writes it: `Rate Limit Exceeded` is `RATE_LIMIT_EXCEEDED`."""
    return re.sub(r"[^A-Z0-9]+", "_", text[:100].upper()).strip("_")


def fault_in(body: Mapping[str, object]) -> Fault | None:
    """The fault that a JSON object carries; None if nothing in it says that something went wrong."""
    data = body.get("data")
    inner = data if isinstance(data, dict) else {}
    status, word = _status_in(body), body.get("status")
    if (
        body.get("errors")
        or body.get("error")
        or inner.get("errors")
        or inner.get("error")
        or body.get("success") is False
        or body.get("ok") is False
        or (status is not None and status >= 400)
        or (isinstance(word, str) and word.strip().lower() in _BAD_WORDS)
    ):
        return fault_of({**body, "data": inner})
    return None


def fault_of(found: object) -> Fault:
    """What a JSON value says, once it is known that something went wrong."""
    said = list(_sayings(found))
    status = None
    if isinstance(found, dict):
        data, error, errors = found.get("data"), found.get("error"), found.get("errors")
        for inside in (errors, *((data.get("errors"), data.get("error")) if isinstance(data, dict) else ())):
            said.extend(_sayings(inside, 1))
        nested = [found, error, *(errors[:1] if isinstance(errors, list) else ())]
        statuses = (_status_in(one) for one in nested if isinstance(one, dict))
        status = next((one for one in statuses if one is not None and one >= 400), None)
    codes = [text for is_code, text in said if is_code]
    known = [code for code in codes if fold(code) in STATUS_OF_CODE]
    words = dict.fromkeys(text for is_code, text in said if not is_code)
    return Fault((known or codes or [""])[0], status, tuple(words)[:_MOST])


def _status_in(body: Mapping[str, object]) -> int | None:
    """An HTTP status that the body itself carries: `{"status": 429}`, `{"statusCode": "429"}`."""
    for name in ("status", "statusCode", "status_code", "code"):
        value = body.get(name)
        if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdecimal():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 100 <= value < 600:
            return value
    return None


def _sayings(value: object, depth: int = 0) -> Iterator[tuple[bool, str]]:
    """All that an error says: pairs of whether it is a code, and the text."""
    if depth > _DEPTH:
        return
    if isinstance(value, str) and value.strip():
        yield _is_code(value.strip()), value.strip()
    elif isinstance(value, list):
        for element in value[:_MOST]:
            yield from _sayings(element, depth + 1)
    elif isinstance(value, dict):
        yield from _object_sayings(value, depth)


def _object_sayings(value: Mapping[str, object], depth: int) -> Iterator[tuple[bool, str]]:
    codes = [value[name] for name in _CODE_NAMES if value.get(name)]
    words = [value[name] for name in _WORD_NAMES if value.get(name)]
    for code in codes:
        # A word such as "field" is a category of the server's own, and says nothing to anybody.
        if not isinstance(code, str) or code is not value.get("type") or _is_code(code):
            yield from _sayings(code, depth + 1)
    place = next((where for name in _PLACE_NAMES if (where := _place(value.get(name)))), "")
    for word in words:
        if isinstance(word, str):
            yield False, f"{place}: {word.strip()}" if place else word.strip()
        else:
            yield from _sayings(word, depth + 1)
    if depth and not codes and not words:  # by field: {"phone_number": ["is not yours"]}
        for name, element in list(value.items())[:_MOST]:
            for _, text in _sayings(element, depth + 1):
                yield False, f"{name}: {text}"


def _place(value: object) -> str:
    if isinstance(value, list):
        return ".".join(str(part) for part in value[:_MOST] if isinstance(part, str | int))
    return value if isinstance(value, str) else ""


def _is_code(text: str) -> bool:
    return bool(_CODE.fullmatch(text)) or fold(text) in STATUS_OF_CODE
