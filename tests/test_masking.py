"""Masking: no phone number as a whole in a log, and everything else as it was."""

from __future__ import annotations

import pytest

from batch.masking import masked, masked_value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no such number +14155550111 (request 7)", "no such number +14155…11 (request 7)"),
        ("+14155550100..+14155550199", "+14155…00..+14155…99"),
        ("+14155550100..0199", "+14155…99"),
        ('"14155550100" has no +', '"141555…00" has no +'),
        ("4155550100 is too short", "415555…00 is too short"),
        ("call (415) 555-0100 or 415-555-0100", "call (415) …00 or 415-55…00"),
        ("+44 20 7946 0018 and +1 (415) 555-0100", "+44 20…18 and +1 (41…00"),
        ("14155550100: blank", "141555…00: blank"),
        ("+１４１５５５５０１００", "+１４１５５…００"),
    ],
)
def test_numbers_lose_their_middle(text: str, shown: str) -> None:
    """Whatever notation a sheet has them in."""
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "Run 20261123-135402-1: completed",
        "at 2026-11-23T13:54:04.937Z, 340 of 1000000 done",
        "numbers-20261123120000.csv:7 phone_number: blank",
        "digest b22a0f37fb0aa0dd5a3f49210b7409dd05bd7e1cd11dc9a16e31e1662bcc575c",
        '"1.41556E+10" has lost digits',
        "https://hooks.example.com:8443/14155550100",
        "port 5061, row 123456, 12345678 bytes",
    ],
)
def test_all_else_stays(text: str) -> None:
    """Run ids, times, digests, file names and counts are what a log is read for."""
    assert masked(text) == text


def test_values_are_masked_to_any_depth() -> None:
    """Texts anywhere in an event; names, counts and flags stay."""
    value = {"problems": [{"message": "+14155550100", "row": 14155550100}], "ok": True, "none": None}
    assert masked_value(value) == {
        "problems": [{"message": "+14155…00", "row": 14155550100}],
        "ok": True,
        "none": None,
    }
