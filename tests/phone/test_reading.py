"""Promises of `batch.phone.reading`: a cell is fine, mended where no digit can be wrong, or rejected."""

from __future__ import annotations

import numpy as np
import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.errors import UsageError
from batch.phone.forensics import PLUS_NOTE, Judge
from batch.phone.numbering import is_possible, is_valid
from batch.phone.reading import Reading, clean_numbers, read_numbers

KINDS = [
    getattr(phonenumbers.PhoneNumberType, name)
    for name in ("FIXED_LINE", "MOBILE", "TOLL_FREE", "PREMIUM_RATE", "VOIP", "UAN")
]

#: A valid number of each kind that each region has.
EXAMPLES = [
    (region, number)
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    for kind in KINDS
    if (number := phonenumbers.example_number_for_type(region, kind)) is not None
    # Canada has numbers of seven digits that cannot be dialled from abroad.
    and phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE
]


def read(cell: str, **options: object) -> Reading:
    """One cell of a column called `DID`."""
    return read_numbers([cell], column="DID", **options)


def note_of(reading: Reading) -> str:
    """What is said of the first cell."""
    return reading.note_kinds[reading.notes[0]]


def digits_of(number: phonenumbers.PhoneNumber) -> int:
    return int(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:])


@pytest.mark.parametrize(
    "cell", ["+14155550100", "+442079460958", "+390612345678", "+4930123456", "+8613812345678"]
)
def test_e164_is_fine(cell: str) -> None:
    """An E.164 number of a possible length is taken as it is, and nothing is noted."""
    reading = read(cell)
    assert reading.values.tolist() == [int(cell)]
    assert (note_of(reading), reading.problems) == ("", {})


@pytest.mark.parametrize(
    ("cell", "region", "number", "said"),
    [
        ("14155550100", None, 14155550100, "+ put back"),
        ("14155550100", "US", 14155550100, "+ put back"),
        ("14155550100.0", None, 14155550100, ".0 removed, + put back"),
        ("14155550100,00", None, 14155550100, ".0 removed, + put back"),
        ("447911123456", None, 447911123456, "+ put back"),
        ("+1\u00a0415\u00a0555\u00a00100", None, 14155550100, "spaces removed"),
        ("+1\u2003415\u202f555\u30000100", None, 14155550100, "spaces removed"),
        (" +14155550100\n", None, 14155550100, "spaces removed"),
        ("+1\u2011415\u2013555\u22120100", None, 14155550100, "dashes removed"),
        ("\u200e+14155550100\u202c", None, 14155550100, "invisible characters removed"),
        ("\ufeff+1\u200b4155550100\u00ad", None, 14155550100, "invisible characters removed"),
        ("＋14155550100", None, 14155550100, "full-width + turned into +"),
        ("+١٤١٥٥٥٥٠١٠٠", None, 14155550100, "digits of another script turned into 0-9"),
        ("+1 (415) 555-0100", None, 14155550100, "spaces removed, dashes removed, brackets removed"),
        ("+1.415.555.0100", None, 14155550100, "dots removed"),
        ("tel:+1-415-555-0100", None, 14155550100, "tel: removed, dashes removed"),
        ('="+14155550100"', None, 14155550100, "quotes removed"),
        ("'+14155550100", None, 14155550100, "quotes removed"),
        ("14,155,550,100", None, 14155550100, "thousands separators removed, + put back"),
        ("+44(0)2079460958", None, 442079460958, "(0) left out, which is dialled only within the country"),
        ("(415)5550100", "US", 14155550100, "brackets removed, country code of US added"),
        ("4155550100", "us", 14155550100, "country code of US added"),
        ("011 44 20 7946 0958", "US", 442079460958, "spaces removed, 011 turned into +"),
        ("0044 20 7946 0958", "DE", 442079460958, "spaces removed, 00 turned into +"),
        ("0044 20 7946 0958", "US", 442079460958, "spaces removed, 00 turned into +"),
        ("02079460958", "GB", 442079460958, "national prefix 0 replaced by the country code of GB"),
        ("06 1234 5678", "IT", 390612345678, "spaces removed, country code of IT added"),
        ("84951234567", "RU", 74951234567, "national prefix 8 replaced by the country code of RU"),
        ("030123456", "DE", 4930123456, "national prefix 0 replaced by the country code of DE"),
    ],
)  # fmt: skip
def test_a_mended_cell_says_how(cell: str, region: str | None, number: int, said: str) -> None:
    """What carries no digit is dropped, a country code is added where there is one choice: all is said."""
    reading = read(cell, region=region)
    assert reading.values.tolist() == [number]
    assert note_of(reading) == f'"{{was}}" became {{number}}: {said}'


