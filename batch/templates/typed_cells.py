"""A cell's text as the type that a field wants: nothing is guessed, and what is not taken is said."""

from __future__ import annotations

import re
from typing import NamedTuple

from batch.schema import Kind
from batch.sheets.error_cells import is_error

TRUE_WORDS = ("true", "yes", "y", "on", "1")
FALSE_WORDS = ("false", "no", "n", "off", "0")
_BOOLEANS = {**dict.fromkeys(TRUE_WORDS, True), **dict.fromkeys(FALSE_WORDS, False)}

#: What separates the elements of a list in one cell.
_SEPARATORS = re.compile(r"[;|,]")

# ASCII digits only, and not more than any field can mean: int() of a megabyte takes its time. Spreadsheets
# write 5061.0 where they were told to show a decimal; no digit of it can be wrong.
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}(?:\.0{1,18})?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{1,18})?|\.[0-9]{1,18})")
_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")


class Misread(NamedTuple):
    """Why a text is not of the kind wanted: reads on after the text itself. `kind` is the problem's slug."""

    message: str
    kind: str


def read_cell(text: str, kind: Kind) -> object:
    """The value of a text that is not blank, or a `Misread`.

    Blanks around it do not count. A whole number is an int also where a fraction would be taken, and a
    list is split on `;`, `|` and `,`, blanks between two of them dropped.
    """
    text = text.strip()
    if error := error_in(text):
        return error
    match kind:
        case Kind.TEXT:
            return text
        case Kind.INTEGER:
            if not _INTEGER.fullmatch(text):
                return _no_integer(text)
            return int(text.partition(".")[0])
        case Kind.NUMBER:
            if not _NUMBER.fullmatch(text):
                return _no_number(text)
            # 12.0 is 12: rows that mean the same share a payload.
            return int(text.partition(".")[0]) if _INTEGER.fullmatch(text) else float(text)
        case Kind.BOOLEAN:
            value = _BOOLEANS.get(text.casefold())
            if value is None:
                taken = f"{', '.join(TRUE_WORDS)} for true, and {', '.join(FALSE_WORDS)} for false"
                return Misread(f"is neither true nor false: write {taken}", "cell.boolean")
            return value
        case Kind.LIST:
            elements = [element for part in _SEPARATORS.split(text) if (element := part.strip())]
            return elements or Misread("is a list without any element", "cell.list")
        case Kind.OBJECT:
            return Misread("is one cell, and cannot fill an object: name one of its fields", "cell.object")
        case Kind.OBJECTS:
            return Misread(
                "is one cell, and cannot fill a list of objects: name an element and a field", "cell.object"
            )


def error_in(text: str) -> Misread | None:
    """What is said of a cell that shows a spreadsheet's error; None for any other."""
    if not is_error(text):
        return None
    return Misread("is a spreadsheet's error: mend its formula, or put the value in its place", "cell.error")


def shown(text: str) -> str:
    """A cell's text as a message quotes it: short, one line, and nothing that may hold a secret."""
    if "://" in text or "@" in text:
        return "a text that is not shown, since it may hold a secret,"
    plain = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:61])
    return f'"{plain[:60]}…"' if len(plain) > 60 else f'"{plain}"'


def _no_integer(text: str) -> Misread:
    if _COMMA.fullmatch(text):
        return Misread("is no whole number: write it without a comma", "cell.decimal_comma")
    if _NUMBER.fullmatch(text):
        return Misread("is no whole number: it has a fraction", "cell.integer")
    return Misread("is no whole number", "cell.integer")


def _no_number(text: str) -> Misread:
    if _COMMA.fullmatch(text):
        hint = f", such as {text.replace(',', '.')}" if len(text) < 20 else ""
        return Misread(
            f"has a comma: write a decimal point{hint}, and nothing for thousands", "cell.decimal_comma"
        )
    if text.endswith("%"):
        return Misread("is no number: leave the % out", "cell.number")
    return Misread("is no number", "cell.number")
