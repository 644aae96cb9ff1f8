"""The states a request and a run can be in, and the moves between them that the journal allows."""

from __future__ import annotations

from enum import StrEnum


class RequestState(StrEnum):
    """Where one request stands."""

    PENDING = "pending"  #: planned, not sent yet
    IN_FLIGHT = "in_flight"  #: claimed: it is being sent, or was when the process died
    RETRYING = "retrying"  #: sent without success; it is sent again when its due time comes
    SUCCEEDED = "succeeded"  #: the API accepted it
    FAILED = "failed"  #: the API refused it, or no attempt is left
    UNKNOWN = "unknown"  #: sent, no answer, no attempt left: it may have been applied
    SKIPPED = "skipped"  #: nothing to send: a duplicate of another row, or unchanged

    @property
    def is_final(self) -> bool:
        """Whether nothing more will be sent for the request in this run."""
        return not REQUEST_MOVES[self]


#: What may follow each state of a request. `in_flight → pending` is the release of a claim that
#: was never sent, of one that a dead process left behind, and of one that lost its chance to a
#: fault which is not the request's own (credentials refused).
REQUEST_MOVES: dict[RequestState, frozenset[RequestState]] = {
    RequestState.PENDING: frozenset({RequestState.IN_FLIGHT}),
    RequestState.IN_FLIGHT: frozenset(
        {
            RequestState.SUCCEEDED,
            RequestState.FAILED,
            RequestState.RETRYING,
            RequestState.UNKNOWN,
            RequestState.PENDING,
        }
    ),
    RequestState.RETRYING: frozenset({RequestState.IN_FLIGHT}),
    RequestState.SUCCEEDED: frozenset(),
    RequestState.FAILED: frozenset(),
    RequestState.UNKNOWN: frozenset(),
    RequestState.SKIPPED: frozenset(),
}


class RunState(StrEnum):
    """Where a run stands."""

    PLANNED = "planned"  #: pinned in the journal; nothing was sent yet
    RUNNING = "running"  #: a process is sending, or died while it was
    COMPLETED = "completed"  #: every request ended; nothing is left to send
    INTERRUPTED = "interrupted"  #: an operator or the system stopped it; `resume` goes on
    HALTED = "halted"  #: it stopped itself for safety; `resume` goes on


#: What may follow each state of a run. `running → running` is the resume of a run whose process died.
RUN_MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.PLANNED: frozenset({RunState.RUNNING}),
    RunState.RUNNING: frozenset(
        {RunState.RUNNING, RunState.COMPLETED, RunState.INTERRUPTED, RunState.HALTED}
    ),
    RunState.COMPLETED: frozenset(),
    RunState.INTERRUPTED: frozenset({RunState.RUNNING}),
    RunState.HALTED: frozenset({RunState.RUNNING}),
}


class StopReason(StrEnum):
    """Why a run is no longer going; each owns the exit code of the command that ran it."""

    DONE = "done"  #: nothing is left to send
    SIGINT = "sigint"  #: interrupted from the terminal
    SIGTERM = "sigterm"  #: interrupted by the system
    CREDENTIALS = "credentials"  #: the API refused the key, its rights or the account's balance
    SAFETY = "safety"  #: too many failures, a breaker or the canary
    TRY_LATER = "try_later"  #: the API cannot be reached, or said to wait longer than is sensible
    UNTRUSTED = "untrusted"  #: the server's TLS certificate cannot be verified
    JOURNAL = "journal"  #: the journal could not be written

    @property
    def run_state(self) -> RunState:
        """The state in which this reason leaves the run."""
        match self:
            case StopReason.DONE:
                return RunState.COMPLETED
            case StopReason.SIGINT | StopReason.SIGTERM:
                return RunState.INTERRUPTED
            case (
                StopReason.CREDENTIALS
                | StopReason.SAFETY
                | StopReason.TRY_LATER
                | StopReason.UNTRUSTED
                | StopReason.JOURNAL
            ):
                return RunState.HALTED

    @property
    def exit_code(self) -> int:
        """The exit code of the command; for `DONE`, when every request succeeded or needed nothing."""
        match self:
            case StopReason.DONE:
                return 0
            case StopReason.SIGINT:
                return 130
            case StopReason.SIGTERM:
                return 143
            case StopReason.CREDENTIALS:
                return 77
            case StopReason.SAFETY:
                return 4
            case StopReason.TRY_LATER | StopReason.UNTRUSTED:
                return 75
            case StopReason.JOURNAL:
                return 74


#: The exit code of a run that finished with rows that failed, were rejected or are unknown.
EXIT_SOME_FAILED = 3
