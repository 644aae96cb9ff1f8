"""What is said when a run has ended: for people on stderr, or as the summary's JSON on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch.commands.run_options import workspace_words
from batch.commands.talk import Talk, deliver
from batch.states import StopReason
from batch.summary import summarise
from batch.summary_text import render_summary

if TYPE_CHECKING:
    from batch.rollout import Finished, Rollout


def conclude(talk: Talk, rollout: Rollout, finished: Finished, *, as_json: bool) -> int:
    """Say how a run ended and what to do next; returns the exit code."""
    report = finished.report
    summary = report.summary if report is not None else summarise(rollout.journal, finished.id)
    text = render_summary(summary, finished.folder, options=workspace_words(rollout.workspace))
    is_well = finished.reason is StopReason.DONE and finished.exit_code == 0
    tell = talk.say if is_well else talk.insist
    tell(
        f"\n{text.rstrip()}",
        event="finished",
        run=finished.id,
        reason=finished.reason.value,
        exit_code=finished.exit_code,
        folder=str(finished.folder),
    )
    if finished.report_error is not None:
        talk.insist(f"sipbatch: {finished.report_error}", event="report_failed")
    if as_json:
        deliver(summary.to_json().decode().rstrip())
    return finished.exit_code