@pytest.mark.parametrize(
    ("cell", "kind", "evidence"),
    [
        ("1.41556E+10", "number.lost_digits", '"1.41556E+10" has lost digits'),
        ("1,41556e10", "number.lost_digits", "has lost digits"),
        ("1E+21", "number.lost_digits", "has lost digits"),
        ("+1234567890123456", "number.too_long", "has 16 digits; an E.164 number has at most 15"),
        ("12345678901234567", "number.too_long", "has 17 digits"),
        ("+1415555010", "number.length", "has 9 digits after +1, where there are 10"),
        ("+4420794609581", "number.length", "where there are 7, 9 or 10"),
        ("+141555501000", "number.length", "has 11 digits after +1, where there are 10"),
        ("+44 020 7946 0958", "number.length", "has 11 digits after +44"),
        ("+49030123456", "number.trunk_zero", "is it +4930123456?"),
        ("+49 (030) 123456", "number.trunk_zero", "is it +4930123456?"),
        ("+9991234567", "number.country_code", "no country code that exists"),
        ("+0123456789", "number.country_code", "no country code that exists"),
        ("+1 415 555 0100 ext 5", "number.extension", "has an extension"),
        ("+14155550100x5", "number.extension", "has an extension"),
        ("tel:+1-415-555-0100;ext=5", "number.extension", "has an extension"),
        ("+14155550100 #12", "number.extension", "has an extension"),
        ("1-800-FLOWERS", "number.letters", "has letters in it"),
        ("+1415555010O", "number.letters", "has letters in it"),
        ("+14155550100, +14155550101", "number.several", "more than one number"),
        ("+14155550100 - +14155550199", "number.several", "or write a block as +14155550100..0199"),
        ("+14155550100\n+14155550101", "number.several", "more than one number"),
        ("#N/A", "number.error_cell", '"#N/A" is a spreadsheet\'s error'),
        ("########", "number.error_cell", "is a spreadsheet's error"),
        ("#ERROR!", "number.error_cell", "is a spreadsheet's error"),
        ("#WERT!", "number.error_cell", "is a spreadsheet's error"),
        ("#¿NOMBRE?", "number.error_cell", "is a spreadsheet's error"),
        ("Loading...", "number.error_cell", "is a spreadsheet's error"),
        ("2026-01-05", "number.date", "is a date or a time"),
        ("05.01.2026", "number.date", "is a date or a time"),
        ("1/5/26", "number.date", "is a date or a time"),
        ("2026-01-05 12:30:00", "number.date", "is a date or a time"),
        ("12:30", "number.date", "is a date or a time"),
        ("415.5550100", "number.decimal", "is a decimal number"),
        ("+14155550100 - 199", "number.range", "write a block as +14155550100..0199"),
        ("+14155550100-199", "number.range", "write a block as +14155550100..0199"),
        ("-4155550100", "number.form", "is no phone number"),
        ("14155500000", "number.rounded", "ends in 5 zeros and looks rounded"),
        ("", "number.blank", "is blank"),
        (" \u200b\u00a0", "number.blank", "is blank"),
        ("Phone Number", "number.header", "the header once more"),
        ("4155550100", "number.country_code", "as in --region US"),
        ("0044 20 7946 0958", "number.country_code", "as in --region US"),
        ("15012345678", "number.ambiguous", "can be +15012345678 or +8615012345678"),
        ("2025550123", "number.ambiguous", "can be +2025550123 or +12025550123 or another"),
        ("+1 415 555 0100 ☎", "number.form", "black telephone"),
        ("030/1234567", "number.form", "a cell holds one number"),
    ],
)  # fmt: skip
def test_a_rejected_cell_says_why(cell: str, kind: str, evidence: str) -> None:
    """What may have lost or gained a digit is rejected, with the evidence and the column."""
    reading = read(cell)
    assert reading.values.tolist() == [0]
    [problem] = reading.problems[0]
    assert (problem.column, problem.kind) == ("DID", kind)
    assert evidence in problem.message


