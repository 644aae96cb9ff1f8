"""Promises about what waves are made of: the requests of a run that have not ended."""

from __future__ import annotations

import numpy as np

from batch.journal.protocol import Journal
from batch.states import RequestState
from tests.journal_promises.play import REFUSED, START, Reread, begun, claim, ended, retrying
from tests.small_plans import FIRST_NUMBER, small_plan


class WavePromises:
    """What is left of a run can be had in columns."""

    def test_what_is_left_is_what_has_not_ended(self, journal: Journal, reread: Reread) -> None:
        """Pending, in flight or retrying, in sheet order; neither what ended nor what is skipped."""
        run_id = begun(journal, small_plan(9, templates=2, duplicates={8: 0}))
        claims = claim(journal, run_id, 5)
        journal.exchange(
            run_id,
            ended=[
                ended(claims[0]),
                retrying(claims[1], START + 60),
                ended(claims[3], RequestState.FAILED, REFUSED),
            ],
            released=[claims[2].seq],
        )

        left = reread().left(run_id)

        assert left.seqs.tolist() == [1, 2, 4, 5, 6, 7]
        assert left.numbers.tolist() == [FIRST_NUMBER + seq // 2 for seq in (1, 2, 4, 5, 6, 7)]
        assert left.directions.tolist() == [1, 0, 0, 1, 0, 1]
        assert len(set(left.template_ids[left.seqs % 2 == 0].tolist())) == 1
        assert left.template_ids[0] != left.template_ids[1]

    def test_nothing_is_left_of_a_run_that_is_done(self, journal: Journal) -> None:
        """Then all columns are empty, and still of their types."""
        run_id = begun(journal, small_plan(2))
        journal.exchange(run_id, ended=[*map(ended, claim(journal, run_id, 2))])
        left = journal.left(run_id)
        assert [len(column) for column in left] == [0, 0, 0, 0]
        assert [column.dtype for column in left] == [np.int64, np.int64, np.uint8, np.int64]
