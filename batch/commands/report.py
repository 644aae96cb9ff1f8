"""`sipbatch report`: write a run's report again, or check the one there is, from the journal alone."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from batch.commands.run_options import workspace_option, workspace_words
from batch.commands.talk import Talk, deliver
from batch.errors import ReportError
from batch.workspace import Workspace, find_run

EPILOG = """Examples:

\b
  sipbatch report
  sipbatch report 20260728-101500-3 --format xlsx --output ~/for-the-customer
  sipbatch report --check
"""


@click.command(name="report", epilog=EPILOG)
@click.argument("run", required=False, metavar="[RUN]")
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="FORMAT",
    help="What to write beside results.csv: html, xlsx, jsonl. Repeatable.  [default: all of it]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write it into this folder.  [default: the run's folder in the workspace]",
)
@click.option(
    "--check", is_flag=True, help="Write nothing; say whether the report is what the journal gives."
)
@workspace_option
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--quiet", is_flag=True, help="Say nothing on stderr but errors.")
def command(
    *,
    run: str | None,
    formats: tuple[str, ...],
    output: Path | None,
    check: bool,
    workspace: Path,
    as_json: bool,
    quiet: bool,
) -> int:
    """Write the report of a run again: of the newest one, or of RUN.

    It says what the journal says now, also while the run is going. Nothing in the folder changes before
    all files are whole.
    """
    from batch.report.summary_text import render_summary
    from batch.reporting import check_report, write_report

    talk = Talk(is_quiet=quiet)
    place = Workspace(workspace)
    with closing(place.reader()) as journal:
        found = find_run(journal.runs(), run)
        folder = output or place.run_folder(found.id)
        if check:
            differing = check_report(journal, found.id, folder)
            if differing:
                raise ReportError("\n".join(differing))
            talk.say(f"{folder}: the report is what the journal gives.")
            return 0
        report = write_report(journal, found.id, folder, formats=formats or None)
    talk.say(render_summary(report.summary, folder, options=workspace_words(place)).rstrip())
    if report.left_out:
        talk.say(f"\nThere is no results.xlsx: {report.left_out}.")
    if as_json:
        deliver(report.summary.to_json().decode().rstrip())
    return 0
