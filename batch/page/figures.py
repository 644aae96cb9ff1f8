"""The figures of the page: each a chart and the table behind it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from batch.page import charts as page_charts
from batch.page.attempts import AttemptTally
from batch.page.charts import Chart, Part, Row
from batch.page.over_time import MOST_BARS, over_time
from batch.page.shares import Share, ShareTally
from batch.page.timeline import Timeline
from batch.page.words import clock, day, milliseconds, percent, short
from batch.report.summary import Summary

#: The most bars of a chart with one bar a name; the table has more, up to the other.
_MOST_BARS, _MOST_ROWS = 10, 100

#: Requests sent more often than this are told of together.
_MOST_SENDS = 6

#: The least answers that are worth a picture.
_LEAST_ANSWERS = 3

#: Rows of the table over time: the most, and the least that are worth one.
_MOST_TIMES, _LEAST_TIMES = 30, 3

#: The columns of a table of shares; one of nothing but zeros is left out, unless it is
#: among those that are always there.
_SHARE_COLUMNS: dict[str, Callable[[Share], int]] = {
    "requests": lambda share: share.requests,
    "succeeded": lambda share: share.succeeded,
    "failed": lambda share: share.failed,
    "unknown": lambda share: share.unknown,
    "skipped": lambda share: share.skipped,
    "still to send": lambda share: share.left,
}
_ALWAYS = ("requests", "succeeded", "failed")


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart in its sizes (or none, where there is nothing to draw) and the table behind it.

    Cells are text; the first of each row is its name. `note` says what a reader must know to read it,
    `more` how many rows were left out; the first `words` columns are words, the others numbers.
    """

    title: str
    charts: tuple[Chart, ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    more: int = 0
    words: int = 1


class Figures:
    """All figures of a run; one that would say nothing is None."""

    def __init__(
        self,
        summary: Summary,
        answers: AttemptTally,
        timeline: Timeline,
        shares: ShareTally,
        durations_s: array[float],
    ) -> None:
        self.states = self._states(summary)
        self.over_time = self._over_time(answers, timeline)
        self.latency = self._latency(summary, durations_s)
        self.sends = self._sends(shares)
        self.answers = _answers(answers)
        self.causes = self._causes(summary)
        self.templates = self._shares("template", shares.templates)
        self.directions = self._shares("direction", shares.directions)
        self.countries = self._shares("country", shares.countries)

    @property
    def charts(self) -> list[Chart]:
        """All charts, to be drawn."""
        found = (self.over_time, self.latency, self.sends, self.causes, *self.by)
        return [*self.states, *(chart for figure in found if figure is not None for chart in figure.charts)]

    @property
    def by(self) -> list[Figure]:
        """Where failures gather: by template, direction and country, where there is more than one."""
        return [figure for figure in (self.templates, self.directions, self.countries) if figure is not None]

    def _states(self, summary: Summary) -> tuple[Chart, ...]:
        counts = summary.counts
        left = counts.pending + counts.retrying + counts.in_flight
        parts = [
            Part(name, f"var(--{colour})", count)
            for name, colour, count in (
                ("succeeded", "succeeded", counts.succeeded),
                ("failed", "failed", counts.failed),
                ("unknown", "unknown", counts.unknown),
                ("still to send", "left", left),
                ("skipped", "skipped", counts.skipped),
                ("rejected", "rejected", counts.rejected),
            )
            if count
        ]
        return page_charts.states_bar(parts) if len(parts) > 1 else ()

    def _over_time(self, answers: AttemptTally, timeline: Timeline) -> Figure | None:
        table = answers.stretches(_MOST_TIMES)
        # One or two bars, of a run that was over at once, show nothing that is not said already.
        if sum(len(stretch.bars) for stretch in table) < _LEAST_TIMES:
            return None
        stretches = {width: answers.stretches(most) for width, most in MOST_BARS.items()}
        charts = over_time(stretches, timeline)
        kinds = [kind for kind, count in answers.answers.items() if count]
        rows = tuple(
            (
                f"{day(bar.from_at)} {clock(bar.from_at)}",
                f"{sum(bar.counts.values()) / (bar.to_at - bar.from_at):.2f}",
                *(f"{bar.counts.get(kind, 0):,}" for kind in kinds),
            )
            for stretch in table
            for bar in stretch.bars
        )
        return Figure("Sends a second", charts, ("from (UTC)", "sends a second", *kinds), rows)

    def _latency(self, summary: Summary, durations_s: array[float]) -> Figure | None:
        sending = summary.sending
        # Two answers are no distribution; how long they took is said beside the sends.
        if len(durations_s) < _LEAST_ANSWERS:
            return None
        if sending.latency_p50_ms is None or sending.latency_p95_ms is None:
            return None
        taken = np.asarray(durations_s, dtype=np.float64)
        marks = {
            f"half: {milliseconds(sending.latency_p50_ms)}": sending.latency_p50_ms,
            f"95 %: {milliseconds(sending.latency_p95_ms)}": sending.latency_p95_ms,
        }
        charts = (page_charts.latency(taken, marks),)
        edges, counts = page_charts.latency_bins(taken)
        rows = tuple(
            (
                f"{milliseconds(low)} to {milliseconds(high)}",
                f"{count:,}",
                f"{total / len(taken) * 100:.1f} %",
            )
            for low, high, count, total in zip(
                edges[:-1], edges[1:], counts, np.cumsum(counts).tolist(), strict=True
            )
            if count
        )
        return Figure(
            "How long answers took",
            charts,
            ("answer took", "requests", "so far"),
            rows,
            "By each request's last attempt, on a logarithmic scale.",
        )

    def _sends(self, shares: ShareTally) -> Figure | None:
        if sum(shares.sends.values()) < _LEAST_ANSWERS:
            return None
        grouped: dict[int, int] = {}
        for sends, count in sorted(shares.sends.items()):
            key = min(sends, _MOST_SENDS)
            grouped[key] = grouped.get(key, 0) + count
        total = sum(grouped.values())
        names = {
            sends: {1: "once", 2: "twice"}.get(sends, f"{sends} times")
            if sends < _MOST_SENDS
            else f"{sends} times or more"
            for sends in grouped
        }
        bars = [
            Row(
                names[sends],
                f"{count:,} requests" if count != 1 else "1 request",
                (Part("requests", "var(--accent)", count),),
            )
            for sends, count in grouped.items()
        ]
        title = "How often requests were sent"
        return Figure(
            title,
            (page_charts.bars("sends", bars, title),),
            ("sent", "requests", "share"),
            tuple((names[s], f"{count:,}", f"{count / total * 100:.1f} %") for s, count in grouped.items()),
            "Attempts that were told to wait count here; they use up none of a request's attempts.",
        )

    def _causes(self, summary: Summary) -> Figure | None:
        if len(summary.causes) < 2:
            return None
        bars = [
            Row(short(cause.title), f"{cause.count:,}", _failures(cause.failed, cause.unknown))
            for cause in summary.causes[:_MOST_BARS]
        ]
        return Figure(
            "Failures by cause",
            (page_charts.bars("by-cause", bars, "Failures by cause"),),
            ("cause", "failed", "unknown"),
            tuple(
                (cause.title, f"{cause.failed:,}", f"{cause.unknown:,}")
                for cause in summary.causes[:_MOST_ROWS]
            ),
            more=max(0, len(summary.causes) - _MOST_ROWS),
        )

    def _shares(self, word: str, shares: Sequence[Share]) -> Figure | None:
        if len(shares) < 2:
            return None
        columns = {
            name: count_of
            for name, count_of in _SHARE_COLUMNS.items()
            if name in _ALWAYS or any(count_of(share) for share in shares)
        }
        failing = [share for share in shares if share.failures][:_MOST_BARS]
        title = f"By {word}" if not failing else f"Failures by {word}"
        bars = [
            Row(
                short(share.name),
                f"{share.failures:,} of {share.ended:,}, {percent(share.failure_rate)}",
                _failures(share.failed, share.unknown),
            )
            for share in failing
        ]
        return Figure(
            title,
            (page_charts.bars(f"by-{word}", bars, title),) if bars else (),
            (word, *columns),
            tuple(
                (share.name, *(f"{count_of(share):,}" for count_of in columns.values()))
                for share in shares[:_MOST_ROWS]
            ),
            more=max(0, len(shares) - _MOST_ROWS),
        )


def _failures(failed: int, unknown: int) -> tuple[Part, ...]:
    parts = (Part("failed", "var(--failed)", failed), Part("unknown", "var(--unknown)", unknown))
    return tuple(part for part in parts if part.count)


def _answers(answers: AttemptTally) -> Figure | None:
    if not answers.statuses:
        return None
    rows = tuple(
        (str(status) if status is not None else "no answer", verdict, f"{count:,}")
        for (verdict, status), count in answers.statuses.most_common(_MOST_ROWS)
    )
    return Figure("What the API answered", (), ("HTTP status", "taken for", "attempts"), rows, words=2)
