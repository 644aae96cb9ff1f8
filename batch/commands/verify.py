"""`sipbatch verify`: read back what a run has sent, and say what is not there as it was sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batch.commands.run_options import (
    Given,
    command_line,
    pace_options,
    reconnect_options,
    report_option,
    workspace_option,
    workspace_words,
)
from batch.commands.talk import LogFormat, Talk, deliver, talk_options
from batch.errors import UsageError
from batch.states import StopReason
from batch.workspace import Workspace, find_run

if TYPE_CHECKING:
    from batch.destinations import Carrier, Destination
    from batch.journal.protocol import Counts, Journal, RunRecord
    from batch.read_back.verifying import Verified
    from batch.reporting import ReportFiles

#: The version of what `--json` prints. Fields are added under the same version.
JSON_SCHEMA = "sipbatch.verify/1"

EPILOG = """Exit codes: 0 nothing that the API shows differs; 3 something is not there as it was sent, or
could not be read; 75 try later; 77 the key is refused, or may not read; 130 and 143 interrupted. After 75,
77, 130 and 143 the same command goes on. Examples:

\b
  sipbatch verify
  sipbatch verify 20260728-101500-3 --rate 10/s
  sipbatch verify --json | jq '.differing[] | .phone_number'
"""


@click.command(name="verify", epilog=EPILOG)
@click.argument("run", required=False, metavar="[RUN]")
@click.option("--anew", is_flag=True, help="Read all of it, also what an interrupted verify has read.")
@pace_options
@reconnect_options
@report_option
@workspace_option
@talk_options
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    run: str | None,
    anew: bool,
    key_file: Path | None,
    transport: Carrier | None,
    workspace: Path,
    quiet: bool,
    log_format: LogFormat,
    as_json: bool,
    **params: Any,
) -> int:
    """Read back what a run has sent: the newest one that sent anything, or RUN. Changes nothing at the API.

    Every number is asked for once, at the run's rate, and compared block by block with what was sent:
    verified, drifted (with what differs), missing, or not readable, because the API does not show it. Nothing
    is called verified that was not read. The report is written again, with what was found in it.
    """
    from batch.destinations import pinned_destination
    from batch.journal.verification import unfinished_since
    from batch.rollout import Rollout, Sending, check_reachable
    from batch.timestamps import utc

    talk = Talk(log_format, quiet)
    options = Given(params)
    place = Workspace(workspace)
    place.records()  # before anything is made or taken: there may be no run at all
    with Rollout(place, "verify", formats=options.formats()) as rollout:
        journal = rollout.journal
        found = find_run(
            journal.runs(),
            run,
            fits=lambda one: _sent(journal.counts(one.id)) > 0,
            fitting="that has sent anything",
        )
        count = _sent(journal.counts(found.id))
        if not count:
            talk.say(f"Run {found.id}: nothing was sent that could be read back.")
            return 0
        destination = pinned_destination(found.options, found.target, key_file=key_file, transport=transport)
        _check_remembered(destination)
        sending = options.sending_over(ctx, Sending.from_pinned(found.options))
        since = None if anew else unfinished_since(journal.events(found.id))
        requests = f"{count:,} request{'' if count == 1 else 's'}"
        rate = sending.rate if sending.run_options().rates else "the rate that the API allows"
        talk.say(
            f"Run {found.id}: reading back {requests} from {destination.in_words} at {rate}"
            f"{f', going on where it stopped on {utc(since)} (--anew reads all again)' if since else ''}.",
            event="verify",
            run=found.id,
        )
        check_reachable(destination)
        verified = rollout.verify(
            found.id, destination, sending, is_anew=anew, progress=talk.progress, say=talk.interrupt
        )
        if verified.reason is not StopReason.DONE:
            talk.insist(
                f"sipbatch: reading back stopped: {verified.message}. {verified.left:,} numbers are left: "
                f"`{command_line(place, 'verify', found.id)}` goes on.",
                event="verify_stopped",
                run=found.id,
                reason=verified.reason.value,
            )
        _tell(rollout.report(found.id), journal, found, verified, place, as_json=as_json)
        return verified.exit_code


def _sent(counts: Counts) -> int:
    return counts.succeeded + counts.unknown


def _check_remembered(destination: Destination) -> None:
    """`UsageError` if what was sent is gone with the sandbox that it was sent to."""
    from batch.destinations import EmbeddedSandbox

    if isinstance(destination, EmbeddedSandbox) and not destination.options.get("record"):
        raise UsageError(
            "The run was sent to the embedded sandbox, which is gone, and with it all that it was sent. "
            "Verify within the run (`sipbatch run SHEET --sandbox --verify`), or let the sandbox remember "
            "with --sandbox-record FILE."
        )


def _tell(
    report: ReportFiles,
    journal: Journal,
    run: RunRecord,
    verified: Verified,
    place: Workspace,
    *,
    as_json: bool,
) -> None:
    from batch.report.summary_text import render_verification

    if not as_json:
        text = render_verification(report.summary, report.folder, options=workspace_words(place))
        deliver(text.rstrip())
        return
    told = {
        "schema": JSON_SCHEMA,
        "run": run.id,
        "target": run.target,
        "reason": verified.reason.value,
        "message": verified.message,
        "exit_code": verified.exit_code,
        "numbers_left": verified.left,
        "verification": asdict(report.summary.verification),
        "differing": [*_differing(journal, run)],
        "results": str(report.results),
    }
    deliver(json.dumps(told, indent=2))


def _differing(journal: Journal, run: RunRecord) -> Iterator[dict[str, object]]:
    """Every request that needs a look, in sheet order."""
    from batch.plans import DIRECTIONS
    from batch.timestamps import utc

    found = {one.seq: one for one in journal.verifications(run.id) if one.proof.needs_a_look}
    for row in journal.results(run.id):
        one = found.get(row.seq)
        if one is not None:
            yield {
                "sheet": run.sheets[row.sheet_id].name,
                "row": row.row,
                "phone_number": f"+{row.number}",
                "direction": DIRECTIONS[row.direction],
                "template": row.template,
                "state": row.state.value,
                "verified": one.proof.value,
                "read_at": utc(one.at),
                "blocks": {name: proof.value for name, proof in one.blocks.items()},
                "drifts": [drift._asdict() for drift in one.drifts],
                "message": one.message,
            }
