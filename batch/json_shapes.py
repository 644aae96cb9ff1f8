"""The shapes of what `--json` prints where it is put together out of plain values, for its JSON Schemas.

`docs/json.md` lists them. Nothing here is made while a command runs: the tests hold every command to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from batch.json_schema import list_schema_of, says, schema_of
from batch.log_events import ProblemOfRow, log_events_schema
from batch.report.manifest import manifest_schema
from batch.report.proofs import VerificationPart
from batch.report.summary import ProblemPart, summary_schema
from batch.standing import runs_schema
from batch.watching import status_schema
from batch.webhook import webhook_schema

# --- plan, and what differs from what is in force ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlanCounts:
    """How many."""

    rows: int = field(metadata=says("Rows of the sheets."))
    requests: int = field(metadata=says("Requests, skipped ones included."))
    to_send: int = field(metadata=says("Those that a run sends."))
    skipped: int = field(metadata=says("Those that repeat another row."))
    rejected: int = field(metadata=says("Rows that cannot become requests."))
    unchanged: int | None = field(
        metadata=says("Those of `to_send` that are in force as they are; null without a journal.")
    )
    expected_duration_s: float | None = field(metadata=says("How long sending takes; null without a rate."))


@dataclass(frozen=True, slots=True)
class Differences:
    """How many requests differ from what is in force, and how."""

    new: int = field(metadata=says("Nothing is known of what is in force there."))
    changed: int = field(metadata=says("Something else is in force."))
    in_doubt: int = field(metadata=says("Just this was sent last, and may not have been applied."))
    unchanged: int = field(metadata=says("Just this is in force."))
    drifted: int = field(
        metadata=says("Just this was sent last, and reading back (`--verify`) shows something else.")
    )
    missing: int = field(
        metadata=says("Known numbers, by direction, that are in no sheet; 0 with --where or --limit.")
    )
    rejected: int = field(
        metadata=says("Known numbers, by direction, that are in no sheet but in rows that are rejected.")
    )


@dataclass(frozen=True, slots=True)
class PlannedSheet:
    """One sheet."""

    name: str = field(metadata=says("Its name in messages."))
    path: str = field(metadata=says("Where it was read from."))
    sha256: str = field(metadata=says("The digest of what was read, in hex."))
    rows: int = field(metadata=says("Its rows."))
    requests: int = field(metadata=says("The requests of its rows."))
    rejected: int = field(metadata=says("How many of its rows were rejected."))


@dataclass(frozen=True, slots=True)
class PlannedTemplate:
    """The requests of one template in one direction."""

    name: str = field(metadata=says("The template as the rows name it."))
    direction: str = field(metadata=says("inbound or outbound."))
    requests: int = field(metadata=says("Its requests."))
    skipped: int = field(metadata=says("Those of them that repeat another row."))
    payloads: int = field(metadata=says("How many different payloads they have."))


@dataclass(frozen=True, slots=True)
class FirstRequest:
    """The first request of a template in a direction, in full."""

    sheet: str = field(metadata=says("The sheet's name."))
    row: int = field(metadata=says("The row, as the spreadsheet counts."))
    template: str = field(metadata=says("The template."))
    direction: str = field(metadata=says("inbound or outbound."))
    payload_sha256: str = field(metadata=says("The digest of its payload, in hex."))
    body: dict[str, object] = field(metadata=says("The body as it is sent; what is secret is masked."))


@dataclass(frozen=True, slots=True)
class Repeated:
    """A row that repeats an earlier one."""

    sheet: str = field(metadata=says("The sheet's name."))
    row: int = field(metadata=says("The row that is skipped."))
    repeats_sheet: str = field(metadata=says("The sheet of the row that it repeats."))
    repeats_row: int = field(metadata=says("The row that it repeats."))
    requests: int = field(metadata=says("How many of its requests are skipped."))


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that cannot become a request."""

    sheet: str = field(metadata=says("The sheet's name."))
    row: int = field(metadata=says("The row, as the spreadsheet counts."))
    problems: tuple[ProblemOfRow, ...] = field(metadata=says("All that is wrong with it."))


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of a payload that is set, changed or unset."""

    path: str = field(metadata=says("The field, with dots: codec_config.transcode."))
    before: object = field(metadata=says("What is in force; left out if it is not set.", name="from"))
    after: object = field(metadata=says("What is sent; left out if it is not set.", name="to"))


@dataclass(frozen=True, slots=True)
class DiffPatch:
    """One change that some requests of a template make."""

    template: str = field(metadata=says("The template."))
    difference: str = field(metadata=says("new, changed, in_doubt or drifted."))
    requests: int = field(metadata=says("How many requests make it."))
    since: str | None = field(metadata=says("The run that put in force what is changed, if known."))
    changes: tuple[FieldChange, ...] = field(metadata=says("The fields; empty where all of it is secret."))


@dataclass(frozen=True, slots=True)
class DiffRequest:
    """A request that changes something."""

    phone_number: str = field(metadata=says("The number, E.164."))
    direction: str = field(metadata=says("inbound or outbound."))
    sheet: str = field(metadata=says("The sheet's name."))
    row: int = field(metadata=says("The row, as the spreadsheet counts."))
    patch: int = field(metadata=says("The change: its place in `patches`, from 0."))
    drift: str | None = field(metadata=says("Where it drifted: what was sent, and what is there instead."))


@dataclass(frozen=True, slots=True)
class DiffMissing:
    """A number that is known, and in no sheet."""

    phone_number: str = field(metadata=says("The number, E.164."))
    direction: str = field(metadata=says("inbound or outbound."))
    since: str = field(metadata=says("The run that put in force what is there."))


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs from what is in force."""

    patches: tuple[DiffPatch, ...] = field(metadata=says("The changes, each once."))
    requests: tuple[DiffRequest, ...] = field(metadata=says("The requests that make them."))
    missing: tuple[DiffMissing, ...] = field(metadata=says("What is known, and in no sheet."))


