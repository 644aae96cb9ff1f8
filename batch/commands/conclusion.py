"""The end of every command that sends: the run is sent, told of for people and scripts, and told to hooks."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from batch.commands.run_options import workspace_words
from batch.commands.talk import EXIT_INTERRUPTED, Talk, deliver
from batch.errors import BatchError
from batch.hooks import Hooks, News
from batch.progress import Progress, aside
from batch.report.summary import summarise
from batch.report.summary_text import render_summary
from batch.states import StopReason

if TYPE_CHECKING:
    from batch.destinations import Destination
    from batch.engine.advance import Ask
    from batch.report.summary import Summary
    from batch.rollout import Finished, Rollout, Sending

#: What a command ends with whose end nobody expected.
_EXIT_UNEXPECTED = 1


def carry_out(
    talk: Talk,
    rollout: Rollout,
    run_id: str,
    destination: Destination,
    sending: Sending,
    *,
    hooks: Hooks,
    as_json: bool,
    ask: Ask | None = None,
) -> Finished:
    """Send what is left of a run, say how it ended and what to do next, and let the hooks know.

    Between waves `ask` asks, and without it the thresholds decide. The hooks are told once the workspace is
    free again, also where an error ends the run.
    """
    finished: Finished | None = None
    exit_code = _EXIT_UNEXPECTED
    progress = talk.progress()
    try:
        finished = rollout.send(
            run_id,
            destination,
            sending,
            progress=progress,
            reading_progress=talk.progress,
            say=talk.interrupt,
            ask=None if ask is None else _aside(progress, ask),
        )
        exit_code = finished.exit_code
        conclude(talk, rollout, finished, as_json=as_json)
    except BatchError as error:
        exit_code = error.exit_code
        raise
    except KeyboardInterrupt:
        exit_code = EXIT_INTERRUPTED
        raise
    finally:
        if hooks.command is not None or hooks.webhook is not None:
            news = _news(rollout, run_id, exit_code, finished)
            rollout.afterwards(partial(tell, talk, hooks, news))
    return finished


def _aside(progress: Progress, ask: Ask) -> Ask:
    """Ask with the bar out of the way: it would write over the question."""

    async def asked(question: str) -> bool:
        with aside(progress):
            return await ask(question)

    return asked


def conclude(talk: Talk, rollout: Rollout, finished: Finished, *, as_json: bool) -> int:
    """Say how a run ended and what to do next; returns the exit code."""
    report = finished.report
    summary = report.summary if report is not None else summarise(rollout.journal, finished.id)
    text = render_summary(summary, finished.folder, options=workspace_words(rollout.workspace))
    is_well = finished.reason is StopReason.DONE and finished.exit_code == 0
    say = talk.say if is_well else talk.insist
    say(
        f"\n{text.rstrip()}",
        event="finished",
        run=finished.id,
        state=summary.run.state,
        reason=finished.reason.value,
        exit_code=finished.exit_code,
        headline=summary.headline,
        counts=asdict(summary.counts),
        folder=str(finished.folder),
    )
    if report is not None and report.left_out:
        talk.say(f"\nThere is no results.xlsx: {report.left_out}.")
    verified = finished.verified
    if verified is not None and verified.reason is not StopReason.DONE:
        talk.insist(
            f"sipbatch: reading back stopped: {verified.message}.",
            event="verify_stopped",
            run=finished.id,
            reason=verified.reason.value,
        )
    if finished.report_error is not None:
        talk.insist(f"sipbatch: {finished.report_error}", event="report_failed")
    if as_json:
        deliver(summary.to_json().decode().rstrip())
    return finished.exit_code


def tell(talk: Talk, hooks: Hooks, news: News) -> None:
    """Run the command and post to the webhook; whatever goes wrong is a warning and nothing else."""
    try:
        if hooks.command is not None:
            _tell_command(talk, hooks, news)
        if hooks.webhook is not None:
            _tell_webhook(talk, hooks, news)
    except KeyboardInterrupt:
        talk.insist("warning: interrupted while the run's end was being told on.", event="hook_failed")
    except Exception as error:
        # Also a bug must not turn a run that went well into a command that did not.
        talk.insist(
            f"warning: the run's end could not be told on (unexpected {type(error).__name__}).",
            event="hook_failed",
        )


def _tell_command(talk: Talk, hooks: Hooks, news: News) -> None:
    if hooks.is_within_one:
        talk.say("The --on-finish command is left out: this command was itself begun by one.")
        return
    end = hooks.run_command(news, keep_output=talk.log_format == "json")
    said = (
        f"warning: the --on-finish command {end.problem}." if end.problem else "The --on-finish command ran."
    )
    (talk.insist if end.problem else talk.say)(
        said,
        event="on_finish",
        run=news.run_id,
        ok=not end.problem,
        exit_code=end.exit_code,
        duration_s=round(end.duration_s, 3),
        output=end.output,
    )


def _tell_webhook(talk: Talk, hooks: Hooks, news: News) -> None:
    delivery = hooks.post(news)
    tries = "" if delivery.attempts == 1 else f" after {delivery.attempts} attempts"
    said = f"The webhook at {delivery.host} took the summary{tries}."
    if not delivery.is_taken:
        said = f"warning: the webhook at {delivery.host} did not take the summary{tries}: {delivery.problem}."
    (talk.say if delivery.is_taken else talk.insist)(
        said,
        event="webhook",
        run=news.run_id,
        ok=delivery.is_taken,
        host=delivery.host,
        http_status=delivery.http_status,
        attempts=delivery.attempts,
    )


def _news(rollout: Rollout, run_id: str, exit_code: int, finished: Finished | None) -> News:
    folder = rollout.workspace.run_folder(run_id)
    report = finished.report if finished is not None else None
    summary: Summary | None = None
    with suppress(BatchError):  # the journal may be what ended the run
        summary = report.summary if report is not None else summarise(rollout.journal, run_id)
    return News(
        run_id=run_id,
        exit_code=exit_code,
        workspace=rollout.workspace.path,
        folder=folder,
        summary=summary,
        summary_path=report.paths.get("summary.json") if report is not None else None,
    )
