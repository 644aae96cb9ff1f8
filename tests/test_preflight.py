"""Promises of `batch.preflight`: what the account lacks for a plan, and the plan for the account."""

from __future__ import annotations

from dataclasses import replace

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.bland.api import BlandTarget
from batch.bland.credentials import ApiKey
from batch.bland.sandbox import serve
from batch.bland.sandbox_options import SandboxOptions
from batch.clock import Clock
from batch.engine.pacer import Pacer, Rate
from batch.engine.retrying import RetryPolicy
from batch.engine.run_options import RunOptions
from batch.errors import BatchError, CredentialsError, UnreachableError
from batch.plans import Plan
from batch.preflight import ask_numbers, compare_numbers, preflight_json, preflight_text
from batch.read_back.readable import AttachedNumbers
from batch.read_back.rounds import Reader
from batch.target import Outcome
from tests.readings import FAST, NO_KEY, PlayedApi, pacer_of
from tests.simulation.virtual_time import run_virtual
from tests.small_plans import FIRST_NUMBER, small_plan

IN, OUT, BOTH = 0b01, 0b10, 0b11
FIRST, SECOND, THIRD = (FIRST_NUMBER + nth for nth in range(3))


def text_of(plan: Plan, attached: AttachedNumbers) -> str:
    return "\n".join(preflight_text(compare_numbers(plan, attached), "the API"))


def test_an_account_with_all_numbers_needs_no_look() -> None:
    """Every number attached for its directions: no warning, and it is said how many were looked at."""
    text = text_of(small_plan(6), AttachedNumbers.of({FIRST: BOTH, SECOND: BOTH, THIRD: BOTH}))
    assert "warning" not in text
    assert "the API takes the key, and lists 3 numbers" in text
    assert "every number of the plan (3) is attached" in text


def test_what_the_account_lacks_is_named_by_its_first_row() -> None:
    """A number that is not attached is told of once, whatever its requests."""
    found = compare_numbers(small_plan(6), AttachedNumbers.of({FIRST: BOTH, THIRD: BOTH}))
    assert preflight_json(found)["not_attached"] == [
        {"sheet": "numbers.csv", "row": 4, "phone_number": f"+{SECOND}"}
    ]
    assert "1 of the 3 numbers to be configured is not attached to the account: numbers.csv:4" in "\n".join(
        preflight_text(found, "the API")
    )


def test_a_direction_that_is_lacking_is_told_of_each_request() -> None:
    """Inbound alone is attached, and outbound is planned."""
    found = compare_numbers(small_plan(6), AttachedNumbers.of({FIRST: BOTH, SECOND: IN, THIRD: OUT}))
    assert preflight_json(found)["not_in_direction"] == [
        {"sheet": "numbers.csv", "row": 5, "phone_number": f"+{SECOND}", "direction": "outbound"},
        {"sheet": "numbers.csv", "row": 6, "phone_number": f"+{THIRD}", "direction": "inbound"},
    ]
    assert preflight_json(found)["not_attached"] == []


def test_what_the_sheets_forget_is_told() -> None:
    """Attached numbers that no sheet has; it is no warning, since a sheet may be a part on purpose."""
    text = text_of(small_plan(2), AttachedNumbers.of({FIRST: BOTH, SECOND: BOTH, THIRD: BOTH}))
    assert f"2 attached numbers are in no sheet: +{SECOND}, +{THIRD}" in text
    assert "warning" not in text


def test_rejected_rows_may_be_what_seems_forgotten() -> None:
    """Their numbers could not be read."""
    text = text_of(small_plan(2, rejects=1), AttachedNumbers.of({FIRST: BOTH, SECOND: BOTH}))
    assert "1 attached number is in no sheet, or their rows are rejected" in text


def test_many_are_told_by_examples() -> None:
    """Five are named, all are counted, and JSON has all."""
    found = compare_numbers(small_plan(40), AttachedNumbers.of({}))
    text = "\n".join(preflight_text(found, "the API"))
    assert "20 of the 20 numbers to be configured are not attached" in text
    assert "and 15 more (--json lists all)" in text
    assert text.count("numbers.csv:") == 5
    assert len(preflight_json(found)["not_attached"]) == 20  # type: ignore[arg-type]


