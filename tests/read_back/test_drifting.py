"""Promises of `reconcile --verify`: what drifted is a reason to send, and what cannot be seen is none."""

from __future__ import annotations

import random
from typing import Any

import pytest

from batch.clock import Clock
from batch.errors import CredentialsError, UnreachableError
from batch.fleet.comparison import Comparison, Difference, compare
from batch.journal.memory import MemoryJournal
from batch.journal.protocol import NewRun
from batch.journal.verification import Proof
from batch.plans import keys_of
from batch.read_back.drifting import DriftFound, drifted_keys, find_drift, with_drift
from batch.read_back.rounds import Reader
from batch.runner import run
from batch.target import Outcome
from tests.readings import DOWN, FAST, NO_KEY, PlayedApi, inline, pacer_of, throttled
from tests.sending import FIRST_NUMBER, Desk, Server
from tests.simulation.virtual_time import run_virtual
from tests.small_plans import small_plan
from tests.verifying_desk import YES, Invoke, change, control, desk, invoke, results, server

__all__ = ["desk", "invoke", "server"]


def in_force(count: int = 20, **given: Any) -> tuple[Comparison, PlayedApi]:
    """A plan that was sent, and the API that it was sent to."""
    plan = small_plan(count, **given)
    journal, api = MemoryJournal(), PlayedApi()
    run_id = journal.create_run(plan, NewRun(api.name, 1_785_144_600.0))

    async def send() -> None:
        await run(journal, run_id, api, FAST, clock=Clock(), run_blocking=inline)

    run_virtual(send, backend="trio")
    api.calls.clear()
    return compare(plan, journal.applied(api.name), journal.payload), api


def look(comparison: Comparison, api: PlayedApi) -> DriftFound:
    """Read back what should be in force."""

    async def main() -> DriftFound:
        clock = Clock()
        reader = Reader(FAST, pacer_of(FAST, clock), clock, dice=random.Random(0).random)
        return await find_drift(comparison, api, reader)

    return run_virtual(main, backend="trio")


def test_what_is_there_as_it_should_be_is_no_reason_to_send() -> None:
    """Each number is read once, and nothing is sent."""
    comparison, api = in_force()
    found = look(comparison, api)
    assert found.counts == {Proof.VERIFIED: 20}
    assert len(api.of("read")) == 10
    assert with_drift(comparison, found).skip_unchanged().to_send_count == 0


def test_what_drifted_is_sent_and_nothing_else() -> None:
    """A changed block and a direction that is gone; the plan's notes say what was found."""
    comparison, api = in_force()
    api.sides[f"+{FIRST_NUMBER + 1}", "inbound"]["alert_config"]["enabled"] = False
    del api.sides[f"+{FIRST_NUMBER + 3}", "outbound"]
    found = look(comparison, api)
    plan = comparison.plan
    assert (
        drifted_keys(plan, found).tolist() == keys_of(plan.numbers[[2, 7]], plan.directions[[2, 7]]).tolist()
    )
    sent = with_drift(comparison, found)
    assert (sent.count(Difference.DRIFTED), sent.count(Difference.UNCHANGED)) == (2, 18)
    to_send = sent.skip_unchanged()
    assert (~to_send.is_skipped).nonzero()[0].tolist() == [2, 7]
    notes = [to_send.notes[to_send.note_ids[at]] for at in (2, 7)]
    assert notes[0] == "drifted, and so sent again: alert_config.enabled: sent true, there is false"
    assert "missing, and so sent again" in notes[1]
    assert to_send.digest != comparison.skip_unchanged().digest


@pytest.mark.parametrize("fault", [DOWN, None])
def test_what_cannot_be_seen_is_no_reason_to_send(fault: Outcome | None) -> None:
    """Neither what the API does not show nor what cannot be read."""
    comparison, api = in_force(6)
    api.hidden = frozenset({"alert_config"})
    api.fault = lambda _, __: fault
    found = look(comparison, api)
    assert found.drifted == {}
    assert found.counts == {Proof.UNREAD if fault else Proof.NOT_READABLE: 6}


def test_what_stops_the_reading_stops_the_reconcile() -> None:
    """A refused key is 77, a wait of an hour 75; what is not known is not guessed."""
    comparison, api = in_force(6)
    api.fault = lambda _, __: NO_KEY
    with pytest.raises(CredentialsError, match="Nothing was sent"):
        look(comparison, api)
    api.fault = lambda _, __: throttled(3600)
    with pytest.raises(UnreachableError, match="Nothing was sent"):
        look(comparison, api)


# --- over HTTP ----------------------------------------------------------------------------------


def test_reconcile_sends_again_what_somebody_changed(desk: Desk, invoke: Invoke, server: Server) -> None:
    """Without `--verify` it cannot know; with it, just that number is sent, and the next time nothing."""
    desk.sheet(8)
    assert invoke("reconcile", "numbers.csv", *YES).code == 0
    change(server, 5)
    assert "Nothing to send" in invoke("reconcile", "numbers.csv", *YES).err
    done = invoke("reconcile", "numbers.csv", *YES, "--verify")
    assert done.code == 0
    assert "7 unchanged, 1 drifted: 1 of 1 requests succeeded" in done.out
    sent = [row for row in results(desk) if row["result_state"] == "succeeded"]
    assert [row["phone_number"] for row in sent] == [f"+{FIRST_NUMBER + 5}"]
    assert sent[0]["result_note"].startswith("drifted, and so sent again: codec_config.transcode")
    assert sent[0]["result_verified"] == "verified"
    again = invoke("reconcile", "numbers.csv", *YES, "--verify")
    assert (again.code, again.out) == (0, "")
    assert "8 verified" in again.err


def test_expect_no_changes_sees_drift(desk: Desk, invoke: Invoke, server: Server) -> None:
    """Exit 5, what drifted is shown, and nothing is sent."""
    desk.sheet(3)
    invoke("reconcile", "numbers.csv", *YES)
    change(server, 0)
    seen = server.seen("received")
    done = invoke("reconcile", "numbers.csv", "--expect-no-changes", "--verify")
    assert done.code == 5
    assert "reading back shows something else" in done.out
    assert server.seen("received") == seen


def test_a_fleet_that_drifted_is_too_much_to_send_by_itself(
    desk: Desk, invoke: Invoke, server: Server
) -> None:
    """More drift than may change is refused, with the option that allows it: perhaps the reading is wrong."""
    desk.sheet(24)
    invoke("reconcile", "numbers.csv", *YES)
    for nth in range(12):
        change(server, nth)
    done = invoke("reconcile", "numbers.csv", *YES, "--verify")
    assert done.code == 4
    assert "--max-changed 12" in done.err
    assert invoke("reconcile", "numbers.csv", *YES, "--verify", "--max-changed", "12").code == 0


def test_an_api_that_shows_nothing_is_sent_nothing(desk: Desk, invoke: Invoke, server: Server) -> None:
    """It is said that nothing could be read."""
    desk.sheet(3)
    invoke("reconcile", "numbers.csv", *YES)
    control(server, show_blocks="none")
    done = invoke("reconcile", "numbers.csv", *YES, "--verify")
    assert done.code == 0
    assert "3 not readable" in done.err
    assert "Nothing to send" in done.err
