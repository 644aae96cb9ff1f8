"""Secrets are taken out of what is written, and put back into what is sent."""

from __future__ import annotations

import hashlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.errors import CredentialsError
from batch.sealing import Seal, discreet, discreet_url, names_in


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.com/sip-alerts", "https://hooks.example.com/sip-alerts"),
        ("https://hooks.example.com/v1/alerts/", "https://hooks.example.com/v1/alerts/"),
        ("https://ops:s3cret@hooks.example.com/alerts", "https://***@hooks.example.com/alerts"),
        ("https://hooks.example.com/alerts?key=s3cret", "https://hooks.example.com/alerts?***"),
        ("https://hooks.example.com/alerts#s3cret", "https://hooks.example.com/alerts#***"),
        (
            "https://hooks.example.com/services/T0AB/B0CD/s3cret",
            "https://hooks.example.com/services/***/***/***",
        ),
        ("HTTPS://hooks.example.com/?s3cret", "https://hooks.example.com/?***"),
        ("https://[s3cret", "***"),
        ("backup.sip.example.com", "backup.sip.example.com"),
    ],
)
def test_url_is_shown_without_what_opens_it(url: str, shown: str) -> None:
    """A user, a query, a fragment, and whatever in a path is no plain word; the host stays."""
    assert discreet_url(url) == shown


def test_urls_are_found_wherever_they_stand() -> None:
    """In objects and lists too; everything else is as it was."""
    body = {"a": [{"b": "https://h.example.com/?s3cret"}, 1, None, True], "c": "https"}
    assert discreet(body) == {"a": [{"b": "https://h.example.com/?***"}, 1, None, True], "c": "https"}


def test_value_of_the_environment_is_sealed_and_opened() -> None:
    """What is kept names the variable; what is sent is what was planned, to the byte."""
    environ = {"HOOK": 'https://h.example.com/"s3cret"\\é'}
    body = orjson.dumps({"alert_config": {"channels": {"webhook": environ["HOOK"]}}})
    seal = Seal()
    seal.learn(environ)
    kept = seal.sealed(body)
    assert b"s3cret" not in kept
    assert names_in(kept) == ["HOOK"]
    assert Seal(environ).opened(kept, digest(body)) == body


@pytest.mark.parametrize("environ", [{}, {"HOOK": " "}, {"HOOK": "https://h.example.com/another"}])
def test_value_that_is_gone_or_changed_is_never_sent(environ: dict[str, str]) -> None:
    """The error names the variable, and shows neither value."""
    body = b'{"webhook":"https://h.example.com/s3cret"}'
    seal = Seal()
    seal.learn({"HOOK": "https://h.example.com/s3cret"})
    with pytest.raises(CredentialsError, match=r"\$\{env:HOOK\}") as caught:
        Seal(environ).opened(seal.sealed(body), digest(body))
    assert "h.example.com" not in str(caught.value)


def test_body_that_is_another_is_no_secret_but_damage() -> None:
    """Where nothing was sealed, a digest that differs means that the content does."""
    with pytest.raises(ValueError, match="differ"):
        Seal({}).opened(b"{}", digest(b"[]"))


def test_text_that_looks_like_a_seal_is_left_alone() -> None:
    """A template may write `$${env:HOOK}` and mean those letters."""
    body = b'{"a":"${env:HOOK}","b":"s3cret-value"}'
    seal = Seal({"HOOK": "s3cret-value"})
    seal.learn({"HOOK": "s3cret-value"})
    assert seal.sealed(body) == body
    assert Seal({}).opened(body, digest(body)) == body
    assert seal.opened(body, digest(body)) == body


@given(
    st.dictionaries(st.text(), st.one_of(st.text(), st.integers(-(2**53), 2**53), st.lists(st.text()))),
    st.dictionaries(st.from_regex(r"[A-Z_]{1,5}", fullmatch=True), st.text(max_size=12)),
)
def test_whatever_is_sealed_can_be_opened(body: dict[str, object], environ: dict[str, str]) -> None:
    """Any body, any values: what is opened is what was sealed."""
    whole = orjson.dumps({**body, **environ})
    seal = Seal(environ)
    seal.learn(environ)
    kept = seal.sealed(whole)
    orjson.loads(kept)
    assert seal.opened(kept, digest(whole)) == whole