@dataclass(frozen=True, slots=True)
class Course:
    """What is sent when, if nothing goes wrong: `batch.schedule.Schedule`."""

    waves: tuple[int, ...] = field(metadata=says("How many requests each wave has; empty without waves."))
    soak_s: float = field(metadata=says("The pause after each wave but the last, in seconds."))
    windows: tuple[str, ...] = field(metadata=says("The windows that are kept to, as they were given."))
    opens_at: str | None = field(
        metadata=says("When the next window opens, or has opened; null without windows, or a rate.")
    )
    closes_at: str | None = field(metadata=says("When it closes; null as above."))
    reached: int | None = field(metadata=says("How many requests are sent in it; null as above."))
    fits: bool | None = field(metadata=says("Whether all are; null as above."))
    ends_at: str | None = field(
        metadata=says("When the last request is sent; null as above, or in more than a year.")
    )
    first_row_not_reached: str | None = field(
        metadata=says(
            "The first row that the window does not reach, as numbers.csv:7; null if it reaches all."
        )
    )


@dataclass(frozen=True, slots=True)
class UnattachedRow:
    """A number of the plan that is not attached to the account, by its first row."""

    sheet: str = field(metadata=says("The sheet's name."))
    row: int = field(metadata=says("The row, as the spreadsheet counts."))
    phone_number: str = field(metadata=says("The number, E.164."))


@dataclass(frozen=True, slots=True)
class UndirectedRow(UnattachedRow):
    """A request for a direction that its number is not attached for."""

    direction: str = field(metadata=says("inbound or outbound."))


@dataclass(frozen=True, slots=True)
class Online:
    """The plan beside the numbers that the API lists for the account."""

    attached: int = field(metadata=says("How many numbers are listed."))
    others: int = field(metadata=says("How many entries of the list are no E.164 number."))
    is_whole: bool = field(metadata=says("False if the list says that it goes on."))
    numbers: int = field(metadata=says("How many different numbers the plan has."))
    not_attached: tuple[UnattachedRow, ...] = field(metadata=says("Numbers that are not attached."))
    not_in_direction: tuple[UndirectedRow, ...] = field(
        metadata=says("Requests whose number is attached, and not for their direction.")
    )
    not_in_sheet: tuple[str, ...] = field(metadata=says("Attached numbers that are in no sheet, E.164."))


