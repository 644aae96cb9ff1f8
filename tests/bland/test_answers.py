"""What every kind of answer says of the request, and of those after it."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.bland.answers import judge
from batch.target import Advice, Outcome, Verdict

KEY = "canary-4f9d2c71e0b8"

ACCEPTED = (Verdict.ACCEPTED, Advice.GO_ON)
REFUSED = (Verdict.REFUSED, Advice.GO_ON)
CREDENTIALS = (Verdict.REFUSED, Advice.CREDENTIALS)
WRONG_ADDRESS = (Verdict.REFUSED, Advice.WRONG_ADDRESS)
TRANSIENT = (Verdict.TRANSIENT, Advice.GO_ON)
THROTTLED = (Verdict.TRANSIENT, Advice.THROTTLED)
AMBIGUOUS = (Verdict.AMBIGUOUS, Advice.GO_ON)
SUSPICIOUS = (Verdict.AMBIGUOUS, Advice.SUSPICIOUS)


def judged(status: int, body: object = b"", **headers: str) -> Outcome:
    """The outcome of an answer; a body that is no bytes is sent as JSON, `_` in a header's name is `-`."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return judge(status, fields, raw, redact=lambda text: text.replace(KEY, "***"), now_s=0.0)


def meaning(outcome: Outcome) -> tuple[Verdict, Advice]:
    """What the engine acts on."""
    return outcome.verdict, outcome.advice


def failure_1(code: str, message: str = "Something") -> dict[str, object]:
    """The commonest form of a failure."""
    return {"data": None, "errors": [{"error": code, "message": message}]}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"data": {"id": "x"}, "errors": None}),
        (200, {"data": None, "errors": None}),
        (200, {"status": 200, "data": {}}),
        (200, {"status": "success", "message": "SIP configuration updated"}),
        (200, {"status": "ok"}),
        (200, {"phone_number": "+14155550100", "direction": "outbound"}),
        (200, {}),
        (200, {"errors": []}),
        (200, {"error": None, "errors": {}}),
        (200, b""),
        (200, b" \r\n"),
        (200, b"\xef\xbb\xbf{}"),
        (201, {"data": {}}),
        (202, {"data": {}}),
        (204, b""),
    ],
)
def test_every_form_of_success_is_one(status: int, body: object) -> None:
    """A 2xx with the API's JSON and no error in it, or with nothing, was applied."""
    outcome = judged(status, body)
    assert meaning(outcome) == ACCEPTED
    assert (outcome.http_status, outcome.error_code, outcome.message) == (status, "", "")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AUTH_FAILURE", CREDENTIALS),
        ("INSUFFICIENT_SCOPE", CREDENTIALS),
        ("FORBIDDEN", CREDENTIALS),
        ("SIP_NOT_ENABLED", WRONG_ADDRESS),
        ("NOT_FOUND", WRONG_ADDRESS),
        ("BAD_REQUEST", REFUSED),
        ("VALIDATION_ERROR", REFUSED),
        ("SOMETHING_NEW", REFUSED),
        ("TOO_MANY_REQUESTS", THROTTLED),
        ("Rate Limit Exceeded", THROTTLED),
        ("SERVICE_UNAVAILABLE", THROTTLED),
        ("INTERNAL_SERVER_ERROR", AMBIGUOUS),
        ("GATEWAY_TIMEOUT", AMBIGUOUS),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_code_in_the_body_decides_at_any_status(
    code: str, expected: tuple[Verdict, Advice], status: int
) -> None:
    """A failure is understood by its code, in a 200 as well as in a 400; a 200 is not a success for it."""
    outcome = judged(status, failure_1(code, "What the server says"))
    unknown_in_a_500 = code == "SOMETHING_NEW" and status == 500
    assert meaning(outcome) == (AMBIGUOUS if unknown_in_a_500 else expected)
    assert (outcome.http_status, outcome.error_code) == (status, code)
    assert outcome.message == "What the server says"


