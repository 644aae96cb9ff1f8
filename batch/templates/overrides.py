"""Overrides: cells of columns such as `codec_config.transcode`, laid over a filled body, each in its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from batch.schema import Kind, Path, Schema, did_you_mean, dotted
from batch.templates.typed_cells import Misread, read_cell, shown


class Overridden(NamedTuple):
    """A body with overrides laid over it; `wrong` are those that could not be, by their path."""

    blocks: dict[str, object]
    paths: frozenset[Path]
    wrong: dict[Path, Misread]


def override(schema: Schema, blocks: dict[str, object], overrides: Mapping[Path, str]) -> Overridden:
    """Lay cells over a body; a blank one is no value and overrides nothing.

    What lies along a path is copied, never changed: rows share what their template has. An element of
    a list must be there or be the next one.
    """
    given = {path: text for path, text in overrides.items() if text and not text.isspace()}
    wrong: dict[Path, Misread] = {}
    for path in sorted(given, key=in_order):
        value = _value(schema, path, given[path])
        laid = value if isinstance(value, Misread) else _laid(blocks, path, value)
        if isinstance(laid, Misread):
            wrong[path] = laid
        else:
            blocks = laid
    return Overridden(blocks, frozenset(given), wrong)


def in_order(path: Path) -> tuple[tuple[bool, int, str], ...]:
    """What paths are sorted by: elements of a list by number, so that each in its turn is the next one."""
    return tuple((isinstance(part, int), part if isinstance(part, int) else 0, str(part)) for part in path)


def _value(schema: Schema, path: Path, text: str) -> object:
    kind = schema.kind_of(path)
    if kind is None:
        return Misread(_no_field(schema, path), "override.unknown_field")
    value = read_cell(text, kind)
    if isinstance(value, Misread):
        return Misread(f"{shown(text)} {value.message}", value.kind)
    return value


def _no_field(schema: Schema, path: Path) -> str:
    """Where a path leaves the schema, and what there is instead."""
    end = next(end for end in range(1, len(path) + 1) if schema.kind_of(path[:end]) is None)
    owner, part = path[: end - 1], path[end - 1]
    if schema.kind_of(owner) in (Kind.LIST, Kind.OBJECTS):
        return f"overrides nothing: {dotted(owner)} is a list, so a number comes after it, counted from 0"
    known = schema.fields_of(owner)
    if not known:
        return f"overrides nothing: {dotted(owner)} holds no fields"
    return f"overrides nothing: {dotted(owner)} takes {', '.join(known)}.{did_you_mean(str(part), known)}"


def _laid(blocks: dict[str, object], path: Path, value: object) -> dict[str, object] | Misread:
    """The body with a value at a path that the schema has."""
    new = dict(blocks)
    holder: dict[str, object] | list[object] = new
    for at, part in enumerate(path):
        inner: object
        if at == len(path) - 1:
            inner = value
        else:
            inner = _copied(_at(holder, part), is_list=isinstance(path[at + 1], int))
        if isinstance(holder, dict):
            holder[str(part)] = inner
        elif isinstance(part, int) and part < len(holder):
            holder[part] = inner
        elif part == len(holder):
            holder.append(inner)
        else:
            have = f"has only {len(holder)}" if holder else "has none"
            text = f"cannot set element {part}: {dotted(path[:at])} {have} here, so the next is {len(holder)}"
            return Misread(f"{text} (counted from 0)", "override.element")
        if isinstance(inner, dict | list):
            holder = inner
    return new


def _at(holder: dict[str, object] | list[object], part: str | int) -> object:
    if isinstance(holder, dict):
        return holder.get(str(part))
    return holder[part] if isinstance(part, int) and part < len(holder) else None


def _copied(inner: object, *, is_list: bool) -> dict[str, object] | list[object]:
    if is_list:
        return list(inner) if isinstance(inner, list) else []
    return dict(inner) if isinstance(inner, dict) else {}
