"""The JSON Schema of template files: what an editor is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from batch.bland.payloads import SCHEMA
from batch.templates.editor_schema import template_schema
from batch.templates.heads import OWN_KEYS

DOCUMENT: Any = template_schema(SCHEMA)
TEMPLATES = sorted((Path(__file__).parent.parent.parent / "templates").glob("*.yaml"))


def fits(value: Any, schema: Any) -> bool:
    """Whether a value fits a schema; knows just the words that the document uses."""
    if "$ref" in schema:
        return fits(value, DOCUMENT["$defs"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return any(fits(value, one) for one in schema["anyOf"])
    types = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": (int, float),
    }
    if "type" in schema and not isinstance(value, types[schema["type"]]):
        return False
    if "type" in schema and isinstance(value, bool) and schema["type"] != "boolean":
        return False
    if isinstance(value, dict):
        known = schema["properties"]
        return all(name in known and fits(inner, known[name]) for name, inner in value.items())
    if isinstance(value, list):
        return all(fits(inner, schema["items"]) for inner in value)
    if isinstance(value, str) and "pattern" in schema:
        return re.search(schema["pattern"], value) is not None
    return value in schema["enum"] if "enum" in schema else True


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_the_sample_templates_fit(path: Path) -> None:
    """Every sample template fits the schema that editors check it by."""
    assert fits(yaml.safe_load(path.read_text(encoding="utf-8")), DOCUMENT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("codec_config: {codecs: '${codecs:-PCMU}', transcode: '${t}'}", True),
        ("codec_config: {codecs: ['${one}', PCMA]}", True),
        ("failover_config: {endpoints: [{port: '${port:-5061}'}]}", True),
        ("alert_config: {channels: {webhook: 'https://h.example.com/${env:HOOK}'}}", True),
        ("codec_config: {codecs: PCMU}", False),
        ("codec_config: {codecs: [pcmu]}", False),
        ("codec_config: {transcode: 'yes'}", False),
        ("failover_config: {endpoints: [{port: '50${port}'}]}", False),
        ("failover_config: {endpoints: '${endpoints}'}", False),
        ("codec_confg: {}", False),
        ("direction: sideways", False),
    ],
)
def test_blanks_are_taken_where_values_are(text: str, expected: bool) -> None:
    """A placeholder fits wherever a typed value does, and no other text does."""
    assert fits(yaml.safe_load(text), DOCUMENT) is expected


def test_the_document() -> None:
    """It is a closed schema of the 2020-12 draft, requires nothing, and describes every key of a template."""
    assert DOCUMENT["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert DOCUMENT["additionalProperties"] is False
    assert set(DOCUMENT["properties"]) == {*OWN_KEYS, *SCHEMA.blocks, "$schema"}
    assert not [name for name, one in DOCUMENT["$defs"].items() if "required" in one]
    assert all(DOCUMENT["properties"][key]["description"] for key in OWN_KEYS)
