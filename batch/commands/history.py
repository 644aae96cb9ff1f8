"""`sipbatch history`: the whole story of one number."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import click

from batch.commands.run_options import workspace_option
from batch.commands.talk import deliver
from batch.errors import UsageError
from batch.workspace import Workspace

EPILOG = """Examples:

\b
  sipbatch history +14155550100
  sipbatch history "(415) 555-0100" --region US --json
"""


@click.command(name="history", epilog=EPILOG)
@click.argument("number", metavar="NUMBER")
@click.option("--region", metavar="CC", help="The country of a number without its country code: US, GB, ...")
@workspace_option
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(*, number: str, region: str | None, workspace: Path, as_json: bool) -> int:
    """Tell all that the journal knows of a number: which runs sent what to it, and what came of that.

    Every request for it, with its row, its attempts and the fields that it changed, newest last; then what is
    in force. Changes nothing, and works while a run is going.
    """
    from batch.fleet.number_story import story, story_json, story_text
    from batch.phone.reading import read_numbers

    place = Workspace(workspace)
    reading = read_numbers([number], column="NUMBER", region=region and region.upper())
    if reading.problems:
        raise UsageError(f"NUMBER: {reading.problems[0][0].message}.")
    with closing(place.reader()) as journal:
        told = story(journal, int(reading.values[0]))
    if not told.tellings:
        raise UsageError(f"+{told.number} is in no run of {place.path}.")
    deliver(json.dumps(story_json(told), indent=2) if as_json else "\n".join(story_text(told)))
    return 0
