"""Promises to scripts: the files follow the published schemas, and every field is documented.

`REWRITE_GOLDEN=1` in the environment writes the JSON Schemas anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from batch.journal.memory import MemoryJournal
from batch.json_shapes import SCHEMAS
from batch.reporting import write_report
from tests.report_runs import (
    MIXED,
    create,
    mixed_draft,
    play,
)

DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize(("name", "schema"), SCHEMAS.items())
def test_the_published_schema_is_that_of_the_code(name: str, schema: Callable[[], dict[str, Any]]) -> None:
    """The JSON Schemas in docs are what the files follow; every field has a description."""
    path = DOCS / "schemas" / f"{name}.schema.json"
    found = orjson.dumps(schema(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if os.environ.get("REWRITE_GOLDEN"):
        path.write_bytes(found)
    assert path.read_bytes() == found
    whole = schema()
    parts = [
        part for part in (whole, *whole.get("oneOf", ()), *whole["$defs"].values()) if "properties" in part
    ]
    assert parts
    assert all(field["description"] for part in parts for field in part["properties"].values())
    assert all(part["description"].endswith(".") for part in parts)


def test_nothing_else_is_published() -> None:
    """Every file in docs/schemas is of a shape that there is."""
    found = {path.name.removesuffix(".schema.json") for path in (DOCS / "schemas").iterdir()}
    assert found == set(SCHEMAS)


def fields_of(value: object, path: str = "") -> set[str]:
    """The paths of all fields in a JSON value: `run.id`, `causes[].count`."""
    found: set[str] = set()
    match value:
        case dict():
            for name, inner in value.items():
                found |= {f"{path}{name}"} | fields_of(inner, f"{path}{name}.")
        case list():
            for inner in value:
                found |= fields_of(inner, f"{path.removesuffix('.')}[].")
    return found


def test_every_field_is_documented(tmp_path: Path) -> None:
    """docs/report.md has every field of every file by its name."""
    journal = MemoryJournal()
    run_id = create(journal, mixed_draft().plan())
    play(journal, run_id, MIXED)
    write_report(journal, run_id, tmp_path)
    text = (DOCS / "report.md").read_text(encoding="utf-8")
    found: set[str] = set()
    for name in ("summary.json", "manifest.json"):
        found |= fields_of(orjson.loads((tmp_path / name).read_bytes()))
    found |= fields_of(orjson.loads((tmp_path / "results.jsonl").read_bytes().splitlines()[0]))
    found |= set((tmp_path / "results.csv").read_text().splitlines()[0].split(",")[7:])
    # Names that are data: those of templates, of countries and of files, and what an event has by its kind.
    data = re.compile(
        r"^causes\[\]\.(templates|countries)\..|^templates\.|^files\.[a-z]+\.[a-z]+$|^happenings\[\]\.detail\.."
    )
    names = {path for path in found if not data.match(path) and not path.startswith("files.results")}
    told = set(re.findall(r"`([^`]+?)(?:\[\])?`", text))
    assert {path for path in names if not {path, path.rsplit(".")[-1]} & told} == set()
