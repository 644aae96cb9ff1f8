"""A stage for every test of faults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.stage import Stage, staged


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A folder with a template; whatever is started in it ends with the test, however that ends."""
    with staged(tmp_path) as one:
        yield one
