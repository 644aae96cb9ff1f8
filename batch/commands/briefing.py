"""What is said of a plan before it is sent: what is in it, what is wrong with it, and the question."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from batch.plan_text import duration_text
from batch.planning import counts, expected_duration_s
from batch.report.lines import printable

if TYPE_CHECKING:
    from batch.commands.talk import Talk
    from batch.destinations import Destination
    from batch.plans import Plan
    from batch.rollout import Sending


def brief(plan: Plan) -> str:
    """The plan in a few lines: its sheets, its requests by template and direction, its warnings."""
    return "\n".join(printable(line) for line in _lines(plan))


def rejects(plan: Plan, *, most: int | None = None) -> str:
    """Every problem of every rejected row, a line each: `numbers.csv:7 phone_number: ...`.

    Beyond `most` rows the others are only counted.
    """
    lines = []
    for reject in plan.rejects[:most]:
        place = plan.place(reject.sheet_id, reject.row)
        for problem in reject.problems:
            where = f"{place} {problem.column}" if problem.column else place
            lines.append(printable(f"{where}: {problem.message}"))
    if most is not None and len(plan.rejects) > most:
        lines.append(f"and {len(plan.rejects) - most:,} more rows")
    return "\n".join(lines)


def tell_rejects(talk: Talk, plan: Plan, *, most: int | None = None) -> None:
    """Say what is rejected, also to those who asked for quiet: a line a problem, or an event a row.

    Beyond `most` rows people are only told how many more there are.
    """
    if talk.log_format != "json":
        talk.insist(rejects(plan, most=most))
        return
    for reject in plan.rejects:
        place = plan.place(reject.sheet_id, reject.row)
        talk.insist(
            printable(f"{place}: {'; '.join(problem.message for problem in reject.problems)}"),
            event="reject",
            sheet=plan.sheets[reject.sheet_id].name,
            row=reject.row,
            problems=[asdict(problem) for problem in reject.problems],
        )


def question(plan: Plan, destination: Destination, sending: Sending) -> str:
    """What is asked before the first send: how much, where to, how fast, how long."""
    requests = _many(plan.to_send_count, "request")
    return f"Send {requests} to {destination.in_words} {pace(plan.to_send_count, sending)}?"


def pace(count: int, sending: Sending) -> str:
    """`at 20/s, which takes about 3 min`; how long it takes to find the rate, nobody knows."""
    rates = sending.run_options().rates
    if not rates:
        return "at the rate that the API turns out to allow"
    return f"at {sending.rate}, which takes about {duration_text(expected_duration_s(count, rates))}"


def course(plan: Plan, sending: Sending) -> str:
    """What is sent when, a line a sentence; empty without waves and windows."""
    from batch.schedule import foresee

    return "\n".join(foresee(plan, sending.run_options(), at=time.time()).lines())


def _lines(plan: Plan) -> Iterator[str]:
    rejected = Counter(reject.sheet_id for reject in plan.rejects)
    for sheet_id, sheet in enumerate(plan.sheets):
        parts = [_many(sheet.row_count, "row"), _many(int((plan.sheet_ids == sheet_id).sum()), "request")]
        if rejected[sheet_id]:
            parts.append(f"{_many(rejected[sheet_id], 'row')} rejected")
        yield f"{sheet.name}: {', '.join(parts)}"
    for tallied in counts(plan):
        skipped = f", {tallied.skipped:,} of them skipped as duplicates" if tallied.skipped else ""
        yield f"  {tallied.template} {tallied.direction}: {tallied.requests:,}{skipped}"
    for warned in plan.warnings:
        yield f"warning: {plan.warning(warned)}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
