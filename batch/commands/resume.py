"""`sipbatch resume`: go on with a run from the journal alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batch.commands.run_options import (
    Given,
    command_line,
    reconnect_options,
    sending_options,
    workspace_option,
)
from batch.commands.talk import LogFormat, Talk, talk_options
from batch.errors import UsageError
from batch.states import RunState
from batch.workspace import UNFINISHED, Workspace, find_run

if TYPE_CHECKING:
    from batch.destinations import Carrier
    from batch.journal.protocol import Journal, RunRecord
    from batch.plans import Int64s

EPILOG = """Exit codes are those of `sipbatch run`. Examples:

\b
  sipbatch resume
  sipbatch resume 20260728-101500-3 --rate 10/s
"""


@click.command(name="resume", epilog=EPILOG)
@click.argument("run", required=False, metavar="[RUN]")
@sending_options
@reconnect_options
@workspace_option
@talk_options
@click.option("--yes", is_flag=True, hidden=True, help="Taken for the sake of scripts; resume asks nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the run's summary as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    run: str | None,
    key_file: Path | None,
    transport: Carrier | None,
    workspace: Path,
    quiet: bool,
    log_format: LogFormat,
    as_json: bool,
    **params: Any,
) -> int:
    """Go on with a run that was interrupted, halted or killed: the newest one, or RUN.

    What is left is sent as it was pinned when the run was planned: neither sheet nor template is read again.
    It goes on at the rate it had, unless you give another. Nothing is asked.
    """
    from batch.commands.conclusion import carry_out
    from batch.commands.origins import changed_since
    from batch.commands.reviewing import tell_overtaken
    from batch.destinations import SANDBOX, pinned_destination
    from batch.rollout import Rollout, Sending, check_reachable

    talk = Talk(log_format, quiet)
    options = Given(params)
    hooks = options.hooks()
    place = Workspace(workspace)
    _find(place.records(), run)  # before anything is made or taken: there may be no run at all
    with Rollout(place, "resume", formats=options.formats()) as rollout:
        found = _find(rollout.journal.runs(), run)
        if found.state is RunState.COMPLETED:
            raise UsageError(
                f"Run {found.id} is completed: nothing is left to send. "
                f"`{command_line(place, 'retry', found.id)}` sends again what failed or is unknown."
            )
        destination = pinned_destination(found.options, found.target, key_file=key_file, transport=transport)
        rollout.check_trusted(found)
        had = Sending.from_pinned(found.options).at_last_rate(rollout.journal.events(found.id))
        sending = options.sending_over(ctx, had)
        left = rollout.journal.counts(found.id).left
        rate = sending.rate if sending.run_options().rates else "the rate that the API allows"
        talk.say(
            f"Run {found.id}: going on with {left:,} requests to {destination.in_words} at {rate}.",
            event="run",
            run=found.id,
            folder=str(place.path / found.id),
        )
        for line in changed_since(found):
            talk.say(line, event="changed")
        tell_overtaken(talk, rollout.journal, found, partial(_left, rollout.journal, found.id))
        if destination.name == SANDBOX:
            talk.say("The sandbox is a new one: it remembers nothing of what the run sent before.")
        check_reachable(destination)
        return carry_out(
            talk, rollout, found.id, destination, sending, hooks=hooks, as_json=as_json
        ).exit_code


def _left(journal: Journal, run_id: str) -> Int64s:
    """The keys of what a run has left."""
    from batch.plans import keys_of

    left = journal.left(run_id)
    return keys_of(left.numbers, left.directions)


def _find(runs: list[RunRecord], wanted: str | None) -> RunRecord:
    return find_run(runs, wanted, fits=lambda run: run.state in UNFINISHED, fitting="that can be resumed")
