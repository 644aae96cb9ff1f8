"""Promises about the fleet: what is in force, block by block, and was before each run; a number's story."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import orjson
import pytest

from batch.journal.known import FleetEntry, Touch
from batch.journal.protocol import Chapter, Journal, NewRun
from batch.plans import Payload, Plan, plan_digest
from batch.states import RequestState, StopReason
from batch.target import Outcome
from tests.journal_promises.play import (
    ACCEPTED,
    AMBIGUOUS,
    REFUSED,
    START,
    Reread,
    begun,
    claim,
    new_run,
    send,
)
from tests.small_plans import FIRST_NUMBER, small_plan

API = "https://api.test"
DONE, UNKNOWN, FAILED = RequestState.SUCCEEDED, RequestState.UNKNOWN, RequestState.FAILED
RETRYING = RequestState.RETRYING

WELL = (DONE, ACCEPTED)
LOST = (UNKNOWN, AMBIGUOUS)


def minutes(journal: Journal, payload_id: int | None) -> dict[str, int] | None:
    """What a payload of `small_plan` says, in short: a number by block."""
    if payload_id is None:
        return None
    blocks = orjson.loads(journal.payload(payload_id))
    return {block: content["thresholds"]["unreachable_minutes"] for block, content in blocks.items()}


def in_force(journal: Journal) -> list[tuple[dict[str, int] | None, tuple[str, ...]]]:
    """What is in force at every key, in short, and what of it is in doubt."""
    applied = journal.applied(API)
    return [
        (minutes(journal, payload_id), applied.doubts[doubt_id])
        for payload_id, doubt_id in zip(applied.payload_ids.tolist(), applied.doubt_ids.tolist(), strict=True)
    ]


def alerts(value: int, count: int = 1) -> Plan:
    """A plan that sets the alerts."""
    return small_plan(count, blocks=value)


def codecs(value: int, count: int = 1) -> Plan:
    """A plan that sets the codecs."""
    return small_plan(count, blocks=value, block="codec_config")


def unchanged(plan: Plan, since: list[int], runs: tuple[str, ...]) -> Plan:
    """The plan that skips requests as unchanged since these runs; -1 is to be sent."""
    marked = replace(plan, unchanged_since=np.array(since, dtype=np.int32), earlier_runs=runs)
    sent = ~marked.is_skipped
    keys = marked.numbers[sent], marked.directions[sent], marked.payload_ids[sent]
    return replace(marked, digest=plan_digest(*keys, marked.payloads))


def without_cells(plan: Plan) -> Plan:
    """The plan as one that was made of a run is: the rows are the run's."""
    return replace(plan, cells=())


def with_secret(plan: Plan, secret: str) -> Plan:
    """The plan with one payload, which has a value of the environment in it."""
    payloads = (Payload.of({"alert_config": {"channels": {"webhook": f"https://hooks.test/{secret}"}}}),)
    digest = plan_digest(plan.numbers, plan.directions, plan.payload_ids, payloads)
    return replace(plan, payloads=payloads, digest=digest, environment={"WORD": secret})


