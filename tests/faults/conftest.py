"""A stage for every test of faults, and commands on it that need no process of their own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.stage import Done, Invoke, Stage, staged


@pytest.fixture(scope="session", autouse=True)
def _hang_up_is_heard() -> None:
    """Tests that were started under `nohup` start programs that are not."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A folder with a template; whatever is started in it ends with the test, however that ends."""
    with staged(tmp_path) as one:
        yield one


@pytest.fixture
def invoke(stage: Stage) -> Invoke:
    """Runs a command on the stage within this process."""

    def here(*arguments: str, **environ: str) -> Done:
        return stage.here(*arguments, environ=environ)

    return here
