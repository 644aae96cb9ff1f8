"""Cells as types: what a cell may say for a number, a boolean or a list, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.schema import Kind
from batch.templates.typed_cells import FALSE_WORDS, TRUE_WORDS, Misread, read_cell, shown


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Kind.TEXT, " backup.example.com ", "backup.example.com"),
        (Kind.TEXT, "5061", "5061"),
        (Kind.INTEGER, "5061", 5061),
        (Kind.INTEGER, " 0 ", 0),
        (Kind.INTEGER, "5061.0", 5061),
        (Kind.INTEGER, "-1", -1),
        (Kind.NUMBER, "12.5", 12.5),
        (Kind.NUMBER, ".5", 0.5),
        (Kind.NUMBER, "20", 20),
        (Kind.NUMBER, "20.0", 20),
        (Kind.NUMBER, "0", 0),
        (Kind.BOOLEAN, "TRUE", True),
        (Kind.BOOLEAN, "Yes", True),
        (Kind.BOOLEAN, "1", True),
        (Kind.BOOLEAN, "0", False),
        (Kind.BOOLEAN, "off", False),
        (Kind.LIST, "PCMU; PCMA|Opus,G.729", ["PCMU", "PCMA", "Opus", "G.729"]),
        (Kind.LIST, "PCMU", ["PCMU"]),
        (Kind.LIST, ";PCMU;;PCMA;", ["PCMU", "PCMA"]),
    ],
)
def test_taken(kind: Kind, text: str, value: object) -> None:
    """A cell becomes the value that its field wants, of that very type."""
    read = read_cell(text, kind)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "said", "slug"),
    [
        (Kind.INTEGER, "5061/tls", "is no whole number", "cell.integer"),
        (Kind.INTEGER, "5061.5", "it has a fraction", "cell.integer"),
        (Kind.INTEGER, "5,061", "without a comma", "cell.decimal_comma"),
        (Kind.INTEGER, "1e3", "is no whole number", "cell.integer"),
        (Kind.INTEGER, "٥٠٦١", "is no whole number", "cell.integer"),
        (Kind.INTEGER, "9" * 5000, "is no whole number", "cell.integer"),
        (Kind.NUMBER, "12,5", "write a decimal point, such as 12.5", "cell.decimal_comma"),
        (Kind.NUMBER, "20%", "leave the % out", "cell.number"),
        (Kind.NUMBER, "nan", "is no number", "cell.number"),
        (Kind.NUMBER, "inf", "is no number", "cell.number"),
        (Kind.TEXT, "#REF!", "a spreadsheet's error: mend its formula", "cell.error"),
        (Kind.LIST, "#NV", "a spreadsheet's error", "cell.error"),
        (Kind.LIST, ";,|", "without any element", "cell.list"),
        (Kind.OBJECT, "{}", "cannot fill an object", "cell.object"),
        (Kind.OBJECTS, "[]", "cannot fill a list of objects", "cell.object"),
    ],
)
def test_refused(kind: Kind, text: str, said: str, slug: str) -> None:
    """What is not plainly of the type is refused, with what to write instead."""
    read = read_cell(text, kind)
    assert isinstance(read, Misread)
    assert said in read.message
    assert read.kind == slug


def test_booleans_say_which_words_are_taken() -> None:
    """A cell that is neither true nor false is told every word that would be."""
    read = read_cell("maybe", Kind.BOOLEAN)
    assert isinstance(read, Misread)
    for word in (*TRUE_WORDS, *FALSE_WORDS):
        assert word in read.message


@given(st.text(min_size=1), st.sampled_from(Kind))
def test_any_text_is_read_or_refused(text: str, kind: Kind) -> None:
    """No cell raises, whatever it holds, and what is read of it is a single value or a flat list of texts."""
    read = read_cell(text, kind)
    assert isinstance(read, str | int | float | Misread | list)
    assert not isinstance(read, dict)


def test_messages_quote_no_secret() -> None:
    """A cell is quoted on one line, cut short, and not at all where it looks like a URL with a token."""
    assert shown("a\nb") == '"a\N{REPLACEMENT CHARACTER}b"'
    assert len(shown("x" * 10_000)) < 70
    assert "token" not in shown("https://hooks.example.com/token")
