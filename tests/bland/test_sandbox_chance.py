"""Which request meets which fault and which latency: the same again for the same seed."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.bland.faults import OK, Dice, FaultKind, parse_fault, roll
from batch.bland.sandbox import ANY_KEY, Reply
from batch.bland.sandbox_options import Latency
from batch.errors import UsageError
from tests.bland.sandbox_client import KEY, Client, sandboxed

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def everyone(*faults: str | Reply) -> dict[str, Any]:
    """Options by which the first arrivals of every key meet these faults."""
    return {"script": {ANY_KEY: faults}}


# --- which request meets which fault ----------------------------------------------------------------

MIXED = {"503": 0.2, "200/1": 0.2, "ok/null": 0.2, "reset_after": 0.1}


async def outcomes(client: Client, numbers: list[str], *, at_once: bool) -> dict[tuple[str, str], list[str]]:
    """Three changes of every number, one after another or all numbers at once; the faults that each met."""

    async def thrice(number: str) -> None:
        for _ in range(3):
            try:
                await client.patch_number(number)
            except aiohttp.ClientError:
                continue

    if at_once:
        await asyncio.gather(*(thrice(number) for number in numbers))
    else:
        for number in numbers:
            await thrice(number)
    met: dict[tuple[str, str], list[str]] = {}
    for event in client.sandbox.memory.log:
        if event.fault:
            met.setdefault((event.phone_number, event.direction), []).append(event.fault)
    return met


async def test_the_same_seed_brings_the_same_faults_in_any_order() -> None:
    """What a key's n-th arrival meets depends on seed, key and n, not on what else is going on."""
    numbers = [f"+1415555{n:04}" for n in range(40)]
    async with sandboxed(faults=MIXED, seed=7) as client:
        in_turn = await outcomes(client, numbers, at_once=False)
    async with sandboxed(faults=MIXED, seed=7) as client:
        at_once = await outcomes(client, numbers[::-1], at_once=True)
    async with sandboxed(faults=MIXED, seed=8) as client:
        otherwise = await outcomes(client, numbers, at_once=False)
    assert in_turn == at_once
    assert in_turn != otherwise
    assert {fault for met in in_turn.values() for fault in met} == {*MIXED, "ok"}


async def test_what_is_turned_away_uses_up_no_chance() -> None:
    """A wrong key and an invalid body leave the script, and the dice, where they were."""
    async with sandboxed(key="good", **everyone("503", "404")) as client:
        heard = [
            await client.patch(key="good"),
            await client.patch(key="bad"),
            await client.patch_number(KEY[0], key="good", headers={"Content-Type": "text/plain"}),
            await client.patch(key="good"),
        ]
        assert [answer.status for answer in heard] == [503, 401, 400, 404]


async def test_a_script_is_for_its_key_and_chance_goes_on_after_it() -> None:
    """A key's own script beats the one for everybody, and after the last step the faults' chances hold."""
    script = {KEY: ["404"], ANY_KEY: ["409", "ok"]}
    async with sandboxed(script=script, faults={"422": 1.0}) as client:
        assert [(await client.patch()).status for _ in range(2)] == [404, 422]
        other = [(await client.patch_number("+14150000001")).status for _ in range(3)]
        assert other == [409, 200, 422]


@pytest.mark.parametrize(
    ("bounds", "statuses"),
    [
        ({"fault_first": 2}, [503, 503, 200, 200]),
        ({"fault_after": 2}, [200, 200, 503, 503]),
        ({"fault_after": 1, "fault_first": 3}, [200, 503, 503, 200]),
        ({"fault_arrivals": 1}, [503, 200, 200, 200]),
    ],
)
async def test_faults_can_be_bound(bounds: dict[str, Any], statuses: list[int]) -> None:
    """Faults for the first requests, after the first ones, or for the first arrivals of each key."""
    async with sandboxed(faults={"503": 1.0}, **bounds) as client:
        assert [(await client.patch()).status for _ in statuses] == statuses


