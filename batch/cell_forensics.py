"""What became of a phone number in a spreadsheet: the evidence in one cell, and what follows from it.

A cell is mended only where no digit can be wrong: signs that carry no digit are dropped (spaces, dashes,
parentheses, invisible marks), digits of other scripts are turned into 0 to 9, and a country code is put
in front where there is exactly one that it can be:

- With `--region`, digits without a `+` are read as that region's numbers: national, with or without its
  national prefix, or with its country code in front. If more than one of these fits the region's
  numbering plan, the cell is rejected as ambiguous.
- Without it, `14155550100` gets its `+` back if it is a valid number, by the whole numbering plan, of
  the country code that it begins with, and if no country of the world writes another of its valid
  numbers with just these digits. `15012345678` is rejected: Arkansas, or a mobile phone in China.
  Leading zeros that a spreadsheet may have eaten are not reckoned with here: nothing would be left.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from batch.columns import word_of
from batch.numbering import (
    MOST_DIGITS,
    Region,
    code_of,
    has_needless_zero,
    is_possible,
    is_valid,
    lengths_of,
    readings_at_home,
    region_named,
    regions_of,
)


class Verdict(NamedTuple):
    """One cell: `value` is its number, or 0 with the `kind` and `message` of the problem."""

    value: int
    note: str = ""
    kind: str = ""
    message: str = ""


#: No number is longer, however it is written.
_LONGEST = 200

#: Cells that are remembered; where all are distinct, remembering helps nobody.
_REMEMBERED = 20_000

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]+"
)
_TEXT_MARK = re.compile(r"""=\s*"([^"]*)"|'(.*)|"([^"]*)\"""", re.DOTALL)
_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d*)?[eE][+-]?\d+")
_ERROR = re.compile(
    r"#(?:N/A|NA|REF!|VALUE!|NAME\?|NUM!|DIV/0!|NULL!|SPILL!|CALC!|FIELD!|BLOCKED!|CONNECT!|UNKNOWN!|"
    r"GETTING_DATA|#*)|Err:\d+",
    re.IGNORECASE,
)
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
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3}){2,}|\d{1,3}(?:\.\d{3}){2,}")
_POINT_ZERO = re.compile(r"(\+?\d{5,}|\d{1,3}(?:,\d{3}){2,}(?=\.)|\d{1,3}(?:\.\d{3}){2,}(?=,))[.,]0+")
_ZERO_IN_BRACKETS = re.compile(r"(?<=\d)\s*\(\s*0\s*\)")
_TAIL = re.compile(r"(.*\d)(?:\s+-\s*|\s*-\s+|(?<=\d{8})-)(\d{1,5})")

#: The most frequent damage: ASCII digits with blanks, dashes and brackets that cannot mean anything else.
_SIMPLE = re.compile(
    r"\+?(?=(?:\D*\d){9})(?!.*(?:\(0|[ \u00a0]-|-[ \u00a0]|\d{8}-))[\d(][\d \u00a0()-]{6,28}\d",
    re.ASCII,
)

#: Signs in numbers that are no digits, as one ASCII sign each, with what is said when they are dropped.
_SIGNS = {"+": "+", "＋": "+", ".": ".", "．": ".", "･": ".", "・": ".", "·": "."}
_SIGNS |= dict.fromkeys("()[]（）［］", "(") | {")": ")", "]": ")", "）": ")", "］": ")"}
_SIGNS |= {"/": "/", "／": "/", ",": ",", "，": ",", "−": "-", "ー": "-", "ｰ": "-", "⁃": "-", "˗": "-"}


class _Rejected(Exception):  # noqa: N818 - a verdict, which never leaves this module, and no error
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = f"number.{kind}", message


