"""`sipbatch plan`: everything that a run would do, shown, and nothing sent."""

from __future__ import annotations

import shlex
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from batch.commands.run_options import course_options, fleet_options, key_options, workspace_option
from batch.commands.sheet_options import SheetArguments, sheet_options
from batch.commands.typed import typed
from batch.destinations import SANDBOX
from batch.errors import RejectedError, UsageError
from batch.workspace import Workspace

if TYPE_CHECKING:
    from batch.destinations import Live
    from batch.engine.pacer import Rate
    from batch.fleet.plan_diff import PlanDiff
    from batch.plans import Plan
    from batch.read_back.readable import AttachedNumbers

#: The exit code of `--exit-code` where there is something to send that is not applied yet.
EXIT_CHANGES = 5

#: Options that only `plan` has, or that say nothing of what is planned.
_NOT_FOR_RUN = frozenset({"as_json", "rejects", "show_diff", "exit_code", "quiet", "online"})

#: How many changes are shown without `--diff`, and how many pairs of payloads are looked at for them.
CHANGES_SHOWN = 5
MOST_PAIRS = 20_000

EPILOG = """Exit codes: 0 every row can be sent; 5 with --exit-code, there is something to send; 65 rows were
rejected, or a sheet or template is wrong; with --online 75 the API cannot be reached, 77 the key is refused.
Examples:

\b
  sipbatch plan numbers.csv
  sipbatch plan carrier.xlsx --worksheet Main --region US --map phone_number="Main DID"
  sipbatch plan numbers.csv --diff
  sipbatch plan numbers.csv --online
  sipbatch plan numbers.csv --rejects mend.csv
"""


@click.command(name="plan", epilog=EPILOG)
@sheet_options
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option(
    "--rejects",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.csv",
    help="Write the rejected rows as a sheet to mend and plan again.",
)
@click.option(
    "--diff",
    "show_diff",
    is_flag=True,
    help="Print what differs from what is in force, like a patch: by template, then by number.",
)
@click.option("--exit-code", is_flag=True, help="Exit with 5 if there is something to send.")
@click.option(
    "--rate",
    default="5/s",
    show_default=True,
    metavar="N/s",
    help="The rate to reckon with; also /m and /h, or auto.",
)
@click.option(
    "--online",
    is_flag=True,
    help="Ask the API for the account's numbers: which are not attached, and whether the key is taken.",
)
@course_options
@fleet_options
@key_options
@workspace_option
@click.option("--quiet", is_flag=True, help="Say nothing on stderr but errors.")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    given: SheetArguments,
    as_json: bool,
    rejects: Path | None,
    exit_code: bool,
    rate: str,
    deadline_s: float | None,
    canary: int | str | None,
    waves: str | None,
    soak_s: float | None,
    windows: tuple[str, ...],
    base_url: str,
    sandbox: bool,
    account: str,
    auth_scheme: str,
    key_file: Path | None,
    show_diff: bool,
    online: bool,
    workspace: Path,
    quiet: bool,
) -> int:
    """Read, expand and check sheets, and show what would be sent. Sends nothing.

    SHEET is a CSV, a workbook, or - for standard input; several make one plan. Shown are counts by
    template and direction, the first request of each in full, every rejected row with all of its problems,
    what is in force already, how long sending will take, what fits into the window and which row does not,
    and the command that runs just this plan.

    With --online the API is asked once, for the list of the account's numbers: shown is which numbers of
    the sheets are not attached, or not in their direction, and which attached ones no sheet has.
    """
    import orjson

    from batch.bland.address import read_address
    from batch.commands import briefing
    from batch.destinations import live
    from batch.fleet.diff_text import changes_text, counts_text, diff_json, diff_text
    from batch.plan_text import Outlook, render_text, to_json, write_rejects
    from batch.preflight import compare_numbers, preflight_json, preflight_text
    from batch.report.lines import printable
    from batch.schedule import foresee
    from batch.sending import Sending

    sending = Sending(rate, canary=canary, waves=waves, windows=windows).changed(
        soak_s=soak_s, deadline_s=deadline_s
    )
    options = sending.run_options()
    account_numbers = None
    if online:
        if sandbox:
            raise UsageError(
                "--online asks the API, and the embedded sandbox has no numbers yet: leave --sandbox out, or "
                "name one that `sipbatch sandbox` serves with --base-url."
            )
        destination = live(base_url, key_file=key_file, auth_scheme=auth_scheme, account=account)
        account_numbers = _account_numbers(destination, options.rates)
    plan = given.plan(keep_cells=rejects is not None, keep_secrets=True)
    target = SANDBOX if sandbox else read_address(base_url).url
    beside = _beside(
        plan,
        Workspace(workspace),
        target,
        account,
        in_full=show_diff,
        is_narrowed=given.is_narrowed,
    )
    if rejects is not None:
        write_rejects(plan, rejects)
        if not quiet:
            count = len(plan.rejects)
            rows = "1 rejected row is" if count == 1 else f"{count:,} rejected rows are"
            click.echo(f"sipbatch: {rows} in {rejects}.", err=True)
    schedule = foresee(plan, options, at=time.time())
    outlook = Outlook(
        target=target,
        comparison=None if beside is None else beside.comparison,
        changes=() if beside is None or show_diff else tuple(changes_text(beside, CHANGES_SHOWN)),
        rates=options.rates,
        rate_text=rate,
        course=tuple(schedule.lines()),
        command=run_command(ctx),
        rejects_path=rejects,
    )
    if as_json:
        told = to_json(plan, outlook)
        if (told_schedule := schedule.to_json()) is not None:
            told["schedule"] = told_schedule
        if beside is not None and show_diff:
            told["diff"] = diff_json(beside)
        if account_numbers is not None:
            told["online"] = preflight_json(compare_numbers(plan, account_numbers))
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    elif beside is not None and show_diff:
        click.echo("\n".join([*diff_text(beside), f"{counts_text(beside.comparison)}."]))
        if plan.rejects:
            click.echo(briefing.rejects(plan), err=True)
    else:
        click.echo(render_text(plan, outlook), nl=False)
    if account_numbers is not None and not as_json:
        lines = preflight_text(compare_numbers(plan, account_numbers), destination.in_words)
        click.echo("\n".join(["", *map(printable, lines)]))
    if plan.rejects:
        return RejectedError.exit_code
    to_send = plan.to_send_count if beside is None else beside.comparison.to_send_count
    return EXIT_CHANGES if exit_code and to_send else 0


