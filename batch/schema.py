"""What templates, columns and commands ask of an API's payload models, without knowing the API."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from batch.plans import Payload

#: Where a value stands in the blocks: `("failover_config", "endpoints", 0, "port")`.
Path = tuple[str | int, ...]


class Kind(StrEnum):
    """What a field holds: into what a cell's text is turned before the field is checked."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"  #: whole or with a fraction
    BOOLEAN = "boolean"
    LIST = "list"  #: of text
    OBJECT = "object"
    OBJECTS = "objects"  #: a list of objects


class Finding(NamedTuple):
    """One thing wrong, or doubtful, in the blocks.

    `message` is a sentence for the operator that reads on after the dotted path and a colon: what is
    there, what is allowed. `kind` is a stable slug by which findings are counted, such as
    `payload.unknown_field`.
    """

    path: Path
    message: str
    kind: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found; `payload` is None exactly if there are problems."""

    payload: Payload | None
    problems: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()


class Schema(Protocol):
    """The fields, types and rules of one API's payload."""

    @property
    def blocks(self) -> tuple[str, ...]:
        """The names at the top of a payload."""
        ...

    def check(self, blocks: Mapping[str, object]) -> Checked:
        """Check filled blocks: all problems at once, never an exception, nothing added or left out."""
        ...

    def kind_of(self, path: Sequence[str | int]) -> Kind | None:
        """What the field at a path holds; None where there is no such field."""
        ...

    def fields_of(self, path: Sequence[str | int]) -> tuple[str, ...]:
        """The names below the object at a path (`()` is the payload itself), in documented order."""
        ...

    def choices_of(self, path: Sequence[str | int]) -> tuple[str, ...]:
        """The values that a field, or each element of a list, is picked from; empty where it is free."""
        ...

    def json_schema(self) -> dict[str, object]:
        """A JSON Schema (draft 2020-12) of the blocks."""
        ...


def dotted(path: Iterable[str | int]) -> str:
    """A path as columns and messages write it: `failover_config.endpoints.0.port`."""
    return ".".join(str(part) for part in path)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """` Did you mean "PCMU"?` for the choice that the word comes nearest to, or nothing at all.

    Case, spaces and punctuation do not count: `g729` is near `G.729`.
    """
    by_fold: dict[str, str] = {}
    for choice in choices:
        by_fold.setdefault(_fold(choice), choice)
    # The bound keeps a cell of a megabyte from being compared letter by letter.
    near = difflib.get_close_matches(_fold(word[:100]), by_fold, n=1, cutoff=0.6)
    return f' Did you mean "{by_fold[near[0]]}"?' if near else ""


def _fold(word: str) -> str:
    return "".join(letter for letter in word.casefold() if letter.isalnum())
