"""`sipbatch rollback`: what was in force before a run is in force again, and what cannot be is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fleet_desk import (
    FAST,
    YES,
    Invoke,
    change,
    control,
    desk,
    held,
    invoke,
    number,
    results,
    rows_of,
    server,
    write,
)
from tests.sending import KEY, Desk, Server

__all__ = ["desk", "invoke", "server"]

G722 = {"codec_config": {"codecs": ["G.722"], "transcode": False}}


def run(desk: Desk, invoke: Invoke, rows: list[list[str]], *options: str) -> str:
    """Send a sheet; the run's id."""
    write(desk, rows)
    assert invoke("run", "numbers.csv", *FAST, *options).code in (0, 3)
    return desk.workspace.records()[-1].id


def fleet(server: Server, count: int) -> list[dict[str, Any]]:
    """What the sandbox holds for the first numbers."""
    return [held(server, nth) for nth in range(count)]


def row(nth: int, template: str = "voice", codecs: str = "Opus", minutes: str = "9") -> list[str]:
    return [number(nth), template, "", codecs, minutes]


def test_what_was_in_force_is_in_force_again(desk: Desk, invoke: Invoke, server: Server) -> None:
    """The sandbox holds what it held before the run; after a rollback of that, what the run had sent."""
    run(desk, invoke, rows_of(5, template="voice+alerts"))
    before = fleet(server, 5)
    taken_back = run(desk, invoke, [row(0), row(1, "alerts"), row(2, "voice+alerts"), row(3)])
    after = fleet(server, 5)
    assert after[:4] != before[:4]
    received = server.seen("received")

    shown = invoke("rollback", taken_back, "--plan")
    assert shown.code == 0
    assert "-codec_config.codecs: Opus\n+codec_config.codecs: PCMU\n" in shown.out
    *_, counted, digest = shown.out.splitlines()
    assert counted == f"Run {taken_back}: 4 to be taken back."
    assert server.seen("received") == received

    done = invoke("rollback", taken_back, *FAST, "--plan-digest", digest.removeprefix("Plan digest: "))
    assert (done.code, done.out, done.err) == (0, "", "")
    assert fleet(server, 5) == before
    assert server.seen("received")[number(4)] == received[number(4)]
    undone = desk.workspace.records()[-1].id
    assert invoke("rollback", undone, *FAST).code == 0
    assert fleet(server, 5) == after
    again = invoke("rollback", undone, *YES)
    assert again.code == 0
    assert again.err.startswith(f"Run {undone}: 4 taken back already.")


def test_what_cannot_be_taken_back_is_said_and_left_as_it_is(
    desk: Desk, invoke: Invoke, server: Server
) -> None:
    """Changed since, never known: by row, with the reason, before anything is sent; the rest goes back."""
    run(desk, invoke, rows_of(4))
    taken_back = run(desk, invoke, [row(0), row(1), row(2, "alerts"), row(9), row(3, codecs="PCMU")])
    later = run(desk, invoke, [row(1, codecs="G.729")])
    before = fleet(server, 10)

    shown = invoke("rollback", taken_back, "--plan")
    assert shown.code == 3
    since = f"before run {taken_back}; left as it is"
    assert shown.out.splitlines()[-5:-1] == [
        f"numbers.csv:3: {number(1)} outbound: changed since by run {later}; left as it is",
        f"numbers.csv:4: {number(2)} outbound: nobody knows what was in alert_config {since}",
        f"numbers.csv:5: {number(9)} outbound: nobody knows what was in codec_config {since}",
        f"Run {taken_back}: 1 to be taken back, 1 sent what was in force already, 1 changed since, "
        "2 of which nobody knows what was before.",
    ]
    told = json.loads(invoke("rollback", taken_back, "--plan", "--json").out)
    assert [(one["phone_number"], one["reason"], one["changed_by"]) for one in told["impossible"]] == [
        (number(1), "changed_since", later),
        (number(2), "never_known", None),
        (number(9), "never_known", None),
    ]

    assert invoke("rollback", taken_back, *FAST).code == 3
    assert held(server, 0)["codec_config"]["codecs"] == ["PCMU"]
    assert fleet(server, 10)[1:] == before[1:]
    states = {line["phone_number"]: line["result_state"] for line in results(desk)}
    assert states == {number(0): "succeeded", **dict.fromkeys((number(1), number(2), number(9)), "rejected")}


def test_what_the_api_refuses_to_take_back_is_retried(desk: Desk, invoke: Invoke, server: Server) -> None:
    """Never run again by its row: that says what the run had sent which is taken back."""
    run(desk, invoke, rows_of(3))
    before = fleet(server, 3)
    taken_back = run(desk, invoke, rows_of(3, codecs="Opus"))
    control(server, script={f"{number(1)} outbound": ["400", "400"]}, reset="counts")
    words: tuple[str, ...] = ("rollback", taken_back)
    for _ in range(2):
        done = invoke(*words, *FAST)
        part = desk.workspace.records()[-1].id
        assert done.code == 3
        assert f"sipbatch retry {part}" in done.err
        assert "results.csv --where" not in done.err
        [action] = {line["result_next_action"] for line in results(desk) if line["result_state"] == "failed"}
        assert action == "see why the API refuses what it had before, then retry"
        words = ("retry", part)
    assert invoke(*words, *FAST).code == 0
    assert fleet(server, 3) == before


