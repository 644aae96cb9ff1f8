"""`${column}` in a template's text: read into parts once, so that filling a row is a few look-ups."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from batch.errors import TemplateError
from batch.sheets.columns import fold

#: Every form there is, for messages.
FORMS = "${column}, ${column:-default}, ${column:-}, ${column:?message}, ${env:NAME} and $$"

#: What a payload cannot hold, since all numbers that share it would then be sent the same.
NOT_FILLED = ("phone_number", "phone_number_to", "direction", "template")
_NOT_FILLED_FOLDED = {fold(name): name for name in NOT_FILLED}

_DOLLAR = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<inner>(?:\$\$|[^$}])*)\}|)")
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class WhenBlank(StrEnum):
    """What becomes of a placeholder whose column is blank in a row."""

    REJECT = "reject"  #: the row is rejected: `${column}`, `${column:?message}`
    DEFAULT = "default"  #: the default is taken: `${column:-default}`
    LEAVE_OUT = "leave_out"  #: the key, or the element of a list, is left out: `${column:-}`


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One `${...}`.

    `name` is the column's or the environment variable's name as the template writes it; `key` is what
    it is looked up by: the folded column name, or the environment variable's. `text` is the default, or
    the message of `:?` (empty: the usual one).
    """

    name: str
    key: str
    when_blank: WhenBlank
    text: str = ""
    from_env: bool = False

    @property
    def required(self) -> bool:
        """Whether a row without a value is rejected."""
        return self.when_blank is WhenBlank.REJECT


#: A text in parts: what stands as it is, and placeholders.
Parts = tuple[str | Placeholder, ...]


def read_placeholders(text: str) -> Parts:
    """The parts of a template's text, with `$$` already a dollar; neighbouring plain parts are one.

    Raises `TemplateError` that says what in the text is no placeholder; the caller knows the place.
    """
    if "$" not in text:
        return (text,) if text else ()
    parts: list[str | Placeholder] = []
    plain: list[str] = []
    end = 0
    for found in _DOLLAR.finditer(text):
        plain.append(text[end : found.start()])
        end = found.end()
        if found["dollar"]:
            plain.append("$")
            continue
        if found["inner"] is None:
            raise TemplateError(_malformed(text[found.start() :]))
        if any(plain):
            parts.append("".join(plain))
        plain = []
        parts.append(_placeholder(found["inner"]))
    plain.append(text[end:])
    if any(plain):
        parts.append("".join(plain))
    return tuple(parts)


def escape(text: str) -> str:
    """A text as a template writes it so that it is filled with just this text."""
    return text.replace("$", "$$")


def _placeholder(inner: str) -> Placeholder:
    """The placeholder for what stands between the braces."""
    head, colon, rest = inner.partition(":")
    name = head.strip()
    from_env = name == "env" and rest[:1] not in ("-", "?", "")
    if from_env:
        head, colon, rest = rest.partition(":")
        name = head.strip()
    named = ENVIRONMENT_NAME.fullmatch(name) if from_env else fold(name) and "{" not in name
    if not named or (colon and rest[:1] not in ("-", "?")):
        raise TemplateError(f"${{{_short(inner)}}} is no placeholder: there are {FORMS}")
    text = rest[1:].strip().replace("$$", "$")
    when_blank = WhenBlank.REJECT
    if rest.startswith("-"):
        when_blank = WhenBlank.DEFAULT if text else WhenBlank.LEAVE_OUT
    if from_env:
        return Placeholder(name, name, when_blank, text, from_env=True)
    taken = _NOT_FILLED_FOLDED.get(fold(name))
    if taken is not None:
        raise TemplateError(
            f"${{{name}}} cannot stand in a template: {taken} belongs to the request and not to its payload, "
            "which many numbers share"
        )
    return Placeholder(name, fold(name), when_blank, text)


def _malformed(rest: str) -> str:
    """What is wrong with a text from a dollar that begins nothing."""
    if not rest.startswith("${"):
        return f'the dollar in "{_short(rest)}" begins no placeholder: write $$ for a dollar'
    if "}" not in rest:
        return f'"{_short(rest)}" has no closing brace'
    return f'"{_short(rest)}" holds a dollar within a placeholder: write $$ there, and nest none in another'


def _short(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:41])
    return f"{plain[:40]}…" if len(plain) > 40 else plain
