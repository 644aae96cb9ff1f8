"""`sipbatch reconcile` as cron gives it: what is sent, what is refused, and who is told what."""

from __future__ import annotations

import json
from collections.abc import Callable

import openpyxl
import pytest

from tests.fleet_desk import (
    FAST,
    HEADER,
    YES,
    Invoke,
    Rows,
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
from tests.sending import Desk, Done, Server

__all__ = ["desk", "invoke", "server"]

Edit = Callable[[Desk, Rows], object]

SANDBOX = ("--sandbox", *YES)


def sent(server: Server) -> int:
    """How many changes the sandbox received."""
    return server.seen("received").total()


# --- what is sent -------------------------------------------------------------------------------


def test_only_what_differs_is_sent(desk: Desk, invoke: Invoke, server: Server) -> None:
    """New and changed rows; the others are skipped, and the report says since which run they are in force."""
    rows = rows_of(30)
    write(desk, rows)
    first = invoke("reconcile", "numbers.csv", *FAST)
    assert first.out.startswith("30 new: 30 of 30 requests succeeded in run ")
    assert (first.code, first.err) == (0, "")

    rows[3][3] = "Opus"
    write(desk, [*rows, [number(30), "alerts", "both", "", ""]])
    before = sent(server)
    second = invoke("reconcile", "numbers.csv", *FAST)
    assert second.out.startswith("2 new, 1 changed, 29 unchanged: 3 of 3 requests succeeded in run ")
    assert sent(server) == before + 3
    assert held(server, 3)["codec_config"]["codecs"] == ["Opus"]
    assert set(held(server, 30)) == {"alert_config"}
    of_first = desk.workspace.records()[0].id
    skipped = [row for row in results(desk) if row["result_state"] == "skipped"]
    assert len(skipped) == 29
    assert {row["result_note"] for row in skipped} == {f"unchanged: in force since run {of_first}"}


def sorted_backwards(desk: Desk, rows: Rows) -> None:
    write(desk, rows[::-1])


def with_other_columns(desk: Desk, rows: Rows) -> None:
    """As another program exports it: names, order, delimiter, notation, and a column more."""
    header = ("Remarks", "Codecs", "Profile", "DID")
    lines = [["x", row[3], row[1], f"({row[0][2:5]}) {row[0][5:8]}-{row[0][8:]}"] for row in rows]
    write(desk, lines, header=header, delimiter=";")


def as_workbook(desk: Desk, rows: Rows) -> None:
    workbook = openpyxl.Workbook()
    workbook.active.append(HEADER)
    for row in rows:
        workbook.active.append(row)
    workbook.save(desk.folder / "numbers.xlsx")


def as_block(desk: Desk, rows: Rows) -> None:
    """One row in the place of all."""
    write(desk, [[f"{rows[0][0]}..{rows[-1][0][-4:]}", *rows[0][1:]]])


def with_repeats(desk: Desk, rows: Rows) -> None:
    write(desk, [*rows, rows[0], rows[7]])


@pytest.mark.parametrize("edit", [sorted_backwards, with_other_columns, as_workbook, as_block, with_repeats])
def test_a_sheet_that_says_the_same_sends_nothing(
    desk: Desk, invoke: Invoke, server: Server, edit: Edit
) -> None:
    """However it is written: one line, exit 0, nothing on standard output, and no run."""
    rows = rows_of(24)
    write(desk, rows)
    invoke("reconcile", "numbers.csv", *FAST)
    before = sent(server)
    edit(desk, rows)
    [sheet] = {path.name for path in desk.folder.glob("numbers.*")} - (
        {"numbers.csv"} if edit is as_workbook else set()
    )
    done = invoke("reconcile", sheet, "--region", "US", *YES)
    assert (done.code, done.out, done.err) == (0, "", "Nothing to send: 24 unchanged.\n")
    quiet = invoke("reconcile", sheet, "--region", "US", *FAST)
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    assert sent(server) == before
    assert len(desk.workspace.records()) == 1


def test_a_block_of_the_config_is_compared_by_itself(desk: Desk, invoke: Invoke, server: Server) -> None:
    """A template that sends one block differs in nothing where that block is in force, whoever sent it."""
    write(desk, rows_of(3, template="voice+alerts"))
    invoke("reconcile", "numbers.csv", *FAST)
    write(desk, rows_of(3, template="alerts"))
    assert invoke("reconcile", "numbers.csv", *YES).err == "Nothing to send: 3 unchanged.\n"
    write(desk, rows_of(3, codecs="Opus"))
    assert invoke("reconcile", "numbers.csv", *FAST).code == 0
    assert held(server, 1)["codec_config"]["codecs"] == ["Opus"]
    assert held(server, 1)["alert_config"]["enabled"] is True
    write(desk, rows_of(3, template="voice+alerts", codecs="Opus"))
    assert invoke("reconcile", "numbers.csv", *YES).err == "Nothing to send: 3 unchanged.\n"


def test_what_failed_or_may_not_have_been_applied_is_sent_again(
    desk: Desk, invoke: Invoke, server: Server
) -> None:
    """After a reconcile that went wrong nothing need be resumed: the next sends what is not in force."""
    write(desk, rows_of(4))
    script = {f"{number(1)} outbound": ["400"], f"{number(2)} outbound": ["reset_after"]}
    control(server, script=script)
    bad = invoke("reconcile", "numbers.csv", *FAST, "--max-attempts", "1")
    assert bad.code == 3
    assert bad.out.startswith("4 new: 2 of 4 requests succeeded")
    assert "failed" in bad.err
    again = invoke("reconcile", "numbers.csv", *FAST)
    assert again.code == 0
    assert again.out.startswith("1 new, 1 in doubt, 2 unchanged: 2 of 2 requests succeeded")
    assert [held(server, nth)["codec_config"]["codecs"] for nth in range(4)] == [["PCMU"]] * 4


def test_doubt_is_about_the_blocks_that_were_sent(desk: Desk, invoke: Invoke, server: Server) -> None:
    """A block of which the last send was lost is sent again; to a sheet without it, that is nothing."""
    write(desk, rows_of(2, template="voice+alerts"))
    invoke("reconcile", "numbers.csv", *FAST)
    control(server, script={f"{number(1)} outbound": ["reset_before"]}, reset="counts")
    write(desk, rows_of(2, codecs="Opus"))
    assert invoke("reconcile", "numbers.csv", *FAST, "--max-attempts", "1").code == 3
    write(desk, rows_of(2, template="alerts"))
    assert invoke("reconcile", "numbers.csv", *YES).err == "Nothing to send: 2 unchanged.\n"
    write(desk, rows_of(2, codecs="Opus"))
    again = invoke("reconcile", "numbers.csv", *FAST)
    assert again.out.startswith("1 in doubt, 1 unchanged: 1 of 1 requests succeeded")
    assert held(server, 1)["codec_config"]["codecs"] == ["Opus"]


def test_accounts_and_addresses_are_fleets_of_their_own(desk: Desk, invoke: Invoke, server: Server) -> None:
    """In one workspace: what is in force at one says nothing of the other."""
    write(desk, rows_of(3))
    invoke("reconcile", "numbers.csv", *FAST, "--account", "north")
    there = invoke("reconcile", "numbers.csv", "--account", "south", "--expect-no-changes")
    assert there.code == 5
    assert there.out.endswith("3 new.\n")
    assert invoke("reconcile", "numbers.csv", "--expect-no-changes", "--sandbox").code == 5
    here = invoke("reconcile", "numbers.csv", "--account", "north", "--expect-no-changes")
    assert (here.code, here.err) == (0, "Nothing to send: 3 unchanged.\n")


# --- how much may change ------------------------------------------------------------------------


def reconciled(desk: Desk, invoke: Invoke, count: int) -> Rows:
    """So many numbers that are in force."""
    rows = rows_of(count)
    write(desk, rows)
    assert invoke("reconcile", "numbers.csv", *SANDBOX).code == 0
    return rows


def test_more_changes_than_may_be_are_refused(desk: Desk, invoke: Invoke) -> None:
    """30 % of those known may change; one more is refused, with the option that allows just that."""
    rows = reconciled(desk, invoke, 40)
    for row in rows[:12]:
        row[3] = "Opus"
    rows[12][3] = "G.722"
    write(desk, rows)
    done = invoke("reconcile", "numbers.csv", *SANDBOX)
    assert (done.code, done.out) == (4, "")
    assert "13 of the 40 known numbers in the sheets would change (32.5%)" in done.err
    assert "--max-changed allows 30%: if that is meant, say --max-changed 13" in done.err
    assert "Nothing was sent; `sipbatch plan numbers.csv --diff` shows it" in done.err
    assert len(desk.workspace.records()) == 1
    assert invoke("reconcile", "numbers.csv", *SANDBOX, "--max-changed", "13").code == 0


def test_as_many_changes_as_may_be_are_sent(desk: Desk, invoke: Invoke) -> None:
    """Just 30 % is not more than 30 %; what is new counts as no change."""
    rows = reconciled(desk, invoke, 40)
    for row in rows[:12]:
        row[3] = "Opus"
    new = [[f"+4420794600{nth:02}", "voice", "", "", ""] for nth in range(60)]
    write(desk, [*rows, *new])
    done = invoke("reconcile", "numbers.csv", *SANDBOX)
    assert done.code == 0
    assert done.out.startswith("60 new, 12 changed, 28 unchanged: 72 of 72")


def test_a_small_fleet_is_not_judged_by_shares(desk: Desk, invoke: Invoke) -> None:
    """Of fewer than 20 numbers a share says nothing; a plain number does."""
    reconciled(desk, invoke, 19)
    write(desk, rows_of(19, codecs="Opus"))
    refused = invoke("reconcile", "numbers.csv", *SANDBOX, "--max-changed", "5")
    assert refused.code == 4
    assert "--max-changed allows 5: if that is meant, say --max-changed 19" in refused.err
    assert invoke("reconcile", "numbers.csv", *SANDBOX).code == 0


@pytest.mark.parametrize("new", [0, 1])
def test_a_sheet_that_was_cut_off_is_refused(desk: Desk, invoke: Invoke, new: int) -> None:
    """More than 10 % missing is told each time, also where what is left of the sheet differs in nothing."""
    rows = reconciled(desk, invoke, 40)
    write(desk, [*rows[5:], *rows_of(40 + new)[40:]])
    done = invoke("reconcile", "numbers.csv", *FAST, "--sandbox")
    assert (done.code, done.out) == (4, "")
    assert "5 of the 40 known numbers are in no sheet (12.5%), and --max-missing allows 10%" in done.err
    assert "say --max-missing 5." in done.err
    allowed = invoke("reconcile", "numbers.csv", *SANDBOX, "--max-missing", "5")
    assert allowed.code == 0
    assert "35 unchanged; 5 known are in no sheet" in allowed.err
    write(desk, rows_of(40 + new)[4:])
    assert invoke("reconcile", "numbers.csv", *SANDBOX).code == 0


def test_a_direction_that_left_the_sheet_is_told_from_a_number_that_did(desk: Desk, invoke: Invoke) -> None:
    """Both are missing; a number counts once, and is not said to be gone that is there."""
    both = [[number(nth), "voice", "both", "", ""] for nth in range(20)]
    write(desk, both)
    assert invoke("reconcile", "numbers.csv", *SANDBOX).code == 0
    write(desk, [*([*row[:2], "outbound", *row[3:]] for row in both[1:3]), *both[3:]])
    done = invoke("reconcile", "numbers.csv", *SANDBOX)
    assert done.code == 4
    assert "3 of the 20 known numbers are in no sheet (15.0%)" in done.err
    assert "say --max-missing 3 (2 of them are there, without one of their directions). " in done.err


def test_thresholds_may_be_settings(desk: Desk, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """For numbers that were given up for good: in the settings file, or in the environment."""
    rows = reconciled(desk, invoke, 20)
    write(desk, rows[5:])
    assert invoke("reconcile", "numbers.csv", *SANDBOX).code == 4
    (desk.folder / "sipbatch.toml").write_text("max_missing = 5\n", encoding="utf-8")
    assert invoke("reconcile", "numbers.csv", *SANDBOX).code == 0
    monkeypatch.setenv("SIPBATCH_MAX_MISSING", "4")
    assert "--max-missing allows 4" in invoke("reconcile", "numbers.csv", *SANDBOX).err


def test_a_sheet_without_a_row_is_refused(desk: Desk, invoke: Invoke) -> None:
    """An export that came out empty is not taken for one in which nothing differs."""
    reconciled(desk, invoke, 20)
    write(desk, [])
    done = invoke("reconcile", "numbers.csv", *FAST, "--sandbox")
    assert done.code == 4
    assert "20 of the 20 known numbers are in no sheet (100.0%)" in done.err


def test_rejected_rows_are_not_missing(desk: Desk, invoke: Invoke) -> None:
    """With --skip-rejects: their numbers are in the sheet, whatever is wrong; they are counted apart."""
    rows = reconciled(desk, invoke, 40)
    for row in rows[:6]:
        row[1] = "voise"
    rows[6][0] = f"{number(6)}..{number(9)[-4:]}"  # in conflict with the three rows behind it
    for row in rows[7:10]:
        row[3] = "Opus"
    write(desk, [*rows, [number(40), "voice", "", "", ""]])
    done = invoke("reconcile", "numbers.csv", *FAST, "--sandbox", "--skip-rejects")
    assert done.code == 3
    assert done.out.startswith(
        "1 new, 30 unchanged; 10 known are in rejected rows: 1 of 1 requests succeeded"
    )
    told = json.loads(
        invoke("reconcile", "numbers.csv", "--sandbox", "--skip-rejects", "--expect-no-changes", "--json").out
    )
    assert told["differences"]["missing"] == 0
    assert told["differences"]["rejected"] == 10


def test_numbers_that_cannot_be_read_are_said_where_numbers_are_missing(desk: Desk, invoke: Invoke) -> None:
    """A column that a spreadsheet damaged: the numbers are missing, and it is said that they may be there."""
    rows = reconciled(desk, invoke, 40)
    for row in rows[:6]:
        row[0] = "1.41556E+10"
    write(desk, rows)
    done = invoke("reconcile", "numbers.csv", *FAST, "--sandbox", "--skip-rejects")
    assert done.code == 4
    assert "6 of the 40 known numbers are in no sheet (15.0%)" in done.err
    assert "(the number of 6 rejected rows cannot be read, and may be one of them)" in done.err


@pytest.mark.parametrize("narrowed", [("--where", "codecs=Opus"), ("--limit", "2")])
def test_of_a_narrowed_sheet_nothing_is_missing(
    desk: Desk, invoke: Invoke, narrowed: tuple[str, str]
) -> None:
    """Rows that were left out on purpose are neither sent nor called missing, here and in `plan --diff`."""
    rows = reconciled(desk, invoke, 30)
    for row in rows[:2]:
        row[3] = "Opus"
    write(desk, rows)
    shown = invoke("plan", "numbers.csv", "--sandbox", "--diff", *narrowed)
    assert shown.out.endswith("2 changed.\n")
    assert "in no sheet" not in shown.out
    done = invoke("reconcile", "numbers.csv", *SANDBOX, *narrowed)
    assert done.code == 0
    assert done.out.startswith("2 changed: 2 of 2 requests succeeded")


# --- who is told what ---------------------------------------------------------------------------


def test_only_looking_changes_nothing(desk: Desk, invoke: Invoke) -> None:
    """--expect-no-changes: 5 and what differs, like a patch; no workspace is made, and none is held."""
    rows = rows_of(2)
    write(desk, rows)
    done = invoke("reconcile", "numbers.csv", "--sandbox", "--expect-no-changes")
    assert done.code == 5
    assert not desk.workspace.path.exists()
    invoke("reconcile", "numbers.csv", *SANDBOX)
    rows[1][3] = "PCMA;Opus"
    write(desk, rows[1:])
    done = invoke("reconcile", "numbers.csv", "--sandbox", "--expect-no-changes")
    assert done.code == 5
    run = desk.workspace.records()[-1].id
    assert done.out.splitlines() == [
        f"@@ #1 voice: 1 request changed, such as {number(1)} outbound (numbers.csv:2), "
        f"in force since run {run} @@",
        "-codec_config.codecs: PCMU",
        "+codec_config.codecs: PCMA, Opus",
        "",
        "By number:",
        f"~ {number(1)} outbound (numbers.csv:2) #1",
        f"- {number(0)} outbound is in no sheet; in force since run {run}",
        "1 changed; 1 known is in no sheet.",
    ]
    assert len(desk.workspace.records()) == 1


def test_drift_is_shown_with_what_is_there(desk: Desk, invoke: Invoke, server: Server) -> None:
    """--verify --expect-no-changes: which field, what was sent, what is there, for people and scripts."""
    write(desk, rows_of(3))
    invoke("reconcile", "numbers.csv", *FAST)
    change(server, 1, {"codec_config": {"codecs": ["Opus"], "transcode": True}})
    words = ("reconcile", "numbers.csv", "--expect-no-changes", "--verify", "--quiet")
    drift = 'codec_config.codecs: sent ["PCMU"], there is ["Opus"]'
    done = invoke(*words)
    assert done.code == 5
    assert f"! {number(1)} outbound (numbers.csv:3) #1: {drift}" in done.out.splitlines()
    told = json.loads(invoke(*words, "--json").out)
    assert [(one["phone_number"], one["drift"]) for one in told["requests"]] == [(number(1), drift)]


def test_a_run_that_is_going_is_left_alone(desk: Desk, invoke: Invoke) -> None:
    """75, and with --quiet not a word: the next hour will do. It is told before the sheet is read."""
    (desk.folder / "numbers.csv").write_text("no sheet", encoding="utf-8")
    desk.workspace.path.mkdir()
    with desk.workspace.lock("run"):
        quiet = invoke("reconcile", "numbers.csv", *FAST, "--sandbox")
        told = invoke("reconcile", "numbers.csv", *SANDBOX)
    assert quiet == Done(75, "", "")
    assert (told.code, told.out) == (75, "")
    assert "another run holds this workspace" in told.err


def test_without_a_terminal_yes_is_needed(desk: Desk, invoke: Invoke) -> None:
    """A usage error, before anything is read."""
    write(desk, rows_of(1))
    assert invoke("reconcile", "numbers.csv", "--sandbox").code == 2
    assert not desk.workspace.path.exists()


def test_rejects_stop_it_before_anything_is_sent(desk: Desk, invoke: Invoke) -> None:
    """65, each by row and column, also with --quiet."""
    write(desk, [*rows_of(2), ["+1415", "voice", "", "", ""]])
    done = invoke("reconcile", "numbers.csv", *FAST, "--sandbox")
    assert (done.code, done.out) == (65, "")
    assert done.err.startswith("numbers.csv:4 phone_number: ")
    assert not desk.workspace.path.exists()
