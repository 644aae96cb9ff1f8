"""Promises of `batch.page.drawing`: charts that bring nothing but shapes, and cost no report if they fail."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from batch.page import charts as page_charts
from batch.page import drawing as page_drawing
from batch.page.charts import Chart, Part, Row
from batch.page.words import short


def bars(*names: str) -> Chart:
    rows = [
        Row(short(name), "1 of 2", (Part("failed", "var(--failed)", 3 + i),)) for i, name in enumerate(names)
    ]
    return page_charts.bars("test", rows, "A test")


def drawn(chart: Chart) -> str:
    return page_drawing.draw([chart])[chart.name]


def test_a_chart_takes_its_colours_and_its_font_from_the_page() -> None:
    """No colour and no font is fixed in it, so that it follows light, dark and print."""
    svg = drawn(bars("voice", "backup"))
    colours = set(re.findall(r'(?:fill|stroke)="([^"]*)"', svg)) - {"none", "transparent"}
    assert colours
    assert {colour for colour in colours if not colour.startswith("var(--")} == set()
    assert "font-family" not in svg


def test_a_chart_is_one_picture_with_a_name() -> None:
    """It has a role and a name for those who hear the page, a size that adapts, and nothing that runs."""
    root = ElementTree.fromstring(drawn(bars("voice")))
    assert root.get("role") == "img"
    assert root.get("aria-label") == "A test"
    assert (root.get("width"), root.get("height")) == (None, None)
    kinds = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert kinds <= {"svg", "g", "path", "line", "text", "rect", "tspan"}
    names = {name for element in root.iter() for name in element.attrib}
    assert not {
        name for name in names if name.startswith("on") or name in ("style", "href", "id", "class")
    } - {"class"}


@pytest.mark.parametrize(
    "name",
    [
        "</text><script>alert(1)</script>",
        '" onload="alert(1)',
        'a role="x" b',
        "v1.23456",
        "datum.x + 1",
        "\\u202e",
    ],
)
def test_a_name_in_a_chart_is_text(name: str) -> None:
    """Whatever a template is called, the chart has that name as text and no other elements for it."""
    charts = [replace(bars(first, "harmless"), name=first) for first in (name, "plain")]
    named, plain = (ElementTree.fromstring(svg) for svg in page_drawing.draw(charts).values())
    assert name in [element.text for element in named.iter() if element.text]
    assert [element.tag for element in named.iter()] == [element.tag for element in plain.iter()]


@pytest.mark.parametrize("name", ["\x00", "\x1b[31m", "\ufffe", "\u202e"])
def test_a_name_that_cannot_be_drawn_is_written_out(name: str) -> None:
    """Characters that no chart can hold are shown as they are escaped."""
    assert name.encode("unicode_escape").decode() in drawn(bars(name))


def test_a_page_without_memory_for_charts_has_none() -> None:
    """Where the engine cannot start, no chart is drawn, and whoever asked for them goes on."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (900_000_000, 900_000_000));"
        "from tests.page.test_drawing import bars; from batch.page.drawing import draw;"
        "print(draw([bars('voice')]), 'goes on')"
    )
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "{} goes on\n"
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 900_000_000


def test_the_other_process_gets_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment goes to the process that draws but what it needs to start."""
    monkeypatch.setenv("BLAND_API_KEY", "sk-canary")
    monkeypatch.setattr(
        page_drawing,
        "_DRAW",
        "import json, os; print(json.dumps([' '.join(os.environ.values()) + '<svg viewBox=\"0 0 1 1\">']))",
    )
    assert "sk-canary" not in drawn(bars("voice"))


def test_nothing_is_imported_from_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the operator's folder that is called like a library is not run."""
    for name in ("json.py", "vl_convert.py"):
        (tmp_path / name).write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    assert drawn(bars("voice")).startswith("<svg")


def test_latency_bins_hold_every_answer() -> None:
    """Each duration is in one bin, also none at all, and the edges go up."""
    edges, counts = page_charts.latency_bins([0.0, 0.0001, 0.01, 0.01, 29.9, 600.0])
    assert sum(counts) == 6
    assert edges == sorted(edges)
    assert edges[0] <= 0.1
    assert edges[-1] >= 600_000
