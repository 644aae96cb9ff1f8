"""`python -m tests.simulation`: one seed again, or many for a long time.

python -m tests.simulation --seed 1234 --backend trio     one seed, with all that happened
python -m tests.simulation --seeds 20000 --from 1000      so many seeds, on both backends in turn
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import click

from tests.simulation.harness import Simulated, simulate
from tests.simulation.scenario import Scenario
from tests.simulation.virtual_time import BACKENDS

#: How often a long soak says where it is, in seconds.
_SAY_EVERY_S = 10.0


def backend_of(seed: int) -> str:
    """The backend on which a seed runs when none is asked for."""
    return BACKENDS[seed % len(BACKENDS)]


def try_seed(seed: int, backend: str) -> str:
    """The line that repeats a seed, and what it broke; empty if nothing."""
    simulated = simulate(seed, backend)
    return str(simulated) if simulated.violations else ""


def _try_in_turn(seed: int) -> str:
    return try_seed(seed, backend_of(seed))


@click.command(help=__doc__)
@click.option("--seed", type=int, help="One seed, told in full.")
@click.option("--backend", type=click.Choice(BACKENDS), help="The event loop; by the seed unless given.")
@click.option("--seeds", type=int, default=1_000, show_default=True, help="How many seeds.")
@click.option("--from", "first", type=int, default=0, show_default=True, help="The first of them.")
def main(seed: int | None, backend: str | None, seeds: int, first: int) -> None:
    if seed is not None:
        simulated = simulate(seed, backend or backend_of(seed))
        _tell(simulated)
        sys.exit(1 if simulated.violations else 0)
    failed = list(_soak(first, seeds))
    click.echo(f"{seeds} seeds from {first} on, {len(failed)} failed")
    sys.exit(1 if failed else 0)


def _tell(simulated: Simulated) -> None:
    click.echo(Scenario.of(simulated.seed))
    for at_s, *happened in simulated.trace:
        click.echo(f"{at_s:>12.6f}  {' '.join(map(str, happened))}")
    click.echo(simulated)


def _soak(first: int, seeds: int) -> Iterator[str]:
    """The seeds that failed, told as they are found."""
    said_s = began_s = time.monotonic()
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        for done, failure in enumerate(
            processes.map(_try_in_turn, range(first, first + seeds), chunksize=20), start=1
        ):
            if failure:
                click.echo(failure)
                yield failure
            if time.monotonic() - said_s > _SAY_EVERY_S:
                said_s = time.monotonic()
                click.echo(f"{done} of {seeds} after {said_s - began_s:.0f} s", err=True)


if __name__ == "__main__":
    main()
