"""`sipbatch reconcile`: send only what differs from what is in force; made for cron."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from batch.commands.run_options import (
    Given,
    command_line,
    destination_options,
    sending_options,
    workspace_option,
)
from batch.commands.sheet_options import SheetArguments, sheet_options
from batch.commands.talk import LogFormat, Talk, confirm, deliver, require_terminal, talk_options
from batch.errors import LockedError, TooMuchError
from batch.states import EXIT_SOME_FAILED
from batch.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from batch.destinations import Destination
    from batch.fleet.comparison import Comparison
    from batch.fleet.reconciling import Thresholds
    from batch.hooks import Hooks
    from batch.journal.protocol import Journal
    from batch.plans import Plan
    from batch.rollout import Rollout, Sending

#: The exit code of `--expect-no-changes` where there are changes.
EXIT_CHANGES = 5

EPILOG = """Exit codes: 0 all is in force, or was sent and succeeded; 3 some failed, were rejected or are
unknown; 4 more would change, or is missing, than may be, and nothing was sent; 5 with --expect-no-changes,
there are changes; 75 another run holds the workspace: the next time will do. The others are those of
`sipbatch run`. Examples:

\b
  sipbatch reconcile numbers.csv --yes --quiet
  sipbatch reconcile numbers.csv --expect-no-changes
  sipbatch reconcile numbers.csv --yes --max-changed 500 --max-missing 1%
