"""What is known of the world's numbering plans: calling codes, lengths, prefixes and patterns.

All of it comes from the metadata of `phonenumbers`, the Python port of Google's libphonenumber. Its own
functions take 15 to 400 µs a number, because they compile patterns again and again; here each calling
code's patterns are compiled once, when the first number with that code is met.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from batch.errors import UsageError

#: The most digits that an E.164 number has, its country code included (ITU-T E.164, 6.1).
MOST_DIGITS = 15

#: The kinds of numbers of which one must fit for a number to be valid, as in libphonenumber; the most
#: frequent ones first.
_KINDS = (
    "fixed_line",
    "mobile",
    "toll_free",
    "voip",
    "premium_rate",
    "shared_cost",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
)


_CODES = frozenset(str(code) for code in COUNTRY_CODE_TO_REGION_CODE)
#: By the first three digits of a number, the country code that they begin with.
_CODE_BY_START = {
    str(start): code
    for code in COUNTRY_CODE_TO_REGION_CODE
    for start in range(code * 10 ** (3 - len(str(code))), (code + 1) * 10 ** (3 - len(str(code))))
}
_NOTHING = re.compile(r"(?!)")


class _Rule(NamedTuple):
    """Lengths (none: any) and a pattern that a national number must fit."""

    lengths: frozenset[int]
    fits: re.Pattern[str]

    def allows(self, national: str) -> bool:
        return (not self.lengths or len(national) in self.lengths) and bool(self.fits.fullmatch(national))


class _Notation(NamedTuple):
    """How a country writes some of its numbers at home: `bare` is without the national prefix."""

    leading: re.Pattern[str] | None
    pattern: re.Pattern[str]
    bare: bool

    def takes(self, length: int) -> bool:
        """Whether it may be for numbers of so many digits; False is certain."""
        digits = self.pattern.fullmatch("0" * length)
        return digits is not None or not _ANY_DIGITS.fullmatch(self.pattern.pattern)


#: Patterns that say how many digits there are, and not which.
_ANY_DIGITS = re.compile(r"(?:[()]|\\d(?:\{\d+(?:,\d+)?\})?)+")


@dataclass(frozen=True, slots=True)
class Region:
    """The numbering plan of one country or territory.

    `prefix` is dialled before a national number within it ("" where there is none), `exit_prefix` before
    the country code of another country (US: 011).
    """

    name: str
    code: int
    prefix: str
    exit_prefix: str
    general: _Rule
    kinds: tuple[_Rule, ...]
    leading: re.Pattern[str] | None
    notations: tuple[_Notation, ...]

    def has(self, national: str) -> bool:
        """Whether the plan has room for such a number, by its length and first digits."""
        return self.general.allows(national)

    def assigns(self, national: str) -> bool:
        """Whether it can be the number of a subscriber: in full, as libphonenumber's `is_valid_number`."""
        return _assigned(self.name, self.code, len(national)).fullmatch(national) is not None

    def writes_bare(self, national: str) -> bool:
        """Whether people at home write this number without the national prefix."""
        if not self.prefix:
            return True
        for notation in self.notations:
            led = notation.leading is None or notation.leading.match(national)
            if led and notation.pattern.fullmatch(national):
                return notation.bare
        return False


def code_of(digits: str) -> int | None:
    """The country code that E.164 digits begin with; no code is the beginning of another."""
    known = _CODE_BY_START.get(digits[:3])
    if known is None and len(digits) < 3:
        return next((int(digits[:end]) for end in (1, 2) if digits[:end] in _CODES), None)
    return known


@cache
def regions_of(code: int) -> tuple[Region, ...]:
    """The regions that share a country code; the first is the one that the others are exceptions to."""
    names = COUNTRY_CODE_TO_REGION_CODE[code]
    return tuple(_region(name, code) for name in names)


@cache
def lengths_of(code: int) -> frozenset[int]:
    """How many digits may follow a country code."""
    return regions_of(code)[0].general.lengths


def is_possible(digits: str) -> bool:
    """Whether E.164 digits have a known country code and a length that it has."""
    code = code_of(digits)
    return code is not None and len(digits) - len(str(code)) in lengths_of(code)


def is_valid(digits: str) -> bool:
    """Whether E.164 digits are a number that can be assigned: libphonenumber's `is_valid_number`."""
    code = code_of(digits)
    if code is None:
        return False
    national = digits[len(str(code)) :]
    regions = regions_of(code)
    if len(regions) == 1:
        return regions[0].assigns(national)
    for region in regions:
        # A region with its own first digits (Barbados: 246) answers for all numbers that have them.
        if region.leading is not None:
            if region.leading.match(national):
                return region.assigns(national)
        elif region.assigns(national):
            return True
    return False


def has_needless_zero(digits: str) -> bool:
    """Whether a 0 stands after the country code that is dialled only within the country: `+49 030 ...`."""
    code = code_of(digits)
    if code is None:
        return False
    national = digits[len(str(code)) :]
    regions = regions_of(code)
    return national.startswith("0") and regions[0].prefix == "0" and not any(r.has(national) for r in regions)