def test_a_list_that_is_not_whole_is_not_relied_on() -> None:
    """The operator is told that what is not in it may be attached all the same."""
    attached = replace(AttachedNumbers.of({FIRST: BOTH}), is_whole=False, others=2)
    text = text_of(small_plan(4), attached)
    assert "may be attached all the same" in text
    assert "2 entries of it are no E.164 number" in text


@given(
    st.dictionaries(st.integers(FIRST_NUMBER, FIRST_NUMBER + 12), st.integers(0, 3)),
    st.integers(0, 24),
)
def test_every_request_is_attached_or_told_of(attached: dict[int, int], count: int) -> None:
    """By any list and any plan, compared one by one."""
    plan = small_plan(count)
    found = compare_numbers(plan, AttachedNumbers.of(attached))
    lacking = {int(n) for n in plan.numbers if int(n) not in attached}
    assert {int(plan.numbers[at]) for at in found.unattached} == lacking
    assert len(found.unattached) == len(lacking)
    assert found.undirected.tolist() == [
        at
        for at in range(count)
        if int(plan.numbers[at]) in attached
        and not attached[int(plan.numbers[at])] >> int(plan.directions[at]) & 1
    ]
    assert found.forgotten.tolist() == sorted(set(attached) - {int(n) for n in plan.numbers})


# --- over HTTP ----------------------------------------------------------------------------------


def ask(options: SandboxOptions, key: str = "right", *, attempts: int = 2) -> AttachedNumbers:
    """What is asked of a sandbox."""

    async def main() -> AttachedNumbers:
        how = RunOptions(rates=(Rate(100, 1.0),), retry=RetryPolicy(max_attempts=attempts), deadline_s=5.0)
        async with (
            serve(options) as sandbox,
            BlandTarget(sandbox.base_url, ApiKey(key, source="test"), connections=1) as target,
        ):
            clock = Clock()
            return await ask_numbers(target, Reader(how, Pacer(how.rates, now=clock.now), clock), "the API")

    return anyio.run(main)


@pytest.mark.parametrize("form", ["directions", "direction"])
def test_numbers_are_asked_for_in_either_shape(form: str) -> None:
    """Both shapes of the list give the same."""
    numbers = {f"+{FIRST}": ("inbound",), f"+{SECOND}": ("inbound", "outbound")}
    attached = ask(SandboxOptions(numbers=numbers, numbers_form=form))  # type: ignore[arg-type]
    assert np.array_equal(attached.numbers, [FIRST, SECOND])
    assert attached.directions.tolist() == [IN, BOTH]


def test_a_refused_key_is_told_before_anything_is_sent() -> None:
    """Exit 77, with the API's own words."""
    with pytest.raises(CredentialsError, match="refused the credentials: HTTP 401 AUTH_FAILURE") as told:
        ask(SandboxOptions(key="right"), key="wrong")
    assert told.value.exit_code == 77
    assert "Nothing was sent" in str(told.value)


def test_what_is_not_the_api_is_told() -> None:
    """An address at which there is no such list: exit 75, and the address is named as the thing to check."""

    async def main() -> AttachedNumbers:
        how = RunOptions(rates=(Rate(100, 1.0),))
        async with (
            serve(SandboxOptions()) as sandbox,
            BlandTarget(f"{sandbox.base_url}/elsewhere", ApiKey("k", source="test"), connections=1) as target,
        ):
            clock = Clock()
            reader = Reader(how, Pacer(how.rates, now=clock.now), clock)
            return await ask_numbers(target, reader, "the API")

    with pytest.raises(BatchError) as told:
        anyio.run(main)
    assert isinstance(told.value, UnreachableError)
    assert told.value.exit_code == 75
    assert "Check the address" in str(told.value)


def test_a_key_without_the_right_to_list_is_told_what_it_lacks() -> None:
    """403 names the scope, and that such a key may do for a run."""

    class Scoped(PlayedApi):
        async def read_numbers(self) -> tuple[Outcome, AttachedNumbers | None]:
            return NO_KEY, None

    async def main() -> AttachedNumbers:
        clock = Clock()
        return await ask_numbers(Scoped(), Reader(FAST, pacer_of(FAST, clock), clock), "the API")

    with pytest.raises(CredentialsError, match="lacks the scope sip:read"):
        run_virtual(main, backend="trio")
