"""What a run's requests and rejects come to, counted as they go by in sheet order."""

from __future__ import annotations

from array import array
from collections import Counter

import numpy as np

from batch.journal.protocol import Counts, ResultRow
from batch.plans import Problem, Reject
from batch.report.advice import Meaning, meaning_of
from batch.report.causes import CauseTally
from batch.report.proofs import ProofTally
from batch.states import RequestState

#: A request that failed for one of these was not refused: its attempts were used up.
_NOT_A_REFUSAL = frozenset({Meaning.NO_ANSWER, Meaning.BUSY, Meaning.FAULT})


class Tally:
    """Counts of a run; it holds 12 bytes for every request that was sent, and nothing for the others.

    `refused` are the failed requests that the API said no to, `rows` the rows of the sheets that were
    seen. Times are UTC, seconds since the epoch; `durations_s` are those of last attempts.
    """

    def __init__(self) -> None:
        self._states: Counter[tuple[str, RequestState]] = Counter()
        self.causes = CauseTally()
        self.proofs = ProofTally()
        self.rejected = 0
        self.refused = 0
        self.rows = 0
        self.sends = 0
        self.first_sent_at: float | None = None
        self.last_sent_at: float | None = None
        self.durations_s = array("f")
        self._numbers = array("q")
        self._row = self._sheet_id = -1
        self._problems: dict[str, tuple[Problem, Reject]] = {}
        self._problem_counts: Counter[str] = Counter()

    def add_result(self, result: ResultRow) -> None:
        """Count one request."""
        _, sheet_id, row, number, _, template, state, _, sends, *_ = result
        if row != self._row or sheet_id != self._sheet_id:
            self._row, self._sheet_id = row, sheet_id
            self.rows += 1
        self._states[template, state] += 1
        if not sends:
            return
        self.sends += sends
        self._numbers.append(number)
        first, last = result.first_sent_at, result.last_sent_at
        if first is not None and (self.first_sent_at is None or first < self.first_sent_at):
            self.first_sent_at = first
        if last is not None and (self.last_sent_at is None or last > self.last_sent_at):
            self.last_sent_at = last
        if result.duration_s is not None:
            self.durations_s.append(result.duration_s)
        if state is RequestState.FAILED or state is RequestState.UNKNOWN:
            self.causes.add(result)
        if state is RequestState.FAILED:
            self.refused += meaning_of(result.http_status, result.error_code) not in _NOT_A_REFUSAL

    def add_reject(self, reject: Reject) -> None:
        """Count one rejected row."""
        self.rejected += 1
        if (reject.sheet_id, reject.row) != (self._sheet_id, self._row):
            self.rows += 1
        for kind in dict.fromkeys(problem.kind for problem in reject.problems):
            self._problem_counts[kind] += 1
        for problem in reject.problems:
            self._problems.setdefault(problem.kind, (problem, reject))

    @property
    def templates(self) -> dict[str, Counter[RequestState]]:
        """The counts by state of each template's requests, in the order in which templates came up."""
        found: dict[str, Counter[RequestState]] = {}
        for (template, state), count in self._states.items():
            found.setdefault(template, Counter())[state] = count
        return found

    @property
    def counts(self) -> Counts:
        """The counts by state."""
        total: Counter[str] = Counter()
        for (_, state), count in self._states.items():
            total[state.value] += count
        return Counts(**total, rejected=self.rejected)

    @property
    def numbers_sent(self) -> int:
        """How many different numbers were sent something."""
        numbers = np.asarray(self._numbers)
        numbers.sort()  # where they lie: there may be millions, and their order says nothing
        return int(np.count_nonzero(numbers[1:] != numbers[:-1])) + bool(len(numbers))

    @property
    def is_one_each(self) -> bool:
        """Whether no number was sent more than one request."""
        return self.numbers_sent == len(self._numbers)

    def problems(self) -> list[tuple[Problem, Reject, int]]:
        """Each kind of problem with its first example and how many rows have it, most first."""
        return [(*self._problems[kind], count) for kind, count in self._problem_counts.most_common()]
