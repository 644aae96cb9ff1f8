"""What a run's requests and rejects come to, counted as they go by in sheet order."""

from __future__ import annotations

from array import array
from collections import Counter

import numpy as np

from batch.advice import Meaning, meaning_of
from batch.causes import CauseTally
from batch.journal import Counts, ResultRow
from batch.plans import Problem, Reject
from batch.states import RequestState

#: A request that failed for one of these was not refused: its attempts were used up.
_NOT_A_REFUSAL = frozenset({Meaning.NO_ANSWER, Meaning.BUSY, Meaning.FAULT})


class Tally:
    """Counts of a run; it holds 12 bytes for every request that was sent, and nothing for the others.

    `templates` has the states of the requests of each template. `refused` are the failed ones that the
    API said no to, `rows` the rows of the sheets that were seen. Times are UTC, seconds since the epoch;
    `durations_s` are those of last attempts.
    """

    def __init__(self) -> None:
        self.templates: dict[str, Counter[RequestState]] = {}
        self.causes = CauseTally()
        self.rejected = 0
        self.refused = 0
        self.rows = 0
        self.sends = 0
        self.first_sent_at: float | None = None
        self.last_sent_at: float | None = None
        self.durations_s = array("f")
        self._numbers = array("q")
        self._place = (-1, -1)
        self._problems: dict[str, tuple[Problem, Reject]] = {}
        self._problem_counts: Counter[str] = Counter()

    def add_result(self, result: ResultRow) -> None:
        """Count one request."""
        state = result.state
        by_state = self.templates.get(result.template)
        if by_state is None:
            by_state = self.templates[result.template] = Counter()
        by_state[state] += 1
        place = (result.sheet_id, result.row)
        if place != self._place:
            self._place = place
            self.rows += 1
        if not result.sends:
            return
        self.sends += result.sends
        self._numbers.append(result.number)
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
        if (reject.sheet_id, reject.row) != self._place:
            self.rows += 1
        for kind in dict.fromkeys(problem.kind for problem in reject.problems):
            self._problem_counts[kind] += 1
        for problem in reject.problems:
            self._problems.setdefault(problem.kind, (problem, reject))

    @property
    def counts(self) -> Counts:
        """The counts by state."""
        total: Counter[RequestState] = Counter()
        for by_state in self.templates.values():
            total.update(by_state)
        return Counts(**{state.value: total[state] for state in RequestState}, rejected=self.rejected)

    @property
    def numbers_sent(self) -> int:
        """How many different numbers were sent something."""
        return len(np.unique(np.asarray(self._numbers, dtype=np.int64)))

    @property
    def is_one_each(self) -> bool:
        """Whether no number was sent more than one request."""
        return self.numbers_sent == len(self._numbers)

    def problems(self) -> list[tuple[Problem, Reject, int]]:
        """Each kind of problem with its first example and how many rows have it, most first."""
        return [(*self._problems[kind], count) for kind, count in self._problem_counts.most_common()]
