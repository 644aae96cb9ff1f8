"""`sipbatch run`: plan, ask, send, report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from batch.commands.run_options import (
    Given,
    destination_options,
    sending_options,
    workspace_option,
)
from batch.commands.sheet_options import SheetArguments, sheet_options
from batch.commands.talk import LogFormat, Talk, confirm, require_terminal, talk_options
from batch.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

EPILOG = """Exit codes: 0 all succeeded; 3 some failed, were rejected or are unknown; 4 stopped for safety; 65
rows were rejected, and nothing was sent; 74 the journal or report cannot be written; 75 try later; 77 no key,
or refused; 130 and 143 interrupted. After 4, 75, 77, 130 and 143 `sipbatch resume` goes on. Examples:

\b
  sipbatch run numbers.csv --sandbox
  sipbatch run numbers.csv --rate 20/s --canary 10 --max-failures 2%
  sipbatch run results.csv --where result_state=failed --yes
"""


@click.command(name="run", epilog=EPILOG)
@sheet_options
@click.option("--yes", is_flag=True, help="Do not ask; needed where there is no terminal.")
@click.option("--skip-rejects", is_flag=True, help="Send the others although rows were rejected.")
@click.option("--plan-digest", metavar="SHA", help="Send only if this is still the plan that was reviewed.")
@sending_options
@destination_options
@workspace_option
@talk_options
@click.option("--json", "as_json", is_flag=True, help="Print the run's summary as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    given: SheetArguments,
    yes: bool,
    skip_rejects: bool,
    plan_digest: str | None,
    workspace: Path,
    quiet: bool,
    log_format: LogFormat,
    as_json: bool,
    **params: Any,
) -> int:
    """Send the requests of one or several sheets, and report on every row.

    SHEET is a CSV, a workbook, or - for standard input; several make one plan. It is planned in full before
    anything is sent; then you are asked. If any row is rejected, all are listed and nothing is sent. Whatever
    ends the run, its journal and report say where every request stands, and `sipbatch resume` goes on.
    """
    from batch.commands.asking import ask_on_terminal
    from batch.commands.briefing import brief, course, pace, question
    from batch.commands.conclusion import carry_out
    from batch.commands.origins import origins
    from batch.commands.reviewing import review
    from batch.rollout import Rollout, check_reachable

    if not yes:
        require_terminal()
    talk = Talk(log_format, quiet)
    options = Given(params)
    sending = options.sending()
    sending.run_options()  # a rate that is not understood is told before a large sheet is read
    hooks = options.hooks()
    destination = options.destination(ctx)
    place = Workspace(workspace)
    place.check_free()

    plan = given.plan()
    talk.say(
        brief(plan), event="plan", digest=plan.digest, to_send=plan.to_send_count, rejected=len(plan.rejects)
    )
    review(talk, plan, given, plan_digest=plan_digest, skip_rejects=skip_rejects)
    if plan.to_send_count:
        check_reachable(destination)
    if plan.to_send_count and (told := course(plan, sending)):
        talk.say(told)
    if plan.to_send_count and not yes:
        confirm(question(plan, destination, sending))

    with Rollout(place, "run", formats=options.formats()) as rollout:
        run_id = rollout.pin(plan, destination, sending, also=origins(ctx, given.templates))
        at_pace = pace(plan.to_send_count, sending)
        del plan  # from here on the journal has it: of a million rows it would be held all night for nothing
        talk.say(
            f"Run {run_id}: sending to {destination.in_words} {at_pace}.",
            event="run",
            run=run_id,
            folder=str(place.path / run_id),
        )
        return carry_out(
            talk,
            rollout,
            run_id,
            destination,
            sending,
            hooks=hooks,
            as_json=as_json,
            ask=None if yes else ask_on_terminal,
        ).exit_code
