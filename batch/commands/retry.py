"""`sipbatch retry`: send again what ended failed or unknown, as a run of its own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batch.commands.run_options import Given, reconnect_options, sending_options, workspace_option
from batch.commands.talk import LogFormat, Talk, confirm, require_terminal, talk_options
from batch.errors import UsageError
from batch.report.lines import printable
from batch.states import RequestState
from batch.workspace import Workspace, find_run

if TYPE_CHECKING:
    from batch.destinations import Carrier
    from batch.journal.protocol import Journal, Pick, RunRecord
    from batch.plans import Int64s

EPILOG = """Exit codes are those of `sipbatch run`. Examples:

\b
  sipbatch retry
  sipbatch retry 20260728-101500-3 --error-code INTERNAL_SERVER_ERROR --yes
"""

STATES = frozenset({RequestState.FAILED, RequestState.UNKNOWN})


@click.command(name="retry", epilog=EPILOG)
@click.argument("run", required=False, metavar="[RUN]")
@click.option("--error-code", metavar="CODE", help="Only what ended with this error code.")
@click.option("--template", metavar="NAME", help="Only the requests of this template.")
@click.option("--yes", is_flag=True, help="Do not ask; needed where there is no terminal.")
@sending_options
@reconnect_options
@workspace_option
@talk_options
@click.option("--json", "as_json", is_flag=True, help="Print the new run's summary as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    run: str | None,
    error_code: str | None,
    template: str | None,
    yes: bool,
    key_file: Path | None,
    transport: Carrier | None,
    workspace: Path,
    quiet: bool,
    log_format: LogFormat,
    as_json: bool,
    **params: Any,
) -> int:
    """Send again the requests of a run that ended failed or unknown: of the newest that has any, or of RUN.

    They become a run of their own, with the payloads that were sent before. What was refused for its content
    is refused again: mend the template or the sheet, and use `sipbatch run results.csv` for those.
    """
    from batch.commands.asking import ask_on_terminal
    from batch.commands.briefing import pace
    from batch.commands.conclusion import carry_out
    from batch.commands.reviewing import tell_overtaken
    from batch.destinations import pinned_destination
    from batch.journal.protocol import Pick
    from batch.rollout import Rollout, Sending, check_reachable

    if not yes:
        require_terminal()
    talk = Talk(log_format, quiet)
    hooks = Given(params).hooks()
    place = Workspace(workspace)
    place.records()  # before anything is made or taken: there may be no run at all
    with Rollout(place, "retry", formats=Given(params).formats()) as rollout:
        journal = rollout.journal
        parent = find_run(
            journal.runs(),
            run,
            fits=lambda one: _missed(journal, one) > 0,
            fitting="with requests that failed or are unknown",
        )
        pick = Pick(STATES, error_code, template)
        keys = _picked(journal, parent, pick)
        count = len(keys)
        if not count:
            talk.say(f"Run {parent.id}: nothing failed and nothing is unknown, so there is nothing to retry.")
            return 0
        destination = pinned_destination(
            parent.options, parent.target, key_file=key_file, transport=transport
        )
        sending = Given(params).sending_over(ctx, Sending.from_pinned(parent.options))
        what = f"{count:,} request{'' if count == 1 else 's'} of run {parent.id}"
        where = f"{destination.in_words} {pace(count, sending)}"
        tell_overtaken(talk, journal, parent, lambda: keys)
        if not yes:
            confirm(f"Send {what} again to {where}?")
        check_reachable(destination)
        rollout.check_trusted(parent, STATES)
        run_id = rollout.derive(parent, pick, destination, sending)
        talk.say(
            f"Run {run_id}: sending {what} again to {where}.",
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


def _missed(journal: Journal, run: RunRecord) -> int:
    counts = journal.counts(run.id)
    return counts.failed + counts.unknown


def _picked(journal: Journal, run: RunRecord, pick: Pick) -> Int64s:
    """The keys of what is picked; `UsageError` if the code or the template picks none of what is there."""
    import numpy as np

    from batch.plans import keys_of

    codes: Counter[str] = Counter()
    templates: Counter[str] = Counter()
    picked = []
    if not _missed(journal, run):
        return np.empty(0, dtype=np.int64)
    for result in journal.results(run.id):
        if result.state in pick.states:
            codes[result.error_code] += 1
            templates[result.template] += 1
            if pick.error_code in (None, result.error_code) and pick.template in (None, result.template):
                picked.append((result.number, result.direction))
    if not picked:
        raise UsageError(
            f"Run {run.id} has nothing that failed or is unknown with "
            f"{_asked(pick)}. There are: error codes {_told(codes)}; templates {_told(templates)}."
        )
    numbers, directions = zip(*picked, strict=True)
    return keys_of(np.array(numbers, dtype=np.int64), np.array(directions, dtype=np.uint8))


def _asked(pick: Pick) -> str:
    parts = [("error code", pick.error_code), ("template", pick.template)]
    return " and ".join(f'{word} "{value}"' for word, value in parts if value is not None)


def _told(counter: Counter[str]) -> str:
    return ", ".join(f"{printable(name) or '(none)'} ({count:,})" for name, count in counter.most_common(8))