@dataclass(frozen=True, slots=True)
class PlanShape:
    """Everything that a run would do."""

    schema: str = field(metadata=says("The version of these fields."))
    digest: str = field(metadata=says("The plan's digest: `--plan-digest`."))
    target: str = field(metadata=says("What a run would send to."))
    counts: PlanCounts = field(metadata=says("How many rows and requests."))
    differences: Differences | None = field(metadata=says("Beside what is in force; null without a journal."))
    sheets: tuple[PlannedSheet, ...] = field(metadata=says("The sheets."))
    templates: tuple[PlannedTemplate, ...] = field(metadata=says("The requests by template and direction."))
    template_digests: dict[str, str] = field(metadata=says("SHA-256 of each template, bases included."))
    first_requests: tuple[FirstRequest, ...] = field(
        metadata=says("The first request of each template in each direction.")
    )
    warnings: tuple[ProblemPart, ...] = field(metadata=says("What is doubtful, by kind, with an example."))
    skipped: tuple[Repeated, ...] = field(metadata=says("The rows that repeat others."))
    rejects: tuple[RejectedRow, ...] = field(metadata=says("The rows that cannot become requests."))
    schedule: Course = field(
        metadata=says("With --canary, --waves or --window: what is sent when.", is_optional=True)
    )
    diff: Diff = field(metadata=says("With --diff, and a journal: what would change.", is_optional=True))
    online: Online = field(
        metadata=says("With --online: the plan beside the account's numbers.", is_optional=True)
    )


@dataclass(frozen=True, slots=True)
class ReconcileShape(Diff):
    """What differs, where nothing was sent: with --expect-no-changes, or because nothing differs."""

    differences: Differences = field(metadata=says("How many requests differ, and how."))


# --- taking back, reading back -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CannotBack:
    """A request that cannot be taken back, and stays as it is."""

    phone_number: str = field(metadata=says("The number, E.164."))
    direction: str = field(metadata=says("inbound or outbound."))
    sheet: str = field(metadata=says("The sheet's name."))
    row: int = field(metadata=says("The row, as the spreadsheet counts."))
    reason: str = field(metadata=says("changed_since, never_known, nothing_before or sealed."))
    changed_by: str | None = field(metadata=says("The run that has changed it since."))
    message: str = field(metadata=says("The reason in words."))


@dataclass(frozen=True, slots=True)
class RollbackShape:
    """What taking a run back comes to."""

    run: str = field(metadata=says("The run that is taken back."))
    digest: str = field(metadata=says("The digest of what would be sent."))
    counts: dict[str, int] = field(
        metadata=says("Requests by what becomes of them: sent, same, done, changed_since, ...")
    )
    patches: tuple[DiffPatch, ...] = field(metadata=says("The changes, each once."))
    requests: tuple[DiffRequest, ...] = field(metadata=says("The requests that make them."))
    impossible: tuple[CannotBack, ...] = field(metadata=says("What cannot be taken back."))


@dataclass(frozen=True, slots=True)
class DriftShape:
    """One place where something else is there than was sent."""

    path: str = field(metadata=says("The field, with dots."))
    sent: str = field(metadata=says("What was sent, in short."))
    there: str = field(metadata=says("What is there, in short."))


@dataclass(frozen=True, slots=True)
class DifferingRequest:
    """A request that needs a look."""

    sheet: str = field(metadata=says("The sheet's name."))
    row: int = field(metadata=says("The row, as the spreadsheet counts."))
    phone_number: str = field(metadata=says("The number, E.164."))
    direction: str = field(metadata=says("inbound or outbound."))
    template: str = field(metadata=says("The template."))
    state: str = field(metadata=says("The request's state."))
    verified: str = field(metadata=says("drifted, missing, not_readable or unread."))
    read_at: str = field(metadata=says("When it was read (UTC, ISO 8601)."))
    blocks: dict[str, str] = field(metadata=says("What was found of each block."))
    drifts: tuple[DriftShape, ...] = field(metadata=says("What differs."))
    message: str = field(metadata=says("More about it, in words."))


@dataclass(frozen=True, slots=True)
class VerifyShape:
    """What reading a run back has found."""

    schema: str = field(metadata=says("The version of these fields."))
    run: str = field(metadata=says("The run."))
    target: str = field(metadata=says("What was read."))
    reason: str = field(metadata=says("Why reading ended: done, sigint, ..."))
    message: str = field(metadata=says("The same in words."))
    exit_code: int = field(metadata=says("The exit code of the command."))
    numbers_left: int = field(metadata=says("Numbers that were not come to."))
    verification: VerificationPart = field(metadata=says("How many, as in summary.json."))
    differing: tuple[DifferingRequest, ...] = field(metadata=says("Every request that needs a look."))
    results: str = field(metadata=says("Where results.csv is."))


