"""A JSON Schema of template files: what an editor completes and checks templates by."""

from __future__ import annotations

from collections.abc import Mapping

from batch.schema import Schema
from batch.templates.heads import JSON_SCHEMA_KEY, TEMPLATE_DIRECTIONS
from batch.templates.placeholders import ENVIRONMENT_NAME

#: The file that the schema is meant to be kept in, beside the templates; its dot keeps it from being one.
SCHEMA_FILE = ".template.schema.json"
#: The line by which a YAML template tells an editor of it.
HEADER_LINE = f"# yaml-language-server: $schema={SCHEMA_FILE}"

_PLACEHOLDER = {
    "type": "string",
    "pattern": r"^\$\{[^${}]+(\$\$[^${}]*)*\}$",
    "description": "A column of the sheet: ${column}, ${column:-default}, ${column:-} or ${column:?message}.",
}
_WORDING = {
    "type": "string",
    "pattern": r"\$\{[^${}]+(\$\$[^${}]*)*\}",
    "description": "Text with columns of the sheet in it, such as https://hooks.example.com/${site}.",
}
_OWN = {
    "description": {
        "type": "string",
        "description": "What the template is for, as `sipbatch templates list` shows it.",
    },
    "extends": {
        "type": "string",
        "description": "The template that this one is laid upon; several are joined by +.",
    },
    "direction": {
        "enum": list(TEMPLATE_DIRECTIONS),
        "description": "The direction of rows that name none; both makes two requests of a row.",
    },
    "allow_env": {
        "type": "array",
        "items": {"type": "string", "pattern": f"^{ENVIRONMENT_NAME.pattern}$"},
        "uniqueItems": True,
        "description": "The environment variables that ${env:NAME} may read here.",
    },
    JSON_SCHEMA_KEY: {"type": "string", "description": "Where this schema is (JSON files only)."},
}


def template_schema(schema: Schema) -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of a template file: the payload's, with blanks wherever a value is.

    Nothing is required in it, because what a template leaves out may stand in one that it extends.
    """
    blocks = dict(_loosened(schema.json_schema()))
    given, definitions = blocks.pop("properties", {}), blocks.pop("$defs", {})
    assert isinstance(given, Mapping)
    assert isinstance(definitions, Mapping)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **blocks,
        "title": "sipbatch template",
        "description": "A named config with blanks, which the rows of a sheet fill.",
        "properties": {**_OWN, **given},
        "$defs": {**definitions, "placeholder": _PLACEHOLDER, "wording": _WORDING},
    }


def _loosened(schema: Mapping[str, object]) -> dict[str, object]:
    """A schema of an object, with nothing required, whose fields' values may be blanks."""
    loose = {key: value for key, value in schema.items() if key not in ("required", "minProperties")}
    for key in ("properties", "$defs"):
        inner = loose.get(key)
        if isinstance(inner, Mapping):
            change = _or_blank if key == "properties" else _loosened
            loose[key] = {name: change(one) for name, one in inner.items()}
    return loose


def _or_blank(schema: Mapping[str, object]) -> dict[str, object]:
    """A schema of a value, or of a placeholder in its stead."""
    loose = dict(schema)
    description = {"description": loose.pop("description")} if "description" in loose else {}
    items = loose.get("items")
    match loose.get("type"):
        case "integer" | "number" | "boolean":
            blank = "placeholder"
        case "array" if isinstance(items, Mapping) and "$ref" not in items and items.get("type") != "object":
            loose["items"] = _or_blank(items)
            blank = "placeholder"
        case "string":
            blank = "wording"
        case "array" | "object" | None | _:
            return dict(_loosened(schema))
    return {**description, "anyOf": [loose, {"$ref": f"#/$defs/{blank}"}]}