class Judge:
    """Gives verdicts on cells, under one set of options."""

    def __init__(self, region: str | None, *, strict: bool, full_validity: bool) -> None:
        """`UsageError` if there is no such region."""
        self._region = None if region is None else region_named(region)
        self._strict, self._full_validity = strict, full_validity
        self._known: dict[tuple[str, bool], Verdict] = {}

    def verdict(self, cell: str, *, numeric: bool) -> Verdict:
        """The number in a cell, or why there is none. `numeric`: it was a number in the workbook."""
        known = self._known.get((cell, numeric))
        if known is None:
            try:
                known = self._judge(cell, numeric=numeric)
            except _Rejected as rejected:
                known = Verdict(0, "", rejected.kind, rejected.message)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[cell, numeric] = known
        return known

    def _judge(self, cell: str, *, numeric: bool) -> Verdict:
        mends: list[str] = []
        digits = self._e164(cell, mends, numeric=numeric)
        _check(digits, cell)
        if mends and self._strict:
            raise _Rejected(
                "strict",
                f"{_shown(cell)} is not written as E.164, and --strict mends nothing: write +{digits}",
            )
        if self._full_validity and not is_valid(digits):
            raise _Rejected(
                "invalid",
                f"{_shown(cell)}: the numbering plan of +{code_of(digits)} has no number +{digits}; "
                "correct it, or leave out --numbers valid",
            )
        return Verdict(int(digits), _note(tuple(mends)))

    def _e164(self, cell: str, mends: list[str], *, numeric: bool) -> str:
        """The digits after the `+`, with what had to be mended to get them."""
        if _SIMPLE.fullmatch(cell):
            return self._digits(cell.replace("\u00a0", " "), cell, mends, numeric=numeric)
        text = cell
        if len(text) > _LONGEST:
            raise _Rejected("form", f"{_shown(cell)} is {len(text)} characters long; a cell holds one number")
        if _INVISIBLE.search(text):
            text = _mend(_INVISIBLE.sub("", text), mends, "invisible characters removed")
        if text.strip() != text:
            text = _mend(text.strip(), mends, "spaces removed")
        if not text:
            raise _Rejected("blank", "is blank: give a number such as +14155550100, or leave the row out")
        if marked := _TEXT_MARK.fullmatch(text):
            text = _mend(next(g for g in marked.groups() if g is not None).strip(), mends, "quotes removed")
        if text[:4].casefold() == "tel:":
            text = _mend(text[4:], mends, "tel: removed")
        _refuse_evidence(text, cell)
        text = _ascii(text, cell, mends)
        if zero := _POINT_ZERO.fullmatch(text):
            text = _mend(zero[1], mends, ".0 removed")
        if _THOUSANDS.fullmatch(text):
            text = _mend(re.sub("[,.]", "", text), mends, "thousands separators removed")
        return self._digits(text, cell, mends, numeric=numeric)

    def _digits(self, text: str, cell: str, mends: list[str], *, numeric: bool) -> str:
        """The E.164 digits of a text that is made of ASCII digits and the signs `+ ( ) . , / -` and blank."""
        if "," in text or "/" in text:
            raise _Rejected(
                "form", f"{_shown(cell)} holds a , or /: a cell holds one number, written +14155550100"
            )
        if re.fullmatch(r"\d+\.\d+", text):
            raise _Rejected(
                "decimal",
                f"{_shown(cell)} is a decimal number: format the column as text, and enter it again",
            )
        if text.startswith("-") or not any(letter.isdigit() for letter in text):
            raise _Rejected("form", f"{_shown(cell)} is no phone number: write it as +14155550100")
        before_zero = _ZERO_IN_BRACKETS.search(text)
        if before_zero:
            text = text[: before_zero.start()] + text[before_zero.end() :]
        self._refuse_tail(text, cell, numeric=numeric)
        for sign, said in (
            (" ", "spaces"),
            ("-", "dashes"),
            (".", "dots"),
            ("(", "brackets"),
            (")", "brackets"),
        ):
            if sign in text:
                text = _mend(text.replace(sign, ""), mends, f"{said} removed")
        if "+" in text[1:]:
            raise _Rejected("form", f"{_shown(cell)} has a + after its first digit: is it two numbers?")
        if text.startswith("+"):
            digits = text[1:]
        else:
            if text.endswith("00000") and (numeric or cell.strip() == text):
                zeros = len(text) - len(text.rstrip("0"))
                raise _Rejected(
                    "rounded",
                    f"{_shown(cell)} ends in {zeros} zeros and looks rounded by a spreadsheet; if it is "
                    "right, write it as text with its +",
                )
            digits = self._without_plus(text, cell, mends)
            if numeric and text.endswith("0000"):
                mends.append(
                    "it was a number in the sheet that ends in four zeros: make sure that it was not rounded"
                )
        if before_zero:
            code = code_of(digits)
            if digits == text or code is None or regions_of(code)[0].prefix != "0":
                raise _Rejected("trunk_zero", f"{_shown(cell)}: leave the (0) out, or write it as a digit")
            mends.append("(0) left out, which is dialled only within the country")
        return digits

    def _refuse_tail(self, text: str, cell: str, *, numeric: bool) -> None:
        """Refuse a whole number with a dash and some digits after it: an extension, or the end of a block."""
        tail = _TAIL.fullmatch(text)
        if tail and re.search(r"\s-|-\s", tail[1]) is None:
            try:
                _check(self._digits(tail[1], cell, [], numeric=numeric), cell)
            except _Rejected:
                return
            raise _Rejected(
                "range",
                f"{_shown(cell)} is a number with -{tail[2]} after it: write a block as "
                "+14155550100..0199, and leave extensions out",
            )

    def _without_plus(self, digits: str, cell: str, mends: list[str]) -> str:
        """E.164 digits of a number that has no `+`."""
        if len(digits.lstrip("0")) > MOST_DIGITS:
            _check(digits, cell)
        if self._region is not None:
            found = _readings(self._region, digits)
            if len(found) == 1:
                [(reading, said)] = found.items()
                mends.append(said)
                return reading
            name = self._region.name
            if found:
                raise _ambiguous(cell, found)
            raise _Rejected(
                "region",
                f"{_shown(cell)} is no number of region {name}; correct it, or, if it "
                "belongs to another country, write + and its country code in front",
            )
        if digits.startswith("0"):
            raise _Rejected(
                "country_code",
                f"{_shown(cell)} has no country code: write +, the country code and the number without its "
                "leading zeros, or name the country, as in --region US",
            )
        others = set(readings_at_home(digits))
        if is_valid(digits) and others <= {digits}:
            mends.append("+ put back")
            return digits
        if is_possible(digits) and others:
            raise _ambiguous(cell, [digits, *sorted(others - {digits})])
        raise _Rejected(
            "country_code",
            f"{_shown(cell)} has no country code: write it with + and country code, or "
            "name the country, as in --region US",
        )