# --- the fleet ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FleetShape:
    """What is in force on one number in one direction, as far as the journal knows."""

    phone_number: str = field(metadata=says("The number, E.164."))
    direction: str = field(metadata=says("inbound or outbound."))
    template: str = field(metadata=says("The template it was last sent with."))
    applied_at: str = field(metadata=says("When (UTC, ISO 8601)."))
    certain: bool = field(metadata=says("Whether all of it is sure to be in force."))
    in_doubt: tuple[str, ...] = field(metadata=says("The blocks whose last send may not have been applied."))
    run: str = field(metadata=says("The run that sent it."))
    sheet: str = field(metadata=says("The sheet's name."))
    row: int = field(metadata=says("The row, as the spreadsheet counts."))
    payload_sha256: str = field(metadata=says("The digest of what is in force, in hex."))
    blocks: dict[str, object] = field(metadata=says("What is in force; what is secret is masked."))


@dataclass(frozen=True, slots=True)
class AttemptShape:
    """One attempt of a request."""

    send: int = field(metadata=says("1 for the first."))
    sent_at: str = field(metadata=says("When it was sent (UTC, ISO 8601)."))
    duration_ms: float = field(metadata=says("Until its end, in milliseconds."))
    verdict: str = field(metadata=says("accepted, refused, transient or ambiguous."))
    http_status: int | None = field(metadata=says("Of the answer; null if none came."))
    error_code: str = field(metadata=says("The code; empty where there is none."))
    message: str = field(metadata=says("The message as it came; empty where there is none."))
    request_id: str = field(metadata=says("The API's id of it; empty where there is none."))


@dataclass(frozen=True, slots=True)
class AttemptLine(AttemptShape):
    """One line of results.jsonl: an attempt, and the request that it was of."""

    run: str = field(metadata=says("The run's id."))
    sheet: str = field(metadata=says("The sheet's name."))
    row: int = field(metadata=says("The row, as the spreadsheet counts."))
    request: int = field(metadata=says("The request's place in the run, from 0."))
    phone_number: str = field(metadata=says("The number, E.164."))
    direction: str = field(metadata=says("inbound or outbound."))
    template: str = field(metadata=says("The template."))
    payload_sha256: str = field(metadata=says("The digest of the payload, in hex."))


@dataclass(frozen=True, slots=True)
class StoryRequest:
    """One request of a number, in one run."""

    run: str = field(metadata=says("The run's id."))
    run_state: str = field(metadata=says("The run's state."))
    takes_back: str | None = field(metadata=says("The run that it takes back, if it does."))
    target: str = field(metadata=says("What it was sent to."))
    account: str = field(metadata=says("The account there; empty where it has no name."))
    sheet: str = field(metadata=says("The sheet's name."))
    row: int = field(metadata=says("The row, as the spreadsheet counts."))
    direction: str = field(metadata=says("inbound or outbound."))
    template: str = field(metadata=says("The template."))
    state: str = field(metadata=says("The request's state."))
    unchanged_since: str | None = field(metadata=says("The run since which this is in force, if skipped so."))
    payload_sha256: str = field(metadata=says("The digest of the payload, in hex."))
    attempts: tuple[AttemptShape, ...] = field(metadata=says("Its attempts, oldest first."))
    changes: tuple[FieldChange, ...] | None = field(
        metadata=says("The fields that it changed; null if it changed nothing.")
    )
    in_doubt_before: tuple[str, ...] = field(metadata=says("The blocks that were in doubt before it."))


@dataclass(frozen=True, slots=True)
class InForce(FleetShape):
    """What is in force on the number now, at one target."""

    target: str = field(metadata=says("The target."))
    account: str = field(metadata=says("The account there; empty where it has no name."))


@dataclass(frozen=True, slots=True)
class StoryShape:
    """All that the journal knows of a number."""

    phone_number: str = field(metadata=says("The number, E.164."))
    requests: tuple[StoryRequest, ...] = field(metadata=says("Every request for it, oldest first."))
    in_force: tuple[InForce, ...] = field(metadata=says("What is in force, by target and direction."))


