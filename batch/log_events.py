"""What stands in the log of `--log-format json`: every event and its fields, as docs/log-events.md has them.

A command says things by name; these are the names, and nothing here is made while it runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from batch.json_schema import says, tagged_schema_of
from batch.report.summary import CountsPart


@dataclass(frozen=True, slots=True)
class LogEvent:
    """Something that is said for people, and no more."""

    event: str = field(metadata=says("What kind of event it is."))
    at: str = field(metadata=says("When (UTC, ISO 8601)."))
    text: str = field(metadata=says("The same for people, as it stands on standard error without JSON."))


@dataclass(frozen=True, slots=True)
class PlanEvent(LogEvent):
    """The sheets were planned; nothing was sent yet."""

    digest: str = field(metadata=says("The plan's digest: `--plan-digest`."))
    to_send: int = field(metadata=says("How many requests there are to send."))
    rejected: int = field(metadata=says("How many rows were rejected."))


@dataclass(frozen=True, slots=True)
class ProblemOfRow:
    """One thing that is wrong with a row."""

    column: str = field(metadata=says("The column; empty for the whole row."))
    kind: str = field(metadata=says("The problem's stable name, such as number.lost_digits."))
    message: str = field(metadata=says("What is there, why it cannot be, what to do."))


@dataclass(frozen=True, slots=True)
class RejectEvent(LogEvent):
    """A row was rejected; there is one such event for each."""

    sheet: str = field(metadata=says("The sheet's name."))
    row: int = field(metadata=says("The row, as the spreadsheet counts."))
    problems: tuple[ProblemOfRow, ...] = field(metadata=says("All that is wrong with it."))


@dataclass(frozen=True, slots=True)
class RunEvent(LogEvent):
    """A run begins, or goes on."""

    run: str = field(metadata=says("The run's id."))
    folder: str = field(metadata=says("The folder of its report."))


@dataclass(frozen=True, slots=True)
class ProgressEvent(LogEvent):
    """Where the run stands, once a second at most; what is counted is on disk."""

    requests: int = field(metadata=says("Requests, skipped ones included."))
    pending: int = field(metadata=says("Planned, not sent yet."))
    in_flight: int = field(metadata=says("Being sent."))
    retrying: int = field(metadata=says("Sent without success, to be sent again."))
    succeeded: int = field(metadata=says("The API accepted them."))
    failed: int = field(metadata=says("The API refused them, or no attempt was left."))
    unknown: int = field(metadata=says("No answer, and no attempt left: they may have been applied."))
    skipped: int = field(metadata=says("Nothing to send: a duplicate of another row, or unchanged."))
    rejected: int = field(metadata=says("Rows that could not become requests."))
    rate_per_s: float = field(metadata=says("Requests that ended per second of late."))
    allowed_per_s: float = field(metadata=says("Sends a second that are allowed now."))
    eta_s: float | None = field(metadata=says("Seconds until the end, pauses included; null if unknown."))
    waiting_for: str = field(metadata=says("What the run waits for; empty for nothing."))
    wait_s: float = field(metadata=says("How many seconds more; 0 where nobody knows."))


@dataclass(frozen=True, slots=True)
class FinishedEvent(LogEvent):
    """The run has ended, or stopped, and its report is written."""

    run: str = field(metadata=says("The run's id."))
    state: str = field(metadata=says("completed, interrupted or halted."))
    reason: str = field(metadata=says("Why: done, sigint, safety, ... as in summary.json."))
    exit_code: int = field(metadata=says("The exit code of the command."))
    headline: str = field(metadata=says("What happened, in one line."))
    counts: CountsPart = field(metadata=says("How many requests and rows, by state."))
    folder: str = field(metadata=says("The folder of the report."))


@dataclass(frozen=True, slots=True)
class OnFinishEvent(LogEvent):
    """The `--on-finish` command has run."""

    run: str = field(metadata=says("The run's id."))
    ok: bool = field(metadata=says("Whether it ended with 0."))
    exit_code: int | None = field(
        metadata=says("Its exit code, negative for a signal; null if it was stopped or never began.")
    )
    duration_s: float = field(metadata=says("How long it took."))
    output: str = field(metadata=says("The last 4,000 bytes that it printed."))


@dataclass(frozen=True, slots=True)
class WebhookEvent(LogEvent):
    """The summary was posted to the webhook."""

    run: str = field(metadata=says("The run's id."))
    ok: bool = field(metadata=says("Whether it was taken."))
    host: str = field(metadata=says("The webhook's host; the rest of the URL is a secret."))
    http_status: int | None = field(metadata=says("The last answer's status; null if none came."))
    attempts: int = field(metadata=says("How often it was tried."))


@dataclass(frozen=True, slots=True)
class ErrorEvent(LogEvent):
    """The command ends here: what is wrong, where, and what to do."""

    exit_code: int = field(metadata=says("The exit code of the command."))


@dataclass(frozen=True, slots=True)
class ChangedEvent(LogEvent):
    """A sheet or a template is not as it was when the run was planned; `resume` goes on with what was."""


@dataclass(frozen=True, slots=True)
class OvertakenEvent(LogEvent):
    """A later run has changed numbers to which resume or retry sends what was planned before."""


@dataclass(frozen=True, slots=True)
class LockedEvent(LogEvent):
    """Another run holds the workspace, and so nothing was sent."""


@dataclass(frozen=True, slots=True)
class UnfinishedEvent(LogEvent):
    """The run that is taken back has something left, which is sent if it is resumed."""


@dataclass(frozen=True, slots=True)
class VerifyEvent(LogEvent):
    """What a run has sent is being read back."""

    run: str = field(metadata=says("The run's id."))


@dataclass(frozen=True, slots=True)
class VerifyStoppedEvent(LogEvent):
    """Reading back stopped before its end; `sipbatch verify` goes on."""

    run: str = field(metadata=says("The run's id."))
    reason: str = field(metadata=says("Why: sigint, credentials, try_later, ..."))


@dataclass(frozen=True, slots=True)
class ReadBackEvent(LogEvent):
    """What should be in force unchanged was read back, before a reconcile with `--verify`."""

    drifted: int = field(metadata=says("How many requests are not there as sent."))


@dataclass(frozen=True, slots=True)
class NothingToSendEvent(LogEvent):
    """All is in force already, and so no run was made."""


@dataclass(frozen=True, slots=True)
class ReportFailedEvent(LogEvent):
    """The report could not be written; the journal has everything."""


@dataclass(frozen=True, slots=True)
class HookFailedEvent(LogEvent):
    """The run's end could not be told on."""


#: Every event by its name. Names and fields are stable; more may come.
EVENTS: dict[str, type[LogEvent]] = {
    "plan": PlanEvent,
    "reject": RejectEvent,
    "run": RunEvent,
    "changed": ChangedEvent,
    "overtaken": OvertakenEvent,
    "progress": ProgressEvent,
    "finished": FinishedEvent,
    "report_failed": ReportFailedEvent,
    "on_finish": OnFinishEvent,
    "webhook": WebhookEvent,
    "hook_failed": HookFailedEvent,
    "verify": VerifyEvent,
    "verify_stopped": VerifyStoppedEvent,
    "read_back": ReadBackEvent,
    "unfinished": UnfinishedEvent,
    "nothing_to_send": NothingToSendEvent,
    "locked": LockedEvent,
    "message": LogEvent,
    "error": ErrorEvent,
}


def log_events_schema() -> dict[str, Any]:
    """The JSON Schema of one line of the log."""
    return tagged_schema_of(EVENTS, tag="event", title="one line of `--log-format json` on standard error")