def run_command(ctx: click.Context) -> str:
    """The `sipbatch run` that makes the same plan: what was given here, but for what only `plan` takes.

    What the environment and the settings file gave is not repeated: it is in force there too.
    """

    def takes(name: str) -> bool:
        return name not in _NOT_FOR_RUN and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE

    sheets = [str(path) for path in ctx.params["sheets"]]
    return shlex.join(["sipbatch", "run", *sheets, *typed(ctx, takes)])


def _account_numbers(destination: Live, rates: tuple[Rate, ...]) -> AttachedNumbers:
    """The numbers of the account, asked for at the rate that is reckoned with; see `ask_numbers`."""
    from batch.clock import real_clock
    from batch.engine.beginning import pacer_for
    from batch.engine.run_options import RunOptions
    from batch.preflight import ask_numbers
    from batch.read_back.rounds import Reader
    from batch.rollout import check_reachable, in_event_loop

    async def ask() -> AttachedNumbers:
        options, clock = RunOptions(rates=rates), real_clock()
        async with destination.open(connections=1) as target:
            return await ask_numbers(
                target, Reader(options, pacer_for(options, clock, None), clock), destination.in_words
            )

    check_reachable(destination)
    return in_event_loop(ask)


def _beside(
    plan: Plan, workspace: Workspace, target: str, account: str, *, in_full: bool, is_narrowed: bool
) -> PlanDiff | None:
    """The plan beside what is in force; None without a journal, unless it is wanted in full."""
    from batch.fleet.comparison import Difference, compare
    from batch.fleet.plan_diff import diff
    from batch.journal.memory import MemoryJournal

    is_known = workspace.journal_path.exists()
    if not (is_known or in_full):
        return None
    with closing(workspace.reader() if is_known else MemoryJournal()) as journal:
        applied = journal.applied(target, account)
        comparison = compare(plan, applied, journal.payload, is_narrowed=is_narrowed)
        if in_full:
            return diff(comparison, journal.kept)
        return diff(comparison, journal.kept, only=Difference.CHANGED, most=MOST_PAIRS)
