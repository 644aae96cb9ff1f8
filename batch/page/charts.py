"""The charts of the page, as specs of Vega-Lite's: what is drawn, by which colours of the page.

Colours are CSS variables, so that light, dark and print are the page's business. Text from a sheet or the API
is data to Vega-Lite, never a part of an expression.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from batch.page.words import milliseconds

#: Widths in pixels: of a chart in one of two columns, and of one across the page, on a desk and on a phone.
COLUMN, WIDE, NARROW = 440, 1000, 400

Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart to be drawn: a Vega-Lite spec without its looks.

    `name` is its own in the page, `kind` is `column`, `wide` or `narrow`, and `label` says what it shows to
    those who cannot see it.
    """

    name: str
    kind: str
    label: str
    spec: Spec


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a whole: its name, its CSS variable, how many."""

    name: str
    colour: str
    count: int


@dataclass(frozen=True, slots=True)
class Row:
    """One bar with a name over it and a note after it; its parts are drawn one after another."""

    name: str
    note: str
    parts: tuple[Part, ...]


def states_bar(parts: Sequence[Part]) -> tuple[Chart, ...]:
    """One bar of all requests by state, as wide as the page."""
    charts = []
    for kind, width in (("wide", WIDE), ("narrow", NARROW)):
        start = 0
        values = []
        for part in parts:
            values.append(
                {
                    "from": start,
                    "to": start + part.count,
                    "colour": part.colour,
                    "says": f"{part.name}: {part.count:,}",
                }
            )
            start += part.count
        spec = {
            "width": width,
            "height": 20,
            "padding": 0,
            "data": {"values": values},
            "mark": {"type": "rect", "stroke": "var(--paper)", "strokeWidth": 1},
            "encoding": {
                "x": {"field": "from", "type": "quantitative", "scale": {"domain": [0, start]}, "axis": None},
                "x2": {"field": "to"},
                "color": {"field": "colour", "type": "nominal", "scale": None},
                "description": {"field": "says"},
            },
        }
        charts.append(Chart(f"states-{kind}", kind, "Requests by state", spec))
    return tuple(charts)


def latency(durations_s: np.typing.NDArray[np.floating[Any]], marks: Mapping[str, float]) -> Chart:
    """How long answers took, on a logarithmic scale; `marks` are lines across it, in milliseconds by name."""
    edges, counts = latency_bins(durations_s)
    values = [
        {
            "from": float(low),
            "to": float(high),
            "count": int(count),
            "says": f"{milliseconds(low)} to {milliseconds(high)}: {count:,}",
        }
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
        if count
    ]
    x = {
        "field": "from",
        "type": "quantitative",
        "scale": {"type": "log", "domain": [float(edges[0]), float(edges[-1])], "nice": False},
    }
    ticks = [tick for tick in _TICKS_MS if edges[0] <= tick <= edges[-1]]
    axis = {
        "title": None,
        "grid": False,
        "values": ticks,
        "labelExpr": "datum.value < 1000 ? datum.value + ' ms' : datum.value / 1000 + ' s'",
        "labelOverlap": "greedy",
        "labelSeparation": 10,
    }
    spec: Spec = {
        "width": COLUMN - 50,
        "height": 170,
        "layer": [
            {
                "data": {"values": values},
                "mark": {
                    "type": "rect",
                    "color": "var(--accent)",
                    "stroke": "var(--paper)",
                    "strokeWidth": 0.5,
                },
                "encoding": {
                    "x": {**x, "axis": axis},
                    "x2": {"field": "to"},
                    "y": {
                        "field": "count",
                        "type": "quantitative",
                        "scale": {"domain": [0, 1.25 * max(counts)], "nice": False},
                        "axis": {"title": "requests", "tickCount": 4, "tickMinStep": 1, "format": ",d"},
                    },
                    "y2": {"datum": 0},
                    "description": {"field": "says"},
                },
            },
            {
                "data": {"values": [{"from": at} for at in marks.values()]},
                "mark": {"type": "rule", "color": "var(--ink)", "strokeDash": [3, 3]},
                "encoding": {"x": x},
            },
            *(_beside(name, at, x, index) for index, (name, at) in enumerate(marks.items())),
        ],
    }
    return Chart("latency", "column", "How long answers took", spec)


def _beside(name: str, at_ms: float, x: Spec, index: int) -> Spec:
    """The name of a line: of the first to its left, of others to its right, if there is room."""
    low, high = (math.log10(edge) for edge in x["scale"]["domain"])
    is_far_right = (math.log10(max(at_ms, 0.1)) - low) / (high - low) > 0.7
    place: Spec = {"y": 0, "dy": 2, "baseline": "top", "color": "var(--ink)", "fontSize": 12}
    if index and not is_far_right:
        place |= {"align": "left", "dx": 5}
    else:
        place |= {"align": "right", "dx": -5, "dy": 2 + 15 * index}
    return {
        "data": {"values": [{"from": at_ms, "name": name}]},
        "mark": {"type": "text", **place},
        "encoding": {"x": x, "text": {"field": "name"}},
    }


_TICKS_MS = tuple(step * 10**power for power in range(-1, 6) for step in (1, 2, 5))


def latency_bins(durations_s: np.typing.NDArray[np.floating[Any]]) -> tuple[list[float], list[int]]:
    """The edges in milliseconds, ten a decade, and the counts between them; there is at least one bin."""
    logs = np.log10(np.maximum(np.asarray(durations_s, dtype=np.float64) * 1000, 0.1))
    first, last = math.floor(logs.min() * 10), math.floor(logs.max() * 10) + 1
    counts, edges = np.histogram(logs, bins=np.arange(first, last + 1) / 10)
    return [float(10**edge) for edge in edges], [int(count) for count in counts]


def bars(name: str, rows: Sequence[Row], label: str) -> Chart:
    """Horizontal bars with their names over them, the first at the top."""
    values, names = [], []
    for index, row in enumerate(rows):
        start = 0
        for part in row.parts:
            says = f"{row.name}: {part.count:,} {part.name}"
            spot = {
                "row": index,
                "from": start,
                "to": start + part.count,
                "colour": part.colour,
                "says": says,
            }
            values.append(spot)
            start += part.count
        names.append({"row": index, "name": row.name, "note": row.note, "end": start})
    most = max(sum(part.count for part in row.parts) for row in rows) or 1
    y = {
        "field": "row",
        "type": "ordinal",
        "axis": None,
        "scale": {"paddingInner": 0.66, "paddingOuter": 0.3},
    }
    # Room for what stands after the longest bar.
    room = max(len(row.note) for row in rows) * 6.4 + 10
    x = {
        "type": "quantitative",
        "scale": {"domain": [0, most], "range": [0, max(80, COLUMN - room)], "nice": False},
        "axis": None,
    }
    spec: Spec = {
        "width": COLUMN,
        "height": {"step": 46},
        "padding": {"left": 0, "right": 0, "top": 4, "bottom": 0},
        "layer": [
            {
                "data": {"values": values},
                "mark": "rect",
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "from"},
                    "x2": {"field": "to"},
                    "color": {"field": "colour", "type": "nominal", "scale": None},
                    "description": {"field": "says"},
                },
            },
            {
                "data": {"values": names},
                "mark": {
                    "type": "text",
                    "align": "left",
                    "baseline": "bottom",
                    "x": 0,
                    "yOffset": -10,
                    # The page's own font may be wider than the one that text is measured by.
                    "limit": 0.86 * COLUMN,
                    "color": "var(--ink)",
                },
                "encoding": {"y": y, "text": {"field": "name"}},
            },
            {
                "data": {"values": names},
                "mark": {
                    "type": "text",
                    "align": "left",
                    "baseline": "middle",
                    "dx": 6,
                    "color": "var(--muted)",
                    "fontSize": 12,
                },
                "encoding": {"y": y, "x": {**x, "field": "end"}, "text": {"field": "note"}},
            },
        ],
    }
    return Chart(name, "column", label, spec)
