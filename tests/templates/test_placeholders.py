"""Placeholders: what `${...}` in a template's text means, and what is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.errors import TemplateError
from batch.templates.placeholders import Placeholder, WhenBlank, escape, read_placeholders


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${backup_host}", Placeholder("backup_host", "backuphost", WhenBlank.REJECT)),
        ("${ Backup Host }", Placeholder("Backup Host", "backuphost", WhenBlank.REJECT)),
        ("${port:-5061}", Placeholder("port", "port", WhenBlank.DEFAULT, "5061")),
        ("${port:-}", Placeholder("port", "port", WhenBlank.LEAVE_OUT)),
        ("${host:?name: a host}", Placeholder("host", "host", WhenBlank.REJECT, "name: a host")),
        ("${host:?}", Placeholder("host", "host", WhenBlank.REJECT)),
        ("${price:-$$5}", Placeholder("price", "price", WhenBlank.DEFAULT, "$5")),
        ("${url:-https://a.example/b}", Placeholder("url", "url", WhenBlank.DEFAULT, "https://a.example/b")),
        ("${env:HOOK}", Placeholder("HOOK", "HOOK", WhenBlank.REJECT, from_env=True)),
        ("${env:HOOK:-none}", Placeholder("HOOK", "HOOK", WhenBlank.DEFAULT, "none", from_env=True)),
        ("${env:-none}", Placeholder("env", "env", WhenBlank.DEFAULT, "none")),
        ("${env}", Placeholder("env", "env", WhenBlank.REJECT)),
    ],
)
def test_forms(text: str, expected: Placeholder) -> None:
    """Each form of a placeholder is read as the design says, its column matched loosely."""
    assert read_placeholders(text) == (expected,)


def test_several_in_one_text() -> None:
    """A text may hold several placeholders, and what stands between them is kept as it is."""
    site = Placeholder("site", "site", WhenBlank.REJECT)
    line = Placeholder("line", "line", WhenBlank.DEFAULT, "1")
    assert read_placeholders("sip-${site}.$$x${line:-1}") == ("sip-", site, ".$x", line)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("costs $5", "write $$ for a dollar"),
        ("$column", "write $$ for a dollar"),
        ("ends in $", "write $$ for a dollar"),
        ("${column", "no closing brace"),
        ("${a:-${b}}", "nest none in another"),
        ("${}", "is no placeholder"),
        ("${ _ }", "is no placeholder"),
        ("${a:+b}", "is no placeholder"),
        ("${a:b}", "is no placeholder"),
        ("${a:}", "is no placeholder"),
        ("${env:}", "is no placeholder"),
        ("${env:2A}", "is no placeholder"),
        ("${{a}", "is no placeholder"),
        ("${phone_number}", "belongs to the request"),
        ("${Phone Number To}", "belongs to the request"),
        ("${direction:-both}", "belongs to the request"),
    ],
)
def test_refused(text: str, said: str) -> None:
    """What only looks like a placeholder is refused with what to write, never sent as it stands."""
    with pytest.raises(TemplateError) as refused:
        read_placeholders(text)
    assert said in str(refused.value)


def test_a_long_text_is_quoted_shortly() -> None:
    """A message quotes the beginning of what it refuses, on one line."""
    with pytest.raises(TemplateError) as refused:
        read_placeholders("${" + "x\n" * 50_000)
    assert len(str(refused.value)) < 100
    assert "\n" not in str(refused.value)


@given(st.text())
def test_dollar_round_trip(text: str) -> None:
    """Any text, its dollars doubled, is read as that very text and nothing else."""
    assert "".join(map(str, read_placeholders(escape(text)))) == text
    assert all(isinstance(part, str) for part in read_placeholders(escape(text)))


@given(st.text(alphabet="${}:-?env$ab "))
def test_never_a_crash(text: str) -> None:
    """Whatever a text looks like, it is read, or refused in words."""
    with suppress(TemplateError):
        parts = read_placeholders(text)
        assert not any(part == "" for part in parts)
