"""`sipbatch runs`: the runs of a workspace."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batch.commands.run_options import workspace_option
from batch.commands.talk import deliver
from batch.workspace import Workspace

if TYPE_CHECKING:
    from batch.standing import Standing

HEADER = (
    "run",
    "state",
    "requests",
    "succeeded",
    "failed",
    "unknown",
    "left",
    "rejected",
    "target",
    "sheets",
)


@click.command(name="runs")
@workspace_option
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the newest N.")
@click.option("--json", "as_json", is_flag=True, help="Print them as a JSON list.")
def command(*, workspace: Path, limit: int | None, as_json: bool) -> int:
    """List the runs of a workspace, newest first. Works while a run is going, and changes nothing."""
    from batch.standing import standing

    place = Workspace(workspace)
    holder, now = place.holder(), time.time()
    with closing(place.reader()) as journal:
        newest_first = journal.runs()[::-1][:limit]
        standings = [standing(journal, run, holder, now=now) for run in newest_first]
    if as_json:
        import orjson

        deliver(orjson.dumps([one.part() for one in standings], option=orjson.OPT_INDENT_2).decode())
    else:
        deliver("\n".join(_table([HEADER, *(_row(one) for one in standings)])))
    return 0


def _row(standing: Standing) -> tuple[str, ...]:
    run, counts = standing.run, standing.counts
    numbers = (
        counts.requests,
        counts.succeeded,
        counts.failed,
        counts.unknown,
        counts.left,
        counts.rejected,
    )
    sheets = ", ".join(dict.fromkeys(sheet.name for sheet in run.sheets))
    state = "killed" if standing.is_left_behind else run.state.value
    of = f" (of {run.parent})" if run.parent else ""
    return (run.id, state, *(f"{number:,}" for number in numbers), run.target, f"{sheets}{of}")


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Texts to the left, counts to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if 2 <= at <= 7 else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
