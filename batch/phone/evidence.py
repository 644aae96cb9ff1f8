"""Evidence in a cell that it holds no phone number, no whole one, or more than one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from batch.sheets.columns import word_of
from batch.sheets.error_cells import is_error

_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d*)?[eE][+-]?\d+")
#: A column that is too narrow, copied as it is shown.
_NARROW = re.compile(r"#+")
_TIME = r"(?:[T ]+\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?Z?)?"
_DATE = re.compile(
    rf"[12]\d{{3}}([-/.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01]){_TIME}"
    rf"|(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|[12]\d|3[01])\2(?:19|20)?\d\d{_TIME}"
    r"|\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?"
)
_EXTENSION = re.compile(
    r"[\d)]\s*[,;]?\s*(?:extension|extn|ext|x|dw|durchwahl|poste|anexo|ramal|int|#)\s*[.:=]?\s*\d+\W*", re.I
)
_SEVERAL = re.compile(r"\+.*\+|\d{5}[\d)\s.-]*(?:[,;|&\n]|\bor\b|\band\b)[\s(+]*\d[\d()\s.-]{5}", re.S | re.I)

#: Signs in numbers that are no digits, as one ASCII sign each, with what is said when they are dropped.
_SIGNS = {"+": "+", "＋": "+", ".": ".", "．": ".", "･": ".", "・": ".", "·": "."}
_SIGNS |= dict.fromkeys("()[]（）［］", "(") | {")": ")", "]": ")", "）": ")", "］": ")"}
_SIGNS |= {"/": "/", "／": "/", ",": ",", "，": ",", "−": "-", "ー": "-", "ｰ": "-", "⁃": "-", "˗": "-"}


#: The kind of a cell that is the header of its column: nothing else in its row is worth a word.
HEADER_AGAIN = "number.header"


class Rejected(Exception):  # noqa: N818 - a verdict on a cell, and no error: it ends within `Judge`
    """Why a cell is rejected: `kind` is its slug, `message` is for the operator."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = f"number.{kind}", message


def refuse_evidence(text: str, cell: str) -> None:
    """Reject what shows by its form that it is no number, no whole one, or more than one."""
    for shows, kind, said in _EVIDENCE:
        if shows(text):
            raise Rejected(kind, f"{shown(cell)} {said}")


#: What each kind of evidence is found by, and what is said of a cell that has it.
_EVIDENCE: tuple[tuple[Callable[[str], object], str, str], ...] = (
    (
        _SCIENTIFIC.fullmatch,
        "lost_digits",
        "has lost digits: a spreadsheet shows a long number so. Format the column as text, and enter the "
        "number again",
    ),
    (
        lambda text: is_error(text) or _NARROW.fullmatch(text),
        "error_cell",
        "is a spreadsheet's error: mend its formula, or enter the number",
    ),
    (_DATE.fullmatch, "date", "is a date or a time: a spreadsheet may have turned a number into it"),
    (
        lambda text: word_of(text) == "phone_number",
        "header",
        "is the header once more: leave this row out",
    ),
    (_EXTENSION.search, "extension", "has an extension, which E.164 has not: leave it out"),
    (
        _SEVERAL.search,
        "several",
        "holds more than one number: give each a row of its own, or write a block as +14155550100..0199",
    ),
    (
        lambda text: ";" in text,
        "form",
        "has a parameter after the number: leave out all from the ; on",
    ),
)


def to_ascii(text: str, cell: str, mends: list[str]) -> str:
    """The text in ASCII digits, signs and blanks; whatever else there is in it makes it no number."""
    letters = []
    for letter in text:
        if "0" <= letter <= "9":
            letters.append(letter)
        elif (digit := unicodedata.decimal(letter, None)) is not None:
            letters.append(str(digit))
            once(mends, "digits of another script turned into 0-9")
        elif letter == "\n" or letter == "\r":
            raise Rejected("form", f"{shown(cell)} has a line break in it: a cell holds one number")
        elif letter.isspace():
            letters.append(" ")
        elif sign := _SIGNS.get(letter):
            letters.append(sign)
            if letter == "＋":
                once(mends, "full-width + turned into +")
        elif unicodedata.category(letter) == "Pd":
            letters.append("-")
        elif letter.isalpha():
            raise Rejected("letters", f"{shown(cell)} has letters in it: write it in digits, as +14155550100")
        else:
            name = unicodedata.name(letter, f"U+{ord(letter):04X}").lower()
            raise Rejected("form", f"{shown(cell)} has a sign in it that no number has ({name})")
    return "".join(letters)


def shown(cell: str) -> str:
    """A cell as a message quotes it: in one line, not too long, nothing invisible."""
    text = "".join(
        letter if letter.isprintable() else f"<U+{ord(letter):04X}>"
        for letter in cell[:60].replace("\u00a0", " ")
    )
    return f'"{text}{"..." if len(cell) > 60 else ""}"'


def mend(text: str, mends: list[str], said: str) -> str:
    """The mended text, after noting what was done to it."""
    once(mends, said)
    return text


def once(mends: list[str], said: str) -> None:
    """Note what was done, unless it is noted."""
    if said not in mends:
        mends.append(said)
