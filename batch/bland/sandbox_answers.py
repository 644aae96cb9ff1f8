"""The sandbox's answers: every body that the API is known to send, whole and damaged.

The bodies are those of the vendor's other calls, since none is documented for this one.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import orjson

JSON = "application/json; charset=utf-8"
_HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, before its `Date`, `Content-Length` and request id are added."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that a script gives word for word, and whether the request is applied before it."""

    answer: Answer
    applies: bool = False
    name: str = "scripted"


#: What each status means to the API: its code and its message.
_MEANINGS: dict[int, tuple[str, str]] = {
    400: ("BAD_REQUEST", "Invalid parameters"),
    401: ("AUTH_FAILURE", "The API key is missing, wrong or expired"),
    402: ("PAYMENT_REQUIRED", "Insufficient balance"),
    403: ("INSUFFICIENT_SCOPE", "This API key lacks the scope that this call needs"),
    404: ("NOT_FOUND", "Phone number not found"),
    405: ("METHOD_NOT_ALLOWED", "This method is not allowed here"),
    409: ("CONFLICT", "The number is being changed by another call"),
    413: ("PAYLOAD_TOO_LARGE", "The body is too large"),
    422: ("VALIDATION_ERROR", "The configuration cannot be applied"),
    429: ("TOO_MANY_REQUESTS", "Rate limit exceeded"),
    500: ("INTERNAL_SERVER_ERROR", "Something went wrong"),
}
_SCOPE = "sip:write"

#: What the codes say that no status has for its own.
_SAID = {**dict(_MEANINGS.values()), "SIP_NOT_ENABLED": "SIP is not enabled for this account"}

#: The failure body that the vendor's other calls use for a status; 1 for those not named.
_USUAL_FORM = {400: "3", 402: "2", 429: "2", 500: "2"}


def failure(
    status: int,
    *,
    form: str = "",
    code: str = "",
    message: str = "",
    details: tuple[str, ...] = (),
    headers: tuple[tuple[str, str], ...] = (),
) -> Answer:
    """A failure in one of the API's bodies (`form` is one of `FAILURE_FORMS`, by default the usual one).

    `details` are the strings of failure 3: what is wrong with the body, one each.
    """
    fallback = ("INTERNAL_SERVER_ERROR", "Something went wrong") if status >= 500 else _MEANINGS[400]
    usual_code, usual_message = _MEANINGS.get(status, fallback)
    if not form:
        form = "html" if 502 <= status <= 504 or status >= 520 else _USUAL_FORM.get(status, "1")
    if code and not message:
        # Failures 2 and 5 have no other place for a code.
        message = _SAID.get(code) or (code if form in ("2", "5") else usual_message)
    code, message = code or usual_code, message or usual_message
    error: dict[str, object] = {"error": code, "message": message}
    if status == 401:
        headers = (*headers, ("WWW-Authenticate", "Bearer"))
    if status == 403 and code == "INSUFFICIENT_SCOPE":
        error["required_scope"] = _SCOPE
        challenge = f'Bearer error="insufficient_scope", scope="{_SCOPE}"'
        headers = (*headers, ("WWW-Authenticate", challenge))
    body: Mapping[str, object]
    match form:
        case "html":
            return Answer(status, _page(status), _HTML, headers)
        case "2":
            body = {"status": "error", "message": message}
        case "3":
            body = {"status": "error", "message": message, "errors": list(details) or [f"{code}: {message}"]}
        case "4":
            body = {"status": "error", "data": None, "errors": [error]}
        case "5":
            body = {"error": message}
        case _:
            errors = [{**error, "message": text} for text in details] or [error]
            body = {"data": None, "errors": errors}
    return Answer(status, orjson.dumps(body), JSON, headers)


def success(data: Mapping[str, object], form: str, *, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """A success in one of `SUCCESS_FORMS`."""
    body: Mapping[str, object]
    match form:
        case "null":
            body = {"data": None, "errors": None}
        case "status200":
            body = {"status": 200, "data": data}
        case "success":
            body = {"status": "success", "message": "SIP configuration updated", "data": data}
        case "bare":
            body = data
        case "empty":
            return Answer(200, headers=headers)
        case "204":
            return Answer(204, headers=headers)
        case _:
            body = {"data": data, "errors": None}
    return Answer(200, orjson.dumps(body), JSON, headers)


def html_page() -> Answer:
    """A page that is no answer of the API: a login portal, or a proxy that says all is well."""
    return Answer(200, _page(200), _HTML)


def _page(status: int) -> bytes:
    title = f"{status} {reason(status)}"
    return (
        f"<!DOCTYPE html>\n<html><head><title>{title}</title></head>\n"
        f"<body><center><h1>{title}</h1></center><hr><center>edge proxy</center></body></html>\n"
    ).encode()


def reason(status: int) -> str:
    """The phrase that goes with a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Web Server Returned an Unknown Error" if status >= 520 else "Unknown"


BOMB_BYTES = 200 * 1024 * 1024


def bad_gzip(answer: Answer) -> Answer:
    """The answer as a proxy sends it that says gzip and means it not."""
    return Answer(
        answer.status, answer.body, answer.content_type, (*answer.headers, ("Content-Encoding", "gzip"))
    )


def huge_headers(answer: Answer) -> Answer:
    """The answer with a megabyte of headers: more than any client should take."""
    padding = tuple((f"X-Padding-{n}", "x" * 4096) for n in range(256))
    return Answer(answer.status, answer.body, answer.content_type, (*answer.headers, *padding))


def bomb() -> Answer:
    """A success whose body unpacks to 200 MB. Packing it takes most of a second: call it off the loop."""
    packer = zlib.compressobj(9, wbits=31)
    chunk = b" " * (1024 * 1024)
    packed = [packer.compress(b'{"data": null, "errors": null')]
    packed += [packer.compress(chunk) for _ in range(BOMB_BYTES // len(chunk))]
    packed += [packer.compress(b"}"), packer.flush()]
    return Answer(200, b"".join(packed), JSON, (("Content-Encoding", "gzip"),))
