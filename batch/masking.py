"""Leaves the middle of phone numbers out of what is written to logs."""

from __future__ import annotations

import re

#: Numbers as they turn up in what is said of rows: all with a plus, ten to fifteen digits that stand alone
#: (not those of a date, a run's id or a file's name), and North American ones in their own notation.
_NUMBER = re.compile(
    r"""
    \+ [0-9٠-٩０-９] [0-9٠-٩０-９ ().\-]{5,20} [0-9٠-٩０-９]
    | (?<![\w./:+-]) [0-9]{10,15} (?! [\w/-] | [.:]\w )
    | (?<![\w./:+-]) \(? [0-9]{3} \)? [ .-]? [0-9]{3} [ .-] [0-9]{4} (?! [\w/-] | [.:]\w )
    """,
    re.VERBOSE,
)
_SHOWN_FIRST, _SHOWN_LAST = 6, 2


def masked(text: str) -> str:
    """The text with the middle of every phone number left out: `+14155…11`."""
    return _NUMBER.sub(lambda found: f"{found[0][:_SHOWN_FIRST]}…{found[0][-_SHOWN_LAST:]}", text)


def masked_value(value: object) -> object:
    """A JSON value with every number in its texts masked; names of fields stay."""
    match value:
        case str():
            return masked(value)
        case dict():
            return {name: masked_value(inner) for name, inner in value.items()}
        case list() | tuple():
            return [masked_value(inner) for inner in value]
        case _:
            return value
