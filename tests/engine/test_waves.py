"""Waves: which requests go first, how far each wave goes, and what is left of them after a stop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.engine.waves import (
    FEW,
    Canary,
    Reach,
    Waves,
    calling_codes,
    choose,
    groups_of,
    parse_canary,
    parse_waves,
    within,
)
from batch.errors import UsageError
from batch.journal.protocol import Left, Shard

US, GERMAN, BRITISH = 14_155_550_100, 4_930_901_820, 442_079_460_000


def left_of(numbers: list[int], *, seqs: list[int] | None = None, templates: int = 1) -> Left:
    """What is left where each number is a request; templates take turns, directions change every second."""
    at = np.arange(len(numbers))
    return Left(
        np.array(at if seqs is None else seqs, dtype=np.int64),
        np.array(numbers, dtype=np.int64),
        (at // 2 % 2).astype(np.uint8),
        (at % templates).astype(np.int64),
    )


def chosen(left: Left, canary: Canary | None = None, waves: str = "", **how: object) -> Waves:
    reaches = parse_waves(waves) if waves else ()
    found = choose(left, **{"canary": canary, "reaches": reaches, "total": len(left.seqs), **how})
    assert found is not None
    return found


# --- as they are written ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "means"), [("50", 50), (" auto ", "auto"), ("AUTO", "auto"), ("1", 1), ("007", 7)]
)
def test_a_canary_is_a_number_or_auto(text: str, means: Canary) -> None:
    """As people write it."""
    assert parse_canary(text) == means


@pytest.mark.parametrize("text", ["0", "-1", "5%", "1.5", "", "all", "9999999999"])
def test_any_other_canary_is_refused_with_what_is_accepted(text: str) -> None:
    """None, a share, a fraction: the message shows a number and the word."""
    with pytest.raises(UsageError, match="such as 50, or auto"):
        parse_canary(text)


def test_waves_are_shares_or_numbers() -> None:
    """Counted from the beginning of the run, and told as they were written."""
    waves = parse_waves("100, 1%,12.5% ,100%")
    assert waves == (Reach(100), Reach(share=0.01), Reach(share=0.125), Reach(share=1.0))
    assert [str(reach) for reach in waves] == ["100", "1%", "12.5%", "100%"]


@pytest.mark.parametrize("text", ["", "1%,", "0%", "0", "101%", "1.5", "-1%", "half", "1%;10%", "%"])
def test_any_other_waves_are_refused_with_what_is_accepted(text: str) -> None:
    """The message shows both ways."""
    with pytest.raises(UsageError, match="such as 1%,10%,100% or 100,1000,100%"):
        parse_waves(text)


@pytest.mark.parametrize("text", ["10%,1%", "5,5", "1%,10%,10%"])
def test_waves_must_grow(text: str) -> None:
    """A wave that goes no further than the one before is a slip."""
    with pytest.raises(UsageError, match="goes no further than"):
        parse_waves(text)


@pytest.mark.parametrize(
    ("reach", "total", "count"),
    [
        (Reach(share=0.01), 1_000, 10),
        (Reach(share=0.1), 1_000, 100),
        (Reach(share=0.07), 100, 7),  # 0.07 * 100 is 7.000000000000001
        (Reach(share=0.01), 50, 1),
        (Reach(share=1.0), 7, 7),
        (Reach(30), 20, 20),
    ],
)
def test_a_share_is_rounded_up_and_never_by_its_floats(reach: Reach, total: int, count: int) -> None:
    """1 % of 50 is one request, 7 % of 100 are seven."""
    assert reach.of(total) == count


# --- what goes first --------------------------------------------------------------------------------


def test_calling_codes_are_those_of_the_numbering_plans() -> None:
    """One digit, two or three; 0 where no country has them."""
    numbers = [US, GERMAN, BRITISH, 35_312_345_678, 390_612_345_678, 99_900_000_000, 7_495_123_4567]
    assert calling_codes(np.array(numbers)).tolist() == [1, 49, 44, 353, 39, 0, 7]
    assert calling_codes(np.array([], dtype=np.int64)).tolist() == []


def test_the_first_wave_has_one_of_every_template_direction_and_country() -> None:
    """Even if fewer were asked for, and wherever they stand in the sheet."""
    left = left_of([US] * 90 + [GERMAN] * 3 + [BRITISH], templates=2)
    waves = chosen(left, 1)
    first = waves.order[: waves.ends[0]]
    assert set(groups_of(left)[first].tolist()) == set(groups_of(left).tolist())
    assert len(first) == len(set(groups_of(left).tolist())) == 8


def test_an_automatic_canary_has_a_few_of_each() -> None:
    """Three where there are three, else all there are."""
    left = left_of([US] * 40 + [GERMAN] * 2)
    waves = chosen(left, "auto")
    groups = groups_of(left)[waves.order[: waves.ends[0]]].tolist()
    assert sorted(groups.count(group) for group in set(groups)) == [2, FEW, FEW]


def test_a_larger_canary_has_a_few_of_each_and_then_goes_by_the_sheet() -> None:
    """Fifty requests are not the fifty of the customer who stands first."""
    left = left_of([US] * 100 + [GERMAN] * 100)
    first = chosen(left, 20).order[:20]
    assert (first >= 100).sum() == 2 * FEW
    assert first[first < 100].tolist() == list(range(14))


def test_a_canary_larger_than_the_run_is_all_of_it() -> None:
    """There is one wave then."""
    waves = chosen(left_of([US] * 5), 50)
    assert (waves.ends, waves.is_canary) == ((5,), True)


def test_waves_grow_behind_the_canary() -> None:
    """Each goes as far as it says, counted from the beginning."""
    waves = chosen(left_of([US] * 1_000), 20, "1%,10%,100%")
    assert waves.widths == (20, 80, 900)  # 1 % is within the canary
    assert waves.is_canary


def test_waves_without_a_canary_begin_with_one_of_each_all_the_same() -> None:
    """The first wave is as wide as it says, and picks from the whole sheet."""
    left = left_of([US] * 900 + [GERMAN] * 100)
    waves = chosen(left, None, "1%,100%")
    assert waves.widths == (10, 990)
    assert (waves.order[:10] >= 900).sum() >= 2
    assert not waves.is_canary


def test_the_last_wave_takes_what_is_left() -> None:
    """Whether it is named or not."""
    assert chosen(left_of([US] * 100), None, "10%").widths == (10, 90)


def test_without_canary_and_waves_there_are_none() -> None:
    """And none of a run of which nothing is left."""
    assert choose(left_of([US]), canary=None, reaches=(), total=1) is None
    assert choose(left_of([]), canary=5, reaches=(), total=9) is None


# --- after a stop -----------------------------------------------------------------------------------


def test_a_run_goes_on_with_the_wave_that_it_was_in() -> None:
    """Its waves are counted from its beginning, not from where it was stopped."""
    left = left_of([US] * 450, seqs=list(range(550, 1_000)))
    waves = chosen(left, 20, "10%,60%,100%", total=1_000, is_begun=True)
    assert waves.widths == (50, 400)
    assert waves.passed == 2
    assert waves.first_count == 0
    assert not waves.is_canary
    assert waves.spans(50) == [Shard(0, 600)]


def test_a_canary_that_did_not_pass_is_begun_anew() -> None:
    """With requests that are left, one of each again."""
    left = left_of([US] * 30 + [GERMAN] * 10, seqs=list(range(10, 50)))
    waves = chosen(left, 10, "50%", total=50)
    assert waves.is_canary
    assert (waves.passed, waves.widths) == (0, (10, 5, 25))


def test_a_first_wave_without_canary_that_was_cut_short_covers_all_that_is_left() -> None:
    """What it had sent counts; one of each that is left is still sent before the others."""
    left = left_of([US] * 50 + [GERMAN] * 49, seqs=list(range(1, 100)))
    waves = chosen(left, None, "2%,100%", total=100)
    groups = groups_of(left)
    assert waves.ends[0] == len(set(groups.tolist())) == 4


# --- as spans ---------------------------------------------------------------------------------------


def test_spans_of_the_first_wave_hold_its_requests_alone() -> None:
    """They are claimed one by one; all others wait."""
    left = left_of([US] * 4 + [GERMAN] * 4, seqs=[0, 1, 2, 5, 6, 7, 8, 9])
    waves = chosen(left, 1)
    assert waves.spans(waves.ends[0]) == [Shard(0, 1), Shard(2, 3), Shard(6, 7), Shard(8, 9)]
    assert waves.spans(0) == []


def test_the_last_span_is_open() -> None:
    """The last wave leaves nothing behind."""
    waves = chosen(left_of([US] * 9), 2)
    assert waves.spans(9) == [Shard(0, 1 << 62)]


def test_the_requests_of_one_wave_can_be_had_alone() -> None:
    """To be read back, when it is through."""
    waves = chosen(left_of([US] * 6 + [GERMAN] * 2), None, "4,100%")
    inside = {seq for shard in waves.between(0, 4) for seq in range(*shard)}
    after = {seq for shard in waves.between(4, 8) for seq in range(*shard)}
    assert inside | after == set(range(8))
    assert not inside & after


SHARDS = st.lists(st.integers(0, 60), max_size=12, unique=True).map(
    lambda cuts: [Shard(a, b) for a, b in zip(sorted(cuts)[::2], sorted(cuts)[1::2], strict=False)]
)


@given(SHARDS, SHARDS)
def test_within_is_what_lies_in_both(spans: list[Shard], shards: list[Shard]) -> None:
    """Exactly the common requests, in order, none twice."""
    both = [seq for shard in within(spans, shards) for seq in range(shard.first, shard.end)]
    assert both == sorted(
        {seq for shard in spans for seq in range(*shard)} & {seq for shard in shards for seq in range(*shard)}
    )


@given(
    st.lists(st.sampled_from([US, GERMAN, BRITISH]), min_size=1, max_size=60),
    st.one_of(st.none(), st.just("auto"), st.integers(1, 80)),
    st.sampled_from(["", "1%,10%,100%", "3,50%", "5,20,30"]),
    st.integers(0, 40),
    st.booleans(),
    st.integers(1, 4),
)
def test_waves_hold_every_request_once_and_grow(
    numbers: list[int], canary: Canary | None, waves: str, ended: int, is_begun: bool, templates: int
) -> None:
    """Whatever is left and whatever is asked for: nothing is lost, nothing is in two waves, none is empty."""
    left = left_of(numbers, seqs=list(range(ended, ended + len(numbers))), templates=templates)
    found = choose(
        left,
        canary=canary,
        reaches=parse_waves(waves) if waves else (),
        total=ended + len(numbers),
        is_begun=is_begun,
    )
    if found is None:
        assert canary is None
        assert not waves
        return
    assert sorted(found.order.tolist()) == left.seqs.tolist()
    assert all(width > 0 for width in found.widths)
    assert sum(found.widths) == len(numbers)
    for end in found.ends:
        spanned = {seq for seq in left.seqs.tolist() for s in found.spans(end) if s.first <= seq < s.end}
        assert set(found.order[found.first_count : end].tolist()) <= spanned
        assert spanned <= set(found.order[:end].tolist())
        assert end > found.first_count or spanned == set(found.order[:end].tolist())
    if not is_begun:
        first = found.order[: found.ends[0]] - ended
        assert set(groups_of(left)[first].tolist()) == set(groups_of(left).tolist())