def _readings(region: Region, digits: str) -> dict[str, str]:
    """Every E.164 number that the digits can be in a region, with what is said of it."""
    name = region.name
    exit_prefix = region.exit_prefix
    if digits.startswith(exit_prefix) and is_possible(digits[len(exit_prefix) :]):
        return {digits[len(exit_prefix) :]: f"{exit_prefix} turned into +"}
    found = {}
    if region.has(digits):
        found[f"{region.code}{digits}"] = f"country code of {name} added"
    if region.prefix and digits.startswith(region.prefix) and region.has(digits[len(region.prefix) :]):
        said = f"national prefix {region.prefix} replaced by the country code of {name}"
        found[f"{region.code}{digits[len(region.prefix) :]}"] = said
    code = str(region.code)
    if digits.startswith(code) and region.has(digits[len(code) :]):
        found[digits] = "+ put back"
    if not found and digits.startswith("00") and is_possible(digits[2:]):
        found[digits[2:]] = "00 turned into +"
    return found


def _refuse_evidence(text: str, cell: str) -> None:
    """Reject what shows by its form that it is no number, no whole one, or more than one."""
    shown = _shown(cell)
    if _SCIENTIFIC.fullmatch(text):
        raise _Rejected(
            "lost_digits",
            f"{shown} has lost digits: a spreadsheet shows a long number so. Format the column as text, "
            "and enter the number again",
        )
    if _ERROR.fullmatch(text):
        raise _Rejected(
            "error_cell", f"{shown} is a spreadsheet's error: mend its formula, or enter the number"
        )
    if _DATE.fullmatch(text):
        raise _Rejected(
            "date", f"{shown} is a date or a time: a spreadsheet may have turned a number into it"
        )
    if word_of(text) == "phone_number":
        raise _Rejected("header", f"{shown} is the header once more: leave this row out")
    if _EXTENSION.search(text):
        raise _Rejected("extension", f"{shown} has an extension, which E.164 has not: leave it out")
    if _SEVERAL.search(text):
        raise _Rejected("several", f"{shown} holds more than one number: give each a row of its own")
    if ";" in text:
        raise _Rejected("form", f"{shown} has a parameter after the number: leave out all from the ; on")


