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
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from batch.phone.evidence import Rejected, mend, refuse_evidence, shown, to_ascii
from batch.phone.numbering import (
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

#: What is said of a mend that added digits, and of one that cannot be sure of the last ones.
_COUNTRY_CODE = "country code of"
_MAYBE_ROUNDED = "it was a number in the sheet that ends in four zeros: make sure it was not rounded"

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]+"
)
_TEXT_MARK = re.compile(r"""=\s*"([^"]*)"|'(.*)|"([^"]*)\"""", re.DOTALL)
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3}){2,}|\d{1,3}(?:\.\d{3}){2,}")
_POINT_ZERO = re.compile(r"(\+?\d{5,}|\d{1,3}(?:,\d{3}){2,}(?=\.)|\d{1,3}(?:\.\d{3}){2,}(?=,))[.,]0+")
_ZERO_IN_BRACKETS = re.compile(r"(?<=\d)\s*\(\s*0\s*\)")
_TAIL = re.compile(r"(.*\d)(?:\s+-\s*|\s*-\s+|(?<=\d{8})-)(\d{1,5})")

#: The most frequent damage: ASCII digits with blanks, dashes and brackets that cannot mean anything else.
_SIMPLE = re.compile(
    r"\+?(?=(?:\D*\d){9})(?!.*(?:\(0|[ \u00a0]-|-[ \u00a0]|\d{8}-))[\d(][\d \u00a0()-]{6,28}\d",
    re.ASCII,
)


