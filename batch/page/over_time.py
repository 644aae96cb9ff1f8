"""The chart of a run over time: sends a second by what was answered, waits, pauses, and what stopped it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from batch.page.attempts import Answer, Stretch
from batch.page.charts import NARROW, WIDE, Chart, Spec
from batch.page.timeline import Pause, Timeline, Tone
from batch.page.words import clock, date, span

#: Bars over time, by the width of the chart.
MOST_BARS = {WIDE: 120, NARROW: 60}

#: Lines across the chart, the first of them; the others are in the list of what happened.
_MOST_MOMENTS = 40

ANSWER_COLOURS = {
    Answer.ACCEPTED: "var(--succeeded)",
    Answer.REFUSED: "var(--failed)",
    Answer.FAULT: "var(--unknown)",
}


def over_time(stretches: Mapping[int, Sequence[Stretch]], timeline: Timeline) -> tuple[Chart, ...]:
    """Sends a second by what was answered, and under it how often the API asked to wait.

    `stretches` are those for the bars of each width of `MOST_BARS`.
    """
    wide = [_panels(stretch, stretches[WIDE], timeline) for stretch in stretches[WIDE]]
    narrow = [_panels(stretch, stretches[NARROW], timeline) for stretch in stretches[NARROW]]
    label = "Sends a second over time, by what was answered, with pauses shaded"
    room = WIDE - 34 - 54 * (len(wide) - 1)
    total_s = sum(stretch.to_at - stretch.from_at for stretch in stretches[WIDE]) or 1
    least = 90
    spare = room - least * len(wide)
    parts = []
    for index, (stretch, panels) in enumerate(zip(stretches[WIDE], wide, strict=True)):
        width = least + spare * (stretch.to_at - stretch.from_at) / total_s
        parts.append(_sized(panels, round(width), height=190, is_first=index == 0))
    joined: Spec = {"hconcat": parts, "spacing": 20} if len(parts) > 1 else parts[0]
    stacked: Spec = {"vconcat": [_sized(p, NARROW - 48, height=150, is_first=True) for p in narrow]}
    stacked = stacked if len(narrow) > 1 else stacked["vconcat"][0]
    return Chart("time-wide", "wide", label, joined), Chart("time-narrow", "narrow", label, stacked)


def _panels(stretch: Stretch, all_stretches: Sequence[Stretch], timeline: Timeline) -> Spec:
    """The panels of one stretch, without widths; scales are the same for all stretches."""
    bars, waits = [], []
    for bar in stretch.bars:
        seconds = bar.to_at - bar.from_at
        bottom = 0.0
        spot = {"from": bar.from_at * 1000, "to": bar.to_at * 1000}
        time = clock(bar.from_at)
        for answer, colour in ANSWER_COLOURS.items():
            count = bar.counts.get(answer, 0)
            if count:
                top = bottom + count / seconds
                says = f"{time}: {count:,} {answer}"
                bars.append({**spot, "low": bottom, "high": top, "colour": colour, "says": says})
                bottom = top
        if count := bar.counts.get(Answer.WAIT, 0):
            waits.append({**spot, "count": count, "says": f"{time}: told to wait {count:,} times"})
    x: Spec = {
        "field": "from",
        "type": "temporal",
        "scale": {"type": "utc", "domain": [stretch.from_at * 1000, stretch.to_at * 1000], "nice": False},
    }
    highest = max(
        (sum(n for a, n in bar.counts.items() if a is not Answer.WAIT) / (bar.to_at - bar.from_at))
        for each in all_stretches
        for bar in each.bars
    )
    most_waits = max(bar.counts.get(Answer.WAIT, 0) for each in all_stretches for bar in each.bars)
    # All layers of a panel have one axis: where they differ, Vega-Lite takes a bit of each.
    shown: Spec = {"title": None, "grid": False}
    shown |= {"format": _time_format(stretch), "labelOverlap": "greedy", "labelSeparation": 12}
    hidden: Spec = {**shown, "labels": False, "ticks": False}
    x_rates = {**x, "axis": hidden if most_waits else shown}
    x_waits = {**x, "axis": shown}
    shade: Spec = {
        "data": {"values": _shades(stretch, timeline.pauses)},
        "mark": {"type": "rect", "fillOpacity": 0.55},
        "encoding": {
            "x2": {"field": "to"},
            "color": {"field": "colour", "type": "nominal", "scale": None},
            "description": {"field": "says"},
        },
    }
    rates: Spec = {
        "layer": [
            _with_x(shade, x_rates),
            {
                "data": {"values": bars},
                "mark": "rect",
                "encoding": {
                    "x": x_rates,
                    "x2": {"field": "to"},
                    "y": {
                        "field": "low",
                        "type": "quantitative",
                        "scale": {"domain": [0, highest or 1], "nice": True},
                        "axis": {"title": None, "tickCount": 4},
                    },
                    "y2": {"field": "high"},
                    "color": {"field": "colour", "type": "nominal", "scale": None},
                    "description": {"field": "says"},
                },
            },
            {
                "data": {"values": _moments(stretch, timeline)},
                "mark": {"type": "rule", "strokeDash": [3, 3], "strokeWidth": 1.5},
                "encoding": {
                    "x": x_rates,
                    "color": {"field": "colour", "type": "nominal", "scale": None},
                    "description": {"field": "says"},
                },
            },
        ]
    }
    if len(all_stretches) > 1:
        rates["title"] = {"text": _title(stretch, all_stretches), "anchor": "start", "offset": 8}
    if not most_waits:
        return rates
    waiting: Spec = {
        "layer": [
            _with_x(shade, x_waits),
            {
                "data": {"values": waits},
                "mark": {"type": "rect", "color": "var(--wait)"},
                "encoding": {
                    "x": x_waits,
                    "x2": {"field": "to"},
                    "y": {
                        "field": "count",
                        "type": "quantitative",
                        "scale": {"domain": [0, most_waits], "nice": True},
                        "axis": {
                            "title": "told to wait (429, 503)",
                            "tickCount": 2,
                            "tickMinStep": 1,
                            "format": "~s",
                        },
                    },
                    "y2": {"datum": 0},
                    "description": {"field": "says"},
                },
            },
        ]
    }
    return {"vconcat": [rates, waiting], "spacing": 30}


def _with_x(layer: Spec, x: Spec) -> Spec:
    return {**layer, "encoding": {"x": x, **layer["encoding"]}}


def _title(stretch: Stretch, all_stretches: Sequence[Stretch]) -> str:
    """When a stretch was, or how long after the one before."""
    index = all_stretches.index(stretch)
    if not index:
        return date(stretch.from_at)
    return f"{span(stretch.from_at - all_stretches[index - 1].to_at)} later"


def _sized(panels: Spec, width: int, *, height: int, is_first: bool) -> Spec:
    """The panels with their sizes; those after the first do without a scale of their own beside them."""
    if "vconcat" in panels:
        rates, waiting = panels["vconcat"]
        both = [
            _sized(rates, width, height=height, is_first=is_first),
            _sized(waiting, width, height=44, is_first=is_first),
        ]
        return {**panels, "vconcat": both}
    layers = panels["layer"]
    if not is_first:
        layers = [_without_axis(layer) for layer in layers]
    return {**panels, "layer": layers, "width": width, "height": height}


def _without_axis(layer: Spec) -> Spec:
    encoding = layer["encoding"]
    if "y" not in encoding:
        return layer
    # Invisible, and not left out: the panels of all stretches stand on one line.
    axis = {**encoding["y"]["axis"], "labelOpacity": 0, "titleOpacity": 0}
    return {**layer, "encoding": {**encoding, "y": {**encoding["y"], "axis": axis}}}


def _shades(stretch: Stretch, pauses: Sequence[Pause]) -> list[Spec]:
    """The pauses within a stretch; those that are too short to be seen apart are joined."""
    near_s = (stretch.to_at - stretch.from_at) / 400
    found: list[tuple[float, float, bool]] = []
    for pause in sorted(pauses, key=lambda pause: (pause.is_outage, pause.from_at)):
        from_at, to_at = max(pause.from_at, stretch.from_at), min(pause.to_at, stretch.to_at)
        if from_at >= to_at:
            continue
        if found and found[-1][2] == pause.is_outage and from_at <= found[-1][1] + near_s:
            found[-1] = (found[-1][0], max(found[-1][1], to_at), pause.is_outage)
        else:
            found.append((from_at, to_at, pause.is_outage))
    return [
        {
            "from": from_at * 1000,
            "to": to_at * 1000,
            "colour": "var(--shade-outage)" if is_outage else "var(--shade-wait)",
            "says": "outage" if is_outage else "paused, told to wait",
        }
        for from_at, to_at, is_outage in found
    ]


def _moments(stretch: Stretch, timeline: Timeline) -> list[Spec]:
    """What happened at one moment and is worth a line across the chart."""
    colours = {Tone.BAD: "var(--failed)", Tone.WAIT: "var(--wait)", Tone.GOOD: "var(--muted)"}
    return [
        {
            "from": episode.from_at * 1000,
            "colour": colours[episode.tone],
            "says": f"{clock(episode.from_at)}: {episode.title}",
        }
        for episode in timeline.episodes[:_MOST_MOMENTS]
        if episode.to_at is None
        and episode.tone in colours
        and episode.title != "Completed"
        and stretch.from_at <= episode.from_at <= stretch.to_at
    ]


def _time_format(stretch: Stretch) -> str:
    lasts_s = stretch.to_at - stretch.from_at
    if lasts_s <= 300:
        return "%H:%M:%S"
    return "%H:%M" if lasts_s <= 2 * 86_400 else "%-d %b"
