"""Playing a run in a journal by hand: claims, results and looks at it, in few words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from batch.journal.events import Event
from batch.journal.protocol import EVERYTHING, AttemptRow, Claim, Counts, Ended, Journal, NewRun, ResultRow
from batch.plans import Plan
from batch.states import RequestState
from batch.target import Outcome, Verdict

START = 1_785_144_600.0  #: 2026-07-27T09:30:00Z

ACCEPTED = Outcome(Verdict.ACCEPTED, http_status=200, request_id="req_1")
REFUSED = Outcome(Verdict.REFUSED, http_status=400, error_code="BAD_REQUEST", message="no such codec")
TRANSIENT = Outcome(Verdict.TRANSIENT, http_status=503, error_code="DOWN", message="down for a minute")
AMBIGUOUS = Outcome(Verdict.AMBIGUOUS, error_code="RESET", message="the connection was reset")

#: Opens the same journal anew for reading; one in memory is its own reader.
Reread = Callable[[], Journal]


def new_run(target: str = "https://api.test", *, account: str = "", at: float = START) -> NewRun:
    """What a run is created with, beside its plan."""
    return NewRun(target, at, {"rate": "5/s", "canary": None}, account, "1.2.3")


def begun(journal: Journal, plan: Plan, new: NewRun | None = None) -> str:
    """A run that has been set going."""
    run_id = journal.create_run(plan, new or new_run())
    journal.begin(run_id, START)
    return run_id


def claim(journal: Journal, run_id: str, want: int = 1, **how: Any) -> list[Claim]:
    """Claims, from everywhere and at the start unless told otherwise."""
    return journal.exchange(run_id, **{"want": want, "shards": EVERYTHING, "now": START, **how})


def seqs(claims: Sequence[Claim]) -> list[int]:
    """Which requests were claimed."""
    return [one.seq for one in claims]


def ended(
    one: Claim,
    state: RequestState = RequestState.SUCCEEDED,
    outcome: Outcome = ACCEPTED,
    *,
    at: float = START,
    **more: Any,
) -> Ended:
    """How a claim's attempt ended; `at` is when it was sent."""
    return Ended(one, state, outcome, at, 0.25, **more)


def retrying(one: Claim, due_at: float, outcome: Outcome = TRANSIENT, **more: Any) -> Ended:
    """An attempt that is to be made again."""
    return ended(one, RequestState.RETRYING, outcome, due_at=due_at, **more)


def send(
    journal: Journal,
    run_id: str,
    *endings: tuple[RequestState, Outcome],
    at: float = START,
    due_at: float | None = None,
) -> None:
    """Claim as many requests as there are endings, and let each end so."""
    claims = claim(journal, run_id, len(endings), now=at)
    journal.exchange(
        run_id,
        ended=[
            ended(one, state, outcome, at=at, due_at=due_at if state is RequestState.RETRYING else None)
            for one, (state, outcome) in zip(claims, endings, strict=True)
        ],
    )


def look(
    journal: Journal, run_id: str
) -> tuple[Counts, list[ResultRow], list[AttemptRow], list[Event], float | None]:
    """All that a reader sees of a run's requests: to see that something changed nothing."""
    return (
        journal.counts(run_id),
        list(journal.results(run_id)),
        list(journal.attempts(run_id)),
        journal.events(run_id),
        journal.next_due(run_id),
    )


def states(journal: Journal, run_id: str) -> list[RequestState]:
    """The state of every request, in sheet order."""
    return [row.state for row in journal.results(run_id)]
