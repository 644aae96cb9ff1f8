"""`sipbatch status`: where a run stands, also while it is going, once or again and again."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batch.commands.run_options import command_line, workspace_option
from batch.commands.screen import Screen, is_terminal
from batch.commands.talk import EXIT_INTERRUPTED, deliver
from batch.errors import UsageError
from batch.workspace import UNFINISHED, Holder, Workspace

if TYPE_CHECKING:
    from batch.watching import Seen

#: How often a run is looked at where nothing else was asked for: on a terminal, and for a log.
_ON_TERMINAL_S, _FOR_LOG_S = 2.0, 10.0
_LEAST_S, _MOST_S = 0.2, 86_400.0

#: `--watch` without a number.
_AS_FITS = "as fits"

EPILOG = """Exit codes: 0; with --watch, 130 if you left before the run had ended. Examples:

\b
  sipbatch status
  sipbatch status --watch
  sipbatch status 20260728-101500-3 --watch 30 >> night.log
"""


@click.command(name="status", epilog=EPILOG)
@click.argument("run", required=False, metavar="[RUN]")
@click.option(
    "--watch",
    is_flag=False,
    flag_value=_AS_FITS,
    metavar="[SECONDS]",
    help="Look again every so many seconds until the run ends; Ctrl-C leaves, and stops nothing.  "
    "[default: 2 on a terminal, else 10]",
)
@workspace_option
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON; with --watch, one object a line.")
def command(*, run: str | None, watch: str | None, workspace: Path, as_json: bool) -> int:
    """Show where a run stands: the newest one, or RUN. Works while the run is going, and changes nothing.

    With --watch it stays until the run has ended, drawn in place on a terminal, a line each time elsewhere.
    A journal of a million requests is read for a moment every few seconds, whatever you ask for.
    """
    from batch.watching import Watch

    place = Workspace(workspace)
    run, interval_s = _asked(run, watch)
    with closing(Watch(place, run)) as watched:
        if watch is None:
            _print(watched.look(), place, as_json=as_json)
            return 0
        try:
            _follow(watched.look, watched.pause_s, interval_s, place, as_json=as_json)
        except KeyboardInterrupt:
            if is_terminal():
                Screen().leave()
            return EXIT_INTERRUPTED
    return 0


def _asked(run: str | None, watch: str | None) -> tuple[str | None, float]:
    """The run and the interval; what stands behind `--watch` may be either, if the other is not there."""
    default_s = _ON_TERMINAL_S if is_terminal() else _FOR_LOG_S
    if watch in (None, _AS_FITS):
        return run, default_s
    assert watch is not None
    try:
        interval_s = float(watch)
    except ValueError:
        interval_s = float("nan")
    if _LEAST_S <= interval_s <= _MOST_S:
        return run, interval_s
    if run is None and len(watch) >= len("20260728") and watch[:8].isdigit():
        return watch, default_s
    raise UsageError(f'--watch "{watch}" is not understood: write seconds, from {_LEAST_S:g} to {_MOST_S:g}.')


def _follow(
    look: Callable[[], Seen],
    pause_s: Callable[[float], float],
    interval_s: float,
    place: Workspace,
    *,
    as_json: bool,
) -> None:
    """Show every look until nobody sends the run any more."""
    screen = Screen() if is_terminal() and not as_json else None
    while True:
        seen = look()
        if not seen.standing.is_going:
            break
        if screen is not None:
            screen.draw(_lines(seen, place))
        elif as_json:
            _print_line(seen)
        else:
            deliver(_one_line(seen))
        time.sleep(pause_s(interval_s))
    if screen is not None:
        screen.finish(_lines(seen, place))
    elif as_json:
        _print_line(seen)
    else:
        deliver("\n".join(_lines(seen, place)))


def _print(seen: Seen, place: Workspace, *, as_json: bool) -> None:
    if not as_json:
        deliver("\n".join(_lines(seen, place)))
        return
    import orjson

    deliver(orjson.dumps(seen.part, option=orjson.OPT_INDENT_2).decode())


def _print_line(seen: Seen) -> None:
    import orjson

    deliver(orjson.dumps(seen.part).decode())


def _one_line(seen: Seen) -> str:
    """The same as a run says of itself where it has no terminal, after the time."""
    from batch.progress import line_of
    from batch.timestamps import utc

    now = seen.standing
    wait_s = now.waiting.wait_s if now.waiting is not None else 0.0
    note = now.waiting.text if now.waiting is not None else ""
    return f"{utc(now.now)} {line_of(now.counts, now.rate_per_s or 0.0, now.eta_s, note, wait_s)}"


def _lines(seen: Seen, workspace: Workspace) -> list[str]:
    """The status for people; what the API said cannot move the cursor, nor show a number as a whole."""
    from batch.report.lines import printable
    from batch.report.summary_text import masked

    return [masked(printable(line)) for line in _told(seen, workspace)]


def _told(seen: Seen, workspace: Workspace) -> Iterator[str]:
    from batch.progress import duration_text
    from batch.report.happenings import told
    from batch.states import RequestState, StopReason
    from batch.timestamps import utc

    now = seen.standing
    run, counts = now.run, now.counts
    is_told = run.reason not in (None, StopReason.DONE) and not now.is_going
    reason = f" ({run.reason})" if is_told else ""
    yield f"Run {run.id}: {run.state.value}{reason}, to {run.target}"
    if run.parent is not None:
        what = "takes back" if run.rolls_back == run.parent else "sends again a part of"
        yield f"  {what} run {run.parent}"
    done = counts.requests - counts.left
    share = f" ({100 * done // counts.requests}%)" if counts.requests else ""
    yield f"  {done:,} of {counts.requests:,} requests done{share}"
    width = len(f"{counts.requests:,}")
    for state in RequestState:
        if counts.of(state):
            yield f"    {state.value:<10} {counts.of(state):>{width},}"
    if counts.rejected:
        yield f"    {'rejected':<10} {counts.rejected:>{width},} (rows)"
    if now.rate_per_s is not None and counts.left:
        eta = f", about {duration_text(now.eta_s)} left" if now.eta_s is not None else ""
        yield f"  {now.rate_per_s:.1f} a second{eta}"
    if now.waiting is not None:
        how_long = f" {duration_text(now.waiting.wait_s)}" if now.waiting.wait_s >= 1 else ""
        yield f"  waiting{how_long}: {now.waiting.text}"
    if seen.causes:
        yield "  why requests failed so far:" if now.is_going else "  why requests failed:"
        width = len(f"{seen.causes[0].count:,}")
        yield from (f"    {cause.count:>{width},} × {cause.title}" for cause in seen.causes)
    event = now.last_event
    if event is not None:
        said = told(event)
        yield f"  last event at {utc(event.at)}: {said[:1].lower()}{said[1:]}".rstrip(".")
    if now.holder is not None:
        yield f"  going: {_who(now.holder)}"
    elif now.is_left_behind:
        yield "  its process is gone: it was killed, or the machine went down"
    folder = workspace.run_folder(run.id)
    if (folder / "results.csv").exists():
        yield f"  report: {folder / 'results.csv'}"
    if run.state in UNFINISHED and not now.is_going:
        yield f"Go on with it: {command_line(workspace, 'resume', run.id)}"


def _who(holder: Holder) -> str:
    """Who sends it; the machine is named where it is another one."""
    where = "" if holder.host == socket.gethostname() else f" on {holder.host}"
    return f"`sipbatch {holder.command}`, process {holder.pid}{where}, since {holder.since}"
