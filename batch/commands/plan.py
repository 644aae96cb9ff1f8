"""`sipbatch plan`: everything that a run would do, shown, and nothing sent."""

from __future__ import annotations

import shlex
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from batch.commands.run_options import workspace_option
from batch.commands.sheet_options import SheetArguments, sheet_options
from batch.destinations import LIVE_URL, SANDBOX
from batch.errors import RejectedError
from batch.workspace import Workspace

if TYPE_CHECKING:
    from batch.plans import Plan

#: The exit code of `--exit-code` where there is something to send that is not applied yet.
EXIT_CHANGES = 5

#: Options that only `plan` has, or that say nothing of what is planned.
_NOT_FOR_RUN = frozenset({"as_json", "rejects", "exit_code", "quiet"})

EPILOG = """Exit codes: 0 every row can be sent; 5 with --exit-code, there is something to send; 65 rows were
rejected, or a sheet or template is wrong. Examples:

\b
  sipbatch plan numbers.csv
  sipbatch plan carrier.xlsx --worksheet Main --region US --map phone_number="Main DID"
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
@click.option("--exit-code", is_flag=True, help="Exit with 5 if there is something to send.")
@click.option(
    "--rate",
    default="5/s",
    show_default=True,
    metavar="N/s",
    help="The rate to reckon with; also /m and /h, or auto.",
)
@click.option("--base-url", default=LIVE_URL, show_default=True, metavar="URL", help="The API's address.")
@click.option("--sandbox", is_flag=True, help="Plan for the embedded API.")
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
    base_url: str,
    sandbox: bool,
    workspace: Path,
    quiet: bool,
) -> int:
    """Read, expand and check sheets, and show what would be sent. Sends nothing.

    SHEET is a CSV, a workbook, or - for standard input; several make one plan. Shown are counts by
    template and direction, the first request of each in full, every rejected row with all of its problems,
    what is already applied, how long sending will take, and the command that runs just this plan.
    """
    import orjson

    from batch.pacer import parse_rates
    from batch.plan_text import Outlook, render_text, to_json, write_rejects

    rates = () if rate.strip().lower() == "auto" else parse_rates(rate)
    plan = given.plan(keep_cells=rejects is not None, keep_secrets=True)
    target = SANDBOX if sandbox else base_url
    unchanged_count = _unchanged_count(plan, Workspace(workspace), target)
    if rejects is not None:
        write_rejects(plan, rejects)
        if not quiet:
            click.echo(f"sipbatch: {len(plan.rejects):,} rejected rows are in {rejects}.", err=True)
    outlook = Outlook(
        target=target,
        unchanged_count=unchanged_count,
        rates=rates,
        rate_text=rate,
        command=run_command(ctx),
        rejects_path=rejects,
    )
    if as_json:
        click.echo(orjson.dumps(to_json(plan, outlook), option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(render_text(plan, outlook), nl=False)
    if plan.rejects:
        return RejectedError.exit_code
    return EXIT_CHANGES if exit_code and plan.to_send_count > (unchanged_count or 0) else 0


def run_command(ctx: click.Context) -> str:
    """The `sipbatch run` that makes the same plan: what was given here, but for what only `plan` takes.

    What the environment and the settings file gave is not repeated: it is in force there too.
    """
    words = ["sipbatch", "run"]
    for parameter in ctx.command.params:
        name = parameter.name or ""
        value = ctx.params.get(name)
        if name in _NOT_FOR_RUN or ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        if not isinstance(parameter, click.Option):
            words[2:2] = [str(path) for path in value or ()]
        elif parameter.is_flag:
            words.append(parameter.opts[0])
        else:
            for one in value if isinstance(value, tuple) else (value,):
                words += [parameter.opts[0], "tab" if one == "\t" else str(one)]
    return shlex.join(words)


def _unchanged_count(plan: Plan, workspace: Workspace, target: str) -> int | None:
    """How many of the requests to be sent are applied as they are; None without a journal."""
    if not workspace.journal_path.exists():
        return None
    from batch.fleet import Difference, compare

    with closing(workspace.reader()) as journal:
        return compare(plan, journal.applied(target), journal.payload).count(Difference.UNCHANGED)
