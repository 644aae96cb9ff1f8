"""Holds what a table gives to the types that were written: a turned bit can make a text of a number."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from types import UnionType
from typing import Any, get_args, get_type_hints

#: The first second of the year 10000, which no time here can be written in.
_NO_TIME_S = 253_402_300_800.0


def check_seconds(*values: float | None) -> None:
    """`ValueError` for what is neither a time nor a duration: negative, endless, or no number at all."""
    for value in values:
        if value is not None and not 0.0 <= value < _NO_TIME_S:
            raise ValueError("no time")


class RowTypes:
    """The types that the columns of a row may have, by the annotations of the tuple that is made of it."""

    def __init__(self, of: type[tuple[Any, ...]]) -> None:
        self._columns = [_stored(hint) for hint in get_type_hints(of).values()]
        #: Rows are alike: each combination of types is looked at once.
        self._known: set[tuple[type, ...]] = set()

    def check(self, row: Sequence[Any]) -> Sequence[Any]:
        """The row as it is; `TypeError` if a column holds what was never written into it."""
        types = tuple(map(type, row))
        if types not in self._known:
            for found, allowed in zip(types, self._columns, strict=True):
                if found not in allowed:
                    raise TypeError(f"{found.__name__} in place of {allowed[0].__name__}")
            self._known.add(types)
        return row


def _stored(hint: Any) -> tuple[type, ...]:
    """The types by which SQLite gives a value of this type back."""
    if isinstance(hint, UnionType):
        return tuple(stored for part in get_args(hint) for stored in _stored(part))
    if issubclass(hint, Enum):
        return (str,)
    return (float, int) if hint is float else (hint,)
