"""`sipbatch fleet` and `history`: what is in force, as a sheet that can be run, and how it came about."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from tests.fleet_desk import (
    FAST,
    Invoke,
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
from tests.sending import Desk, Server

__all__ = ["desk", "invoke", "server"]

ROOT = Path(__file__).resolve().parents[2]
BRITISH = "+442079460100"


def lines_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def numbers(invoke: Invoke, *options: str) -> list[str]:
    """The numbers that `fleet` prints."""
    done = invoke("fleet", *options)
    assert (done.code, done.err) == (0, "")
    return [line["phone_number"] for line in lines_of(done.out)]


def run(desk: Desk, invoke: Invoke, rows: list[list[str]], *options: str) -> str:
    """Send a sheet; the run's id."""
    write(desk, rows)
    assert invoke("run", "numbers.csv", *FAST, *options).code in (0, 3)
    return desk.workspace.records()[-1].id


def test_the_fleet_says_what_is_in_force_since_when_and_by_which_row(
    desk: Desk, invoke: Invoke, server: Server
) -> None:
    """One line a number and direction; what the report says of the request that did it."""
    run(desk, invoke, rows_of(2))
    later = run(desk, invoke, [[number(1), "alerts", "both", "", "9"]])
    told = lines_of(invoke("fleet").out)
    assert [(one["phone_number"], one["direction"], one["template"]) for one in told] == [
        (number(0), "outbound", "voice"),
        (number(1), "inbound", "alerts"),
        (number(1), "outbound", "alerts"),
    ]
    [reported] = [row for row in results(desk) if row["direction"] == "outbound"]
    last = told[2]
    for column in ("result_last_sent_at", "result_sheet", "result_row", "result_run"):
        assert last[column] == reported[column]
    assert (last["result_run"], last["result_row"]) == (later, "2")


def test_the_fleet_is_narrowed_by_template_country_time_and_doubt(
    desk: Desk, invoke: Invoke, server: Server
) -> None:
    """Each filter alone, and together; times are those of the last change."""
    control(server, script={f"{number(1)} outbound": ["reset_before"]})
    rows = [*rows_of(2), [BRITISH, "alerts", "", "", ""]]
    run(desk, invoke, rows, "--max-attempts", "1")
    at = {line["phone_number"]: line["result_last_sent_at"] for line in lines_of(invoke("fleet").out)}
    assert numbers(invoke, "--template", "alerts") == [BRITISH]
    assert numbers(invoke, "--template", "voice", "--template", "alerts") == [number(0), number(1), BRITISH]
    assert numbers(invoke, "--country", "GB") == numbers(invoke, "--country", "+44") == [BRITISH]
    assert numbers(invoke, "--country", "us", "--in-doubt") == [number(1)]
    assert numbers(invoke, "--since", min(at.values())) == [number(0), number(1), BRITISH]
    assert numbers(invoke, "--until", min(at.values())) == []
    assert numbers(invoke, "--since", "2126-01-01") == []
    assert numbers(invoke, "--template", "alerts", "--country", "US") == []


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--since", "yesterday", "is no time"), ("--country", "Britain", "is no country")],
)
def test_what_is_not_understood_is_refused(invoke: Invoke, option: str, value: str, said: str) -> None:
    """Rather than to print no line."""
    done = invoke("fleet", option, value)
    assert done.code == 2
    assert f'{option} "{value}" {said}' in done.err


def test_with_its_blocks_the_fleet_is_a_sheet(desk: Desk, invoke: Invoke, server: Server) -> None:
    """Run, it puts in force at another account just what is in force here; here it differs in nothing."""
    run(desk, invoke, rows_of(2, template="voice+alerts"))
    run(desk, invoke, [[number(1), "voice", "both", "Opus;PCMU", ""]])
    printed = invoke("fleet", "--blocks").out
    (desk.folder / "fleet.csv").write_text(printed, encoding="utf-8")
    shutil.copy(ROOT / "templates" / "as-given.yaml", desk.folder / "templates")
    same = invoke("reconcile", "fleet.csv", *FAST[:-1])
    assert (same.code, same.err.splitlines()[-1]) == (0, "Nothing to send: 3 unchanged.")
    before = [held(server, nth, side) for nth in range(2) for side in ("inbound", "outbound")]
    control(server, reset="all")
    assert invoke("run", "fleet.csv", *FAST, "--workspace", "elsewhere").code == 0
    assert [held(server, nth, side) for nth in range(2) for side in ("inbound", "outbound")] == before


def test_accounts_are_fleets_of_their_own(desk: Desk, invoke: Invoke, server: Server) -> None:
    """And where nothing is known at one, it is said where something is."""
    run(desk, invoke, rows_of(1), "--account", "north")
    assert numbers(invoke, "--account", "north") == [number(0)]
    other = invoke("fleet", "--account", "south")
    assert other.code == 0
    assert lines_of(other.out) == []
    assert f"nothing is known of numbers at {server.url} (account south)" in other.err
    assert f"Runs went to: {server.url} (account north)." in other.err


def test_history_tells_the_whole_story_of_a_number(desk: Desk, invoke: Invoke, server: Server) -> None:
    """Who sent what, with which answers, what each changed or took back, who skipped it, what is in force."""
    first = run(desk, invoke, rows_of(2))
    control(server, script={f"{number(1)} outbound": ["503", "ok"]}, reset="counts")
    second = run(desk, invoke, rows_of(2, codecs="Opus"))
    write(desk, [*rows_of(2, codecs="Opus"), [number(2), "voice", "", "", ""]])
    assert invoke("reconcile", "numbers.csv", *FAST).code == 0
    third = desk.workspace.records()[-1].id
    assert invoke("rollback", second, *FAST).code == 0

    told = json.loads(invoke("history", number(1), "--json").out)
    assert [(one["run"], one["state"], one["takes_back"]) for one in told["requests"]] == [
        (first, "succeeded", None),
        (second, "succeeded", None),
        (third, "skipped", None),
        (desk.workspace.records()[-1].id, "succeeded", second),
    ]
    assert [attempt["http_status"] for attempt in told["requests"][1]["attempts"]] == [503, 200]
    assert told["requests"][1]["changes"] == [
        {"path": "codec_config.codecs", "from": ["PCMU"], "to": ["Opus"]}
    ]
    assert told["requests"][2]["unchanged_since"] == second
    assert [one["blocks"]["codec_config"]["codecs"] for one in told["in_force"]] == [["PCMU"]]

    text = invoke("history", number(1)[2:], "--region", "US").out
    assert f"takes back run {second}" in text
    assert f"nothing was sent by run {third}: unchanged, or a duplicate" in text
    assert "  codec_config.codecs: PCMU → Opus\n" in text
    assert text.endswith("  codec_config.codecs: PCMU\n  codec_config.transcode: true\n")


def test_history_knows_what_it_does_not_know(desk: Desk, invoke: Invoke, server: Server) -> None:
    """A number of no run, and a word that is no number, are usage errors that say so."""
    run(desk, invoke, rows_of(1))
    unknown = invoke("history", number(7))
    assert unknown.code == 2
    assert unknown.err.endswith("07 is in no run of sipbatch-runs.\n")
    assert invoke("history", "Alice").code == 2
