"""`sipbatch pause`, `continue`, `rate` and `stop`: orders to a run that another terminal has begun."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from batch.commands.run_options import command_line, workspace_option
from batch.commands.talk import deliver
from batch.errors import OrderError, UsageError
from batch.workspace import Workspace, find_run

if TYPE_CHECKING:
    from batch.engine.controls import Verb
    from batch.workspace import Holder

EPILOG = """Exit codes: 0 the run has done as it was told; 2 no run is going; 75 it did not, or does not
answer. Each order is an event in the run's journal and in its report."""


@click.command(name="pause", epilog=EPILOG)
@click.argument("run", required=False, metavar="[RUN]")
@workspace_option
def pause(*, run: str | None, workspace: Path) -> int:
    """Have the run that is going send nothing more until `sipbatch continue`.

    What is in flight ends. The process stays, and keeps the workspace.
    """
    from batch.engine.controls import Verb

    return _order(Verb.PAUSE, "", run, Workspace(workspace))


@click.command(name="continue", epilog=EPILOG)
@click.argument("run", required=False, metavar="[RUN]")
@workspace_option
def go_on(*, run: str | None, workspace: Path) -> int:
    """Have a run that was paused go on."""
    from batch.engine.controls import Verb

    return _order(Verb.CONTINUE, "", run, Workspace(workspace))


@click.command(name="rate", epilog=EPILOG)
@click.argument("rate", metavar="N/s")
@click.argument("run", required=False, metavar="[RUN]")
@workspace_option
def rate(*, rate: str, run: str | None, workspace: Path) -> int:
    """Have the run that is going send at another rate: 50/s, 600/m, several at once, or auto.

    A run that was begun at a rate cannot look for one: `auto` is for those that were begun with it.
    """
    from batch.engine.controls import Verb
    from batch.engine.pacer import parse_rates

    parse_rates(rate)  # what is not understood is told without asking the run
    return _order(Verb.RATE, rate, run, Workspace(workspace))


@click.command(name="stop", epilog=EPILOG)
@click.argument("run", required=False, metavar="[RUN]")
@workspace_option
def stop(*, run: str | None, workspace: Path) -> int:
    """Have the run that is going end, as the first Ctrl-C in its terminal would: `sipbatch resume` goes on.

    What is in flight ends first. The command that sends it then writes its report and ends with 130.
    """
    from batch.engine.controls import Verb

    return _order(Verb.STOP, "", run, Workspace(workspace))


def _order(verb: Verb, value: str, run: str | None, place: Workspace) -> int:
    from batch.engine.controls import Order, Verb
    from batch.engine.mailbox import Mailbox, order_and_wait

    holder = _holder(run, place)
    name = f"Run {holder.run}" if holder.run else "The run that is beginning"
    mailbox = Mailbox(place.control_path)
    answer = order_and_wait(mailbox, Order(verb, value), is_held=lambda: place.holder() is not None)
    if answer is None:
        if place.holder() is None:
            if verb is Verb.STOP:
                deliver(f"{name} has ended.")
                return 0
            raise OrderError(f"{name} has ended meanwhile. {_see(place)}")
        raise OrderError(
            f"{name} does not answer: {holder} is beginning, writing its report, or suspended. Nothing was "
            f"changed; try again. {_see(place)}"
        )
    if not answer.is_done:
        raise OrderError(f"{name}: {answer.text}.")
    deliver(f"{name}: {answer.text}.")
    return 0


def _holder(run: str | None, place: Workspace) -> Holder:
    """Who is to be told; `UsageError` if nobody is there, or somebody else."""
    records = place.records()
    wanted = None if run is None else find_run(records, run)
    holder = place.holder()
    if holder is None:
        last = wanted or (records[-1] if records else None)
        stands = f" Run {last.id} is {last.state.value}." if last is not None else ""
        raise UsageError(f"{place.path}: no run is going here.{stands} {_see(place)}")
    if wanted is not None and holder.run != wanted.id:
        raise UsageError(
            f"Run {wanted.id} is not going; it is {wanted.state.value}. What is going is {holder}."
        )
    return holder


def _see(place: Workspace) -> str:
    return f"`{command_line(place, 'status')}` shows where it stands."
