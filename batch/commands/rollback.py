"""`sipbatch rollback`: send what was in force before a run."""

from __future__ import annotations

import json
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
from batch.commands.talk import LogFormat, Talk, confirm, deliver, require_terminal, talk_options
from batch.errors import PlanChangedError
from batch.journal.protocol import ROLLS_BACK
from batch.states import EXIT_SOME_FAILED
from batch.workspace import UNFINISHED, Workspace, find_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batch.destinations import Carrier
    from batch.fleet.plan_diff import PlanDiff
    from batch.fleet.rolling_back import Rollback
    from batch.journal.protocol import Journal

EPILOG = """Exit codes: 0 everything was taken back, or needed nothing; 3 some of it could not be, or failed,
or is unknown. The others are those of `sipbatch run`. Examples:

\b
  sipbatch rollback 20260728-101500-3 --plan
  sipbatch rollback 20260728-101500-3 --plan-digest SHA --yes
  sipbatch rollback 20260728-101500-3 --yes --rate 20/s
"""

#: How many changes, and rows that cannot be taken back, are shown before the question.
CHANGES_SHOWN = 10
REJECTS_SHOWN = 20


@click.command(name="rollback", epilog=EPILOG)
@click.argument("run", metavar="RUN")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would be sent, in full, and send nothing.")
@click.option("--plan-digest", metavar="SHA", help="Send only if this is still the plan that was reviewed.")
@click.option("--yes", is_flag=True, help="Do not ask; needed where there is no terminal.")
@sending_options
@reconnect_options
@workspace_option
@talk_options
@click.option("--json", "as_json", is_flag=True, help="Print the new run's summary, or the plan, as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    run: str,
    only_plan: bool,
    plan_digest: str | None,
    yes: bool,
    key_file: Path | None,
    transport: Carrier | None,
    workspace: Path,
    quiet: bool,
    log_format: LogFormat,
    as_json: bool,
    **params: Any,
) -> int:
    """Take a run back: send what was in force before it.

    Taken back is what RUN changed, or may have changed, and nothing has changed since; block by block, so
    that what other runs did to other blocks stays. What cannot be taken back stays as it is, and is listed
    with the reason: it was changed since, or nobody knows what was in force before, neither by the journal
    nor by a snapshot of the run (`run --snapshot`). It becomes a run of its own, which can be taken back too.
    """
    from batch.bland.payloads import SCHEMA
    from batch.commands.asking import ask_on_terminal
    from batch.commands.briefing import brief, pace, question, tell_rejects
    from batch.commands.conclusion import carry_out
    from batch.destinations import pinned_destination
    from batch.fleet.diff_text import changes_text
    from batch.fleet.rolling_back import roll_back
    from batch.read_back.snapshots import seen_before
    from batch.rollout import Rollout, Sending, check_reachable

    if not (yes or only_plan):
        require_terminal()
    talk = Talk(log_format, quiet)
    options = Given(params)
    hooks = options.hooks()
    place = Workspace(workspace)
    place.records()  # before anything is made or taken: there may be no run at all
    with Rollout(place, "rollback", formats=options.formats()) as rollout:
        journal = rollout.journal
        journal.settle()
        taken_back = find_run(journal.runs(), run)
        rollback = roll_back(journal, taken_back, seen_before(journal, taken_back.id, SCHEMA))
        plan = rollback.plan
        diff = _diff(rollback, journal)
        if only_plan:
            deliver(_json(rollback, diff) if as_json else "\n".join(_text(rollback, diff)))
            return EXIT_SOME_FAILED if rollback.impossible_count else 0
        talk.say(
            "\n".join([_counts(rollback), brief(plan), *changes_text(diff, CHANGES_SHOWN)]),
            event="plan",
            digest=plan.digest,
            to_send=plan.to_send_count,
            rejected=len(plan.rejects),
        )
        if plan_digest is not None and plan_digest != plan.digest:
            again = command_line(place, "rollback", taken_back.id, "--plan")
            raise PlanChangedError(
                f"This is not the plan that was reviewed: its digest is {plan.digest}, not {plan_digest}. "
                f"Another run has changed numbers since. Nothing was sent: review it again with `{again}`."
            )
        if plan.rejects:
            # All of them are in the report, or shown by --plan.
            tell_rejects(talk, plan, most=REJECTS_SHOWN)
        if taken_back.state in UNFINISHED:
            left = (
                f"Run {taken_back.id} is {taken_back.state.value}: what it has left is sent if you resume it."
            )
            talk.insist(left, event="unfinished")
        if not plan.to_send_count:
            if as_json:
                deliver(_json(rollback, diff))
            return EXIT_SOME_FAILED if rollback.impossible_count else 0
        destination = pinned_destination(
            taken_back.options, taken_back.target, key_file=key_file, transport=transport
        )
        sending = options.sending_over(ctx, Sending.from_pinned(taken_back.options))
        check_reachable(destination)
        if not yes:
            confirm(question(plan, destination, sending))
        run_id = rollout.pin(
            plan, destination, sending, also={ROLLS_BACK: taken_back.id}, parent=taken_back.id
        )
        talk.say(
            f"Run {run_id}: taking back run {taken_back.id} at {destination.in_words} "
            f"{pace(plan.to_send_count, sending)}.",
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


def _diff(rollback: Rollback, journal: Journal) -> PlanDiff:
    from batch.fleet.comparison import compare
    from batch.fleet.plan_diff import diff

    applied = journal.applied(rollback.run.target, rollback.run.account)
    return diff(compare(rollback.plan, applied, journal.payload), journal.kept)


def _counts(rollback: Rollback) -> str:
    """What taking the run back comes to, in one line, in requests."""
    from batch.fleet.rolling_back import Back

    words = {
        Back.SENT: "to be taken back",
        Back.SAME: "sent what was in force already",
        Back.DONE: "taken back already",
        Back.CHANGED_SINCE: "changed since",
        Back.NEVER_KNOWN: "of which nobody knows what was before",
        Back.NOTHING_BEFORE: "of which nothing was set up before",
        Back.SEALED: "with a secret that is not at hand",
    }
    parts = [f"{rollback.count(back):,} {says}" for back, says in words.items() if rollback.count(back)]
    doubt = f" {rollback.in_doubt:,} of these may not have been in force before." if rollback.in_doubt else ""
    return f"Run {rollback.run.id}: {', '.join(parts) or 'it changed nothing'}.{doubt}"


def _text(rollback: Rollback, diff: PlanDiff) -> Iterator[str]:
    """The plan for people: what changes, like a patch, and what cannot be taken back."""
    from batch.commands.briefing import rejects
    from batch.fleet.diff_text import diff_text

    yield from diff_text(diff, with_missing=False)
    if rollback.plan.rejects:
        yield rejects(rollback.plan)
    yield _counts(rollback)
    if rollback.plan.to_send_count:
        yield f"Plan digest: {rollback.plan.digest}"


def _json(rollback: Rollback, diff: PlanDiff) -> str:
    """The plan as JSON: `run`, `counts` by what becomes of them, `patches`, `requests`, `impossible`."""
    from batch.fleet.diff_text import diff_json
    from batch.fleet.rolling_back import Back
    from batch.plans import DIRECTIONS

    told = diff_json(diff)
    return json.dumps(
        {
            "run": rollback.run.id,
            "digest": rollback.plan.digest,
            "counts": {back.value: rollback.count(back) for back in Back},
            "patches": told["patches"],
            "requests": told["requests"],
            "impossible": [
                {
                    "phone_number": f"+{step.touch.number}",
                    "direction": DIRECTIONS[step.touch.direction],
                    "sheet": rollback.run.sheets[step.touch.sheet_id].name,
                    "row": step.touch.row,
                    "reason": step.back.value,
                    "changed_by": step.touch.now_run if step.back is Back.CHANGED_SINCE else None,
                    "message": step.why,
                }
                for step in rollback.steps
                if step.back.is_impossible
            ],
        },
        indent=2,
    )
