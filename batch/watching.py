"""Looks at a run again and again while it goes, at a cost that neither the run nor the machine feels.

Counting the requests of a run reads all of them: 0.4 s for a million. So the looks are spaced by what they
cost, and a journal of a million requests is looked at every few seconds, whatever was asked.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

from batch.journal.protocol import Journal
from batch.journal.reader import SqliteReader
from batch.json_schema import says, schema_of
from batch.progress import Pace
from batch.report.causes import shape, title_of
from batch.report.lines import printable
from batch.standing import Standing, StandingPart, standing
from batch.workspace import Holder, Workspace, find_run

#: The largest share of its time that a watch spends reading.
_SHARE = 0.05

#: How many causes are told; the report has all.
_MOST_CAUSES = 5

_FAILURES = """
SELECT http_status, error_code, error, COUNT(*) AS requests FROM requests
WHERE run_no = ? AND state IN ('failed', 'unknown') GROUP BY http_status, error_code, error"""


class _Failures(NamedTuple):
    """Requests that ended with the same answer."""

    http_status: int | None
    error_code: str
    error: str
    requests: int


@dataclass(frozen=True, slots=True)
class CauseSoFar:
    """Why some requests failed or are unknown, as far as the run has come."""

    error_code: str = field(metadata=says("The error code; empty where there was none."))
    http_status: int | None = field(metadata=says("The HTTP status; null where no answer came."))
    message: str = field(
        metadata=says("The message without what differs from row to row, such as digits and ids.")
    )
    count: int = field(metadata=says("How many requests it explains."))

    @property
    def title(self) -> str:
        """The cause on one line."""
        return title_of(self.error_code, self.http_status, self.message)


@dataclass(frozen=True, slots=True)
class StatusPart(StandingPart):
    """Where a run stands, and why requests failed."""

    causes: tuple[CauseSoFar, ...] = field(
        metadata=says("Why requests are failed or unknown, the five that explain most.")
    )


def status_schema() -> dict[str, Any]:
    """The JSON Schema of what `sipbatch status --json` prints."""
    return schema_of(StatusPart, title="what `sipbatch status --json` prints; with --watch, one a line")


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a run at one look."""

    standing: Standing
    causes: tuple[CauseSoFar, ...]

    @property
    def part(self) -> StatusPart:
        """As it is told in JSON."""
        return StatusPart(**self.standing.fields(), causes=self.causes)


class WatchedJournal(SqliteReader):
    """A journal opened to see what has failed so far; it is only read."""

    def causes(self, run_id: str) -> tuple[CauseSoFar, ...]:
        """The causes that explain most, that one first."""
        counter: Counter[tuple[str, int | None, str]] = Counter()
        for failures in self._stream(_FAILURES, (self._no(run_id),), _Failures._make):
            code = printable(failures.error_code)
            counter[code, failures.http_status, shape(failures.error)] += failures.requests
        return tuple(CauseSoFar(*cause, count) for cause, count in counter.most_common(_MOST_CAUSES))


class Watch:
    """One run of a workspace, the newest or `wanted`, and whoever sends it.

    `now` is the time in UTC, `clock` a monotonic one, both in seconds. `UsageError` if there is no such run.
    """

    def __init__(
        self,
        workspace: Workspace,
        wanted: str | None,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        workspace.check_begun()
        self._workspace = workspace
        self._now = now
        self._clock = clock
        self._pace = Pace(now=clock)
        self._cost_s = 0.0
        self._causes: tuple[CauseSoFar, ...] = ()
        self._causes_of = 0
        self._causes_again_at_s = 0.0
        self._journal = WatchedJournal(workspace.journal_path)
        try:
            self.run_id = find_run(self._journal.runs(), wanted).id
        except BaseException:
            self.close()
            raise

    def look(self) -> Seen:
        """Where the run stands now, with its pace since the looks before."""
        began_s = self._clock()
        # First who holds it: one that ends meanwhile has written all that is read next.
        holder = self._workspace.holder()
        now = self._standing(holder)
        failed = now.counts.failed + now.counts.unknown
        counted_s = self._clock()
        if failed != self._causes_of and (not now.is_going or counted_s >= self._causes_again_at_s):
            self._causes, self._causes_of = self._journal.causes(self.run_id), failed
            read_s = self._clock() - counted_s
            self._causes_again_at_s = self._clock() + read_s / _SHARE
        self._cost_s = counted_s - began_s
        return Seen(now, self._causes)

    def pause_s(self, wanted_s: float) -> float:
        """How long to wait before the next look: what was asked for, or longer if looking is dear."""
        return max(wanted_s, self._cost_s / _SHARE)

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()

    def _standing(self, holder: Holder | None) -> Standing:
        # The reading half of a journal is all that is asked of it.
        journal = cast("Journal", self._journal)
        now = standing(journal, self._journal.run(self.run_id), holder, now=self._now())
        wait_s = now.waiting.wait_s if now.waiting is not None else 0.0
        is_held = now.waiting is not None and now.waiting.is_hold
        self._pace.told(now.counts.requests - now.counts.left, waiting=is_held)
        if now.rate_per_s is None or not self._pace.rate_per_s:
            return now
        eta_s = self._pace.eta_s(now.counts.left, allowed_per_s=0.0, wait_s=wait_s)
        return replace(now, rate_per_s=self._pace.rate_per_s, eta_s=eta_s)
