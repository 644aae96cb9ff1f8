"""What is looked at before anything is sent: is it the plan that was reviewed, is a row rejected or late."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from batch.errors import PlanChangedError, RejectedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from batch.commands.sheet_options import SheetArguments
    from batch.commands.talk import Talk
    from batch.journal.protocol import Journal, RunRecord
    from batch.plans import Int64s, Plan


def review(
    talk: Talk, plan: Plan, given: SheetArguments, *, plan_digest: str | None, skip_rejects: bool
) -> None:
    """Say what is rejected; `PlanChangedError` or `RejectedError` if the plan may not be sent so."""
    from batch.commands.briefing import tell_rejects  # with pandas, which `resume` has no need of

    if plan.rejects:
        tell_rejects(talk, plan)
    if plan_digest is not None and plan_digest != plan.digest:
        raise PlanChangedError(
            f"This is not the plan that was reviewed: its digest is {plan.digest}, not {plan_digest}. "
            "A sheet, a template or an option differs. Nothing was sent: review it again with "
            "`sipbatch plan`."
        )
    if plan.rejects and not skip_rejects:
        rejected = "1 row was" if len(plan.rejects) == 1 else f"{len(plan.rejects):,} rows were"
        mend = shlex.join(["sipbatch", "plan", *map(str, given.paths), "--rejects", "mend.csv"])
        raise RejectedError(
            f"{rejected} rejected, so nothing was sent. Mend the sheet (`{mend}` writes just those rows), "
            "or send the others with --skip-rejects."
        )


def tell_overtaken(talk: Talk, journal: Journal, run: RunRecord, keys_to_send: Callable[[], Int64s]) -> None:
    """Say, also to those who asked for quiet, how many of the keys to be sent a later run has changed."""
    from batch.fleet.comparison import overtaken

    count, later = overtaken(journal, run, keys_to_send)
    if count:
        were = "was" if count == 1 else "were"
        talk.insist(
            f"{count:,} of them {were} changed since by run {later}; what is sent was planned before that.",
            event="overtaken",
        )