@pytest.mark.parametrize(
    ("cell", "region"),
    [("447911123456", "US"), ("415555010", "US"), ("020 7946 0958", "US"), ("61234567", "IT")],
)
def test_a_number_of_no_region_is_rejected(cell: str, region: str) -> None:
    """With --region, digits that are no number there are rejected, even if they are one elsewhere."""
    [problem] = read(cell, region=region).problems[0]
    assert problem.kind == "number.region"
    assert f"no number of region {region}" in problem.message


def test_a_number_column_is_told_apart() -> None:
    """A cell that was a number in the workbook, and ends in zeros, is said to look rounded."""
    numeric = np.array([True, True, True])
    cells = ["14155500000", "14155550000", "14155550100"]
    reading = read_numbers(cells, column="DID", numeric=numeric)
    assert reading.values.tolist() == [0, 14155550000, 14155550100]
    assert reading.problems[0][0].kind == "number.rounded"
    assert "make sure it was not rounded" in reading.note_kinds[reading.notes[1]]
    assert "rounded" not in reading.note_kinds[reading.notes[2]]


@pytest.mark.parametrize(
    "cell", ["14155550100", " +14155550100", "+1 415 555 0100", "14155550100.0", "'+14155550100"]
)
def test_strict_mends_nothing(cell: str) -> None:
    """With --strict a cell that would be mended is rejected, and the message has what to write."""
    reading = read(cell, strict=True)
    [problem] = reading.problems[0]
    assert problem.kind == "number.strict"
    assert "write +14155550100" in problem.message


def test_strict_takes_what_is_fine() -> None:
    """With --strict E.164 numbers are taken as ever."""
    assert read("+14155550100", strict=True).values.tolist() == [14155550100]


def test_full_validity_asks_the_numbering_plan() -> None:
    """With full validity a number of a possible length that nobody can have is rejected."""
    cells = ["+14155550100", "+11115550100", "1 111 555 0100"]
    reading = read_numbers(cells, column="DID", region="US", full_validity=True)
    assert reading.values.tolist() == [14155550100, 0, 0]
    assert reading.problems[1][0].kind == "number.invalid"


def test_a_region_must_exist() -> None:
    """A region that does not exist is an error of usage, which names it."""
    with pytest.raises(UsageError, match='"UK"'):
        read("4155550100", region="UK")


def test_a_long_cell_is_rejected_at_once() -> None:
    """A cell of thousands of characters is rejected without a look at each, and quoted in brief."""
    [problem] = read("+1" + "0 " * 20_000).problems[0]
    assert problem.kind == "number.form"
    assert len(problem.message) < 200


def test_evidence_shows_what_cannot_be_seen() -> None:
    """Invisible characters in a rejected cell are shown by their code points."""
    [problem] = read("+1415\u200e555").problems[0]
    assert "<U+200E>" in problem.message


@given(st.text())
def test_any_cell_is_a_number_or_a_problem(cell: str) -> None:
    """Whatever a cell holds, it is read as a possible number or rejected with one problem."""
    for region in (None, "US", "DE"):
        reading = read(cell, region=region)
        value = int(reading.values[0])
        assert (value == 0) == (0 in reading.problems)
        assert value == 0 or is_possible(str(value))