"""


@click.command(name="reconcile", epilog=EPILOG)
@sheet_options
@click.option("--yes", is_flag=True, help="Do not ask; needed where there is no terminal.")
@click.option("--skip-rejects", is_flag=True, help="Send the others although rows were rejected.")
@click.option("--plan-digest", metavar="SHA", help="Send only if this is still the plan that was reviewed.")
@click.option(
    "--max-changed",
    default="30%",
    show_default=True,
    metavar="N|N%",
    help="Send nothing if more of the known numbers in the sheets would change.",
)
@click.option(
    "--max-missing",
    default="10%",
    show_default=True,
    metavar="N|N%",
    help="Send nothing if more of the known numbers are in no sheet.",
)
@click.option(
    "--expect-no-changes",
    is_flag=True,
    help="Send nothing; show what differs, and exit with 5 if anything does.",
)
@sending_options
@destination_options
@workspace_option
@talk_options
@click.option("--json", "as_json", is_flag=True, help="Print the run's summary as JSON, or what differs.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    given: SheetArguments,
    yes: bool,
    skip_rejects: bool,
    plan_digest: str | None,
    max_changed: str,
    max_missing: str,
    expect_no_changes: bool,
    workspace: Path,
    quiet: bool,
    log_format: LogFormat,
    as_json: bool,
    **params: Any,
) -> int:
    """Send what is new in the sheets, or not as it was last applied; skip what is in force already.

    Numbers are matched by what they are, not by where they stand, and compared by content: a sheet that was
    sorted, extended or exported again sends nothing but what is new in it. What may not have been applied
    is sent again. Numbers that are in no sheet any more are left as they are. If more would change, or is
    missing, than may be, nothing is sent. Where nothing differs, no run is made.

    With --verify what should be in force is read back first: what is not there as it was sent counts as a
    change, and is sent again. What was sent is read back afterwards.

    When something was sent, one line on standard output says so, also with --quiet.
    """
    from batch.commands.origins import origins
    from batch.commands.reviewing import review
    from batch.fleet.reconciling import Thresholds
    from batch.rollout import Rollout

    if not (yes or expect_no_changes):
        require_terminal()
    talk = Talk(log_format, quiet)
    thresholds = Thresholds.parse(max_changed, max_missing)
    options = Given(params)
    sending = options.sending()
    sending.run_options()  # a rate that is not understood is told before a large sheet is read
    hooks = options.hooks()
    destination = options.destination(ctx)
    place = Workspace(workspace)
    try:
        place.check_free()
        plan = given.plan()
        review(talk, plan, given, plan_digest=plan_digest, skip_rejects=skip_rejects)
        compared = partial(_compared, talk, plan, given, destination, sending)
        if expect_no_changes:
            return _expect_no_changes(talk, compared, place, as_json=as_json)
        with Rollout(place, "reconcile", formats=options.formats()) as rollout:
            rollout.journal.settle()
            return _reconcile(
                talk,
                rollout,
                compared(rollout.journal),
                destination,
                sending,
                thresholds,
                given,
                also=origins(ctx, given.templates),
                is_to_ask=not yes,
                hooks=hooks,
                as_json=as_json,
            )
    except LockedError as error:
        talk.say(f"sipbatch: nothing was sent. {error}", event="locked")
        return error.exit_code


def _compared(
    talk: Talk,
    plan: Plan,
    given: SheetArguments,
    destination: Destination,
    sending: Sending,
    journal: Journal,
) -> Comparison:
    """The plan beside what is in force: by the journal, and with `--verify` by what is there."""
    from batch.fleet.comparison import Difference, compare

    applied = journal.applied(destination.name, destination.account)
    comparison = compare(plan, applied, journal.payload, is_narrowed=given.is_narrowed)
    if not (sending.verify and comparison.count(Difference.UNCHANGED)):
        return comparison
    from batch.read_back.along import as_readable, reader_at
    from batch.read_back.drifting import DriftFound, find_drift, with_drift
    from batch.rollout import check_reachable, in_event_loop

    async def read() -> DriftFound:
        options = sending.run_options()
        async with destination.open(connections=options.most_workers) as target:
            return await find_drift(comparison, as_readable(target), reader_at(options, talk.progress))

    check_reachable(destination)
    found = in_event_loop(read)
    talk.say(found.in_words, event="read_back", drifted=len(found.drifted))
    return with_drift(comparison, found)


def _reconcile(
    talk: Talk,
    rollout: Rollout,
    comparison: Comparison,
    destination: Destination,
    sending: Sending,
    thresholds: Thresholds,
    given: SheetArguments,
    *,
    also: Mapping[str, object],
    is_to_ask: bool,
    hooks: Hooks,
    as_json: bool,
) -> int:
    """Send what differs, if that is not too much."""
    from batch.commands.asking import ask_on_terminal
    from batch.commands.briefing import brief, course, pace, question
    from batch.commands.conclusion import carry_out
    from batch.fleet.diff_text import counts_text
    from batch.rollout import check_reachable

    too_much = "; ".join(thresholds.exceeded_by(comparison))
    if not (comparison.to_send_count or too_much):
        return _nothing_to_send(talk, comparison, rollout.journal, as_json=as_json)
    plan = comparison.skip_unchanged()
    counts = counts_text(comparison)
    talk.say(
        f"{brief(plan)}\nBeside what is in force: {counts}.",
        event="plan",
        digest=plan.digest,
        to_send=plan.to_send_count,
        rejected=len(plan.rejects),
    )
    if too_much:
        shown = command_line(rollout.workspace, "plan", *map(str, given.paths), "--diff")
        raise TooMuchError(f"{too_much}. Nothing was sent; `{shown}` shows it.")
    check_reachable(destination)
    if told := course(plan, sending):
        talk.say(told)
    if is_to_ask:
        confirm(question(plan, destination, sending))
    run_id = rollout.pin(plan, destination, sending, also=also)
    talk.say(
        f"Run {run_id}: sending to {destination.in_words} {pace(plan.to_send_count, sending)}.",
        event="run",
        run=run_id,
        folder=str(rollout.workspace.run_folder(run_id)),
    )
    finished = carry_out(
        talk,
        rollout,
        run_id,
        destination,
        sending,
        hooks=hooks,
        as_json=as_json,
        ask=ask_on_terminal if is_to_ask else None,
    )
    if not as_json:
        done = f"{finished.counts.succeeded:,} of {plan.to_send_count:,} requests succeeded"
        deliver(f"{counts}: {done} in run {run_id}. See {finished.results_path}.")
    return finished.exit_code


def _nothing_to_send(talk: Talk, comparison: Comparison, journal: Journal, *, as_json: bool) -> int:
    """Say so in one line, and make no run of it."""
    from batch.fleet.diff_text import counts_text

    talk.say(f"Nothing to send: {counts_text(comparison)}.", event="nothing_to_send")
    if as_json:
        deliver(_told(comparison, journal, as_json=True))
    return EXIT_SOME_FAILED if comparison.plan.rejects else 0


def _expect_no_changes(
    talk: Talk, compared: Callable[[Journal], Comparison], place: Workspace, *, as_json: bool
) -> int:
    """Show what differs; the workspace is neither made nor held."""
    from batch.journal.memory import MemoryJournal

    with closing(place.reader() if place.journal_path.exists() else MemoryJournal()) as journal:
        comparison = compared(journal)
        if not comparison.to_send_count:
            return _nothing_to_send(talk, comparison, journal, as_json=as_json)
        deliver(_told(comparison, journal, as_json=as_json))
    return EXIT_CHANGES


def _told(comparison: Comparison, journal: Journal, *, as_json: bool) -> str:
    """What differs: as JSON `differences` (how many, by kind) and the fields of `diff_json`."""
    from batch.fleet.diff_text import counts_json, counts_text, diff_json, diff_text
    from batch.fleet.plan_diff import diff

    found = diff(comparison, journal.kept)
    if as_json:
        return json.dumps({"differences": counts_json(comparison), **diff_json(found)}, indent=2)
    return "\n".join([*diff_text(found), f"{counts_text(comparison)}."])
