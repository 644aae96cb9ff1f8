"""Few file descriptors and little memory: a run is slower for it, and as right."""

from __future__ import annotations

import resource
import sys

import pytest

from batch.engine.run_options import fitting
from tests.faults.accounts import assert_all_agree
from tests.faults.hardship import MEASURED, limited
from tests.faults.stage import Stage

RUN = ("run", "numbers.csv", "--yes", "--rate", "1000/s")


@pytest.mark.parametrize("concurrency", [(), ("--concurrency", "200")])
def test_few_file_descriptors(stage: Stage, concurrency: tuple[str, ...]) -> None:
    """With 64 open files allowed, a run that would have more connections than that still ends well."""
    wanted = stage.sheet(150)
    server = stage.sandbox(latency="80ms")
    few = limited(resource.RLIMIT_NOFILE, 64)
    done = stage.run(*RUN, *concurrency, environ=server.environ, preexec_fn=few)
    assert done.code == 0, done.err
    account = server.record.read()
    assert_all_agree(stage, stage.newest.id, account, wanted)
    assert len(account.arrivals) == len(wanted)


@pytest.mark.parametrize(
    ("allowed", "asked", "used"),
    [(64, None, 8), (64, 200, 16), (64, 4, 4), (40, None, 1), (1024, None, None), (1024, 200, 200)],
)
def test_no_more_connections_than_files(
    monkeypatch: pytest.MonkeyPatch, allowed: int, asked: int | None, used: int | None
) -> None:
    """However many are asked for, files for journal and report are left over."""
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (allowed, 4096))
    assert fitting(asked) == used


def test_little_memory(stage: Stage) -> None:
    """What waits to be sent is bounded: fifteen times the requests take hardly more memory."""
    peaks = []
    for rows in (200, 3_000):
        stage.sheet(rows, hosts=3, name=f"{rows}.csv")
        words = (sys.executable, "-c", MEASURED, "run", f"{rows}.csv", "--yes", "--quiet", "--sandbox")
        done = stage.launch((*words, "--rate", "100000/s", "--workspace", f"runs-{rows}")).done()
        assert done.code == 0, done.err
        peaks.append(int(done.out))
    few, many = peaks
    assert many - few < 30e6
