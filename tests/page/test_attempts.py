"""Promises of `batch.page.attempts`: every attempt is counted once, whenever it was, in bars that are few."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from batch.journal.protocol import AttemptRow
from batch.page.attempts import Answer, AttemptTally, answer_of
from batch.target import Verdict

BEGUN = 1_785_200_400.0

HOUR = 3_600.0


def attempt(at: float, verdict: str = "accepted", http_status: int | None = 200) -> AttemptRow:
    return AttemptRow(0, 1, at, 0.1, verdict, http_status, "", "", "")


def tally(*attempts: AttemptRow) -> AttemptTally:
    found = AttemptTally()
    found.add_all(attempts)
    return found


def test_every_answer_is_of_one_kind() -> None:
    """429 and 503 are waits, unless they were a success or a refusal; what is left is a fault."""
    kinds = {
        (verdict, status): answer_of(verdict, status)
        for verdict in Verdict
        for status in (None, 200, 429, 503, 500)
    }
    assert Counter(kinds.values()) == {Answer.ACCEPTED: 5, Answer.REFUSED: 5, Answer.WAIT: 4, Answer.FAULT: 6}
    assert kinds[Verdict.TRANSIENT, 429] is kinds[Verdict.AMBIGUOUS, 503] is Answer.WAIT
    assert kinds[Verdict.AMBIGUOUS, None] is Answer.FAULT


@given(
    st.lists(
        st.tuples(st.floats(0, 40 * 86_400), st.sampled_from([*Verdict]), st.sampled_from([None, 200, 429])),
        min_size=1,
        max_size=60,
    ),
    st.integers(5, 120),
)
def test_bars_add_up(sends: list[tuple[float, Verdict, int | None]], most: int) -> None:
    """Whenever attempts were, the bars hold each of them once, in order, none before or after its stretch."""
    found = tally(*(attempt(BEGUN + at, verdict, status) for at, verdict, status in sends))
    stretches = found.stretches(most)
    counted: Counter[Answer] = Counter()
    for stretch in stretches:
        assert stretch.from_at == stretch.bars[0].from_at
        assert stretch.to_at == stretch.bars[-1].to_at
        for bar in stretch.bars:
            counted.update(bar.counts)
    assert counted == Counter(answer_of(verdict, status) for _, verdict, status in sends)
    edges = [edge for stretch in stretches for bar in stretch.bars for edge in (bar.from_at, bar.to_at)]
    assert edges == sorted(edges)
    assert sum(len(stretch.bars) for stretch in stretches) <= most + len(stretches)


def test_a_bar_is_in_one_stretch_alone() -> None:
    """Six attempts, five days apart: whatever the breaks that are cut, no bar is shown twice."""
    found = tally(*(attempt(BEGUN + nth * 431_999) for nth in range(6)))
    bars = [bar for stretch in found.stretches(5) for bar in stretch.bars]
    assert sum(bar.counts[Answer.ACCEPTED] for bar in bars) == 6
    assert len({bar.from_at for bar in bars}) == len(bars)


def test_bars_have_widths_that_people_know() -> None:
    """Forty minutes at one a second are bars of half a minute, with thirty attempts each."""
    found = tally(*(attempt(BEGUN + second) for second in range(2_400)))
    (stretch,) = found.stretches(100)
    assert {bar.to_at - bar.from_at for bar in stretch.bars} == {30}
    assert {count for bar in stretch.bars for count in bar.counts.values()} == {30}


def test_a_long_break_cuts_the_axis() -> None:
    """A run that was stopped and went on four hours later is two stretches, and the hours are not sent in."""
    begun = [attempt(BEGUN + second) for second in range(600)]
    later = [attempt(BEGUN + 4 * HOUR + second) for second in range(600)]
    found = tally(*begun, *later)
    first, second = found.stretches(100)
    assert (first.from_at, first.to_at) == (BEGUN, BEGUN + 600)
    assert (second.from_at, second.to_at) == (BEGUN + 4 * HOUR, BEGUN + 4 * HOUR + 600)
    assert found.has_breaks
    assert found.sending_s == 1_200


def test_a_pause_does_not_cut_the_axis() -> None:
    """A quarter of an hour in which the API was waited for is a part of the picture."""
    found = tally(*(attempt(BEGUN + second) for second in range(3_000) if not 1_000 < second < 1_900))
    assert len(found.stretches(100)) == 1
    assert not found.has_breaks


def test_there_are_never_many_stretches() -> None:
    """Of the breaks between five evenings, only three cut the axis."""
    found = tally(*(attempt(BEGUN + day * 86_400 + second) for day in range(5) for second in range(600)))
    assert len(found.stretches(100)) == 4


def test_nothing_sent_has_no_bars() -> None:
    """A run without attempts has no stretches, and divides nothing by nothing."""
    found = tally()
    assert found.stretches(100) == ()
    assert found.sending_s == 1.0
    assert not found.has_breaks


def test_a_week_of_sending_is_counted_in_bounded_memory() -> None:
    """More seconds than are held one by one are joined, and still every attempt is counted."""
    found = tally(*(attempt(BEGUN + 11 * step) for step in range(60_000)))
    stretches = found.stretches(100)
    assert sum(sum(bar.counts.values()) for stretch in stretches for bar in stretch.bars) == 60_000
    assert found.answers[Answer.ACCEPTED] == 60_000
    assert len(found._bins) <= 20_000 * len(Answer)