class FleetPromises:
    """What the journal knows of numbers is what was sent to them, whoever sent it and however it ended."""

    def test_blocks_of_several_runs_are_in_force_together(self, journal: Journal, reread: Reread) -> None:
        """A run changes the blocks that it sends, and leaves the others as they are."""
        self.went(journal, alerts(1), WELL)
        self.went(journal, codecs(2), WELL)
        self.went(journal, alerts(3), WELL)
        assert in_force(reread()) == [({"alert_config": 3, "codec_config": 2}, ())]

    def test_doubt_is_about_the_blocks_that_were_sent(self, journal: Journal) -> None:
        """The others stay certain; and a success settles its own blocks alone."""
        self.went(journal, alerts(1), WELL)
        self.went(journal, codecs(2), LOST)
        assert in_force(journal) == [({"alert_config": 1, "codec_config": 2}, ("codec_config",))]
        self.went(journal, alerts(3), WELL)
        assert in_force(journal) == [({"alert_config": 3, "codec_config": 2}, ("codec_config",))]
        self.went(journal, codecs(2), WELL)
        assert in_force(journal) == [({"alert_config": 3, "codec_config": 2}, ())]

    def test_what_a_going_run_did_counts_at_once(self, journal: Journal, reread: Reread) -> None:
        """Also where it changed a part of what is in force: readers need not wait for its end."""
        self.went(journal, alerts(1, 2), WELL, WELL)
        run_id = begun(journal, codecs(2, 2))
        send(journal, run_id, WELL)
        claim(journal, run_id, 1)
        assert in_force(reread()) == [
            ({"alert_config": 1, "codec_config": 2}, ()),
            ({"alert_config": 1, "codec_config": 2}, ("codec_config",)),
        ]

    def test_the_order_is_that_of_the_runs_whatever_the_clock_says(self, journal: Journal) -> None:
        """A clock that was set back between two runs does not make the older one the newer."""
        self.went(journal, alerts(1), WELL, at=START + 3600)
        self.went(journal, alerts(2), WELL, at=START)
        assert in_force(journal) == [({"alert_config": 2}, ())]

    def test_a_killed_run_comes_before_the_next(self, journal: Journal) -> None:
        """What it sent before it was killed is older than what others sent since, whenever it is resumed."""
        killed = begun(journal, alerts(1, 2))
        send(journal, killed, WELL, at=START + 9)
        self.went(journal, alerts(2, 2), WELL, WELL, at=START + 1)
        assert in_force(journal) == [({"alert_config": 2}, ()), ({"alert_config": 2}, ())]
        journal.begin(killed, START + 10)
        send(journal, killed, WELL, at=START + 11)
        journal.end(killed, StopReason.DONE, START + 12)
        assert in_force(journal) == [({"alert_config": 2}, ()), ({"alert_config": 1}, ())]

    def test_an_entry_names_the_request_that_changed_the_number_last(
        self, journal: Journal, reread: Reread
    ) -> None:
        """Its run, sheet, row, template and time; in the order of the numbers."""
        self.went(journal, alerts(1, 4), WELL, WELL, WELL, (FAILED, REFUSED))
        run_id = self.went(journal, codecs(2, 2), (FAILED, REFUSED), LOST, at=START + 5)
        first, second, third = reread().fleet(API)
        assert (first.number, first.direction, first.run_id) < (second.number, second.direction, run_id)
        assert second == FleetEntry(
            FIRST_NUMBER,
            1,
            "template-0",
            second.payload_id,
            ("codec_config",),
            START + 5,
            run_id,
            "numbers.csv",
            3,
        )
        assert (third.number, third.direction, third.row) == (FIRST_NUMBER + 1, 0, 4)

    # --- what was before a run --------------------------------------------------------------------

    def test_a_touch_says_what_was_before_and_what_is_now(self, journal: Journal, reread: Reread) -> None:
        """For each request that changed its number, or may have, in sheet order."""
        first = self.went(journal, alerts(1, 3), WELL, WELL, (FAILED, REFUSED))
        second = self.went(journal, codecs(2, 3), WELL, LOST, WELL)
        third = self.went(journal, codecs(5, 1), WELL)
        touches = list(reread().touches(second))
        assert [(touch.seq, touch.row) for touch in touches] == [(0, 2), (1, 3), (2, 4)]
        assert [minutes(journal, touch.payload_id) for touch in touches] == [{"codec_config": 2}] * 3
        assert [minutes(journal, touch.before_id) for touch in touches] == [
            {"alert_config": 1},
            {"alert_config": 1},
            None,
        ]
        assert [(touch.before_run, touch.before_template) for touch in touches] == [
            (first, "template-0"),
            (first, "template-0"),
            ("", ""),
        ]
        assert [(minutes(journal, touch.now_id), touch.now_run, touch.now_doubt) for touch in touches] == [
            ({"alert_config": 1, "codec_config": 5}, third, ()),
            ({"alert_config": 1, "codec_config": 2}, second, ("codec_config",)),
            ({"codec_config": 2}, second, ()),
        ]

    def test_a_run_that_goes_on_keeps_what_was_before_it(self, journal: Journal) -> None:
        """A run that tried a number twice did not find it as its own first try may have left it."""
        self.went(journal, alerts(1), WELL)
        run_id = begun(journal, alerts(2))
        send(journal, run_id, (RETRYING, AMBIGUOUS), due_at=START + 1)
        journal.end(run_id, StopReason.SIGINT, START)
        journal.begin(run_id, START + 2)
        send(journal, run_id, WELL, at=START + 3)
        journal.end(run_id, StopReason.DONE, START + 4)
        (touch,) = journal.touches(run_id)
        assert (minutes(journal, touch.before_id), touch.before_doubt) == ({"alert_config": 1}, ())

    def test_a_killed_run_is_known_once_the_journal_is_settled(self, journal: Journal) -> None:
        """What was in flight may have been applied; settling twice changes nothing."""
        self.went(journal, alerts(1, 2), WELL, WELL)
        killed = begun(journal, alerts(2, 2))
        send(journal, killed, WELL)
        claim(journal, killed, 1)
        journal.settle()
        journal.settle()
        touches: list[Touch] = list(journal.touches(killed))
        assert [minutes(journal, touch.before_id) for touch in touches] == [{"alert_config": 1}] * 2
        assert [touch.now_doubt for touch in touches] == [(), ("alert_config",)]
        assert in_force(journal) == [({"alert_config": 2}, ()), ({"alert_config": 2}, ("alert_config",))]

    # --- the story of a number --------------------------------------------------------------------

    def test_a_number_has_all_its_requests_in_its_history(self, journal: Journal, reread: Reread) -> None:
        """In the order of the runs, at every target, with every attempt, and those that changed nothing."""
        first = self.went(journal, alerts(1), WELL)
        elsewhere = self.went(journal, alerts(2), WELL, new=new_run("https://other.test"))
        second = begun(journal, small_plan(2, blocks=3))
        send(journal, second, (RETRYING, AMBIGUOUS), (FAILED, REFUSED), at=START + 1, due_at=START + 1)
        send(journal, second, WELL, at=START + 2)
        journal.end(second, StopReason.DONE, START + 3)
        planned = journal.create_run(alerts(4), new_run())

        chapters: list[Chapter] = reread().history(FIRST_NUMBER)
        assert [(one.run_id, one.result.seq) for one in chapters] == [
            (first, 0),
            (elsewhere, 0),
            (second, 0),
            (second, 1),
            (planned, 0),
        ]
        assert [one.is_touched for one in chapters] == [True, True, True, False, False]
        assert [minutes(journal, one.before_id) for one in chapters] == [
            None,
            None,
            {"alert_config": 1},
            None,
            None,
        ]
        assert [attempt.verdict for attempt in chapters[2].attempts] == ["ambiguous", "accepted"]
        assert chapters[2].result == next(iter(journal.results(second)))
        assert reread().history(FIRST_NUMBER + 7) == []

    def test_the_history_of_a_going_run_says_what_was_before_it(self, journal: Journal) -> None:
        """Also before the run has ended, and where it is in doubt."""
        self.went(journal, alerts(1), LOST)
        claim(journal, begun(journal, codecs(2)), 1)
        before, going = journal.history(FIRST_NUMBER)
        assert (before.is_touched, before.before_id) == (True, None)
        assert (minutes(journal, going.before_id), going.before_doubt) == (
            {"alert_config": 1},
            ("alert_config",),
        )

    # --- plans that skip what is unchanged, and plans that were made of a run ----------------------

    def test_an_unchanged_request_is_skipped_and_says_since_when(
        self, journal: Journal, reread: Reread
    ) -> None:
        """It is never claimed, and its result names the run that put it in force."""
        earlier = self.went(journal, alerts(1, 3), WELL, WELL, WELL)
        run_id = begun(journal, unchanged(alerts(1, 3), [-1, 0, -1], (earlier,)))
        assert [one.seq for one in claim(journal, run_id, 9)] == [0, 2]
        rows = list(reread().results(run_id))
        assert [row.unchanged_since for row in rows] == [None, earlier, None]
        assert [row.state.value for row in rows] == ["in_flight", "skipped", "in_flight"]
        assert reread().counts(run_id).skipped == 1

    def test_a_plan_that_was_made_of_a_run_has_the_rows_of_its_sheets(
        self, journal: Journal, reread: Reread
    ) -> None:
        """The cells of the parent, or of the parent's parent, are its own."""
        parent = self.went(journal, alerts(1, 2), WELL, WELL)
        child = journal.create_run(
            without_cells(alerts(2, 2)), NewRun(API, START, {"rolls_back": parent}, parent=parent)
        )
        grandchild = journal.create_run(without_cells(alerts(1, 2)), NewRun(API, START, parent=child))
        assert reread().run(child).parent == parent
        assert (reread().run(child).rolls_back, reread().run(parent).rolls_back) == (parent, None)
        assert list(reread().cells(grandchild)) == list(reread().cells(parent)) != []

    @pytest.mark.parametrize("secret", ["swordfish-4711"])
    def test_what_is_kept_has_no_secrets(
        self, journal: Journal, monkeypatch: pytest.MonkeyPatch, secret: str
    ) -> None:
        """What came from the environment is named, not told, and is there again for those who send it."""
        monkeypatch.setenv("WORD", secret)
        run_id = begun(journal, with_secret(alerts(1), secret))
        (one,) = claim(journal, run_id)
        assert secret.encode() in journal.payload(one.payload_id)
        assert secret.encode() not in journal.kept(one.payload_id)
        assert b"${env:WORD}" in journal.kept(one.payload_id)

    def went(
        self,
        journal: Journal,
        plan: Plan,
        *endings: tuple[RequestState, Outcome],
        at: float = START,
        new: NewRun | None = None,
    ) -> str:
        """A run that went from beginning to end."""
        run_id = begun(journal, plan, new or new_run())
        send(journal, run_id, *endings, at=at)
        journal.end(run_id, StopReason.DONE, at)
        return run_id
