"""Validates JSON values by the schemas of this project: the few words of JSON Schema that they use."""

from __future__ import annotations

from typing import Any

_KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
    "array": list,
    "object": dict,
}


def faults(value: Any, schema: dict[str, Any]) -> list[str]:
    """What of a value is not as the schema says, by its path; fields that it does not name are faults too."""
    return _faults(value, schema, schema.get("$defs", {}), "$")


def _faults(value: Any, schema: dict[str, Any], parts: dict[str, Any], path: str) -> list[str]:
    if "$ref" in schema:
        return _faults(value, parts[schema["$ref"].removeprefix("#/$defs/")], parts, path)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            tried = [_faults(value, choice, parts, path) for choice in schema[word]]
            return [] if [] in tried else min(tried, key=len)
    if "const" in schema:
        return [] if value == schema["const"] else [f"{path}: is {value!r}, not {schema['const']!r}"]
    if "type" in schema and not _is_of(value, schema["type"]):
        return [f"{path}: is {type(value).__name__}, not {schema['type']}"]
    if isinstance(value, list):
        items = schema.get("items", {})
        return [
            fault for at, one in enumerate(value) for fault in _faults(one, items, parts, f"{path}[{at}]")
        ]
    if isinstance(value, dict):
        return _faults_of_fields(value, schema, parts, path)
    return []


def _faults_of_fields(
    value: dict[str, Any], schema: dict[str, Any], parts: dict[str, Any], path: str
) -> list[str]:
    known = schema.get("properties", {})
    found = [f"{path}.{name}: is missing" for name in schema.get("required", ()) if name not in value]
    for name, inner in value.items():
        if name in known:
            found += _faults(inner, known[name], parts, f"{path}.{name}")
        elif "additionalProperties" in schema:
            found += _faults(inner, schema["additionalProperties"], parts, f"{path}.{name}")
        elif known:
            found.append(f"{path}.{name}: is not documented")
    return found


def _is_of(value: Any, kinds: str | list[str]) -> bool:
    names = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _KINDS[name]) for name in names)
