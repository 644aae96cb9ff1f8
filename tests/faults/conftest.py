"""A stage for every test of faults, and commands on it that need no process of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch import cli
from tests.faults.stage import Done, Invoke, Stage, staged


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A folder with a template; whatever is started in it ends with the test, however that ends."""
    with staged(tmp_path) as one:
        yield one


@pytest.fixture
def invoke(stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs a command in this process, on the stage: where there are many, and none is killed or limited."""
    monkeypatch.chdir(stage.folder)
    for name in [*os.environ]:
        if name.startswith(("BLAND_", "SIPBATCH_")):
            monkeypatch.delenv(name)

    def here(*arguments: str, **environ: str) -> Done:
        with monkeypatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            code = cli.main(arguments)
        return Done(code, *capsys.readouterr())

    return here
