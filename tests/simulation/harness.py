"""Runs one seed: the real engine, pacer and journal against a scripted target, through all its lives."""

from __future__ import annotations

import random
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel

from batch.clock import Clock
from batch.engine.breaker import FailureLimit
from batch.engine.controls import Order, Verb
from batch.engine.desk import LocalDispatcher
from batch.engine.pacer import parse_rates
from batch.engine.retrying import RetryPolicy
from batch.engine.waves import parse_waves
from batch.errors import JournalError
from batch.journal.protocol import Counts, NewRun
from batch.plans import DIRECTIONS, Plan
from batch.runner import Controls, Ending, RunOptions, run
from batch.states import RunState, StopReason
from tests.simulation.invariants import Invariants
from tests.simulation.mortal_journals import MortalJournal, MortalMemoryJournal, MortalSqliteJournal
from tests.simulation.scenario import Life, Scenario
from tests.simulation.scripted_target import ScriptedTarget, Send
from tests.simulation.virtual_time import run_virtual, stall
from tests.simulation.world import MOST_BROKEN, SimulatedCrash, World
from tests.small_plans import small_plan

_T = TypeVar("_T")

EPOCH = 1_785_144_600.0  #: 2026-07-27T09:30:00Z

#: No life of these scenarios has a reason to last longer.
_LONGEST_LIFE_S = 3_000.0

#: Lives after those of the scenario, until the API is at peace, and until the run must be done.
_LIVES_TO_PEACE = 3
_LIVES_TO_DONE = 9


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came of a seed: everything that happened, and every promise that was broken."""

    seed: int
    backend: str
    trace: list[tuple[object, ...]]
    violations: list[str]
    lives: int

    def __str__(self) -> str:
        repeat = f"python -m tests.simulation --seed {self.seed} --backend {self.backend}"
        return "\n".join([f"{repeat}  # {len(self.violations)} broken", *(f"  {v}" for v in self.violations)])


def simulate(seed: int, backend: str, scenario: Scenario | None = None) -> Simulated:
    """Run a seed's scenario, or another under its dice, to its end, and see whether each promise was kept."""
    with tempfile.TemporaryDirectory(prefix="sipbatch-simulation-") as folder:
        simulation = _Simulation(scenario or Scenario.of(seed), Path(folder))
        world = simulation.world
        try:
            run_virtual(simulation.run, backend=backend, seed=seed)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever it is, it has a seed that repeats it
            if len(world.violations) < MOST_BROKEN:
                world.violations.append("".join(traceback.format_exception(error)))
    return Simulated(seed, backend, world.trace, world.violations, world.life)


