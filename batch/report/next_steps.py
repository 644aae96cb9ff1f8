"""What the operator does next about a run, with the exact commands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from batch.journal.protocol import Counts, RunRecord
from batch.journal.verification import Proof
from batch.json_schema import says
from batch.report.causes import Cause, run_words
from batch.report.proofs import VerificationPart
from batch.states import StopReason

#: How many causes get a step of their own; the others are told of among the causes.
_MOST_CAUSES = 5


@dataclass(frozen=True, slots=True)
class NextStep:
    """One thing to do next."""

    text: str = field(metadata=says("What to do, in words."))
    command: str = field(
        metadata=says("The command that does it, from within the report's folder; empty where there is none.")
    )


def next_steps(
    run: RunRecord, counts: Counts, causes: Sequence[Cause], verification: VerificationPart
) -> tuple[NextStep, ...]:
    """What to do next, in this order; one step without a command if there is nothing."""
    steps: list[NextStep] = []
    if counts.left:
        steps.append(
            NextStep(
                f"{_before_resuming(run.reason)} {_what_is_left(counts.left)}.",
                f"sipbatch resume {shlex.quote(run.id)}",
            )
        )
    if causes and all(cause.is_resent for cause in causes):
        several = "" if len(causes) == 1 else "see the causes, then "
        text = f"{several}send again what failed or is unknown."
        first = causes[0]
        command = first.command if len(causes) == 1 else f"sipbatch retry {shlex.quote(run.id)}"
        steps.append(NextStep(_sentence(f"{first.what_to_do}." if len(causes) == 1 else text), command))
    else:
        steps += [
            NextStep(_sentence(f"{cause.what_to_do} ({cause.count:,} of them)."), cause.command)
            for cause in causes[:_MOST_CAUSES]
        ]
    if counts.rejected:
        steps.append(_after_rejects(run, counts.rejected))
    steps += _after_reading_back(run, verification)
    return tuple(steps) or (NextStep("Nothing is left to do.", ""),)


def _after_reading_back(run: RunRecord, verification: VerificationPart) -> Iterator[NextStep]:
    for count, proof, first in (
        (verification.drifted, Proof.DRIFTED, "See in results.csv what is there in place of what was sent"),
        (verification.missing, Proof.MISSING, "Check with the carrier the numbers that are not there"),
    ):
        if count and run.rolls_back is not None:
            yield NextStep(f"{first}; a sheet of their own can change them ({_requests(count)}).", "")
        elif count:
            yield NextStep(
                f"{first}, then send those rows again ({_requests(count)}).",
                shlex.join(["sipbatch", *run_words(run), "--where", f"result_verified={proof}"]),
            )
    command = f"sipbatch verify {shlex.quote(run.id)}"
    if not verification.is_finished:
        yield NextStep("Go on with reading back.", command)
    elif verification.unread:
        yield NextStep(f"Read back again what could not be read ({_requests(verification.unread)}).", command)


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count:,} requests"


def _after_rejects(run: RunRecord, count: int) -> NextStep:
    rows = "the rejected row" if count == 1 else f"the {count:,} rejected rows"
    if run.rolls_back is not None:
        text = f"See in results.csv why {rows} could not be taken back; a sheet of their own can change them."
        return NextStep(text, "")
    return NextStep(
        f"Mend {rows} in results.csv, or in the sheet, then run just those.",
        shlex.join(["sipbatch", *run_words(run), "--where", "result_state=rejected"]),
    )


def _before_resuming(reason: StopReason | None) -> str:
    match reason:
        case StopReason.CREDENTIALS:
            return "Mend the API key or the account, then go on with"
        case StopReason.SAFETY:
            return "Look at what went wrong, then go on with"
        case StopReason.TRY_LATER:
            return "When it is time, or the API can be reached again, go on with"
        case StopReason.UNTRUSTED:
            return "Have the server's certificate mended, or check the address, then go on with"
        case StopReason.JOURNAL:
            return "Make room for the journal, then go on with"
        case StopReason.DONE | StopReason.SIGINT | StopReason.SIGTERM | None:
            return "Go on with"


def _what_is_left(count: int) -> str:
    return "the one request that is left" if count == 1 else f"the {count:,} requests that are left"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
