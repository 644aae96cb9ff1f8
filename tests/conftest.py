"""What all tests share: how property tests run, and a clean place for a journal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from batch import reporting
from batch.report import formats
from tests.conservation import assert_report_adds_up

pytest.register_assert_rewrite("tests.journal_promises")

# A slow machine is no counter-example, and the line that repeats a failure is worth its space.
settings.register_profile("sipbatch", deadline=None, print_blob=True)
settings.load_profile("sipbatch")


@pytest.fixture(scope="session", autouse=True)
def _quick_reports() -> Iterator[None]:
    """Runs write no more than text unasked: drawing charts takes a second for each of thousands of runs.

    The tests of what a run writes unasked take this back.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(formats, "USUAL", ("csv", "jsonl"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _conservation() -> Iterator[None]:
    """Whatever a test is about, each report that it writes keeps the law of conservation."""
    write = reporting.write_report

    def written(*args: Any, **kwargs: Any) -> reporting.ReportFiles:
        report = write(*args, **kwargs)
        assert_report_adds_up(report.folder)
        return report

    with pytest.MonkeyPatch.context() as patched:
        ours = [module for name, module in sys.modules.items() if name.split(".")[0] in ("batch", "tests")]
        for module in ours:
            if getattr(module, "write_report", None) is write:
                patched.setattr(module, "write_report", written)
        yield


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    """Where a journal may be made."""
    return tmp_path / "journal.db"
