"""Understands what Bland's API says of numbers: what is set up for one, and which an account has.

The config blocks are in no documented answer of `GET /v1/sip`; they are looked for on a side itself and in
its `options`. Of the list of numbers the vendor's tools read two shapes; both are understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from batch.bland.bodies import fold
from batch.bland.payloads import SCHEMA
from batch.plans import DIRECTIONS
from batch.read_back.readable import AttachedNumbers, Shown
from batch.target import Outcome, Verdict

#: By these codes the API says that there is no such number; others with the same status say something else.
_NO_SUCH_NUMBER = frozenset({"NOT_FOUND", "GONE", "HTTP_404", "HTTP_410"})

#: The names under which each tool finds the same thing.
_NUMBER = ("phone_number", "number")
_LISTS = ("numbers", "phone_numbers", "items")

#: What a list says that goes on elsewhere.
_MORE = ("next", "next_cursor", "next_page", "next_page_token", "has_more")

_E164 = re.compile(r"\+?([1-9][0-9]{6,14})")
_BOTH = (1 << len(DIRECTIONS)) - 1


def shown_of(number: str, outcome: Outcome, found: object) -> Shown | None:
    """What an answer to `GET /v1/sip?phone_number=` shows of this number.

    None if there was no answer, or if it is about another number or of another shape.
    """
    if outcome.verdict is Verdict.REFUSED and fold(outcome.error_code) in _NO_SUCH_NUMBER:
        return Shown(dict.fromkeys(DIRECTIONS))
    if outcome.verdict is not Verdict.ACCEPTED:
        return None
    sides: dict[str, Mapping[str, object] | None] = {}
    for direction, side in _sides(_data(found)):
        if side is None:
            sides[direction] = None
        elif _is_of(number, side):
            sides[direction] = _blocks(side)
    return Shown(sides) if sides else None


def attached_of(found: object) -> AttachedNumbers | None:
    """The numbers out of an answer to `GET /v1/sip/numbers`; None if it is no such list."""
    data = _data(found)
    listed = data
    if isinstance(data, dict):
        listed = next((data[name] for name in _LISTS if isinstance(data.get(name), list)), None)
    if not isinstance(listed, list):
        return None
    directions: dict[int, int] = {}
    others = 0
    for entry in listed:
        number = _number_of(entry)
        if number is None:
            others += 1
        else:
            directions[number] = directions.get(number, 0) | _directions_of(entry)
    return AttachedNumbers.of(directions, others=others, is_whole=not _goes_on(found, data, len(listed)))


def _data(found: object) -> object:
    """What an answer is about: its `data`, or all of it where it has none."""
    return found["data"] if isinstance(found, dict) and "data" in found else found


def _sides(data: object) -> Iterator[tuple[str, dict[str, object] | None]]:
    """Each direction that is there or is said not to be: by name, or in a list of sides, or one alone."""
    if isinstance(data, dict) and any(direction in data for direction in DIRECTIONS):
        for direction in DIRECTIONS:
            side = data.get(direction)
            if isinstance(side, dict) or (side is None and direction in data):
                yield direction, side
        return
    for side in data if isinstance(data, list) else [data]:
        if isinstance(side, dict) and side.get("direction") in DIRECTIONS:
            yield str(side["direction"]), side


def _is_of(number: str, side: Mapping[str, object]) -> bool:
    """Whether a side is that of the number which was asked for, as far as it says so."""
    named = next((side[name] for name in _NUMBER if isinstance(side.get(name), str)), number)
    return _digits(named) == _digits(number)


def _blocks(side: Mapping[str, object]) -> dict[str, object]:
    options = side.get("options")
    inside: Mapping[str, object] = options if isinstance(options, dict) else {}
    return {name: place[name] for place in (inside, side) for name in SCHEMA.blocks if name in place}


def _number_of(entry: object) -> int | None:
    text: object = entry
    if isinstance(entry, dict):
        text = next((entry[name] for name in _NUMBER if entry.get(name)), None)
    digits = _digits(text)
    return int(digits) if digits else None


def _digits(text: object) -> str:
    found = _E164.fullmatch(text.strip()) if isinstance(text, str) else None
    return found[1] if found else ""


def _directions_of(entry: object) -> int:
    """The directions of a listed number as bits; both where nothing is said of them."""
    said: object = None
    if isinstance(entry, dict):
        said = entry.get("directions", entry.get("direction"))
    words = said if isinstance(said, list) else [said]
    if "both" in words or said is None:
        return _BOTH
    return sum(1 << place for place, direction in enumerate(DIRECTIONS) if direction in words)


def _goes_on(found: object, data: object, count: int) -> bool:
    """Whether the answer says that there are more numbers than it has. No paging is documented."""
    for part in (found, data):
        if isinstance(part, dict):
            total = part.get("total", part.get("total_count"))
            is_more = isinstance(total, int) and not isinstance(total, bool) and total > count
            pages = part.get("pagination", part.get("meta"))
            if is_more or any(part.get(name) for name in _MORE):
                return True
            if isinstance(pages, dict) and any(pages.get(name) for name in _MORE):
                return True
    return False