async def test_first_arrivals_are_counted_by_key() -> None:
    """With `fault_arrivals` every key fails first, and succeeds when it comes again."""
    async with sandboxed(faults={"503": 1.0}, fault_arrivals=1) as client:
        for number in ("+14150000001", "+14150000002"):
            assert [(await client.patch_number(number)).status for _ in range(2)] == [503, 200]


async def test_bounds_set_while_it_runs_count_from_then() -> None:
    """`fault_first` by the control endpoint is for the next requests, not for those long past."""
    async with sandboxed() as client:
        await client.patch()
        await client.control(faults={"503": 1.0}, fault_first=1)
        assert [(await client.patch()).status for _ in range(2)] == [503, 200]


@given(seed=st.integers(0, 2**32), n=st.integers(0, 9999), arrival=st.integers(1, 50))
def test_chance_is_a_number_from_0_to_1_and_repeats(seed: int, n: int, arrival: int) -> None:
    """The same seed, key and arrival roll the same; another arrival rolls anew."""
    number = f"+1415555{n:04}"
    rolled = roll(seed, number, "outbound", arrival)
    assert 0 <= rolled.fault < 1
    assert 0 <= rolled.latency < 1
    assert rolled == roll(seed, number, "outbound", arrival)
    assert rolled != roll(seed, number, "inbound", arrival)
    assert rolled != roll(seed, number, "outbound", arrival + 1)


def test_faults_fall_as_often_as_they_should() -> None:
    """Of ten thousand requests a fault of 10 % meets between 9 and 11 %."""
    dice = Dice({"503": 0.1, "hang": 0.05})
    met = [dice.pick(roll(1, f"+1415{n:07}", "outbound", 1).fault) for n in range(10_000)]
    assert 900 < sum(fault.name == "503" for fault in met) < 1100
    assert 400 < sum(fault.kind is FaultKind.HANG for fault in met) < 600
    assert 8300 < met.count(OK) < 8700


@pytest.mark.parametrize(
    "text",
    [
        "",
        "teapot",
        "status",
        "99",
        "600",
        "100",
        "200",
        "204/1",
        "304",
        "200/7",
        "hang/1",
        "hang:CODE",
        "ok/1",
        "ok:CODE",
        "reset_before+applied",
        "503+perhaps",
    ],
)
def test_an_unknown_fault_is_refused_with_all_there_are(text: str) -> None:
    """A fault that makes no sense is a usage error that says how they are written."""
    with pytest.raises(UsageError, match=r"is no fault of the sandbox\. There are: .*reset_after"):
        parse_fault(text)


# --- latency ----------------------------------------------------------------------------------------


async def test_an_answer_takes_its_latency_and_is_applied_before() -> None:
    """The latency lies between applying and answering: a client that gives up has changed the number."""
    async with sandboxed(latency="60s") as client:
        await client.patch_in_vain()
        assert client.sandbox.applied_of(*KEY) == 1


@pytest.mark.parametrize(
    ("text", "low_s", "middle_s", "high_s"),
    [
        ("0ms", 0, 0, 0),
        ("50ms", 0.05, 0.05, 0.05),
        ("0.2s", 0.2, 0.2, 0.2),
        ("20ms..80ms", 0.02, 0.05, 0.08),
        ("lognormal:50ms,0.5", 0, 0.05, 10),
    ],
)
def test_latency_is_fixed_uniform_or_lognormal(
    text: str, low_s: float, middle_s: float, high_s: float
) -> None:
    """Each form has its middle where it says, and keeps within its bounds."""
    latency = Latency(text)
    drawn = [latency.draw_s(n / 1000) for n in range(1000)]
    assert latency.draw_s(0.5) == pytest.approx(middle_s)
    assert all(low_s <= delay_s <= high_s for delay_s in drawn)
    assert drawn == sorted(drawn)
