"""JSON Schemas of the files that scripts read, made from the dataclasses that are written into them."""

from __future__ import annotations

from typing import Any

#: The dialect of the schemas, and of those that templates have.
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def says(description: str) -> dict[str, str]:
    """The metadata of a dataclass field: the sentence that the schema has for it."""
    return {"description": description}


def schema_of(kind: type, *, title: str) -> dict[str, Any]:
    """The JSON Schema of a dataclass as orjson writes it.

    Every field is always there. Fields may be added in later versions, so a reader ignores those that
    it does not know; none is taken away or changes its meaning unless `schema_version` does.
    """
    # Here, and not above: only whoever asks for a schema needs pydantic.
    from pydantic import TypeAdapter

    schema = TypeAdapter(kind).json_schema(mode="serialization")
    for part in (schema, *schema.get("$defs", {}).values()):
        part["description"] = (part.get("description") or "").split("\n")[0]
        for field in part["properties"].values():
            field.pop("title", None)
    return {"$schema": _DIALECT, **schema, "title": title}
