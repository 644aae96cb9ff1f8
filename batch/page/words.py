"""How the page says counts, shares, lengths of time and moments; moments are UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from batch.report.lines import printable

#: How long a name may be in a chart.
_NAME_LENGTH = 70

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def many(count: int, one: str, several: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {one if count == 1 else several}"


def percent(share: float | None) -> str:
    """A share between 0 and 1, never rounded to none or to all of it; empty if there is none."""
    if share is None:
        return ""
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{share * 100:.1f} %" if 0 < share < 0.1 or 0.9 < share < 1 else f"{share * 100:.0f} %"


def short(name: str) -> str:
    """A name as a chart has room for it, without characters that cannot be seen."""
    name = printable(name)
    return name if len(name) <= _NAME_LENGTH else name[: _NAME_LENGTH - 1] + "…"


def milliseconds(value: float) -> str:
    """`0.4 ms`, `63 ms`, `1.3 s`."""
    if value < 9.95:
        return f"{value:.1f} ms"
    return f"{value:.0f} ms" if value < 999.5 else f"{value / 1000:.3g} s"


def per_second(rate: float) -> str:
    """`0.25`, `63.8`, `1,352`."""
    return f"{rate:,.0f}" if rate >= 99.95 else f"{rate:.3g}"


def span(duration_s: float) -> str:
    """A length of time: `0.4 s`, `42 s`, `3 min 20 s`, `8 h 5 min`, `2 d`."""
    if duration_s < 9.95:
        return f"{max(0.0, duration_s):.1f} s"
    left = round(duration_s)
    found: list[str] = []
    for index, (name, size) in enumerate(_UNITS):
        if left < size:
            continue
        found.append(f"{left // size} {name}")
        left %= size
        if index + 1 < len(_UNITS):
            following, smaller = _UNITS[index + 1]
            if left // smaller:
                found.append(f"{left // smaller} {following}")
        break
    return " ".join(found)


def day(at: float) -> str:
    """`2026-07-28`, to tell days apart."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def date(at: float) -> str:
    """`28 July 2026`."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment.day} {moment:%B %Y}"


def clock(at: float, *, with_day: bool = False) -> str:
    """`01:14:05`, or `28 Jul, 01:14:05`."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment.day} {moment:%b, %H:%M:%S}" if with_day else f"{moment:%H:%M:%S}"
