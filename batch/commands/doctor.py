"""`sipbatch doctor`: look at workspace, key, address and clock before a run has to find out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batch.commands.run_options import address_options, key_file_option, workspace_option
from batch.commands.talk import deliver
from batch.workspace import Workspace

if TYPE_CHECKING:
    from batch.checks import Check

#: The version of what `--json` prints. Fields are added under the same version.
JSON_SCHEMA = "sipbatch.doctor/1"

EPILOG = """Exit codes: 0 nothing is wrong (there may be warnings); 74 the workspace or its journal is; 77 the
key is; 75 the API cannot be reached. If several are, the first that is shown decides. Examples:

\b
  sipbatch doctor
  sipbatch doctor --offline --workspace /srv/sipbatch-runs
  sipbatch doctor --json | jq '.checks[] | select(.level != "ok")'
"""


@click.command(name="doctor", epilog=EPILOG)
@address_options
@key_file_option
@workspace_option
@click.option("--offline", is_flag=True, help="Do not ask the API: look at this machine alone.")
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def command(
    *,
    base_url: str,
    auth_scheme: str,
    key_file: Path | None,
    workspace: Path,
    offline: bool,
    as_json: bool,
) -> int:
    """Look at everything that a run stands on: one line each, with what to do where something is wrong.

    Looked at are the workspace (rights, room, lock, whether the journal is whole and every run adds up), this
    machine, the key, the API's address and the clock. The API is asked for the list of the account's numbers;
    nothing is changed anywhere, and the key is never shown. It works while a run is going.
    """
    checks = [*_here(workspace), *_there(base_url, auth_scheme, key_file, is_offline=offline)]
    code = next((check.exit_code for check in checks if check.exit_code), 0)
    if as_json:
        deliver(
            json.dumps({"schema": JSON_SCHEMA, "exit_code": code, "checks": [*map(_json, checks)]}, indent=2)
        )
    else:
        deliver("\n".join(_lines(checks)))
    return code


def _here(workspace: Path) -> Iterator[Check]:
    from batch.health import machine_checks, workspace_checks

    yield from workspace_checks(Workspace(workspace))
    yield from machine_checks()


def _there(base_url: str, scheme: str, key_file: Path | None, *, is_offline: bool) -> Iterator[Check]:
    from functools import partial

    from batch.bland import reach
    from batch.bland.address import read_address
    from batch.bland.credentials import ApiKey, find_key
    from batch.destinations import KEYS_READ
    from batch.errors import CredentialsError, UnreachableError
    from batch.health import check_clock
    from batch.rollout import in_event_loop

    read_address(base_url)  # what is no address at all is wrong usage, and told as that
    key: ApiKey | None = None
    found: ApiKey | CredentialsError
    try:
        found = key = find_key(os.environ, Path.cwd(), key_file)
    except CredentialsError as error:
        found = error
    else:
        KEYS_READ.append(key)
    if is_offline:
        yield reach.check_key(found, None)
        return
    try:
        seen = in_event_loop(partial(reach.glimpse, base_url, key, scheme))
    except UnreachableError as error:
        yield reach.check_key(found, None)
        yield reach.check_address(base_url, error)
        return
    yield reach.check_key(found, seen)
    yield reach.check_address(base_url, seen)
    yield check_clock(seen.date, asked_at=seen.asked_at, answered_at=seen.answered_at)


def _json(check: Check) -> dict[str, object]:
    return {"about": check.about, "level": check.level.value, "text": check.text, "to_do": check.to_do}


def _lines(checks: Sequence[Check]) -> Iterator[str]:
    width = max(len(check.about) for check in checks)
    for check in checks:
        to_do = f" → {check.to_do}" if check.to_do else ""
        yield f"{check.level.value:<7}  {check.about:<{width}}  {check.text}{to_do}"
