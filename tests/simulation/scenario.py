"""What one seed chooses: the plan, the options, what the API does, and what befalls the process."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

#: What an API may answer, and how it may fail to; `scripted_target` says what each is.
FAULTS = (
    "html",
    "hang",
    "lost_answer",
    "lost_request",
    "named_rate",
    "not_found",
    "odd",
    "refused",
    "server_error",
    "server_error_and_wait",
    "throttled",
    "throttled_and_wait",
    "unreachable",
)

#: Faults that for some time every answer may be.
STORMS = ("hang", "html", "server_error", "throttled", "throttled_and_wait", "unreachable")

RATES = ("3/s", "5/s", "20/s", "50/s", "200/s", "90/m", "20/s,300/m", "10/s,2000/h", "auto")


@dataclass(frozen=True, slots=True)
class Storm:
    """Between two moments, in seconds from the beginning, every answer is of one kind."""

    kind: str
    from_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class Life:
    """What befalls one process; None is what does not. A step is a numbered moment (`World.step`)."""

    crash_at_step: int | None = None
    disk_full_at_step: int | None = None
    drain_at_step: int | None = None
    abort_at_step: int | None = None
    drain_s: float | None = None  #: seconds after it began, as all that follow
    abort_s: float | None = None
    cancel_s: float | None = None
    stall_s: float | None = None
    stalled_for_s: float = 0.0
    wall_jump_s: float = 0.0  #: by how much the wall clock was set before it began
    wall_set_s: float | None = None  #: when the wall clock is set while it goes
    wall_set_by_s: float = 0.0
    pause_s: float | None = None  #: when the operator pauses it
    paused_for_s: float = 0.0
    new_rates_s: float | None = None  #: when the operator changes the rate
    new_rates: str = ""
    rest_s: float = 1.0  #: until the next process begins


@dataclass(frozen=True, slots=True)
class Scenario:
    """One simulated run, from its first process to its end; the options are those of `RunOptions`."""

    seed: int
    journal: str
    requests: int
    templates: int
    payloads: int
    duplicates: dict[int, int]
    rejects: int
    rates: str
    concurrency: int | None
    max_attempts: int
    budget_tokens: int
    deadline_s: float
    drain_s: float
    outage_s: float
    canary: int | None
    waves: str
    soak_s: float
    max_failures: str | None
    shard_size: int
    latency_s: tuple[float, float]
    commit_s: float
    fault_share: float
    faults: tuple[str, ...]
    refused_share: float
    bad_template: int | None
    server_limit: int | None
    revoked_after_sends: int | None
    storms: tuple[Storm, ...]
    lives: tuple[Life, ...]

    @classmethod
    def of(cls, seed: int) -> Scenario:
        """The scenario of a seed."""
        dice = random.Random(f"scenario {seed}")
        # What was thought of later has dice of its own, so that the seeds of the corpus mean what they meant.
        later = random.Random(f"later {seed}")
        requests = dice.choice((1, 3, 8, 20, 30, 45, 60))
        templates = dice.choice((1, 1, 2, 4))
        return cls(
            seed=seed,
            journal=dice.choice(("sqlite", "sqlite", "memory")),
            requests=requests,
            templates=templates,
            payloads=templates * dice.choice((1, 2)),
            duplicates=_duplicates(dice, requests),
            rejects=dice.choice((0, 0, 3)),
            rates=dice.choice(RATES),
            concurrency=dice.choice((None, 1, 2, 5, 16)),
            max_attempts=dice.choice((1, 2, 3, 5, 5)),
            budget_tokens=dice.choice((500, 500, 42, 0)),
            deadline_s=dice.choice((2.0, 10.0)),
            drain_s=dice.choice((0.5, 5.0)),
            outage_s=dice.choice((60.0, 300.0)),
            canary=dice.choice((None, None, 1, 5)),
            waves=dice.choice(("", "", "", "10%,50%,100%", "2,9,100%")),
            soak_s=dice.choice((0.0, 0.0, 5.0)),
            max_failures=dice.choice((None, None, None, "0", "3", "40%")),
            shard_size=dice.choice((4, 10, 1_000)),
            latency_s=dice.choice(((0.0, 0.0), (0.01, 0.05), (0.05, 0.5), (0.0, 3.0))),
            commit_s=dice.choice((0.0, 0.0, 0.005, 0.2)),
            fault_share=dice.choice((0.0, 0.05, 0.2, 0.6)),
            faults=tuple(dice.sample(FAULTS, dice.randint(1, 5))),
            refused_share=dice.choice((0.0, 0.0, 0.1)),
            bad_template=0 if dice.random() < 0.1 else None,
            server_limit=dice.choice((None, None, None, 4)),
            revoked_after_sends=dice.randint(0, 2 * requests) if dice.random() < 0.15 else None,
            storms=tuple(_storm(dice) for _ in range(dice.choice((0, 0, 0, 1, 2)))),
            lives=tuple(_life(dice, later, requests) for _ in range(dice.choice((0, 1, 1, 2, 3)))),
        )


def _duplicates(dice: random.Random, requests: int) -> dict[int, int]:
    """Some requests of the second half repeat one of the first."""
    half = requests // 2
    return {seq: dice.randrange(half) for seq in range(half, requests) if half and dice.random() < 0.1}


def _storm(dice: random.Random) -> Storm:
    from_s = dice.uniform(0, 15)
    return Storm(dice.choice(STORMS), from_s, from_s + dice.choice((0.5, 5.0, 40.0, 200.0)))


def _life(dice: random.Random, later: random.Random, requests: int) -> Life:
    """Mostly a crash; else a full disk, a signal, a cancelled caller."""
    life = Life(
        stall_s=dice.uniform(0, 10) if dice.random() < 0.15 else None,
        stalled_for_s=dice.choice((0.1, 1.0, 60.0)),
        wall_jump_s=dice.choice((0.0, 0.0, 0.0, -3_600.0, 3_600.0)),
        wall_set_s=later.uniform(0, 6) if later.random() < 0.2 else None,
        wall_set_by_s=later.choice((-3_600.0, 3_600.0)),
        pause_s=dice.uniform(0, 6) if dice.random() < 0.15 else None,
        paused_for_s=dice.choice((0.5, 20.0)),
        new_rates_s=dice.uniform(0, 6) if dice.random() < 0.15 else None,
        new_rates=dice.choice(RATES[:-1]),
        rest_s=dice.choice((1.0, 3.0, 60.0)),
    )
    step = dice.randint(1, 8 * requests + 10)
    moment_s = dice.uniform(0, 8)
    match dice.choice(("crash", "crash", "crash", "disk", "drain", "abort", "abort", "cancel")):
        case "crash":
            return replace(life, crash_at_step=step)
        case "disk":
            return replace(life, disk_full_at_step=1 + step // 2)
        case "drain":
            return replace(life, drain_s=moment_s)
        case "abort" if dice.random() < 0.3:
            return replace(life, drain_s=moment_s, abort_s=moment_s + dice.choice((0.0, 0.01, 0.4)))
        case "abort":
            step = 1 + step // 2
            return replace(life, drain_at_step=step, abort_at_step=step + dice.choice((0, 0, 1, 3)))
    return replace(life, cancel_s=moment_s)
