"""The law of conservation, from the files of a report alone: whatever else a test is about, this holds."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

from batch.guard import unguard
from batch.states import RequestState

STATES = tuple(state.value for state in RequestState)


def assert_report_adds_up(folder: Path) -> None:
    """Every request and reject has one line, in the state that summary and manifest count it in.

    Nothing but the text of the lines is held in memory, and that a line at a time.
    """
    summary = json.loads((folder / "summary.json").read_bytes())
    manifest = json.loads((folder / "manifest.json").read_bytes())
    counts = summary["counts"]
    assert counts["requests"] == sum(counts[state] for state in STATES)
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        state = next(lines).index("result_state")
        told = Counter(unguard(line[state]) for line in lines)
    expected = Counter({state: counts[state] for state in (*STATES, "rejected")})
    assert told == +expected
    assert manifest["counts"] == counts
    assert manifest["lines"] == told.total()
    assert summary["run"]["id"] == manifest["run"]


def assert_reports_add_up(workspace: Path) -> None:
    """The same of every report in a workspace that is whole: a folder without a manifest has none."""
    for manifest in workspace.glob("*/manifest.json"):
        assert_report_adds_up(manifest.parent)
