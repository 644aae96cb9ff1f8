"""What happened to a run as a whole is in its report, in words, with the time of each."""

from __future__ import annotations

from typing import Any

import pytest

from batch.journal.events import Event
from batch.report.happenings import Happening, happenings

AT = 1_785_200_400.0


@pytest.mark.parametrize(
    ("kind", "detail", "text"),
    [
        (
            "began",
            {"left": 5_000, "lost": 0, "rate": "20/s"},
            "Sending began: 5,000 requests were left, at 20/s.",
        ),
        ("paused", {}, "Paused: by the operator."),
        ("continued", {}, "Continued: by the operator."),
        ("rate_changed", {"rate": "5/s", "was": "20/s"}, "Rate changed: by the operator, from 20/s to 5/s."),
        (
            "window_closed",
            {"opens_at": "2026-07-28T20:00:00Z", "wait_s": 9.0},
            "Window closed: nothing is sent until 2026-07-28T20:00:00Z.",
        ),
        (
            "window_opened",
            {"closes_at": "2026-07-29T03:00:00Z"},
            "Window opened: it closes at 2026-07-29T03:00:00Z.",
        ),
        (
            "wave_ended",
            {"wave": 1, "of": 3, "requests": 18, "failed": 0, "is_canary": True, "wait_s": 60.0},
            "Wave 1 of 3 ended: of 18 requests none failed.",
        ),
        (
            "wave_ended",
            {"wave": 2, "of": 3, "requests": 5_400, "failed": 1_200, "is_canary": False, "wait_s": 0.0},
            "Wave 2 of 3 ended: of 5,400 requests 1,200 failed.",
        ),
        ("canary_passed", {"requests": 18}, "Canary passed: all of its 18 requests succeeded."),
        (
            "wave_passed",
            {"wave": 2, "of": 3, "requests": 9, "failed": 0},
            "Wave 2 of 3 passed: the next followed.",
        ),
        (
            "stopped",
            {"reason": "sigint", "message": "interrupted by SIGINT"},
            "Stopped: interrupted by SIGINT.",
        ),
        ("a_kind_of_tomorrow", {"answer": 42}, "A kind of tomorrow"),
    ],
)
def test_each_is_told_in_words(kind: str, detail: dict[str, Any], text: str) -> None:
    """And as it is in the journal, for scripts; what a later version notes is told by its name."""
    told = list(happenings([Event(AT, kind, detail)]))
    assert told == [Happening("2026-07-28T01:00:00.000Z", kind, text, detail)]


def test_waits_are_not_among_it() -> None:
    """A slow API makes hundreds of them: they are counted, and drawn, elsewhere."""
    many = [Event(AT, kind, {}) for kind in ("throttled", "outage", "outage_over")]
    assert list(happenings(many)) == []
