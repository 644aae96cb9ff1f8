"""What a look at something found, in the words of `sipbatch doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from batch.errors import JournalError


class Level(StrEnum):
    """How much a check found."""

    OK = "ok"  #: nothing to do
    WARNING = "warning"  #: a run works, but may come to harm or confuse
    WRONG = "wrong"  #: a run would not work, or what it wrote cannot be trusted


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what about, what is so, and what to do if that is not as it should be.

    `exit_code` is the command's if the level is `wrong`.
    """

    about: str
    level: Level
    text: str
    to_do: str = ""
    exit_code: int = 0


def ok(about: str, text: str) -> Check:
    """All is well."""
    return Check(about, Level.OK, text)


def warning(about: str, text: str, to_do: str) -> Check:
    """Something that a run survives."""
    return Check(about, Level.WARNING, text, to_do)


def wrong(about: str, text: str, to_do: str, *, exit_code: int = JournalError.exit_code) -> Check:
    """Something that a run does not survive."""
    return Check(about, Level.WRONG, text, to_do, exit_code)
