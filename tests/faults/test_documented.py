"""`docs/faults.md` names for every fault the tests that show it, and they are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| fault |")]


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip()[:40] for row in ROWS])
def test_every_fault_is_shown_by_a_test(row: str) -> None:
    """Each row names at least one test, and every test that it names exists."""
    named = NAMED.findall(row)
    assert named
    for file, test in named:
        assert re.search(
            rf"^(async )?def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE
        ), test


def test_every_test_of_faults_is_told_of() -> None:
    """What is shown here of a run under a fault is told to operators too."""
    told = {test for _, test in NAMED.findall(PAGE)}
    here = Path(__file__).parent
    files = ["test_kills.py", "test_signals.py", "test_locks.py", "test_disk.py", "test_limits.py"]
    shown = {
        test
        for file in files
        for test in re.findall(r"^def (test_\w+)", (here / file).read_text(), re.MULTILINE)
    }
    assert shown - told == {"test_two_workspaces_do_not_know_of_each_other"}
