"""The sandbox's rate limit: exact in every window, and told in every form."""

from __future__ import annotations

import asyncio
from collections import Counter
from email.utils import parsedate_to_datetime
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.bland.sandbox_memory import BusiestSecond
from batch.bland.sandbox_options import Limit
from tests.bland.sandbox_client import sandboxed

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


_GAPS = st.lists(st.floats(0, 0.4) | st.sampled_from([0.0, 0.1, 1.0, 2.5]), max_size=120)


def most_in_a_window(times: list[float], length_s: float) -> int:
    """The most times that any window of this length holds, counted the slow way."""
    return max((sum(t <= other < t + length_s for other in times) for t in times), default=0)


@given(gaps=_GAPS, count=st.integers(1, 8))
def test_no_window_holds_more_than_the_limit_and_no_room_is_wasted(gaps: list[float], count: int) -> None:
    """Whenever a second begins, at most the limit is admitted in it; what would have fitted is admitted."""
    limit, admitted = Limit(f"{count}/s"), list[float]()
    for now in accumulate(gaps, initial=1000.0):
        wait_s = limit.admit_s(now)
        recent = sum(now - 1.0 < then for then in admitted)
        assert (wait_s == 0) == (recent < count)
        assert 0 <= wait_s <= 1
        if wait_s == 0:
            admitted.append(now)
    assert most_in_a_window(admitted, 1.0) <= count


@given(gaps=_GAPS)
def test_several_limits_hold_at_once(gaps: list[float]) -> None:
    """With `3/s, 5/m` neither the seconds nor the minutes hold more."""
    limit, admitted = Limit("3/s, 5/m"), list[float]()
    for now in accumulate(gaps, initial=1000.0):
        if limit.admit_s(now) == 0:
            admitted.append(now)
    assert most_in_a_window(admitted, 1.0) <= 3
    assert most_in_a_window(admitted, 60.0) <= 5


@given(gaps=_GAPS)
def test_the_busiest_second_is_found_wherever_it_begins(gaps: list[float]) -> None:
    """What a rolling count finds is what counting every window finds."""
    times = list(accumulate(gaps, initial=1000.0))
    busiest = BusiestSecond()
    for now in times:
        busiest.add(now)
    # The rolling count closes its windows at an arrival, this one opens them at one: it is the same most.
    assert busiest.most == max(sum(now - 1.0 < t <= now for t in times) for now in times)


async def test_beyond_the_limit_nothing_is_applied() -> None:
    """Of two hundred changes at once and a limit of twenty, twenty are applied; the others get 429."""
    async with sandboxed(limit="20/h") as client:
        heard = await asyncio.gather(*(client.patch_number(f"+1415555{n:04}") for n in range(200)))
        assert Counter(answer.status for answer in heard) == {200: 20, 429: 180}
        assert len(client.sandbox.applied) == 20
        assert client.sandbox.counts == {"200": 20, "429": 180}
        assert client.sandbox.received == 200
        assert client.sandbox.memory.busiest_let_in.most <= 20


async def test_a_429_comes_in_the_body_that_the_vendor_is_known_to_send() -> None:
    """It is failure body 2: `status` and `message`, no `errors`."""
    async with sandboxed(limit="1/h") as client:
        await client.patch()
        assert (await client.patch()).json == {"status": "error", "message": "Rate limit exceeded"}


async def test_a_limit_lifted_while_it_runs_is_gone() -> None:
    """The control endpoint sets another limit, which begins with an empty window, or none."""
    async with sandboxed(limit="1/h") as client:
        assert [(await client.patch()).status for _ in range(2)] == [200, 429]
        await client.control(limit="2/h")
        assert [(await client.patch()).status for _ in range(3)] == [200, 200, 429]
        await client.control(latency="0ms")
        assert (await client.patch()).status == 429
        await client.control(limit=None)
        assert (await client.patch()).status == 200


# --- how it is told ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [None, "soon", "1.5", "-1", "1000000000"])
async def test_retry_after_takes_every_form(form: str | None) -> None:
    """Any text is sent as it is, and None sends no such header."""
    async with sandboxed(limit="1/m", retry_after=form) as client:
        await client.patch()
        assert (await client.patch()).headers.get("Retry-After") == form


async def test_retry_after_says_when_there_is_room() -> None:
    """By itself it is the whole seconds until one more change would be let in, rounded up."""
    async with sandboxed(limit="1/m") as client:
        await client.patch()
        assert 50 <= int((await client.patch()).headers["Retry-After"]) <= 60


@pytest.mark.parametrize(
    ("form", "low_s", "high_s"), [("auto-date", 59, 61), ("date+5", 5, 6), ("date-5", -6, -4)]
)
@pytest.mark.parametrize("clock_offset_s", [0.0, 3600.0, -3600.0])
async def test_retry_after_can_be_a_date_of_the_servers_clock(
    form: str, low_s: float, high_s: float, clock_offset_s: float
) -> None:
    """The date fits the answer's own `Date`, however wrong the server's clock is."""
    async with sandboxed(limit="1/m", retry_after=form, clock_offset_s=clock_offset_s) as client:
        await client.patch()
        headers = (await client.patch()).headers
        gap = parsedate_to_datetime(headers["Retry-After"]) - parsedate_to_datetime(headers["Date"])
        assert low_s - 1 <= gap.total_seconds() <= high_s


@pytest.mark.parametrize("fault", ["429", "503"])
async def test_a_throttling_fault_says_when_to_come_back(fault: str) -> None:
    """A 429 or 503 by chance has the header as well, in the form that was asked for."""
    async with sandboxed(faults={fault: 1.0}, retry_after="7") as client:
        assert (await client.patch()).headers["Retry-After"] == "7"


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ("none", {}),
        ("x-ratelimit", {"X-RateLimit-Limit": "2", "X-RateLimit-Remaining": "1"}),
        ("ratelimit", {"RateLimit-Limit": "2", "RateLimit-Remaining": "1", "RateLimit-Reset": "60"}),
        ("ratelimit-policy", {"RateLimit-Policy": '"default";q=2;w=60', "RateLimit": '"default";r=1;t=60'}),
    ],
)
async def test_the_limit_can_be_told_before_it_is_reached(form: str, headers: dict[str, str]) -> None:
    """`limit_headers` tells limit, room and reset with every answer, in each of the forms in use."""
    async with sandboxed(limit="2/m", limit_headers=form) as client:
        heard = (await client.patch()).headers
        limits = {name: value for name, value in heard.items() if "ratelimit" in name.lower()}
        limits.pop("X-RateLimit-Reset", None)  # the epoch's seconds
        assert limits == headers


async def test_what_is_told_includes_the_epoch_where_that_is_the_custom() -> None:
    """`X-RateLimit-Reset` is in seconds since the epoch, by the widespread custom."""
    async with sandboxed(limit="2/m", limit_headers="x-ratelimit") as client:
        headers = (await client.patch()).headers
        date_s = parsedate_to_datetime(headers["Date"]).timestamp()
        assert 59 <= int(headers["X-RateLimit-Reset"]) - date_s <= 62
