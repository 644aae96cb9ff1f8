"""How fast the headers of an answer say that one may go."""

from __future__ import annotations

import pytest

from batch.bland.pace import rate_per_s

DATE = {"date": "Wed, 15 Jul 2026 10:37:17 GMT"}
NOW_S = 1784111837


@pytest.mark.parametrize(
    ("fields", "rate"),
    [
        ({"ratelimit-policy": "100;w=50"}, 2.0),
        ({"ratelimit-policy": '"burst";q=100;w=50'}, 2.0),
        ({"ratelimit-policy": '"a";q=100;w=10, "b";q=120;w=60'}, 2.0),
        ({"ratelimit-limit": "100, 100;w=50"}, 2.0),
        ({"ratelimit": "limit=100, remaining=100, reset=50"}, 2.0),
        ({"ratelimit": '"default";r=41;t=21'}, 2.05),
        ({"x-ratelimit-limit": "100", "x-ratelimit-remaining": "99", "x-ratelimit-reset": "50"}, 2.0),
        ({"x-rate-limit-limit": "100", "x-rate-limit-reset": "50"}, 2.0),
        ({"x-ratelimit-limit": "100", "x-ratelimit-reset": str(NOW_S + 50), **DATE}, 2.0),
        ({"x-ratelimit-limit": "100", "x-ratelimit-reset": str((NOW_S + 50) * 1000), **DATE}, 2.0),
    ],
)
def test_limit_is_read_in_every_form(fields: dict[str, str], rate: float) -> None:
    """The drafts' three forms and the older headers, with delays and with times, say the same."""
    assert rate_per_s(fields, now_s=0) == pytest.approx(rate)


def test_what_others_used_up_is_counted() -> None:
    """With little left of a long window, only that little is spread over its rest."""
    fields = {"x-ratelimit-limit": "600", "x-ratelimit-remaining": "58", "x-ratelimit-reset": "30"}
    assert rate_per_s(fields, now_s=0) == pytest.approx(2.0)


@pytest.mark.parametrize("remaining", ["0", "1", "49"])
def test_end_of_a_short_window_slows_nothing_down(remaining: str) -> None:
    """At 50 a second, going at exactly that, there is hardly anything left at each second's end."""
    fields = {"x-ratelimit-limit": "50", "x-ratelimit-remaining": remaining, "x-ratelimit-reset": "1"}
    assert rate_per_s(fields, now_s=0) == 50.0


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"x-ratelimit-limit": "many", "x-ratelimit-reset": "-5"},
        {"x-ratelimit-limit": "0", "x-ratelimit-reset": "5"},
        {"x-ratelimit-limit": "9" * 400, "x-ratelimit-reset": "5"},
        {"ratelimit-policy": "50000;w=86400"},
        {"ratelimit-policy": "100;w=0"},
        {"ratelimit-policy": '"bytes";q=100;w=60;qu="content-bytes"'},
        {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4000", "x-ratelimit-reset": "86400"},
        {"x-ratelimit-limit": "100", "x-ratelimit-reset": str(NOW_S - 5), **DATE},
    ],
)
def test_nonsense_and_daily_quotas_set_no_rate(fields: dict[str, str]) -> None:
    """A quota for the day does not make a run of an hour crawl."""
    assert rate_per_s(fields, now_s=0) is None
