"""`sipbatch plan --diff`: a plan beside what is in force, like a patch, by template and then by number."""

from __future__ import annotations

import json

from tests.fleet_desk import YES, Invoke, desk, invoke, number, rows_of, write
from tests.sending import Desk

__all__ = ["desk", "invoke"]

SANDBOX = ("--sandbox", *YES)


def test_the_patch_is_by_template_and_then_by_number(desk: Desk, invoke: Invoke) -> None:
    """Each change once, with its fields, from what to what; then each number, whatever the sheet's order."""
    write(desk, rows_of(5, template="voice+alerts"))
    invoke("reconcile", "numbers.csv", *SANDBOX)
    run = desk.workspace.records()[-1].id
    rows = [
        [number(3), "voice", "", "Opus", ""],
        [number(9), "alerts", "", "", "7"],
        [number(1), "alerts", "both", "", "9"],
        [number(2), "voice", "", "PCMU", ""],
        [number(0), "voice", "", "Opus", ""],
    ]
    write(desk, rows)
    shown = invoke("plan", "numbers.csv", "--sandbox", "--diff")
    assert shown.code == 0
    assert shown.out.splitlines() == [
        f"@@ #1 voice: 2 requests changed, such as {number(3)} outbound (numbers.csv:2), "
        f"in force since run {run} @@",
        "-codec_config.codecs: PCMU",
        "+codec_config.codecs: Opus",
        "",
        f"@@ #2 alerts: 1 request new, such as {number(9)} outbound (numbers.csv:3) @@",
        "+alert_config.enabled: true",
        "+alert_config.thresholds.unreachable_minutes: 7",
        "",
        f"@@ #3 alerts: 1 request new, such as {number(1)} inbound (numbers.csv:4) @@",
        "+alert_config.enabled: true",
        "+alert_config.thresholds.unreachable_minutes: 9",
        "",
        f"@@ #4 alerts: 1 request changed, such as {number(1)} outbound (numbers.csv:4), "
        f"in force since run {run} @@",
        "-alert_config.thresholds.unreachable_minutes: 5",
        "+alert_config.thresholds.unreachable_minutes: 9",
        "",
        "By number:",
        f"~ {number(0)} outbound (numbers.csv:6) #1",
        f"+ {number(1)} inbound (numbers.csv:4) #3",
        f"~ {number(1)} outbound (numbers.csv:4) #4",
        f"~ {number(3)} outbound (numbers.csv:2) #1",
        f"+ {number(9)} outbound (numbers.csv:3) #2",
        f"- {number(4)} outbound is in no sheet; in force since run {run}",
        "2 new, 3 changed, 1 unchanged; 1 known is in no sheet.",
    ]
    assert invoke("plan", "numbers.csv", "--sandbox", "--diff", "--exit-code").code == 5


def test_the_patch_is_there_for_scripts(desk: Desk, invoke: Invoke) -> None:
    """The same as JSON, by the sheet's order, each request with its place in `patches`."""
    write(desk, rows_of(2))
    invoke("reconcile", "numbers.csv", *SANDBOX)
    write(desk, [[number(1), "voice", "", "Opus;PCMU", ""], [number(0), "voice", "", "PCMU", ""]])
    told = json.loads(invoke("plan", "numbers.csv", "--sandbox", "--diff", "--json").out)
    assert told["differences"]["unchanged"] == 1
    assert [patch["changes"] for patch in told["diff"]["patches"]] == [
        [{"path": "codec_config.codecs", "from": ["PCMU"], "to": ["Opus", "PCMU"]}]
    ]
    assert [(one["phone_number"], one["row"], one["patch"]) for one in told["diff"]["requests"]] == [
        (number(1), 2, 0)
    ]


def test_without_a_diff_the_plan_tells_how_much_and_the_most_common_changes(
    desk: Desk, invoke: Invoke
) -> None:
    """In a line each; and the command that it leads to has the options as they were typed."""
    write(desk, rows_of(3))
    invoke("reconcile", "numbers.csv", *SANDBOX)
    write(desk, rows_of(2, codecs="Opus"))
    lines = invoke("plan", "numbers.csv", "--sandbox", "--canary", "1", "--soak", "60").out.splitlines()
    assert "Beside what is in force, by the journal: 2 changed; 1 known is in no sheet." in lines
    assert any("voice, 2 requests: codec_config.codecs: PCMU → Opus" in line for line in lines)
    assert " --canary 1 --soak 60 " in lines[-1]