@cache
def clean_starts(digit_count: int) -> npt.NDArray[np.bool_]:
    """For E.164 numbers of so many digits, by their first four: whether country code and length are possible.

    False too where a needless zero may stand after the country code, which needs a closer look.
    """
    clean = np.zeros(10_000, dtype=np.bool_)
    if not 4 <= digit_count <= MOST_DIGITS:
        return clean
    for code in COUNTRY_CODE_TO_REGION_CODE:
        width = len(str(code))
        if digit_count - width in lengths_of(code):
            step = 10 ** (4 - width)
            clean[code * step : (code + 1) * step] = True
            if regions_of(code)[0].prefix == "0":
                clean[code * step : code * step + step // 10] = False
    return clean


@cache
def region_named(name: str) -> Region:
    """The region of an ISO 3166 code, in either case; `UsageError` if there is none."""
    for code, names in COUNTRY_CODE_TO_REGION_CODE.items():
        if name.upper() in names and name.upper() != "001":
            return _region(name.upper(), code)
    raise UsageError(
        f'--region "{name}": there is no such region; give the two letters of ISO 3166, such as US, GB or DE'
    )


def readings_at_home(digits: str) -> set[str]:
    """E.164 digits of every valid number that some country writes at home as these digits.

    They must not begin with 0. What they are with a `+` alone is not told, though North America writes its
    numbers so too.
    """
    found = set()
    length = len(digits)
    if _assigned_somewhere(length).fullmatch(digits):
        for region in _bare_by_length().get(length, ()):
            if region.assigns(digits) and region.writes_bare(digits):
                found.add(f"{region.code}{digits}")
    for prefix, code in _plans_with_prefix(length):
        if digits.startswith(prefix) and is_valid(reading := f"{code}{digits[len(prefix) :]}"):
            found.add(reading)
    return found


@cache
def _bare_by_length() -> dict[int, list[Region]]:
    """By length, the regions that write some of their numbers without a national prefix."""
    by_length: dict[int, list[Region]] = {}
    for code in COUNTRY_CODE_TO_REGION_CODE:
        for region in regions_of(code):
            bare = [notation for notation in region.notations if notation.bare]
            for length in region.general.lengths if region.name != "001" else ():
                if not region.prefix or any(notation.takes(length) for notation in bare):
                    by_length.setdefault(length, []).append(region)
    return by_length


@cache
def _assigned_somewhere(length: int) -> re.Pattern[str]:
    """One pattern for all numbers of one length that any of these regions assigns.

    Most numbers are in none of them, and asking each region in turn took most of the time of a cell.
    """
    patterns = [_assigned(r.name, r.code, length).pattern for r in _bare_by_length().get(length, ())]
    return re.compile("|".join(f"(?:{pattern})\\Z" for pattern in patterns)) if patterns else _NOTHING


@cache
def _assigned(name: str, code: int, length: int) -> re.Pattern[str]:
    """One pattern for all numbers of one length that a region assigns."""
    region = _region(name, code)
    kinds = [kind.fits.pattern for kind in region.kinds if not kind.lengths or length in kind.lengths]
    if length not in region.general.lengths or not kinds:
        return _NOTHING
    return re.compile(rf"(?=(?:{region.general.fits.pattern})\Z)(?:{'|'.join(kinds)})")


@cache
def _plans_with_prefix(length: int) -> frozenset[tuple[str, int]]:
    """National prefixes other than 0, and whose: with them a number can look like one that lost its +.

    `length` is of the number with its prefix.
    Where the prefix is the country code itself, the number is just that one.
    """
    return frozenset(
        (region.prefix, code)
        for code in COUNTRY_CODE_TO_REGION_CODE
        for region in regions_of(code)
        if region.prefix and not region.prefix.startswith("0") and region.prefix != str(code)
        if length - len(region.prefix) in region.general.lengths
    )


@cache
def _region(name: str, code: int) -> Region:
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, name)
    assert metadata is not None
    exit_prefix = metadata.international_prefix or ""
    return Region(
        name,
        code,
        metadata.national_prefix or "",
        # Where a carrier is chosen by it, it is a pattern; of those only 00 is what people write.
        exit_prefix if exit_prefix.isdigit() else "00",
        _rule(metadata.general_desc),
        tuple(rule for kind in _KINDS if (rule := _rule(getattr(metadata, kind))).fits.pattern),
        re.compile(metadata.leading_digits) if metadata.leading_digits else None,
        tuple(
            _Notation(
                re.compile(notation.leading_digits_pattern[-1]) if notation.leading_digits_pattern else None,
                re.compile(notation.pattern or ""),
                not notation.national_prefix_formatting_rule
                or bool(notation.national_prefix_optional_when_formatting),
            )
            for notation in metadata.number_format
        ),
    )


def _rule(description: object) -> _Rule:
    """A rule from one description of the metadata; its pattern is empty where there is none."""
    pattern = getattr(description, "national_number_pattern", None) or ""
    lengths = getattr(description, "possible_length", None) or ()
    # -1 stands for "no such numbers".
    if -1 in lengths:
        return _Rule(frozenset(), re.compile(""))
    return _Rule(frozenset(lengths), re.compile(pattern))
