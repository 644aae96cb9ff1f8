"""The engine, the pacer and the journals, run through hundreds of lives that nobody would wish on them.

A failing seed prints the line that repeats it. `make soak` tries many more.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.__main__ import backend_of, try_seed
from tests.simulation.harness import simulate
from tests.simulation.scenario import FAULTS
from tests.simulation.virtual_time import BACKENDS

CORPUS = [
    (int(seed), backend)
    for line in (Path(__file__).parent / "corpus.txt").read_text().splitlines()
    for seed, backend in [line.partition("#")[0].split() or ("", "")]
    if seed
]

#: Seeds that every run of the tests tries, in pieces that the workers share.
SEEDS, PIECE = 300, 25


@pytest.mark.parametrize("first", range(0, SEEDS, PIECE))
def test_no_promise_is_broken(first: int) -> None:
    """Whatever faults, latencies, schedules, signals and crashes a seed chooses, every invariant holds."""
    failures = [
        failure for seed in range(first, first + PIECE) if (failure := try_seed(seed, backend_of(seed)))
    ]
    assert not failures, "\n" + "\n".join(failures)


@pytest.mark.parametrize(("seed", "backend"), CORPUS)
def test_what_was_found_once_stays_mended(seed: int, backend: str) -> None:
    """Seeds that once found a bug find none."""
    failure = try_seed(seed, backend)
    assert not failure, "\n" + failure


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_seed_tells_the_same_story(backend: str) -> None:
    """Two runs of one seed send, answer, crash and end at the same instants: a failure can be repeated."""
    for seed in range(3_000, 3_012):
        first, second = simulate(seed, backend), simulate(seed, backend)
        assert first.trace == second.trace, f"seed {seed} on {backend}"


#: What must have happened in some seed: in its trace, and with which detail.
WANTED: set[tuple[str, str]] = {
    *(("", what) for what in ("send", "applied", "drain", "abort", "cancel", "wall clock", "four lives")),
    *(
        ("crash", at)
        for at in (
            "before a transaction",
            "before a commit",
            "after a commit",
            "before a send",
            "before an answer",
            "after an answer",
        )
    ),
    *(("ended", by) for by in ("", "done", "sigint", "credentials", "safety", "try_later")),
    *(("answer", kind) for kind in ("accepted", "credentials", *FAULTS) if kind != "hang"),
}


def test_the_seeds_try_what_they_are_meant_to_try() -> None:
    """Among the seeds are crashes at every kind of step, every fault, every way to end, many resumes."""
    missing = set(WANTED)
    # What is rarest comes soon after the two hundredth.
    for seed in (*range(200, SEEDS), *range(200)):
        if not missing:
            break
        simulated = simulate(seed, backend_of(seed))
        if simulated.lives >= 4:
            missing.discard(("", "four lives"))
        for _, what, *detail in simulated.trace:
            missing.discard(("", str(what)))
            missing.discard((str(what), str(detail[0]) if detail else ""))
    assert not missing