@pytest.mark.parametrize(
    ("status", "body", "expected", "code", "message"),
    [
        # failure 2
        (
            429,
            {"status": "error", "message": "Rate limit exceeded"},
            THROTTLED,
            "HTTP_429",
            "Rate limit exceeded",
        ),
        (
            402,
            {"status": "error", "message": "Rate limit exceeded"},
            CREDENTIALS,
            "HTTP_402",
            "Rate limit exceeded",
        ),
        (403, {"status": "error", "message": "No balance"}, CREDENTIALS, "HTTP_403", "No balance"),
        (500, {"status": "error", "message": "Oh no"}, AMBIGUOUS, "HTTP_500", "Oh no"),
        (
            500,
            {"status": "error", "message": "Rate limit exceeded"},
            THROTTLED,
            "HTTP_500",
            "Rate limit exceeded",
        ),
        (
            200,
            {"status": "error", "message": "Rate limit exceeded"},
            THROTTLED,
            "HTTP_429",
            "Rate limit exceeded",
        ),
        (200, {"status": "error", "message": "No"}, REFUSED, "ERROR_IN_ANSWER", "No"),
        # failure 3
        (
            400,
            {
                "status": "error",
                "message": "Invalid parameters",
                "errors": ["direction is bad", "host is bad"],
            },
            REFUSED,
            "HTTP_400",
            "Invalid parameters; direction is bad; host is bad",
        ),
        # failure 4
        (
            400,
            {"status": "error", "data": None, "errors": [{"error": "BAD_REQUEST", "message": "port"}]},
            REFUSED,
            "BAD_REQUEST",
            "port",
        ),
        # failure 5
        (400, {"error": "The host is bad"}, REFUSED, "HTTP_400", "The host is bad"),
        (200, {"error": "The host is bad"}, REFUSED, "ERROR_IN_ANSWER", "The host is bad"),
        (401, {"error": "Unauthorized"}, CREDENTIALS, "Unauthorized", "Unauthorized"),
        (200, {"error": "Unauthorized"}, CREDENTIALS, "Unauthorized", "Unauthorized"),
        (200, {"error": {"code": 429, "message": "Later"}}, THROTTLED, "HTTP_429", "Later"),
        # statuses in the body of a 200
        (200, {"status": 401, "message": "Who are you"}, CREDENTIALS, "HTTP_401", "Who are you"),
        (200, {"statusCode": "503"}, THROTTLED, "HTTP_503", ""),
        (200, {"status": 599}, AMBIGUOUS, "HTTP_599", ""),
        (200, {"success": False}, REFUSED, "ERROR_IN_ANSWER", ""),
        (200, {"data": {"errors": ["nested"]}, "errors": None}, REFUSED, "ERROR_IN_ANSWER", "nested"),
        (200, {"errors": [None]}, REFUSED, "ERROR_IN_ANSWER", ""),
        # forms of common frameworks
        (
            400,
            {"errors": [{"type": "field", "msg": "Bad", "path": "direction"}]},
            REFUSED,
            "HTTP_400",
            "direction: Bad",
        ),
        (
            400,
            {"errors": {"phone_number": ["is not yours"]}},
            REFUSED,
            "HTTP_400",
            "phone_number: is not yours",
        ),
        (422, {"detail": [{"loc": ["body", "port"], "msg": "Bad"}]}, REFUSED, "HTTP_422", "body.port: Bad"),
        (400, ["one", "two"], REFUSED, "HTTP_400", "one; two"),
        (400, b"plain words", REFUSED, "HTTP_400", "plain words"),
        (400, b'{"cut', REFUSED, "HTTP_400", '{"cut'),
    ],
)
def test_every_form_of_failure_is_understood(
    status: int, body: object, expected: tuple[Verdict, Advice], code: str, message: str
) -> None:
    """Whichever form the API gives its failure, verdict, code and the server's words come out."""
    outcome = judged(status, body)
    assert (meaning(outcome), outcome.error_code) == (expected, code)
    assert outcome.message == message or (not message and outcome.message.startswith(f"HTTP {status}"))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, WRONG_ADDRESS),
        (304, WRONG_ADDRESS),
        (400, REFUSED),
        (401, CREDENTIALS),
        (402, CREDENTIALS),
        (403, CREDENTIALS),
        (404, WRONG_ADDRESS),
        (405, WRONG_ADDRESS),
        (408, AMBIGUOUS),
        (409, REFUSED),
        (410, WRONG_ADDRESS),
        (412, REFUSED),
        (413, REFUSED),
        (422, REFUSED),
        (425, TRANSIENT),
        (429, THROTTLED),
        (500, AMBIGUOUS),
        (501, WRONG_ADDRESS),
        (502, AMBIGUOUS),
        (503, THROTTLED),
        (504, AMBIGUOUS),
        (520, AMBIGUOUS),
        (522, AMBIGUOUS),
        (530, AMBIGUOUS),
        (101, SUSPICIOUS),
        (600, SUSPICIOUS),
        (999, SUSPICIOUS),
    ],
)
@pytest.mark.parametrize(
    "body", [b"", b"<html><head><title>Oops &amp; more</title></head></html>", b'{"data": null, "er']
)
def test_status_is_enough_where_the_body_says_nothing(
    status: int, expected: tuple[Verdict, Advice], body: bytes
) -> None:
    """An empty, cut-off or HTML body takes nothing from what the status says."""
    outcome = judged(status, body, content_type="text/html" if body.startswith(b"<") else "application/json")
    assert (meaning(outcome), outcome.http_status) == (expected, status)
    assert outcome.message


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<!DOCTYPE html><html><title>Sign in</title></html>", "text/html"),
        (b"<html></html>", "application/json"),
        (b"", "text/html; charset=utf-8"),
        (b'{"data": {"id": "x"', "application/json"),
        (b"OK", "text/plain"),
        (b"null", "application/json"),
        (b"[]", "application/json"),
        (b'"success"', "application/json"),
        (b"\xff\xfe\x00", "application/json"),
    ],
)
def test_2xx_that_is_not_the_apis_json_is_never_a_success(body: bytes, content_type: str) -> None:
    """Something stands between: it may have been applied, and no one may say that it was."""
    outcome = judged(200, body, content_type=content_type)
    assert (meaning(outcome), outcome.error_code) == (SUSPICIOUS, "NOT_THE_API")


