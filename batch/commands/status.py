"""`sipbatch status`: where a run stands, also while it is going."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batch.commands.run_options import command_line, workspace_option
from batch.commands.talk import deliver
from batch.workspace import UNFINISHED, Workspace, find_run

if TYPE_CHECKING:
    from batch.standing import Standing


@click.command(name="status")
@click.argument("run", required=False, metavar="[RUN]")
@workspace_option
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(*, run: str | None, workspace: Path, as_json: bool) -> int:
    """Show where a run stands: the newest one, or RUN. Works while the run is going, and changes nothing."""
    from batch.standing import standing

    place = Workspace(workspace)
    with closing(place.reader()) as journal:
        found = find_run(journal.runs(), run)
        now = standing(journal, found, place.holder(), now=time.time())
    if as_json:
        deliver(json.dumps(now.to_json(), indent=2))
    else:
        deliver("\n".join(_lines(now, place)))
    return 0


def _lines(standing: Standing, workspace: Workspace) -> Iterator[str]:
    from batch.progress import duration_text
    from batch.states import RequestState, StopReason
    from batch.timestamps import utc

    run, counts = standing.run, standing.counts
    is_told = run.reason not in (None, StopReason.DONE) and not standing.is_going
    reason = f" ({run.reason})" if is_told else ""
    yield f"Run {run.id}: {run.state.value}{reason}, to {run.target}"
    if run.parent is not None:
        yield f"  sends again a part of run {run.parent}"
    yield f"  {counts.requests - counts.left:,} of {counts.requests:,} requests done"
    width = len(f"{counts.requests:,}")
    for state in RequestState:
        if counts.of(state):
            yield f"    {state.value:<10} {counts.of(state):>{width},}"
    if counts.rejected:
        yield f"    {'rejected':<10} {counts.rejected:>{width},} (rows)"
    if standing.rate_per_s is not None:
        eta = f", about {duration_text(standing.eta_s)} left" if standing.eta_s is not None else ""
        yield f"  {standing.rate_per_s:.1f} a second{eta}"
    event = standing.last_event
    if event is not None:
        detail = ", ".join(f"{name} {value}" for name, value in event.detail.items())
        yield f"  last event at {utc(event.at)}: {event.kind}{f' ({detail})' if detail else ''}"
    if standing.holder is not None:
        yield f"  going: {standing.holder}"
    elif standing.is_left_behind:
        yield "  its process is gone: it was killed, or the machine went down"
    folder = workspace.run_folder(run.id)
    if (folder / "results.csv").exists():
        yield f"  report: {folder / 'results.csv'}"
    if run.state in UNFINISHED and not standing.is_going:
        yield f"Go on with it: {command_line(workspace, 'resume', run.id)}"
