"""Reads the body of a call as the documented API would, strictly, and remembers what it has read."""

from __future__ import annotations

import re
from dataclasses import dataclass

import orjson

from batch.bland.payloads import SCHEMA, check_body
from batch.plans import DIRECTIONS, Payload
from batch.schema import dotted

#: Where the number stands in a body. No text can hold this by chance: quotes in it would be escaped.
_NUMBER = re.compile(rb'"phone_number"\s*:\s*"(\+[1-9][0-9]{1,14})"')
#: A number that no body has: it is no E.164 number.
_PROBE = "+0"
#: How many distinct bodies, apart from their number, are remembered; templates are few.
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Call:
    """One change as it was asked for. It is valid exactly if it has a payload.

    What the body does not name, or names by something that is no text, is empty.
    """

    number: str
    direction: str
    payload: Payload | None
    problems: tuple[str, ...] = ()


class CallReader:
    """Reads bodies; one that differs from an earlier one only by its number costs next to nothing."""

    def __init__(self) -> None:
        self._valid: dict[tuple[bytes, bytes], tuple[str, Payload]] = {}

    def read(self, body: bytes) -> Call:
        """The call that a body asks for, or all that is wrong with it."""
        found = _NUMBER.search(body)
        if not found:
            return _read(body)
        around = body[: found.start(1)], body[found.end(1) :]
        number = found[1].decode()
        known = self._valid.get(around)
        if known:
            return Call(number, *known)
        call = _read(body)
        if call.payload and call.number == number and _is_the_number(*around):
            if len(self._valid) >= _REMEMBERED:
                self._valid.clear()
            self._valid[around] = call.direction, call.payload
        return call


def _is_the_number(before: bytes, after: bytes) -> bool:
    """Whether what stands between is what the body's `phone_number` reads as.

    It may be another object's, or be overruled by a second one that is spelled with escapes.
    """
    probe: object = orjson.loads(before + _PROBE.encode() + after)
    return isinstance(probe, dict) and probe.get("phone_number") == _PROBE


def _read(body: bytes) -> Call:
    try:
        parsed: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Call("", "", None, ("the body is not JSON",))
    findings = check_body(parsed)
    if not isinstance(parsed, dict):
        parsed = {}
    number, direction = parsed.get("phone_number"), parsed.get("direction")
    named = (
        number if isinstance(number, str) else "",
        direction if direction in DIRECTIONS else "",
    )
    if findings:
        problems = tuple(f"{dotted(f.path)}: {f.message}" if f.path else f.message for f in findings)
        return Call(*named, None, problems)
    return Call(*named, Payload.of({name: parsed[name] for name in SCHEMA.blocks if name in parsed}))