def _ascii(text: str, cell: str, mends: list[str]) -> str:
    """The text in ASCII digits, signs and blanks; whatever else there is in it makes it no number."""
    letters = []
    for letter in text:
        if "0" <= letter <= "9":
            letters.append(letter)
        elif (digit := unicodedata.decimal(letter, None)) is not None:
            letters.append(str(digit))
            _once(mends, "digits of another script turned into 0-9")
        elif letter == "\n" or letter == "\r":
            raise _Rejected("form", f"{_shown(cell)} has a line break in it: a cell holds one number")
        elif letter.isspace():
            letters.append(" ")
        elif sign := _SIGNS.get(letter):
            letters.append(sign)
            if letter == "＋":
                _once(mends, "full-width + turned into +")
        elif unicodedata.category(letter) == "Pd":
            letters.append("-")
        elif letter.isalpha():
            raise _Rejected(
                "letters", f"{_shown(cell)} has letters in it: write it in digits, as +14155550100"
            )
        else:
            name = unicodedata.name(letter, f"U+{ord(letter):04X}").lower()
            raise _Rejected("form", f"{_shown(cell)} has a sign in it that no number has ({name})")
    return "".join(letters)


def _check(digits: str, cell: str) -> None:
    """Reject E.164 digits whose country code or length cannot be."""
    if len(digits) > MOST_DIGITS:
        raise _Rejected(
            "too_long", f"{_shown(cell)} has {len(digits)} digits; an E.164 number has at most {MOST_DIGITS}"
        )
    code = code_of(digits)
    if code is None:
        raise _Rejected("country_code", f"{_shown(cell)} begins with no country code that exists")
    width = len(str(code))
    if len(digits) - width not in lengths_of(code):
        raise _Rejected(
            "length",
            f"{_shown(cell)} has {len(digits) - width} digits after +{code}, where there are "
            f"{_counts(lengths_of(code))}",
        )
    if has_needless_zero(digits):
        raise _Rejected(
            "trunk_zero",
            f"{_shown(cell)} has a 0 after +{code} that is dialled only within the country: is it "
            f"+{code}{digits[width + 1 :]}?",
        )


def _ambiguous(cell: str, readings: Iterable[str]) -> _Rejected:
    numbers = [f"+{reading}" for reading in readings]
    more = " or another" if len(numbers) > 2 else ""
    return _Rejected(
        "ambiguous",
        f"{_shown(cell)} can be {' or '.join(numbers[:2])}{more}: write it with + and country code",
    )


def _counts(lengths: frozenset[int]) -> str:
    """`10`, `9 or 10`, `4 to 15`."""
    counts = sorted(lengths)
    if len(counts) > 2 and counts[-1] - counts[0] == len(counts) - 1:
        return f"{counts[0]} to {counts[-1]}"
    return " or ".join(str(count) for count in counts)


def _shown(cell: str) -> str:
    """A cell as a message quotes it: in one line, not too long, nothing invisible."""
    text = "".join(
        letter if letter.isprintable() else f"<U+{ord(letter):04X}>"
        for letter in cell[:60].replace("\u00a0", " ")
    )
    return f'"{text}{"..." if len(cell) > 60 else ""}"'


def _mend(text: str, mends: list[str], said: str) -> str:
    _once(mends, said)
    return text


def _once(mends: list[str], said: str) -> None:
    if said not in mends:
        mends.append(said)


@lru_cache(maxsize=8)
def judge_for(region: str | None, strict: bool, full_validity: bool) -> Judge:  # noqa: FBT001 - keys of a cache
    """The judge under these options, with what it remembers."""
    return Judge(region, strict=strict, full_validity=full_validity)


@lru_cache(maxsize=1_000)
def _note(mends: tuple[str, ...]) -> str:
    return f'"{{was}}" became {{number}}: {", ".join(mends)}' if mends else ""
