"""A run told in one value: counts, causes, times, and what to do next; `summary.json` is this value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from batch.journal.events import Event
from batch.journal.protocol import Counts, Journal, RunRecord
from batch.journal.verification import Proof, unfinished_since
from batch.json_schema import says, schema_of
from batch.report.causes import Cause
from batch.report.happenings import Happening, happenings
from batch.report.lines import printable
from batch.report.next_steps import NextStep, next_steps
from batch.report.proofs import VerificationPart
from batch.report.tally import Tally
from batch.states import EXIT_SOME_FAILED, RequestState, StopReason
from batch.timestamps import utc

#: Raised when a field of `summary.json` goes or changes its meaning; not when one is added.
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class RunPart:
    """Which run it was, and how it stands."""

    id: str = field(metadata=says("The run's id."))
    parent: str | None = field(metadata=says("The run that it repeats a part of, if any."))
    state: str = field(metadata=says("planned, running, completed, interrupted or halted."))
    reason: str | None = field(metadata=says("Why it is no longer going; null while it is."))
    message: str = field(metadata=says("What was said when it stopped itself, if anything was."))
    exit_code: int | None = field(
        metadata=says("The exit code of the command that ran or verified it last; null while it goes.")
    )
    target: str = field(metadata=says("What the requests were sent to."))
    account: str = field(metadata=says("The account at the target; empty where it has no name."))
    plan_digest: str = field(metadata=says("SHA-256 of what was to be sent, in hex."))
    version: str = field(metadata=says("The version of sipbatch that ran it."))
    created_at: str = field(metadata=says("When it was planned (UTC, ISO 8601)."))
    started_at: str | None = field(metadata=says("When it first began to send."))
    ended_at: str | None = field(metadata=says("When it last stopped; null while it goes."))
    duration_s: float | None = field(
        metadata=says("Seconds from start to end, breaks between stop and resume included.")
    )


@dataclass(frozen=True, slots=True)
class CountsPart:
    """How many: requests = succeeded + failed + unknown + skipped + retrying + pending + in_flight."""

    rows: int = field(metadata=says("Rows of the sheets that the run is about."))
    requests: int = field(metadata=says("Requests, skipped ones included."))
    succeeded: int = field(metadata=says("The API accepted them."))
    failed: int = field(metadata=says("The API refused them, or no attempt was left."))
    unknown: int = field(metadata=says("No answer, and no attempt left: they may have been applied."))
    skipped: int = field(metadata=says("Nothing to send: a duplicate of another row, or unchanged."))
    retrying: int = field(metadata=says("Sent without success, to be sent again."))
    pending: int = field(metadata=says("Planned, not sent yet."))
    in_flight: int = field(metadata=says("Being sent, or were when the process died."))
    rejected: int = field(metadata=says("Rows that could not become requests."))


@dataclass(frozen=True, slots=True)
class SendingPart:
    """What sending was like; latencies are of each request's last attempt."""

    sends: int = field(metadata=says("Attempts in all, those that were told to wait included."))
    numbers: int = field(metadata=says("Different numbers that were sent at least once."))
    first_sent_at: str | None = field(metadata=says("The first send (UTC, ISO 8601)."))
    last_sent_at: str | None = field(metadata=says("The last send."))
    sends_per_s: float | None = field(metadata=says("Sends a second between the first and the last."))
    latency_p50_ms: float | None = field(metadata=says("Half of the answers took at most this."))
    latency_p95_ms: float | None = field(metadata=says("Nineteen of twenty answers took at most this."))
    latency_max_ms: float | None = field(metadata=says("The slowest answer."))


@dataclass(frozen=True, slots=True)
class TemplatePart:
    """The requests of one template."""

    name: str = field(metadata=says("The template as the rows name it."))
    requests: int = field(metadata=says("Its requests."))
    succeeded: int = field(metadata=says("Those that succeeded."))
    failed: int = field(metadata=says("Those that failed."))
    unknown: int = field(metadata=says("Those that are unknown."))


@dataclass(frozen=True, slots=True)
class ProblemPart:
    """One kind of problem in rows, with the first of them as the example."""

    kind: str = field(metadata=says("The problem's stable name, such as number.lost_digits."))
    count: int = field(metadata=says("How many rows have it."))
    sheet: str = field(metadata=says("The example's sheet."))
    row: int = field(metadata=says("The example's row, as the spreadsheet counts."))
    column: str = field(metadata=says("The example's column; empty for the whole row."))
    message: str = field(metadata=says("What is there, why it cannot be, what to do."))


