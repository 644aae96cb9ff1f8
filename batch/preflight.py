"""Preflight: what the account says of a plan before a single request of it is sent.

Asked for is the list of the account's numbers, which needs the key, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from batch.errors import CredentialsError, UnreachableError
from batch.plans import DIRECTIONS, Int64s, Plan
from batch.read_back.readable import AttachedNumbers, Readable
from batch.read_back.rounds import Reader, Reading
from batch.states import StopReason
from batch.target import Advice, Outcome

#: How many examples are named of each thing that is found.
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Preflight:
    """A plan beside the numbers of an account.

    `unattached` and `undirected` are requests, by their index in the plan: the first of each number that is
    not attached, and every one whose number is, but not for its direction. `forgotten` are the attached
    numbers that are in no sheet. `number_count` is how many different numbers the plan has.
    """

    plan: Plan
    attached: AttachedNumbers
    number_count: int
    unattached: Int64s
    undirected: Int64s
    forgotten: Int64s


def compare_numbers(plan: Plan, attached: AttachedNumbers) -> Preflight:
    """Say which numbers the account lacks for the plan, and the plan for the account."""
    numbers, first = np.unique(plan.numbers, return_index=True)
    unattached = np.sort(first[~np.isin(numbers, attached.numbers)]).astype(np.int64)
    is_attached = np.isin(plan.numbers, attached.numbers)
    bits = attached.directions[np.searchsorted(attached.numbers, plan.numbers[is_attached])]
    is_lacking = np.zeros(plan.request_count, dtype=np.bool_)
    is_lacking[is_attached] = (bits >> plan.directions[is_attached]) & 1 == 0
    undirected = np.flatnonzero(is_lacking).astype(np.int64)
    forgotten = attached.numbers[~np.isin(attached.numbers, numbers)]
    return Preflight(plan, attached, len(numbers), unattached, undirected, forgotten)


async def ask_numbers(target: Readable, reader: Reader, in_words: str) -> AttachedNumbers:
    """The numbers of the account at a target, whose name `in_words` is for messages.

    `CredentialsError` if the key is refused, `UnreachableError` if there is no answer that can be understood.
    """
    found: list[Reading[AttachedNumbers]] = []

    async def read(_: int) -> tuple[Outcome, AttachedNumbers | None]:
        return await target.read_numbers()

    async def take(readings: list[Reading[AttachedNumbers]]) -> None:
        found.extend(readings)

    ending = await reader.read(read, take, 1, doing="asking for the account's numbers")
    if ending.reason is StopReason.CREDENTIALS:
        raise CredentialsError(
            f"At {in_words} {ending.message}. Nothing was sent. Mend the key, or its rights; a key that may "
            "change numbers and not list them works without --online."
        )
    if ending.reason is not StopReason.DONE:
        raise UnreachableError(f"At {in_words}: {ending.message}. Nothing was sent; try again later.")
    (reading,) = found
    if reading.value is None:
        raise UnreachableError(
            f"The account's numbers could not be read at {in_words}: {_words(reading.outcome)}. Nothing was "
            "sent. Check the address, or plan without --online."
        )
    return reading.value


def preflight_text(preflight: Preflight, in_words: str) -> Iterator[str]:
    """What was found, in lines for people; those that begin with `warning:` need a look before a run."""
    plan, attached = preflight.plan, preflight.attached
    yield (
        f"Online: {in_words} takes the key, and lists {_count(len(attached.numbers), 'number')} of the "
        "account. Whether the key may change them, only a change tells."
    )
    if not attached.is_whole:
        yield "warning: the list says that it goes on; what is not in it may be attached all the same"
    if attached.others:
        entries = _count(attached.others, "entry", "entries")
        yield f"  {entries} of it {_are(attached.others)} no E.164 number"
    if len(preflight.unattached):
        yield (
            f"warning: {len(preflight.unattached):,} of the {_count(preflight.number_count, 'number')} to be "
            f"configured {_are(len(preflight.unattached))} not attached to the account: "
            f"{_places(plan, preflight.unattached)}"
        )
    if len(preflight.undirected):
        yield (
            f"warning: {_count(len(preflight.undirected), 'request')} for a direction that the number is not "
            f"attached for: {_places(plan, preflight.undirected, with_direction=True)}"
        )
    if not (len(preflight.unattached) or len(preflight.undirected)):
        yield f"  every number of the plan ({preflight.number_count:,}) is attached, in its directions"
    if len(preflight.forgotten):
        some = [f"+{number}" for number in preflight.forgotten[:_EXAMPLES].tolist()]
        left_out = len(preflight.forgotten)
        beside = ", or their rows are rejected" if plan.rejects else ""
        yield (
            f"  {_count(left_out, 'attached number')} {_are(left_out)} in no sheet{beside}: "
            f"{_examples(some, left_out)}"
        )


def preflight_json(preflight: Preflight) -> dict[str, object]:
    """The same as JSON values; all of it, not examples.

    - `attached`: numbers listed; `others`: entries that are no E.164 number; `is_whole`: false if the list
      says that it goes on; `numbers`: different numbers of the plan
    - `not_attached`: `sheet`, `row`, `phone_number`, of each number its first row
    - `not_in_direction`: `sheet`, `row`, `phone_number`, `direction`
    - `not_in_sheet`: numbers that are attached and in no sheet
    """
    plan = preflight.plan
    return {
        "attached": len(preflight.attached.numbers),
        "others": preflight.attached.others,
        "is_whole": preflight.attached.is_whole,
        "numbers": preflight.number_count,
        "not_attached": [_row(plan, at) for at in preflight.unattached.tolist()],
        "not_in_direction": [
            {**_row(plan, at), "direction": DIRECTIONS[plan.directions[at]]}
            for at in preflight.undirected.tolist()
        ],
        "not_in_sheet": [f"+{number}" for number in preflight.forgotten.tolist()],
    }


def _row(plan: Plan, at: int) -> dict[str, object]:
    return {
        "sheet": plan.sheets[plan.sheet_ids[at]].name,
        "row": int(plan.rows[at]),
        "phone_number": f"+{plan.numbers[at]}",
    }


def _places(plan: Plan, requests: Int64s, *, with_direction: bool = False) -> str:
    """The first few requests by their rows, and how many more there are."""
    some = [
        f"{plan.place(int(plan.sheet_ids[at]), int(plan.rows[at]))} +{plan.numbers[at]}"
        + (f" {DIRECTIONS[plan.directions[at]]}" if with_direction else "")
        for at in requests[:_EXAMPLES].tolist()
    ]
    return _examples(some, len(requests))


def _examples(some: list[str], total: int) -> str:
    more = f", and {total - len(some):,} more (--json lists all)" if total > len(some) else ""
    return f"{', '.join(some)}{more}"


def _count(count: int, noun: str, plural: str = "") -> str:
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _words(outcome: Outcome) -> str:
    if outcome.advice is Advice.GO_ON and not outcome.error_code and not outcome.message:
        return "the answer is no list of numbers"
    status = f"HTTP {outcome.http_status}" if outcome.http_status else ""
    return " ".join(part for part in (status, outcome.error_code, outcome.message) if part)