def test_html_page_is_told_by_its_title() -> None:
    """The operator reads which page answered, not its source."""
    outcome = judged(
        502, b"<html><head><title>502 Bad\n Gateway &amp; co</title></head><body>x</body></html>"
    )
    assert outcome.message == 'HTTP 502 Bad Gateway with an HTML page "502 Bad Gateway & co"'


def test_missing_scope_is_named() -> None:
    """Which right the key lacks is said, whether the body names it or the challenge does."""
    challenge = 'Bearer error="insufficient_scope", scope="sip:write"'
    by_challenge = judged(403, b"", WWW_Authenticate=challenge)
    by_body = judged(403, {**failure_1("INSUFFICIENT_SCOPE", "Missing scope"), "required_scope": "sip:write"})
    assert meaning(by_challenge) == meaning(by_body) == CREDENTIALS
    assert by_challenge.error_code == by_body.error_code == "INSUFFICIENT_SCOPE"
    assert by_body.message == "Missing scope (the key lacks the scope sip:write)"
    assert "sip:write" in by_challenge.message


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://login.example.com/sso?token=CANARY", "https://login.example.com/sso"),
        ("https://user:CANARY@login.example.com:8443/", "https://login.example.com:8443/"),
        ("/v2/sip/config?key=CANARY#CANARY", "/v2/sip/config"),
        ("//other.example.com/x", "other.example.com/x"),
        ("http://[CANARY", "HTTP 308"),
        ("", "HTTP 308"),
    ],
)
def test_redirect_says_where_to_without_its_query(location: str, told: str) -> None:
    """A redirect is not followed, and what may be a secret in it is not told."""
    outcome = judged(308, b"", Location=location)
    assert (meaning(outcome), outcome.error_code) == (WRONG_ADDRESS, "REDIRECT")
    assert told in outcome.message
    assert "CANARY" not in outcome.message


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("5", 5.0),
        ("1.5", 1.5),
        ("0", 0.0),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10.0),
        ("Sunday, 06-Nov-94 08:49:47 GMT", 10.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("1000000000", 1e9),
        ("9" * 400, 1e10),
        ("-1", None),
        ("soon", None),
        ("inf", None),
        ("1e3", None),
        ("٥", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503, 500])
def test_wait_that_the_server_asks_for_is_read_in_every_form(
    header: str, wait_s: float | None, status: int
) -> None:
    """Seconds, fractions and dates by the server's own clock are waits; nonsense is none."""
    outcome = judged(status, b"", Retry_After=header, Date="Sun, 06 Nov 1994 08:49:37 GMT")
    assert outcome.retry_after_s == wait_s