@dataclass(frozen=True, slots=True)
class SheetPart:
    """One sheet that was planned."""

    name: str = field(metadata=says("Its name in messages and in result_sheet."))
    path: str = field(metadata=says("Where it was read from."))
    sha256: str = field(metadata=says("The digest of what was read, in hex."))
    rows: int = field(metadata=says("How many of its rows were planned."))


@dataclass(frozen=True, slots=True)
class Summary:
    """What happened in a run; file names are relative to the report's folder."""

    schema_version: int = field(metadata=says("1; raised when a field goes or changes its meaning."))
    headline: str = field(metadata=says("What happened, in one line for people."))
    run: RunPart = field(metadata=says("Which run it was, and how it stands."))
    counts: CountsPart = field(metadata=says("How many requests and rows, by state."))
    sending: SendingPart = field(metadata=says("What sending was like."))
    templates: tuple[TemplatePart, ...] = field(metadata=says("The requests by template."))
    causes: tuple[Cause, ...] = field(metadata=says("Why requests failed or are unknown."))
    verification: VerificationPart = field(metadata=says("What reading back found of what was sent."))
    rejects: tuple[ProblemPart, ...] = field(metadata=says("Why rows were rejected."))
    warnings: tuple[ProblemPart, ...] = field(metadata=says("What was doubtful, and sent nevertheless."))
    happenings: tuple[Happening, ...] = field(
        metadata=says("What happened to the run as a whole, oldest first: orders, waves, windows, stops.")
    )
    sheets: tuple[SheetPart, ...] = field(metadata=says("The sheets that were planned."))
    files: tuple[str, ...] = field(metadata=says("The files of the report."))
    next_steps: tuple[NextStep, ...] = field(metadata=says("What to do next, in this order."))

    def to_json(self) -> bytes:
        """The bytes of `summary.json`."""
        return orjson.dumps(self, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def summary_schema() -> dict[str, Any]:
    """The JSON Schema of `summary.json`."""
    return schema_of(Summary, title="summary.json of a sipbatch report")


def summarise(journal: Journal, run_id: str, *, files: Sequence[str] = ()) -> Summary:
    """The summary of a run from the journal alone; it may be going."""
    run = journal.run(run_id)
    tally = Tally()
    verifications = {one.seq: one for one in journal.verifications(run_id)}
    for result in journal.results(run_id):
        tally.add_result(result)
        if result.seq in verifications:
            tally.proofs.add(result, verifications[result.seq])
    for reject in journal.rejects(run_id):
        tally.add_reject(reject)
    return summary_of(run, tally, journal.events(run_id), files=files)


def summary_of(
    run: RunRecord, tally: Tally, events: Sequence[Event], *, files: Sequence[str] = ()
) -> Summary:
    """The summary of a run whose requests and rejects were tallied."""
    counts = tally.counts
    causes = tally.causes.causes(run)
    verification = tally.proofs.part(run, is_finished=unfinished_since(events) is None)
    return Summary(
        schema_version=SCHEMA_VERSION,
        headline=_headline(tally, verification),
        run=_run_part(run, counts, events, verification),
        counts=CountsPart(
            rows=tally.rows,
            requests=counts.requests,
            succeeded=counts.succeeded,
            failed=counts.failed,
            unknown=counts.unknown,
            skipped=counts.skipped,
            retrying=counts.retrying,
            pending=counts.pending,
            in_flight=counts.in_flight,
            rejected=counts.rejected,
        ),
        sending=_sending_part(tally),
        templates=tuple(
            TemplatePart(
                name,
                states.total(),
                states[RequestState.SUCCEEDED],
                states[RequestState.FAILED],
                states[RequestState.UNKNOWN],
            )
            for name, states in tally.templates.items()
        ),
        causes=causes,
        verification=verification,
        rejects=tuple(
            ProblemPart(
                problem.kind,
                count,
                run.sheets[reject.sheet_id].name,
                reject.row,
                problem.column,
                printable(problem.message),
            )
            for problem, reject, count in tally.problems()
        ),
        warnings=tuple(
            ProblemPart(w.kind, w.count, run.sheets[w.sheet_id].name, w.row, w.column, printable(w.message))
            for w in run.warnings
        ),
        happenings=tuple(happenings(events)),
        sheets=tuple(SheetPart(s.name, s.path, s.sha256, s.row_count) for s in run.sheets),
        files=tuple(files),
        next_steps=next_steps(run, counts, causes, verification),
    )


def _run_part(
    run: RunRecord, counts: Counts, events: Sequence[Event], verification: VerificationPart
) -> RunPart:
    return RunPart(
        id=run.id,
        parent=run.parent,
        state=run.state.value,
        reason=run.reason.value if run.reason is not None else None,
        message=_stop_message(events) if run.reason is not None else "",
        exit_code=None
        if run.reason is None
        else exit_code_of(run.reason, counts, has_drifted=verification.needs_a_look),
        target=run.target,
        account=run.account,
        plan_digest=run.plan_digest,
        version=run.version,
        created_at=utc(run.created_at),
        started_at=None if run.started_at is None else utc(run.started_at),
        ended_at=None if run.ended_at is None else utc(run.ended_at),
        duration_s=None
        if run.started_at is None or run.ended_at is None
        else round(run.ended_at - run.started_at, 3),
    )


def _stop_message(events: Sequence[Event]) -> str:
    """What the run said when it stopped itself, unless it went on after that."""
    for event in reversed(events):
        if event.kind == "began":
            break
        if event.kind == "stopped":
            return printable(str(event.detail.get("message", "")))
    return ""


def _sending_part(tally: Tally) -> SendingPart:
    first, last = tally.first_sent_at, tally.last_sent_at
    span_s = last - first if first is not None and last is not None else 0.0
    took_ms = np.asarray(tally.durations_s, dtype=np.float64) * 1000
    p50, p95, most = np.percentile(took_ms, (50, 95, 100)).round(1).tolist() if len(took_ms) else [None] * 3
    return SendingPart(
        sends=tally.sends,
        numbers=tally.numbers_sent,
        first_sent_at=None if first is None else utc(first),
        last_sent_at=None if last is None else utc(last),
        sends_per_s=round((tally.sends - 1) / span_s, 2) if span_s > 0 else None,
        latency_p50_ms=p50,
        latency_p95_ms=p95,
        latency_max_ms=most,
    )


def _headline(tally: Tally, verification: VerificationPart) -> str:
    """`342 numbers sent, 3 refused, 1 unknown. See results.csv.`"""
    counts = tally.counts
    sent = counts.succeeded + counts.failed + counts.unknown
    things = "number" if tally.is_one_each else "request"
    parts = [f"{sent:,} {things}{'' if sent == 1 else 's'} sent"]
    if tally.refused:
        parts.append(f"{tally.refused:,} refused")
    if counts.failed > tally.refused:
        parts.append(f"{counts.failed - tally.refused:,} failed after every attempt")
    if counts.unknown:
        parts.append(f"{counts.unknown:,} unknown")
    if counts.left:
        parts.append(f"{counts.left:,} still to send")
    if counts.skipped:
        parts.append(f"{counts.skipped:,} skipped")
    if counts.rejected:
        parts.append(f"{counts.rejected:,} row{'' if counts.rejected == 1 else 's'} rejected")
    for proof, words in _PROOFS:
        if count := getattr(verification, proof.value):
            parts.append(f"{count:,} {words}")
    return f"{', '.join(parts)}. See results.csv."


#: What was read back, in the order in which people ask.
_PROOFS = (
    (Proof.VERIFIED, "verified"),
    (Proof.DRIFTED, "drifted"),
    (Proof.MISSING, "not there"),
    (Proof.UNREAD, "not read back"),
    (Proof.NOT_READABLE, "not readable"),
    (Proof.REPLACED, "replaced since"),
)


def exit_code_of(reason: StopReason, counts: Counts, *, has_drifted: bool = False) -> int:
    """The exit code of a command whose run ended so; `has_drifted` is what reading back found."""
    if reason is StopReason.DONE and (has_drifted or counts.failed + counts.unknown + counts.rejected):
        return EXIT_SOME_FAILED
    return reason.exit_code
