"""`sipbatch fleet`: what is in force at every number, as a sheet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batch.commands.run_options import fleet_options, workspace_option
from batch.commands.talk import deliver
from batch.destinations import SANDBOX
from batch.workspace import Workspace

if TYPE_CHECKING:
    from batch.fleet.sheet import FleetSheet
    from batch.journal.known import FleetEntry
    from batch.journal.protocol import Journal

#: How many lines are written at a time.
BATCH = 1_000

EPILOG = """The sheet can be run. With --blocks it names the template as-given, which has nothing of its own,
and says in its columns all that is in force; what is secret is left out. Examples:

\b
  sipbatch fleet > fleet.csv
  sipbatch fleet --blocks --template codecs --country GB > codecs-in-britain.csv
  sipbatch fleet --in-doubt --since 2026-07-01
"""


@click.command(name="fleet", epilog=EPILOG)
@click.option("--blocks", is_flag=True, help="With what is in force, in columns such as codec_config.codecs.")
@click.option(
    "--template",
    "templates",
    multiple=True,
    metavar="NAME",
    help="Only what this template was applied to last. Repeatable.",
)
@click.option("--country", default="", metavar="CC", help="Only this country's: US, GB, or +44.")
@click.option(
    "--since", metavar="TIME", help="Only what was changed since: 2026-07-28, or with a time (UTC)."
)
@click.option("--until", metavar="TIME", help="Only what was changed before then.")
@click.option("--in-doubt", is_flag=True, help="Only what may not be as it was sent last.")
@fleet_options
@workspace_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
def command(
    *,
    blocks: bool,
    templates: tuple[str, ...],
    country: str,
    since: str | None,
    until: str | None,
    in_doubt: bool,
    base_url: str,
    sandbox: bool,
    account: str,
    workspace: Path,
    as_json: bool,
) -> int:
    """Print what is in force at every number, as far as the journal knows, as a sheet.

    One line a number and direction, with the template that was applied last, when, and by which run. Where
    the last send had no answer, result_state is unknown. Changes nothing, and works while a run is going.
    """
    import numpy as np

    from batch.bland.address import read_address
    from batch.bland.payloads import SCHEMA
    from batch.fleet.sheet import Filter, FleetSheet, parse_time, read_country

    wanted = Filter(
        templates,
        read_country(country) if country else "",
        None if since is None else parse_time("--since", since),
        None if until is None else parse_time("--until", until),
        in_doubt,
    )
    target = SANDBOX if sandbox else read_address(base_url).url
    with closing(Workspace(workspace).reader()) as journal:
        applied = journal.applied(target, account)
        if not len(applied.keys):
            _tell_where(journal, target, account)
        entries = (entry for entry in journal.fleet(target, account) if wanted.takes(entry))
        if as_json:
            _deliver_all(_json_lines(journal, entries, applied.sha256s))
            return 0
        sheet = FleetSheet(SCHEMA, journal.kept, None)
        if blocks:
            in_force = np.unique(applied.payload_ids).tolist()
            sheet = FleetSheet.with_blocks(SCHEMA, journal.kept, in_force)
        _deliver_all(_csv_lines(sheet, entries, applied.sha256s))
    return 0


def _csv_lines(sheet: FleetSheet, entries: Iterable[FleetEntry], sha256s: Mapping[int, str]) -> Iterator[str]:
    buffer = io.StringIO()
    # Told CRLF, the writer quotes a lone CR; the lines themselves end in LF, as those of reports do.
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(sheet.header)
    yield _taken(buffer)
    for entry in entries:
        writer.writerow(sheet.line(entry, sha256s[entry.payload_id]))
        yield _taken(buffer)


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue().removesuffix("\r\n")
    buffer.seek(0)
    buffer.truncate()
    return text


def _json_lines(journal: Journal, entries: Iterable[FleetEntry], sha256s: Mapping[int, str]) -> Iterator[str]:
    from batch.fleet.sheet import entry_json

    for entry in entries:
        told = entry_json(entry, journal.kept(entry.payload_id), sha256s[entry.payload_id])
        yield json.dumps(told)


def _deliver_all(lines: Iterator[str]) -> None:
    """Write lines to stdout, many at a time."""
    while batch := list(islice(lines, BATCH)):
        deliver("\n".join(batch))


def _tell_where(journal: Journal, target: str, account: str) -> None:
    """Nothing is known there: say where there is something."""
    others = dict.fromkeys(_named(run.target, run.account) for run in journal.runs())
    there = f" Runs went to: {', '.join(others)}." if others else ""
    click.echo(f"sipbatch: nothing is known of numbers at {_named(target, account)}.{there}", err=True)


def _named(target: str, account: str) -> str:
    return f"{target} (account {account})" if account else target