# --- templates, doctor -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TemplateShape:
    """One template that can be used."""

    name: str = field(metadata=says("Its name."))
    description: str = field(metadata=says("What it is for."))
    direction: str | None = field(metadata=says("Its direction, if it names one."))
    extends: tuple[str, ...] = field(metadata=says("The templates that it builds on."))
    variables: tuple[str, ...] = field(metadata=says("The columns that it uses."))
    required: tuple[str, ...] = field(metadata=says("Those of them that must have a value."))


@dataclass(frozen=True, slots=True)
class FaultyTemplate:
    """One template that cannot be used."""

    name: str = field(metadata=says("Its name."))
    faults: str = field(metadata=says("What is wrong with it."))


@dataclass(frozen=True, slots=True)
class ShownTemplate(TemplateShape):
    """A template with all that it builds on."""

    body: dict[str, object] = field(metadata=says("What it makes, with its placeholders."))


@dataclass(frozen=True, slots=True)
class FilledTemplate:
    """What a row of a sheet makes of a template."""

    template: str = field(metadata=says("The template."))
    row: str = field(metadata=says("The sheet and the row."))
    body: dict[str, object] = field(metadata=says("What would be sent; what is secret is masked."))
    problems: tuple[ProblemOfRow, ...] = field(metadata=says("Why it cannot be sent."))
    warnings: tuple[ProblemOfRow, ...] = field(metadata=says("What is doubtful."))


@dataclass(frozen=True, slots=True)
class TemplateFault:
    """One fault in a folder of templates."""

    file: str = field(metadata=says("The file."))
    line: int | None = field(metadata=says("The line, where there is one."))
    message: str = field(metadata=says("What is wrong, and what to do."))


@dataclass(frozen=True, slots=True)
class TemplatesCheck:
    """Every fault in a folder of templates."""

    templates: tuple[str, ...] = field(metadata=says("The templates that were looked at."))
    faults: tuple[TemplateFault, ...] = field(metadata=says("What is wrong with them."))


@dataclass(frozen=True, slots=True)
class CheckShape:
    """One thing that a run stands on."""

    about: str = field(metadata=says("What was looked at: workspace, journal, key, address, clock, ..."))
    level: str = field(metadata=says("ok, warning or wrong."))
    text: str = field(metadata=says("What was found."))
    to_do: str = field(metadata=says("What to do about it; empty for nothing."))


@dataclass(frozen=True, slots=True)
class DoctorShape:
    """Everything that a run stands on."""

    schema: str = field(metadata=says("The version of these fields."))
    exit_code: int = field(metadata=says("The exit code of the command."))
    checks: tuple[CheckShape, ...] = field(metadata=says("What was looked at, in order."))


def _of(kind: type, what: str) -> Callable[[], dict[str, Any]]:
    return lambda: schema_of(kind, title=f"what `sipbatch {what} --json` prints")


#: Every published schema by the name of its file in docs/schemas, without `.schema.json`.
SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {
    "summary": summary_schema,
    "manifest": manifest_schema,
    "results-jsonl": lambda: schema_of(AttemptLine, title="one line of results.jsonl of a sipbatch report"),
    "log-events": log_events_schema,
    "webhook": webhook_schema,
    "status": status_schema,
    "runs": runs_schema,
    "plan": _of(PlanShape, "plan"),
    "reconcile": _of(ReconcileShape, "reconcile --expect-no-changes"),
    "rollback": _of(RollbackShape, "rollback RUN --plan"),
    "verify": _of(VerifyShape, "verify"),
    "fleet": lambda: schema_of(FleetShape, title="one line of what `sipbatch fleet --json` prints"),
    "history": _of(StoryShape, "history"),
    "templates-list": lambda: list_schema_of(
        TemplateShape | FaultyTemplate, title="what `sipbatch templates list --json` prints"
    ),
    "templates-show": lambda: schema_of(
        ShownTemplate, title="what `sipbatch templates show NAME --json` prints"
    ),
    "templates-show-row": lambda: schema_of(
        FilledTemplate, title="what `sipbatch templates show NAME --row SHEET:ROW --json` prints"
    ),
    "templates-check": _of(TemplatesCheck, "templates check"),
    "doctor": _of(DoctorShape, "doctor"),
}
