"""Draws the page's charts as SVG that needs neither script nor network.

Vega-Lite does it, inside vl-convert, which is an optional part of the installation. It brings a JavaScript
engine, which reserves far more address space than it uses and ends its whole process where it gets none.
So it is started as a process of its own: a report is never lost to a chart.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec

import orjson

from batch.page.charts import Chart, Spec

NOT_DRAWN = (
    "Tables stand in for the charts: the library that draws them is not installed, or did not get the memory"
    " that it needs. To have charts, run pip install 'sipbatch[page]' and write the report again."
)

NEEDED = (
    "report.html has charts, and the library that draws them is not installed: to check it, run"
    " pip install 'sipbatch[page]'"
)

#: Text is measured by a font that vl-convert brings along, the same on every machine; the page sets another.
_FONT = "Liberation Sans"

#: What is changed in the SVG is changed within tags: text from a sheet or the API stays as it is. Names that
#: are read out come from the page; a font from there too.
_TAG = re.compile(r"<[^<>]*>")
_NEEDLESS = re.compile(
    r' (?:role|aria-roledescription|class|aria-hidden|font-family|pointer-events|xmlns:xlink|version)="[^"]*"'
)
_NUMBER = re.compile(r'(?<= )(?:d|transform|x2|y2|x|y)="[^"]*"')
_LONG = re.compile(r"-?[0-9]+\.[0-9]{2,}")
_SVG = re.compile(r'<svg [^>]*viewBox="([^"]*)"[^>]*>')

#: How long all charts of a page may take: they take a second.
_LONGEST_S = 60.0

#: What the other process is given of the environment: no key, and nothing else that is not its business.
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH")

#: What the other process does. With no address allowed, a chart cannot be made to fetch anything.
_DRAW = """
import json, sys
import vl_convert
specs = json.load(sys.stdin.buffer)
json.dump([vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]) for spec in specs], sys.stdout)
"""

_CONFIG: Spec = {
    "font": _FONT,
    "background": None,
    "padding": 0,
    "view": {"stroke": None},
    "title": {"color": "var(--ink)", "fontSize": 13, "fontWeight": "normal"},
    "text": {"fontSize": 13},
    "axis": {
        "aria": False,
        "labelColor": "var(--muted)",
        "labelFontSize": 12,
        "labelPadding": 6,
        "titleColor": "var(--muted)",
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "gridColor": "var(--line)",
        "ticks": False,
    },
    "axisX": {"ticks": True, "tickSize": 4},
    "axisY": {
        "domain": False,
        "titleAngle": 0,
        "titleAlign": "left",
        "titleAnchor": "end",
        "titleBaseline": "bottom",
        "titleX": 0,
        "titleY": -8,
    },
}


def is_available() -> bool:
    """Whether charts can be drawn."""
    return find_spec("vl_convert") is not None


def draw(charts: Sequence[Chart]) -> dict[str, str]:
    """The SVG of each chart, by its name; nothing at all if they cannot be drawn."""
    schema = "https://vega.github.io/schema/vega-lite/v6.json"
    specs = [{"$schema": schema, "background": None, **chart.spec, "config": _CONFIG} for chart in charts]
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        done = subprocess.run(
            # -P: nothing is imported from the folder in which an operator happens to be.
            [sys.executable, "-P", "-c", _DRAW],
            input=orjson.dumps(specs),
            env=environment,
            # Whoever presses Ctrl-C while the report is written has the run in mind, not its charts.
            start_new_session=True,
            capture_output=True,
            timeout=_LONGEST_S,
            check=True,
        )
        svgs: list[str] = orjson.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    return {chart.name: _tidy(svg, chart) for chart, svg in zip(charts, svgs, strict=True)}


def _tidy(svg: str, chart: Chart) -> str:
    head = f'<svg class="chart {chart.kind}" viewBox="\\1" role="img" aria-label="{chart.label}">'
    return _SVG.sub(head, _TAG.sub(_tidied, svg), count=1)


def _tidied(tag: re.Match[str]) -> str:
    """A tag with what the page needs of it; what a mark says is kept for the page's script to show."""
    text = _NEEDLESS.sub("", tag[0]).replace(' aria-label="', ' data-says="')
    return _NUMBER.sub(_rounded, text)


def _rounded(attribute: re.Match[str]) -> str:
    """An attribute of places and sizes, to a tenth of a pixel."""
    return _LONG.sub(lambda number: f"{float(number[0]):.1f}", attribute[0])
