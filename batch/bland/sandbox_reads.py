"""What the sandbox answers to reads, in the shapes that the vendor's tools take."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

import orjson

from batch.bland.sandbox_answers import Answer, failure
from batch.bland.sandbox_memory import Memory, Side
from batch.bland.sandbox_options import Behaviour
from batch.plans import DIRECTIONS


def iso(at: float) -> str:
    """A time in seconds since the epoch, as the API writes times."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Reads:
    """Answers reads from what was applied and what is attached."""

    def __init__(self, memory: Memory, behaviour: Behaviour) -> None:
        self._memory = memory
        self._behaviour = behaviour

    def number(self, number: str) -> Answer:
        """`GET /v1/sip`: both directions of a number, null where it was never configured."""
        turned_away = self._unknown(number)
        if turned_away:
            return turned_away
        return _data({direction: self._side(number, direction) for direction in DIRECTIONS})

    def numbers(self) -> Answer:
        """`GET /v1/sip/numbers`: those attached, or those configured where every number is attached."""
        configured: dict[str, list[str]] = {}
        for (number, direction), side in list(self._memory.sides.items()):
            if side.config is not None:
                configured.setdefault(number, []).append(direction)
        attached: Mapping[str, Collection[str]] = configured
        if self._behaviour.numbers is not None:
            attached = self._behaviour.numbers
        listed: list[dict[str, object]] = []
        for number, some in attached.items():
            health = "healthy" if number in configured else "unchecked"
            directions = [direction for direction in DIRECTIONS if direction in some]
            base = {"phone_number": number, "sip_endpoint": _endpoint(number)}
            if self._behaviour.options.numbers_form == "directions":
                listed.append({**base, "directions": directions, "health_status": health})
            else:
                listed += [{**base, "direction": direction, "status": health} for direction in directions]
        return _data({"numbers": listed})

    def status(self, number: str, at: float) -> Answer:
        """`GET /v1/sip/status`: the health of a number, at a time in seconds since the epoch."""
        turned_away = self._unknown(number)
        if turned_away:
            return turned_away
        healthy = any(self._configured(number, direction) for direction in DIRECTIONS)
        return _data(
            {
                "status": "healthy" if healthy else "unchecked",
                "response_time_ms": 42 if healthy else None,
                "checked_at": iso(at),
            }
        )

    def _unknown(self, number: str) -> Answer | None:
        form = self._behaviour.options.failure_form
        if not number:
            return failure(400, form=form, details=("phone_number: is missing, and must be given",))
        if self._behaviour.numbers is not None and number not in self._behaviour.numbers:
            return failure(404, form=form)
        return None

    def _configured(self, number: str, direction: str) -> Side | None:
        side = self._memory.sides.get((number, direction))
        return side if side and side.config is not None else None

    def _side(self, number: str, direction: str) -> dict[str, object] | None:
        side = self._configured(number, direction)
        if side is None:
            return None
        where = self._behaviour.options.show_blocks
        blocks = dict(side.config or {})
        return {
            "id": str(uuid5(NAMESPACE_URL, f"sandbox/{number}/{direction}")),
            "org_id": str(uuid5(NAMESPACE_URL, "sandbox")),
            "number": number,
            "direction": direction,
            "sip_endpoint": _endpoint(number),
            "headers": {},
            "options": blocks if where == "options" else {},
            **(blocks if where == "side" else {}),
            "created_at": iso(side.created_at),
            "updated_at": iso(side.updated_at),
        }


def _endpoint(number: str) -> str:
    return f"sip:{number}@sip.sandbox.invalid"


def _data(data: Mapping[str, object]) -> Answer:
    return Answer(200, orjson.dumps({"data": data, "errors": None}))