def test_a_later_run_that_changed_another_block_is_left_alone(
    desk: Desk, invoke: Invoke, server: Server
) -> None:
    """Only the blocks that the run sent go back."""
    run(desk, invoke, rows_of(1, template="voice+alerts"))
    taken_back = run(desk, invoke, [row(0)])
    run(desk, invoke, [row(0, "alerts")])
    assert invoke("rollback", taken_back, *FAST).code == 0
    now = held(server, 0)
    assert now["codec_config"]["codecs"] == ["PCMU"]
    assert now["alert_config"]["thresholds"]["unreachable_minutes"] == 9


def test_only_the_plan_that_was_reviewed_is_sent(desk: Desk, invoke: Invoke, server: Server) -> None:
    """Where another run has changed numbers since, nothing is sent."""
    run(desk, invoke, rows_of(3))
    taken_back = run(desk, invoke, rows_of(3, codecs="Opus"))
    digest = invoke("rollback", taken_back, "--plan").out.split()[-1]
    run(desk, invoke, [row(1, codecs="G.729")])
    received = server.seen("received")
    done = invoke("rollback", taken_back, *FAST, "--plan-digest", digest)
    assert done.code == 65
    assert f"review it again with `sipbatch rollback {taken_back} --plan`" in done.err
    assert server.seen("received") == received


@pytest.mark.parametrize("fault", ["reset_before", "reset_after"])
def test_what_may_have_been_changed_is_taken_back(
    desk: Desk, invoke: Invoke, server: Server, fault: str
) -> None:
    """Whether an unknown request was applied or not; and doubt about what was before is said."""
    run(desk, invoke, rows_of(1))
    control(server, script={f"{number(0)} outbound": [fault]}, reset="counts")
    taken_back = run(desk, invoke, [row(0)], "--max-attempts", "1")
    assert invoke("rollback", taken_back, *FAST).code == 0
    assert held(server, 0)["codec_config"]["codecs"] == ["PCMU"]

    unsure = run(desk, invoke, [row(0, codecs="G.729")], "--max-attempts", "1")
    control(server, script={f"{number(0)} outbound": [fault]}, reset="counts")
    run(desk, invoke, [row(0, codecs="Opus")], "--max-attempts", "1")
    last = run(desk, invoke, [row(0, codecs="PCMA")])
    shown = invoke("rollback", last, "--plan")
    assert "1 to be taken back. 1 of these may not have been in force before." in shown.out
    assert "changed since" in invoke("rollback", unsure, "--plan").out


# --- with a snapshot ----------------------------------------------------------------------------


def test_a_snapshot_knows_what_no_run_had_sent(desk: Desk, invoke: Invoke, server: Server) -> None:
    """What somebody else had configured is put back; where nothing was set up, that is said."""
    change(server, 0, G722)
    change(server, 1, {**G722, "alert_config": {"enabled": False, "thresholds": {"unreachable_minutes": 1}}})
    before = fleet(server, 2)
    taken_back = run(desk, invoke, [row(0), row(1, "voice+alerts"), row(2)], "--snapshot")
    assert fleet(server, 2) != before
    done = invoke("rollback", taken_back, *FAST)
    assert done.code == 3
    assert "nothing was set up there before" in done.err
    assert fleet(server, 2) == before
    notes = {line["phone_number"]: line["result_note"] for line in results(desk)}
    assert notes[number(0)] == f"what was there before run {taken_back}, by its snapshot"
    assert notes[number(2)] == ""


def test_a_snapshot_knows_better_than_the_journal(desk: Desk, invoke: Invoke, server: Server) -> None:
    """What somebody changed after the last run is what was there before this one."""
    run(desk, invoke, rows_of(2))
    change(server, 1, G722)
    before = fleet(server, 2)
    taken_back = run(desk, invoke, [row(0), row(1)], "--snapshot")
    assert invoke("rollback", taken_back, *FAST).code == 0
    assert fleet(server, 2) == before


def test_a_run_that_came_after_the_snapshot_knows_better(desk: Desk, invoke: Invoke, server: Server) -> None:
    """A run that is interrupted, and resumed after another: what that one sent was there before."""
    write(desk, [row(5), row(0)])
    control(server, expire_key_after=1)
    assert invoke("run", "numbers.csv", *FAST, "--snapshot", "--concurrency", "1").code == 77
    taken_back = desk.workspace.records()[-1].id
    control(server, key=KEY)
    run(desk, invoke, [row(0, codecs="PCMA")])
    assert invoke("resume", taken_back, "--quiet").code == 0
    assert held(server, 0)["codec_config"]["codecs"] == ["Opus"]
    assert invoke("rollback", taken_back, *FAST).code == 3  # the other number had nothing before
    assert held(server, 0)["codec_config"]["codecs"] == ["PCMA"]


def test_what_the_api_does_not_show_is_not_known(desk: Desk, invoke: Invoke, server: Server) -> None:
    """A snapshot that shows no block is none; a run cannot be taken back by it."""
    change(server, 0, G722)
    control(server, show_blocks="none")
    taken_back = run(desk, invoke, [row(0)], "--snapshot")
    shown = invoke("rollback", taken_back, "--plan")
    assert shown.code == 3
    assert "nobody knows what was in codec_config" in shown.out