@given(st.lists(st.text(alphabet="+0123456789 -\u0661\n\0", max_size=20), max_size=30))
def test_columns_and_cells_agree(cells: list[str]) -> None:
    """What is read by the column is just what the look at each cell finds fine."""
    judge = Judge(None, strict=True, full_validity=False)
    one_by_one = [judge.verdict(cell, numeric=False).value for cell in cells]
    assert clean_numbers(cells).tolist() == one_by_one


@pytest.mark.parametrize(
    "form", [phonenumbers.PhoneNumberFormat.INTERNATIONAL, phonenumbers.PhoneNumberFormat.RFC3966]
)
def test_numbers_of_all_the_world_are_read_as_written(form: int) -> None:
    """A number of any country, in the way the world writes it, is read as that number."""
    cells = [phonenumbers.format_number(number, form) for _, number in EXAMPLES]
    reading = read_numbers(cells, column="DID")
    assert reading.problems == {}
    assert reading.values.tolist() == [digits_of(number) for _, number in EXAMPLES]


@pytest.mark.parametrize(
    "form", [phonenumbers.PhoneNumberFormat.NATIONAL, phonenumbers.PhoneNumberFormat.E164]
)
def test_no_number_is_read_wrong_at_home(form: int) -> None:
    """A number as its country writes it, or without its +, is read right with that region or rejected."""
    wrong = [
        (region, number)
        for region, number in EXAMPLES
        if read(phonenumbers.format_number(number, form).lstrip("+"), region=region).values[0]
        not in (0, digits_of(number))
    ]
    assert wrong == []


def test_most_numbers_are_read_at_home() -> None:
    """With their region, nineteen in twenty of the world's numbers are read as they are written at home."""
    found = [
        read(
            phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL), region=region
        ).values[0]
        == digits_of(number)
        for region, number in EXAMPLES
    ]
    assert sum(found) > 0.95 * len(found)


def test_no_number_is_read_wrong_without_a_region() -> None:
    """A number as its country writes it is, without --region, read right or rejected: never as another."""
    wrong = [
        (region, cell)
        for region, number in EXAMPLES
        if read(cell := phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)).values[0]
        not in (0, digits_of(number))
    ]
    assert wrong == []


@given(st.sampled_from(EXAMPLES), st.integers(0, 9_999))
def test_validity_is_that_of_the_library(example: tuple[str, phonenumbers.PhoneNumber], tail: int) -> None:
    """Full validity is what `phonenumbers` says it is, for any number near a real one."""
    code = example[1].country_code
    national = f"{phonenumbers.national_significant_number(example[1])[:-4]}{tail:04}"
    zeros = len(national) - len(national.lstrip("0"))
    number = phonenumbers.PhoneNumber(
        country_code=code,
        national_number=int(national),
        italian_leading_zero=zeros > 0,
        number_of_leading_zeros=zeros,
    )
    as_written = phonenumbers.national_significant_number(number) == national
    assert not as_written or is_valid(f"{code}{national}") == phonenumbers.is_valid_number(number)


@given(st.sampled_from(EXAMPLES), st.integers(0, 99_999), st.booleans())
def test_the_short_way_and_the_long_way_agree(
    example: tuple[str, phonenumbers.PhoneNumber], tail: int, numeric: bool
) -> None:
    """A number is taken to have lost only its + just where the whole look at it says the same."""
    digits = f"{str(digits_of(example[1]))[:-5]}{tail:05}"
    judge = Judge(None, strict=False, full_validity=False)
    verdict = judge.verdict(digits, numeric=numeric)
    is_put_back = (verdict.value, verdict.note) == (int(digits), PLUS_NOTE)
    assert judge.lost_only_its_plus(digits) == (is_put_back and not digits.endswith("0000"))
