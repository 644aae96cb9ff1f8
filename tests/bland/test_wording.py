"""How a server's words are made harmless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.bland.wording import looks_like_html, one_line, title_of


@pytest.mark.parametrize(
    "text",
    [
        "authorization: Bearer CANARY12345678",
        "sent Basic CANARY12345678 to us",
        "Invalid API key: CANARY123",
        '"api_key":"CANARY123"',
        'invalid token "CANARY123"',
        "password=CANARY123",
        "key sk-CANARY0123456789 is bad",
        "eyJCANARYciOiJIUzI1NiJ9.CANARYzdWIiOiIxMjM0.CANARY",
        "found CANARYcanary0123456789canary0123456789",
        "webhook https://hooks.example.com/services/CANARY/1?x=CANARY failed",
        "https://user:CANARY@example.com is no URL",
        "endpoint sip:user:CANARY@sip.example.com is bad",
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    """Keys, tokens, passwords and the paths of URLs do not reach the report."""
    assert "CANARY" not in one_line(text)
    assert "***" in one_line(text)


@pytest.mark.parametrize(
    "text",
    [
        "Phone number +14155550100 not found",
        "failover_config.endpoints.0.transport must be one of tls, tcp, udp",
        "alert_config.thresholds.failure_rate_window_minutes is required",
        "request 123e4567-e89b-12d3-a456-426614174000 failed",
        "https://api.bland.ai is down",
        "The API key has expired",
        'the key "direction" is missing',
        "the key lacks the scope sip:write",
    ],
)
def test_what_helps_the_operator_is_kept(text: str) -> None:
    """Numbers, fields, hosts and identifiers are what an operator acts on."""
    assert one_line(text) == text


@given(st.text(max_size=2000), st.integers(10, 400))
def test_any_text_becomes_one_short_printable_line(text: str, longest: int) -> None:
    """No line break, control character or change of direction reaches a terminal or a cell."""
    line = one_line(text, longest)
    assert line.isprintable()
    assert len(line) <= longest


def test_pages_are_told_by_title_or_heading() -> None:
    """The title is found without parsing the page, and its entities are read."""
    assert (
        title_of("<HTML><Title lang=en> 502\n<b>Bad</b> Gateway &lt;edge&gt; </Title>")
        == "502 Bad Gateway <edge>"
    )
    assert title_of("<center><h1>503 Unavailable</h1></center>") == "503 Unavailable"
    assert title_of("<html></html>") == ""


def test_html_is_known_by_its_start() -> None:
    """A message that mentions a tag is no page."""
    assert looks_like_html("\ufeff\n <!DOCTYPE html><html>")
    assert not looks_like_html('{"message": "<html> is not allowed"}')
