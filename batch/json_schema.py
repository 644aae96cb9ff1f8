"""JSON Schemas of the files that scripts read, made from the dataclasses that are written into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_SIMPLE = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def says(description: str, *, name: str = "", is_optional: bool = False) -> dict[str, Any]:
    """The metadata of a dataclass field: the sentence that the schema has for it.

    `name` is what it is called in JSON, where that is no name in Python; `is_optional` that it may be left
    out, as every field of the type `object` may.
    """
    return {"description": description, "name": name, "is_optional": is_optional}


def schema_of(kind: type, *, title: str) -> dict[str, Any]:
    """The JSON Schema of a dataclass, whose fields are made with `says`, as orjson writes it.

    Every field that is not optional is always there. Further fields are allowed: they may be added in later
    versions, and a reader ignores those that it does not know.
    """
    parts: dict[str, Any] = {}
    whole = _object(kind, parts)
    return {"$schema": _DIALECT, "title": title, **whole, "$defs": parts}


def list_schema_of(kind: Any, *, title: str) -> dict[str, Any]:
    """The JSON Schema of a list of such objects."""
    parts: dict[str, Any] = {}
    items = _type(kind, parts)
    return {"$schema": _DIALECT, "title": title, "type": "array", "items": items, "$defs": parts}


def tagged_schema_of(kinds: Mapping[str, type], *, tag: str, title: str) -> dict[str, Any]:
    """The JSON Schema of an object of one of several kinds, told apart by what its field `tag` says."""
    parts: dict[str, Any] = {}
    choices = []
    for name, kind in kinds.items():
        choice = _object(kind, parts)
        choice["properties"][tag] = {"const": name, "description": choice["properties"][tag]["description"]}
        choices.append({"title": name, **choice})
    return {"$schema": _DIALECT, "title": title, "oneOf": choices, "$defs": parts}


def _object(kind: type, parts: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    known = fields(kind)
    return {
        "description": (kind.__doc__ or "").partition("\n")[0],
        "type": "object",
        "properties": {
            _name(field): {**_type(hints[field.name], parts), "description": field.metadata["description"]}
            for field in known
        },
        "required": [
            _name(field)
            for field in known
            if not field.metadata.get("is_optional") and hints[field.name] is not object
        ],
    }


def _name(field: Field[Any]) -> str:
    return field.metadata.get("name") or field.name


def _type(hint: Any, parts: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is object:
        return {}  # any JSON value
    if origin is UnionType:
        if all(argument in _SIMPLE for argument in arguments):
            return {"type": [_SIMPLE[argument] for argument in arguments]}
        return {"anyOf": [_type(argument, parts) for argument in arguments]}
    if origin is tuple:
        return {"type": "array", "items": _type(arguments[0], parts)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type(arguments[1], parts)}
    if is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in parts:
            parts[hint.__name__] = _object(hint, parts)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    return {"type": _SIMPLE[hint]}
