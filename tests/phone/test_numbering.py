"""What is known of numbering plans: the shortcuts give what asking every country would."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

from batch.phone.numbering import Region, is_valid, readings_at_home, regions_of

REGIONS = [
    region for code in COUNTRY_CODE_TO_REGION_CODE for region in regions_of(code) if region.name != "001"
]


def written_by(region: Region, digits: str) -> Iterator[str]:
    """The numbers that a country writes at home as these digits, by its plan alone."""
    if region.assigns(digits) and region.writes_bare(digits):
        yield f"{region.code}{digits}"
    national = digits.removeprefix(region.prefix)
    if national != digits and is_valid(f"{region.code}{national}"):
        yield f"{region.code}{national}"


@given(st.from_regex("[1-9][0-9]{3,13}", fullmatch=True))
def test_every_country_is_asked(digits: str) -> None:
    """Whatever digits a cell has, no country that would write a number so is passed over."""
    expected = {reading for region in REGIONS for reading in written_by(region, digits)}
    assert set(readings_at_home(digits)) - {digits} == expected - {digits}