def test_date_without_a_clock_of_the_servers_is_taken_against_ours() -> None:
    """A date alone is better than no wait."""
    headers = {"retry-after": "Sun, 06 Nov 1994 08:49:47 GMT"}
    assert judge(429, headers, b"", now_s=784111777.0).retry_after_s == 10.0


def test_limits_of_a_success_are_heard_too() -> None:
    """A server that tells its limit need not refuse anything first."""
    outcome = judged(200, {}, RateLimit_Policy='"default";q=120;w=60')
    assert (outcome.verdict, outcome.rate_per_s) == (Verdict.ACCEPTED, 2.0)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Request-Id": "req-1"},
        {"x-request-id": "req-1", "CF-RAY": "other"},
        {"cf-ray": "req-1"},
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_request_is_identified_for_the_vendors_support(headers: dict[str, str], status: int) -> None:
    """The identifier comes through, whatever the header is called and however it ended."""
    assert judge(status, headers, b"{}").request_id == "req-1"


def test_identifier_in_the_body_is_taken_where_no_header_has_one() -> None:
    """An API that tells it in the body is heard."""
    assert judged(400, {"error": "x", "request_id": "req-2"}).request_id == "req-2"


@pytest.mark.parametrize(
    "answer",
    [
        (400, failure_1("BAD", f"key {KEY} is bad"), {}),
        (400, failure_1(KEY), {}),
        (400, {"errors": {KEY: [KEY]}}, {}),
        (401, f"<html><title>{KEY}</title></html>".encode(), {}),
        (200, f"<html><title>{KEY}</title></html>".encode(), {}),
        (
            403,
            {"required_scope": KEY},
            {"WWW-Authenticate": f'Bearer error="insufficient_scope" scope="{KEY}"'},
        ),
        (302, b"", {"Location": f"https://{KEY}.example.com/{KEY}?{KEY}"}),
        (500, b"", {"x-request-id": KEY}),
        (400, {"error": "x" * 290 + KEY}, {}),
        (400, f"{'x ' * 144}{KEY}".encode(), {}),
    ],
)
def test_key_that_the_server_echoes_is_redacted(answer: tuple[int, object, dict[str, str]]) -> None:
    """Not in the message, nor the code, nor the identifier, nor cut in half at the message's end."""
    status, body, headers = answer
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    outcome = judge(status, headers, raw, redact=lambda text: text.replace(KEY, "***"))
    assert KEY[:8] not in repr(outcome)


_BODIES = st.one_of(
    st.binary(max_size=40),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=400)
        | st.sampled_from(["error", "Forbidden"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["errors", "error", "data", "status", "message", "code", "detail", "path"]),
                inner,
            )
        ),
        max_leaves=10,
    ).map(lambda value: json.dumps(value).encode()),
)


@given(
    st.integers(100, 999),
    _BODIES,
    st.dictionaries(
        st.sampled_from(
            ["Retry-After", "Date", "Location", "X-RateLimit-Limit", "RateLimit", "WWW-Authenticate"]
        ),
        st.text(max_size=30),
    ),
)
def test_any_answer_gets_an_outcome_that_can_be_shown(
    status: int, body: bytes, headers: dict[str, str]
) -> None:
    """Judging never raises; a message is one printable line of at most 300 characters."""
    outcome = judge(status, headers, body)
    assert outcome.http_status == status
    assert len(outcome.message) <= 300
    assert outcome.message.isprintable()
    assert outcome.error_code.isprintable()
    assert len(outcome.error_code) <= 64
    assert (outcome.verdict is Verdict.ACCEPTED) <= (200 <= status < 300)
    assert outcome.retry_after_s is None or outcome.retry_after_s >= 0
    assert outcome.rate_per_s is None or outcome.rate_per_s > 0


@pytest.mark.parametrize("status", [int(status) for status in HTTPStatus if not 200 <= status < 300])
def test_nothing_but_a_2xx_is_accepted(status: int) -> None:
    """However good the body looks."""
    assert judged(status, {"status": "success", "data": {}, "errors": None}).verdict is not Verdict.ACCEPTED