class Judge:
    """Gives verdicts on cells, under one set of options."""

    def __init__(self, region: str | None, *, strict: bool, full_validity: bool) -> None:
        """`UsageError` if there is no such region."""
        self._region = None if region is None else region_named(region)
        self._strict, self._full_validity = strict, full_validity
        self._mends_plus = region is None and not strict
        self._known: dict[tuple[str, bool], Verdict] = {}

    def verdict(self, cell: str, *, numeric: bool) -> Verdict:
        """The number in a cell, or why there is none. `numeric`: it was a number in the workbook."""
        known = self._known.get((cell, numeric))
        if known is None:
            try:
                known = self._judge(cell, numeric=numeric)
            except Rejected as rejected:
                known = Verdict(0, "", rejected.kind, rejected.message)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[cell, numeric] = known
        return known

    def lost_only_its_plus(self, cell: str) -> bool:
        """Whether it takes no more than a `+` to mend a cell; otherwise there is a `verdict` on it.

        In a workbook all cells can be so, each another: it is not remembered.
        """
        return (
            self._mends_plus
            and cell.isascii()
            and cell.isdigit()
            and not cell.startswith("0")
            and not cell.endswith("0000")
            and is_valid(cell)
            and not readings_at_home(cell)
        )

    def _judge(self, cell: str, *, numeric: bool) -> Verdict:
        mends: list[str] = []
        digits = self._e164(cell, mends, numeric=numeric)
        _check(digits, cell)
        if mends and self._strict:
            raise Rejected(
                "strict",
                f"{shown(cell)} is not written as E.164, and --strict mends nothing: write +{digits}",
            )
        if self._full_validity and not is_valid(digits):
            raise Rejected(
                "invalid",
                f"{shown(cell)}: the numbering plan of +{code_of(digits)} has no number +{digits}; "
                "correct it, or leave out --numbers valid",
            )
        return Verdict(int(digits), _note(tuple(mends)))

    def _e164(self, cell: str, mends: list[str], *, numeric: bool) -> str:
        """The digits after the `+`, with what had to be mended to get them."""
        if cell.isascii() and cell.isdigit():
            return self._bare(cell, cell, mends, numeric=numeric)
        if _SIMPLE.fullmatch(cell):
            return self._digits(cell.replace("\u00a0", " "), cell, mends, numeric=numeric)
        text = cell
        if len(text) > _LONGEST:
            raise Rejected("form", f"{shown(cell)} is {len(text)} characters long; a cell holds one number")
        if _INVISIBLE.search(text):
            text = mend(_INVISIBLE.sub("", text), mends, "invisible characters removed")
        if text.strip() != text:
            text = mend(text.strip(), mends, "spaces removed")
        if not text:
            raise Rejected("blank", "is blank: give a number such as +14155550100, or leave the row out")
        if marked := _TEXT_MARK.fullmatch(text):
            text = mend(next(g for g in marked.groups() if g is not None).strip(), mends, "quotes removed")
        if text[:4].casefold() == "tel:":
            text = mend(text[4:], mends, "tel: removed")
        refuse_evidence(text, cell)
        text = to_ascii(text, cell, mends)
        if zero := _POINT_ZERO.fullmatch(text):
            text = mend(zero[1], mends, ".0 removed")
        if _THOUSANDS.fullmatch(text):
            text = mend(re.sub("[,.]", "", text), mends, "thousands separators removed")
        return self._digits(text, cell, mends, numeric=numeric)

    def _digits(self, text: str, cell: str, mends: list[str], *, numeric: bool) -> str:
        """The E.164 digits of a text that is made of ASCII digits and the signs `+ ( ) . , / -` and blank."""
        if "," in text or "/" in text:
            raise Rejected(
                "form", f"{shown(cell)} holds a , or /: a cell holds one number, written +14155550100"
            )
        if re.fullmatch(r"\d+\.\d+", text):
            raise Rejected(
                "decimal",
                f"{shown(cell)} is a decimal number: format the column as text, and enter it again",
            )
        if text.startswith("-") or not any(letter.isdigit() for letter in text):
            raise Rejected("form", f"{shown(cell)} is no phone number: write it as +14155550100")
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
                text = mend(text.replace(sign, ""), mends, f"{said} removed")
        if "+" in text[1:]:
            raise Rejected("form", f"{shown(cell)} has a + after its first digit: is it two numbers?")
        digits = text[1:] if text.startswith("+") else self._bare(text, cell, mends, numeric=numeric)
        if before_zero:
            code = code_of(digits)
            if digits == text or code is None or regions_of(code)[0].prefix != "0":
                raise Rejected("trunk_zero", f"{shown(cell)}: leave the (0) out, or write it as a digit")
            mends.append("(0) left out, which is dialled only within the country")
        return digits

    def _bare(self, digits: str, cell: str, mends: list[str], *, numeric: bool) -> str:
        """E.164 digits of digits alone: a spreadsheet may have made a number of them, and rounded it."""
        if digits.endswith("00000") and (numeric or cell.strip() == digits):
            zeros = len(digits) - len(digits.rstrip("0"))
            raise Rejected(
                "rounded",
                f"{shown(cell)} ends in {zeros} zeros and looks rounded by a spreadsheet; if it is right, "
                "write it as text with its +",
            )
        found = self._without_plus(digits, cell, mends)
        if numeric and digits.endswith("0000"):
            mends.append(_MAYBE_ROUNDED)
        return found

    def _refuse_tail(self, text: str, cell: str, *, numeric: bool) -> None:
        """Refuse a whole number with a dash and some digits after it: an extension, or the end of a block."""
        tail = _TAIL.fullmatch(text)
        if tail and re.search(r"\s-|-\s", tail[1]) is None:
            try:
                _check(self._digits(tail[1], cell, [], numeric=numeric), cell)
            except Rejected:
                return
            raise Rejected(
                "range",
                f"{shown(cell)} is a number with -{tail[2]} after it: write a block as "
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
            raise Rejected(
                "region",
                f"{shown(cell)} is no number of region {name}; correct it, or, if it "
                "belongs to another country, write + and its country code in front",
            )
        if digits.startswith("0"):
            raise Rejected(
                "country_code",
                f"{shown(cell)} has no country code: write +, the country code and the number without its "
                "leading zeros, or name the country, as in --region US",
            )
        others = readings_at_home(digits)
        if is_valid(digits) and not others:
            mends.append("+ put back")
            return digits
        if is_possible(digits) and others:
            raise _ambiguous(cell, [digits, *sorted(others)])
        raise Rejected(
            "country_code",
            f"{shown(cell)} has no country code: write it with + and country code, or "
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
        found[f"{region.code}{digits}"] = f"{_COUNTRY_CODE} {name} added"
    if region.prefix and digits.startswith(region.prefix) and region.has(digits[len(region.prefix) :]):
        said = f"national prefix {region.prefix} replaced by the {_COUNTRY_CODE} {name}"
        found[f"{region.code}{digits[len(region.prefix) :]}"] = said
    code = str(region.code)
    if digits.startswith(code) and region.has(digits[len(code) :]):
        found[digits] = "+ put back"
    if not found and digits.startswith("00") and is_possible(digits[2:]):
        found[digits[2:]] = "00 turned into +"
    return found


def _check(digits: str, cell: str) -> None:
    """Reject E.164 digits whose country code or length cannot be."""
    if len(digits) > MOST_DIGITS:
        raise Rejected(
            "too_long", f"{shown(cell)} has {len(digits)} digits; an E.164 number has at most {MOST_DIGITS}"
        )
    code = code_of(digits)
    if code is None:
        raise Rejected("country_code", f"{shown(cell)} begins with no country code that exists")
    width = len(str(code))
    if len(digits) - width not in lengths_of(code):
        raise Rejected(
            "length",
            f"{shown(cell)} has {len(digits) - width} digits after +{code}, where there are "
            f"{_counts(lengths_of(code))}",
        )
    if has_needless_zero(digits):
        raise Rejected(
            "trunk_zero",
            f"{shown(cell)} has a 0 after +{code} that is dialled only within the country: is it "
            f"+{code}{digits[width + 1 :]}?",
        )


def _ambiguous(cell: str, readings: Iterable[str]) -> Rejected:
    numbers = [f"+{reading}" for reading in readings]
    more = " or another" if len(numbers) > 2 else ""
    return Rejected(
        "ambiguous",
        f"{shown(cell)} can be {' or '.join(numbers[:2])}{more}: write it with + and country code",
    )


def _counts(lengths: frozenset[int]) -> str:
    """`10`, `9 or 10`, `7, 9 or 10`, `4 to 15`."""
    *counts, last = sorted(lengths)
    if len(counts) > 1 and last - counts[0] == len(counts):
        return f"{counts[0]} to {last}"
    return f"{', '.join(map(str, counts))} or {last}" if counts else f"{last}"


@lru_cache(maxsize=1_000)
def _note(mends: tuple[str, ...]) -> str:
    return f'"{{was}}" became {{number}}: {", ".join(mends)}' if mends else ""


#: The note on a cell that lost only its `+`.
PLUS_NOTE = _note(("+ put back",))


def kind_of_note(note: str) -> str:
    """The slug that a mended cell is counted by: some of what is done needs a closer look than the rest."""
    if _MAYBE_ROUNDED in note:
        return "number.maybe_rounded"
    return "number.completed" if _COUNTRY_CODE in note else "number.mended"


@lru_cache(maxsize=8)
def judge_for(region: str | None, strict: bool, full_validity: bool) -> Judge:  # noqa: FBT001 - keys of a cache
    """The judge under these options, with what it remembers."""
    return Judge(region, strict=strict, full_validity=full_validity)
