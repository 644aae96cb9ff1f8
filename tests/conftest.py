"""What all tests share: how property tests run, and a clean place for a journal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("tests.journal_promises")

# A slow machine is no counter-example, and the line that repeats a failure is worth its space.
settings.register_profile("sipbatch", deadline=None, print_blob=True)
settings.load_profile("sipbatch")


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    """Where a journal may be made."""
    return tmp_path / "journal.db"