class _Simulation:
    target: ScriptedTarget
    journal: MortalJournal
    plan: Plan

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self._scenario = scenario
        self._folder = folder
        options = self._options(is_limited=True)
        self.world = World(
            budget_tokens=options.retry.budget_tokens,
            retry_cost=options.retry.retry_cost,
            now=anyio.current_time,
        )
        self._dice = random.Random(f"engine {scenario.seed}")
        self._commits = random.Random(f"commits {scenario.seed}")
        self._wall_ahead_s = 0.0

    async def run(self) -> None:
        scenario = self._scenario
        self.plan = small_plan(
            scenario.requests,
            templates=scenario.templates,
            payloads=scenario.payloads,
            duplicates=scenario.duplicates,
            rejects=scenario.rejects,
        )
        self.target = ScriptedTarget(scenario, self.world, now=anyio.current_time)
        keys = [
            (f"+{number}", DIRECTIONS[direction])
            for number, direction in zip(self.plan.numbers, self.plan.directions, strict=True)
        ]
        self.target.template_of = dict(zip(keys, self.plan.template_ids.tolist(), strict=True))
        self.target.seq_of = {keys[seq]: seq for seq in reversed(range(scenario.requests))}
        self.journal = (
            MortalSqliteJournal(self._folder / "journal.db", self.world)
            if scenario.journal == "sqlite"
            else MortalMemoryJournal(self.world)
        )
        try:
            self._run_id = self.journal.create_run(
                self.plan, NewRun(self.target.name, EPOCH + anyio.current_time())
            )
            options = self._options(is_limited=True)
            self._invariants = Invariants(self.world, self.target, self.plan, self._run_id, options)
            self.target.watch = self._watch
            await self._live_on()
        finally:
            self.world.is_dead = False
            self.journal.close()

    async def _live_on(self) -> None:
        """One life after the other, until the run is done."""
        planned = self._scenario.lives
        while self.world.life < len(planned) + _LIVES_TO_DONE:
            life = planned[self.world.life] if self.world.life < len(planned) else Life()
            self.world.is_peaceful = self.world.life >= len(planned) + _LIVES_TO_PEACE
            ending = await self._live(life)
            if self.journal.run(self._run_id).state is RunState.COMPLETED:
                self._invariants.check_done(self.journal, self._folder / "report")
                return
            await anyio.sleep(self._rest_s(life, ending))
        self.world.broken("the run is never done")

    def _rest_s(self, life: Life, ending: Ending | None) -> float:
        """How long it takes the operator to see to it, and to resume."""
        if ending is None:
            return life.rest_s
        if ending.reason in (StopReason.CREDENTIALS, StopReason.SAFETY):
            self.target.mend()
        due_at = self.journal.next_due(self._run_id) if ending.reason is StopReason.TRY_LATER else None
        return max(life.rest_s, (due_at or 0.0) - self._wall())

    async def _live(self, life: Life) -> Ending | None:
        """One process; returns how it ended, or None if it died or was cancelled."""
        self._wall_ahead_s += life.wall_jump_s
        self.world.begin_life(crash_at=life.crash_at_step, disk_full_at=life.disk_full_at_step)
        self.target.begin_life()
        self.target.rates = parse_rates(self._scenario.rates)
        self._invariants.begin_life(self.journal)
        endings: list[Ending] = []
        is_cancelled = False
        try:
            with anyio.move_on_after(_LONGEST_LIFE_S) as lifetime:
                is_cancelled = await self._process(life, endings)
            if lifetime.cancelled_caught:
                self.world.broken("the run neither ends nor stops")
        except BaseException as error:
            self._bury(error)
        finally:
            if self.world.is_dead:
                self.world.is_dead = False
                self._invariants.check_crash(self.journal)
                self.journal = self.journal.reborn()
        self.world.tell("ended", endings[0].reason.value if endings else "")
        if endings:
            self._invariants.check_ending(self.journal, endings[0])
        elif is_cancelled:
            self._invariants.check_cancelled(self.journal)
        return endings[0] if endings else None

    def _bury(self, error: BaseException) -> None:
        """A death that the scenario asked for is no error."""
        others: BaseException | None = error
        if isinstance(error, BaseExceptionGroup):
            others = error.split(SimulatedCrash)[1]
        elif isinstance(error, SimulatedCrash):
            others = None
        if isinstance(others, JournalError) and self.world.is_disk_full():
            return
        if others is not None or not self.world.is_dead:
            raise error

    async def _process(self, life: Life, endings: list[Ending]) -> bool:
        controls = Controls()
        error: BaseException | None = None
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as caller:
                tasks.start_soon(self._interfere, life, controls, caller)
                try:
                    endings.append(await self._send(controls))
                except (JournalError, SimulatedCrash, BaseExceptionGroup) as fault:
                    error = fault  # raised outside of the group, which would wrap it
            tasks.cancel_scope.cancel()
        if error is not None:
            raise error
        return caller.cancelled_caught

    async def _send(self, controls: Controls) -> Ending:
        return await run(
            self.journal,
            self._run_id,
            self.target,
            self._options(is_limited=not self.world.is_peaceful),
            progress=_Watched(self._shown),
            controls=controls,
            clock=Clock(anyio.current_time, self._wall),
            run_blocking=self._run_blocking,
            dice=self._dice.random,
            dispatcher=LocalDispatcher(self.journal.shards(self._run_id, self._scenario.shard_size)),
        )

    async def _interfere(self, life: Life, controls: Controls, caller: anyio.CancelScope) -> None:
        async def at(moment_s: float | None, act: Callable[[], None]) -> None:
            if moment_s is not None:
                await anyio.sleep(moment_s)
                act()

        def drain() -> None:
            self.world.tell("drain")
            controls.drain(StopReason.SIGINT)
            self.world.stopped()

        def abort() -> None:
            self.world.tell("abort")
            controls.abort()

        def cancel() -> None:
            self.world.tell("cancel")
            caller.cancel()
            self.world.stopped()

        async def pause_and_go_on() -> None:
            if life.pause_s is None:
                return
            await anyio.sleep(life.pause_s)
            answer = controls.obey(Order(Verb.PAUSE))
            self.world.tell("pause", answer.text)
            if not answer.is_done:
                return
            self.world.paused()
            await anyio.sleep(life.paused_for_s)
            self.world.continued()
            self.world.tell("go on", controls.obey(Order(Verb.CONTINUE)).text)

        def change_rates() -> None:
            if controls.obey(Order(Verb.RATE, life.new_rates)).is_done:
                self.target.rates = parse_rates(life.new_rates)
                self.world.tell("rates", life.new_rates)

        def set_wall_clock() -> None:
            self._wall_ahead_s += life.wall_set_by_s
            self.world.tell("wall clock", life.wall_set_by_s)

        self.world.at_step(life.drain_at_step, drain)
        self.world.at_step(life.abort_at_step, abort)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(at, life.drain_s, drain)
            tasks.start_soon(at, life.abort_s, abort)
            tasks.start_soon(at, life.cancel_s, cancel)
            tasks.start_soon(at, life.new_rates_s, change_rates)
            tasks.start_soon(at, life.wall_set_s, set_wall_clock)
            tasks.start_soon(pause_and_go_on)
            tasks.start_soon(at, life.stall_s, lambda: stall(life.stalled_for_s))

    # --- what the engine is given ---------------------------------------------------------------

    def _options(self, *, is_limited: bool) -> RunOptions:
        """`is_limited` is whether the operator still holds to `--max-failures`."""
        scenario = self._scenario
        limit = scenario.max_failures if is_limited else None
        return RunOptions(
            rates=parse_rates(scenario.rates),
            concurrency=scenario.concurrency,
            deadline_s=scenario.deadline_s,
            retry=RetryPolicy(max_attempts=scenario.max_attempts, budget_tokens=scenario.budget_tokens),
            max_failures=None if limit is None else FailureLimit.parse(limit),
            canary=scenario.canary,
            waves=parse_waves(scenario.waves) if scenario.waves else (),
            soak_s=scenario.soak_s,
            drain_s=scenario.drain_s,
            outage_s=scenario.outage_s,
        )

    async def _run_blocking(self, work: Callable[[], _T]) -> _T:
        """Like a worker thread: it takes time, and once it has begun it is not cancelled."""
        await anyio.lowlevel.checkpoint()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(self._commits.random() * self._scenario.commit_s)
            has_failed = False
            try:
                return work()
            except JournalError:
                has_failed = True
                raise
            finally:
                await anyio.sleep(self._commits.random() * self._scenario.commit_s)
                if has_failed:  # the engine hears of it now
                    self.world.stopped()

    def _wall(self) -> float:
        return EPOCH + self._wall_ahead_s + anyio.current_time()

    def _watch(self, send: Send) -> None:
        self._invariants.check_send(self.journal, send)

    def _shown(self, counts: Counts) -> None:
        if not self.world.is_dead:
            self._invariants.check_shown(self.journal, counts)


class _Watched:
    """Progress that looks whether what is shown is true."""

    def __init__(self, look: Callable[[Counts], None]) -> None:
        self._look = look

    def update(self, counts: Counts, rate_per_s: float, note: str, *, wait_s: float = 0.0) -> None:
        self._look(counts)

    def close(self) -> None:
        """Nothing."""
