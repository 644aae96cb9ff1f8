"""Promises of `batch.bland.reading`: each shape of the API's reads is understood, none is taken for more."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from batch.bland.api import BlandTarget
from batch.bland.credentials import ApiKey
from batch.bland.reading import attached_of, shown_of
from batch.bland.sandbox import serve
from batch.bland.sandbox_options import SandboxOptions
from batch.read_back.readable import AttachedNumbers, Readable, Shown
from batch.target import Outcome, Verdict

NUMBER = "+14155550100"
OK = Outcome(Verdict.ACCEPTED, http_status=200)
CODECS = {"codecs": ["PCMU"], "transcode": True}
BODY = b'{"codec_config":{"codecs":["PCMU"],"transcode":true}}'

SIDE = {"number": NUMBER, "direction": "inbound", "options": {}, "headers": {}, "sip_endpoint": "sip:x"}


@pytest.mark.parametrize(
    "side",
    [
        {**SIDE, "codec_config": CODECS},
        {**SIDE, "options": {"codec_config": CODECS, "other": 1}},
        {**SIDE, "codec_config": CODECS, "options": {"codec_config": {"codecs": ["stale"]}}},
        {**SIDE, "codec_config": CODECS, "options": None},
        {"codec_config": CODECS, "phone_number": "14155550100"},
    ],
)
def test_blocks_are_found_on_the_side_or_in_its_options(side: dict[str, Any]) -> None:
    """Wherever a block stands it is shown; what stands on the side itself counts for more."""
    found = {"data": {"inbound": side, "outbound": None}, "errors": None}
    assert shown_of(NUMBER, OK, found) == Shown({"inbound": {"codec_config": CODECS}, "outbound": None})


@pytest.mark.parametrize(
    "found",
    [
        {"data": [{**SIDE, "codec_config": CODECS}]},
        {"data": {**SIDE, "codec_config": CODECS}},
        {"inbound": {**SIDE, "codec_config": CODECS}},
    ],
)
def test_other_plausible_shapes_are_understood(found: object) -> None:
    """A list of sides, one side alone, no envelope; a direction that nothing is said of stays out."""
    assert shown_of(NUMBER, OK, found) == Shown({"inbound": {"codec_config": CODECS}})


def test_a_side_of_another_number_shows_nothing() -> None:
    """An answer about another number must verify nothing."""
    side = {**SIDE, "number": "+14155550999", "codec_config": CODECS}
    assert shown_of(NUMBER, OK, {"data": {"inbound": side}}) is None


@pytest.mark.parametrize(
    "found", [None, [], {}, {"data": None}, {"data": "text"}, {"data": {"inbound": 7}}, 5]
)
def test_a_shape_that_says_nothing_shows_nothing(found: object) -> None:
    """It is not taken for a number that is missing."""
    assert shown_of(NUMBER, OK, found) is None


@pytest.mark.parametrize(("code", "status"), [("NOT_FOUND", 404), ("HTTP_404", 404), ("GONE", 410)])
def test_a_number_that_is_not_there_has_nothing_in_either_direction(code: str, status: int) -> None:
    """404 and 410 say so."""
    refused = Outcome(Verdict.REFUSED, http_status=status, error_code=code)
    assert shown_of(NUMBER, refused, None) == Shown({"inbound": None, "outbound": None})


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(Verdict.REFUSED, http_status=404, error_code="SIP_NOT_ENABLED"),
        Outcome(Verdict.REFUSED, http_status=400, error_code="BAD_REQUEST"),
        Outcome(Verdict.TRANSIENT, http_status=503),
        Outcome(Verdict.AMBIGUOUS, error_code="RESET"),
    ],
)
def test_any_other_failure_shows_nothing(outcome: Outcome) -> None:
    """An account without SIP, a refusal, a lost answer: nothing is known of the number."""
    assert shown_of(NUMBER, outcome, None) is None


def listed(attached: AttachedNumbers | None) -> dict[int, int]:
    assert attached is not None
    return dict(zip(attached.numbers.tolist(), attached.directions.tolist(), strict=True))


@pytest.mark.parametrize(
    "numbers",
    [
        [
            {"phone_number": "+14155550101", "directions": ["outbound"], "health_status": "healthy"},
            {"phone_number": NUMBER, "directions": ["inbound", "outbound"]},
        ],
        [
            {"phone_number": NUMBER, "direction": "inbound", "status": "healthy"},
            {"phone_number": "+14155550101", "direction": "outbound", "status": "unchecked"},
            {"phone_number": NUMBER, "direction": "outbound", "status": "healthy"},
        ],
        [{"number": NUMBER, "direction": "both"}, {"phone_number": "14155550101", "direction": "outbound"}],
        [NUMBER, {"phone_number": "+14155550101", "directions": ["outbound"]}],
    ],
)
def test_both_shapes_of_the_list_are_understood(numbers: list[Any]) -> None:
    """By number with its directions, or a line a direction; sorted by number; both where nothing is said."""
    assert listed(attached_of({"data": {"numbers": numbers}, "errors": None})) == {
        14155550100: 0b11,
        14155550101: 0b10,
    }


def test_what_is_no_number_is_counted_apart() -> None:
    """Extensions and DIDs that are no E.164 numbers are not taken for some."""
    attached = attached_of(
        {"data": {"numbers": [{"phone_number": "ext-100"}, {}, 7, {"phone_number": NUMBER}]}}
    )
    assert attached is not None
    assert (listed(attached), attached.others, attached.is_whole) == ({14155550100: 0b11}, 3, True)


@pytest.mark.parametrize(
    "more",
    [
        {"has_more": True},
        {"next_cursor": "abc"},
        {"total": 2},
        {"pagination": {"next": "/v1/sip/numbers?page=2"}},
    ],
)
def test_a_list_that_goes_on_is_not_whole(more: dict[str, Any]) -> None:
    """If the answer says that there is more, nothing is to be concluded from what is not in it."""
    inside = attached_of({"data": {"numbers": [NUMBER], **more}})
    beside = attached_of({"data": {"numbers": [NUMBER]}, **more})
    assert inside is not None
    assert beside is not None
    assert not inside.is_whole
    assert not beside.is_whole


@pytest.mark.parametrize("found", [None, {}, {"data": None}, {"data": {"numbers": None}}, "text"])
def test_what_is_no_list_is_none(found: object) -> None:
    """It is not an account without numbers."""
    assert attached_of(found) is None


def test_an_empty_list_is_an_account_without_numbers() -> None:
    """That is an answer."""
    assert listed(attached_of({"data": {"numbers": []}})) == {}


# --- over HTTP ----------------------------------------------------------------------------------


def read(options: SandboxOptions, *numbers: str) -> list[Any]:
    """What is read of these numbers after `NUMBER` was configured outbound, and then the list."""

    async def main() -> list[Any]:
        async with serve(options) as sandbox:
            target = BlandTarget(sandbox.base_url, ApiKey("k", source="test"), connections=2)
            assert isinstance(target, Readable)
            async with target:
                await target.send(NUMBER, "outbound", BODY)
                return [
                    *[await target.read_number(number) for number in numbers],
                    await target.read_numbers(),
                ]

    return anyio.run(main)


@pytest.mark.parametrize(
    ("show", "blocks"),
    [("none", {}), ("side", {"codec_config": CODECS}), ("options", {"codec_config": CODECS})],
)
def test_number_is_read_from_the_sandbox(show: Any, blocks: dict[str, Any]) -> None:
    """What the sandbox shows, and where it shows it, is what is read."""
    (outcome, shown), _ = read(SandboxOptions(show_blocks=show), NUMBER)
    assert outcome.verdict is Verdict.ACCEPTED
    assert shown == Shown({"inbound": None, "outbound": blocks})


@pytest.mark.parametrize("form", ["", "1", "2", "3", "4", "5"])
def test_number_that_is_not_attached_is_missing(form: str) -> None:
    """In whichever body the API says so."""
    options = SandboxOptions(numbers=[NUMBER], failure_form=form)
    (outcome, shown), _ = read(options, "+14155550199")
    assert outcome.verdict is Verdict.REFUSED
    assert shown == Shown({"inbound": None, "outbound": None})


@pytest.mark.parametrize("form", ["directions", "direction"])
def test_list_is_read_from_the_sandbox(form: Any) -> None:
    """Both shapes give the same numbers with the same directions."""
    numbers = {NUMBER: ("outbound",), "+442079460018": ("inbound", "outbound")}
    ((outcome, attached),) = read(SandboxOptions(numbers=numbers, numbers_form=form))
    assert outcome.verdict is Verdict.ACCEPTED
    assert listed(attached) == {14155550100: 0b10, 442079460018: 0b11}


def test_refused_key_is_told_with_its_scope() -> None:
    """A 401 reads nothing, and says that the key is the fault."""

    async def main() -> Any:
        key = ApiKey("wrong", source="test")
        async with (
            serve(SandboxOptions(key="right")) as sandbox,
            BlandTarget(sandbox.base_url, key, connections=1) as target,
        ):
            return await target.read_numbers(), await target.read_number(NUMBER)

    (listing, attached), (reading, shown) = anyio.run(main)
    assert (listing.http_status, attached) == (401, None)
    assert (reading.http_status, shown) == (401, None)
