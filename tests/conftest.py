"""What all tests share: how property tests run, and a clean place for a journal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from batch.report import formats

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


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    """Where a journal may be made."""
    return tmp_path / "journal.db"
