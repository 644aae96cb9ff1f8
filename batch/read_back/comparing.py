"""Compares what was sent with what is there: whole blocks, place by place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import orjson

from batch.journal.verification import Drift, Proof
from batch.read_back.readable import Blocks
from batch.schema import dotted
from batch.sealing import discreet

#: How many characters of a value are told, and how many places of one request.
_LONGEST = 120
_MOST = 20

#: What stands in an answer where the API shows no secret.
_HIDDEN = re.compile(r"\*{3,}|[•…]{2,}|(?i:\bredacted\b|\bmasked\b)")

_Path = tuple[str | int, ...]
_NOTHING = object()


class Compared(NamedTuple):
    """What the blocks of one request come to; `hidden` are the places that the API shows only masked."""

    blocks: dict[str, Proof]
    drifts: tuple[Drift, ...]
    hidden: tuple[str, ...]


def compare(
    sent: Mapping[str, object], shown: Blocks, *, kept: Mapping[str, object] | None = None
) -> Compared:
    """Say of every block that was sent whether it is there as it was sent.

    All that was sent must be there, and be equal: numbers by value, text to the letter, lists in the same
    order and of the same length. What is there beyond that is the API's own, and no drift. A block that
    is not shown, or of which a part is masked and nothing else differs, is not readable; one that is shown
    as null is there, and empty.

    `kept` is what was sent as the journal keeps it: where the two differ stands a secret, of which nothing
    is told.
    """
    blocks: dict[str, Proof] = {}
    places: list[_Place] = []
    hidden: list[str] = []
    for name, block in sent.items():
        if name not in shown:
            blocks[name] = Proof.NOT_READABLE
            continue
        found = list(_walk((name,), block, shown[name]))
        different = [one for one in found if isinstance(one, _Place)]
        masked = [one for one in found if isinstance(one, str)]
        places += different
        hidden += masked
        blocks[name] = Proof.DRIFTED if different else Proof.NOT_READABLE if masked else Proof.VERIFIED
    told = tuple(_drift(one, sent if kept is None else kept) for one in places[:_MOST])
    return Compared(blocks, told, tuple(hidden[:_MOST]))


def has_hidden(value: object) -> bool:
    """Whether any text in a JSON value is masked, so that it cannot be what is really there."""
    match value:
        case str():
            return _HIDDEN.search(value) is not None
        case dict():
            return any(has_hidden(part) for part in value.values())
        case list():
            return any(has_hidden(part) for part in value)
        case _:
            return False


class _Place(NamedTuple):
    """Where something else is there than was sent."""

    path: _Path
    sent: object
    there: object


def _walk(path: _Path, sent: object, there: object) -> Iterator[_Place | str]:
    """The places below this one that differ, and as plain text those that are masked."""
    if isinstance(sent, dict) and isinstance(there, dict):
        for name, value in sent.items():
            yield from _walk((*path, name), value, there.get(name, _NOTHING))
    elif isinstance(sent, list) and isinstance(there, list) and _is_of_objects(sent, there):
        for place, (one, other) in enumerate(zip(sent, there, strict=True)):
            yield from _walk((*path, place), one, other)
    elif _is_equal(sent, there):
        return
    elif isinstance(there, str) and _HIDDEN.search(there):
        yield dotted(path)
    else:
        yield _Place(path, sent, there)


def _is_of_objects(sent: list[object], there: list[object]) -> bool:
    """Whether two lists are compared element by element: what differs in a list of words is the list."""
    return len(sent) == len(there) and all(isinstance(element, dict) for element in (*sent, *there))


def _is_equal(sent: object, there: object) -> bool:
    match sent, there:
        case (bool(), _) | (_, bool()):
            return sent is there
        case (dict(), dict()):
            return sent.keys() == there.keys() and all(_is_equal(sent[key], there[key]) for key in sent)
        case (list(), list()):
            return len(sent) == len(there) and all(map(_is_equal, sent, there))
        case _:
            return sent == there


def _drift(place: _Place, kept: object) -> Drift:
    for part in place.path:
        if isinstance(kept, dict):
            kept = kept.get(part)
        elif isinstance(kept, list) and isinstance(part, int):
            kept = kept[part]
    was, now = _words(kept), _words(place.there)
    if kept != place.sent and place.there is not _NOTHING:
        now = "something else"
    elif was == now:
        now = f"another such ({now})"
    return Drift(dotted(place.path), was, now)


def _words(value: object) -> str:
    """A value as JSON on one line, cut, and without what opens a webhook."""
    if value is _NOTHING or value is None:
        return "nothing"
    text = orjson.dumps(discreet(value)).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
