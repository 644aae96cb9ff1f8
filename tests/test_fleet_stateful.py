"""After any sequence of edits, runs, crashes, resumes and rollbacks the account holds what the last says."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from batch.fleet.comparison import Comparison, compare
from batch.fleet.rolling_back import Back, Rollback, roll_back
from batch.journal.protocol import ROLLS_BACK, NewRun, Pick
from batch.plans import DIRECTIONS, Plan
from batch.states import RequestState, RunState
from batch.workspace import UNFINISHED
from tests.fleet_over_http import HttpAccount, HttpWorld
from tests.fleet_world import (
    TARGET,
    Config,
    FleetWorld,
    Key,
    Line,
    Mood,
    in_force,
    part,
    picked,
    to_send,
    wanted,
)
from tests.sending import FIRST_NUMBER, serving

NUMBER_COUNT = 6
NUMBERS = st.integers(FIRST_NUMBER, FIRST_NUMBER + NUMBER_COUNT - 1)
TEMPLATES = st.sampled_from(["voice", "alerts", "voice+alerts"])
SIDES = st.sampled_from(["inbound", "outbound", "both"])
CODECS = st.sampled_from(["PCMU", "PCMA;PCMU", "Opus"])
MINUTES = st.sampled_from(["5", "10"])
LINES = st.builds(Line, NUMBERS, TEMPLATES, SIDES, CODECS, MINUTES)

#: Most of the time all goes well, or nothing would ever be in force.
MOODS = st.one_of(
    st.just([]),
    st.lists(st.sampled_from([Mood.ACCEPT, Mood.LOSE_REQUEST, Mood.LOSE_ANSWER, Mood.REFUSE]), max_size=10),
    st.lists(st.sampled_from(Mood), max_size=8),
)
STEPS = st.one_of(st.none(), st.none(), st.integers(1, 16))

NTH = st.integers(0, 11)
MISSED = frozenset({RequestState.FAILED, RequestState.UNKNOWN})

Edit = Callable[[FleetWorld, Line, int, int], None]


def add_a_row(world: FleetWorld, line: Line, at: int, version: int) -> None:
    """At the end."""
    world.lines.append(line)


def insert_a_row(world: FleetWorld, line: Line, at: int, version: int) -> None:
    """At the top, so that all others move down."""
    world.lines.insert(0, line)


def remove_a_row(world: FleetWorld, line: Line, at: int, version: int) -> None:
    """Its number stays as it is."""
    if len(world.lines) > 1:
        world.lines.pop(at % len(world.lines))


def sort(world: FleetWorld, line: Line, at: int, version: int) -> None:
    """By number, one way or the other."""
    world.lines.sort(key=lambda one: one.number, reverse=version == 1)


def change_a_cell(world: FleetWorld, line: Line, at: int, version: int) -> None:
    """What one row asks for."""
    row = world.lines[at % len(world.lines)]
    row.codecs, row.minutes = line.codecs, line.minutes


def change_a_column(world: FleetWorld, line: Line, at: int, version: int) -> None:
    """What all rows ask for."""
    for row in world.lines:
        row.codecs, row.minutes = line.codecs, line.minutes


def change_a_template_name(world: FleetWorld, line: Line, at: int, version: int) -> None:
    """So that other blocks are sent than before."""
    world.lines[at % len(world.lines)].template = line.template


def change_a_direction(world: FleetWorld, line: Line, at: int, version: int) -> None:
    """Of one row."""
    world.lines[at % len(world.lines)].direction = line.direction


def repeat_a_row(world: FleetWorld, line: Line, at: int, version: int) -> None:
    """Word for word; if one of the two is edited later, both are rejected."""
    world.lines.append(replace(world.lines[at % len(world.lines)]))


def export_again(world: FleetWorld, line: Line, at: int, version: int) -> None:
    """Another delimiter, other names and order of the columns, numbers in another notation."""
    world.layout = at % 3


def edit_a_template(world: FleetWorld, line: Line, at: int, version: int) -> None:
    """The sheet stays as it is, and what it means does not."""
    world.write_template(("voice", "alerts")[at % 2], version=version)


EDITS: tuple[Edit, ...] = (
    add_a_row,
    insert_a_row,
    remove_a_row,
    sort,
    change_a_cell,
    change_a_column,
    change_a_template_name,
    change_a_direction,
    repeat_a_row,
    export_again,
    edit_a_template,
)


class FleetMachine(RuleBasedStateMachine):
    """One operator, one sheet, one account."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="sipbatch-fleet-")
        self.world = self.made(Path(self.folder.name))
        self.plans: dict[str, Plan] = {}
        #: The runs in the order in which they were sent, or gone on with.
        self.went: list[str] = []
        #: What the account held before each run that went through without another in between.
        self.before: dict[str, dict[Key, Config]] = {}

    def made(self, folder: Path) -> FleetWorld:
        """Where it all happens."""
        return FleetWorld(folder)

    def teardown(self) -> None:
        self.world.close()
        self.folder.cleanup()

    @initialize(lines=st.lists(LINES, min_size=2, max_size=4, unique_by=lambda line: line.number))
    def write(self, lines: list[Line]) -> None:
        """The first sheet."""
        self.world.lines = lines

    @rule(way=st.sampled_from(EDITS), line=LINES, at=st.integers(0, 99), version=st.integers(0, 1))
    def edit(self, way: Edit, line: Line, at: int, version: int) -> None:
        """The sheet, or a template, in one of many ways."""
        way(self.world, line, at, version)

    # --- what the operator does -------------------------------------------------------------------

    @rule(moods=MOODS, steps=STEPS)
    def run(self, moods: list[Mood], steps: int | None) -> None:
        """Send all of the sheet."""
        self._send(self.world.plan(), moods, steps)

    @rule(moods=MOODS, steps=STEPS)
    def reconcile(self, moods: list[Mood], steps: int | None) -> None:
        """Send what differs; if all went well, nothing differs any more."""
        comparison = self._compare()
        if not comparison.to_send_count:
            return
        plan = comparison.skip_unchanged()
        if self._send(plan, moods, steps) and not self._has_failures():
            assert self._compare().to_send_count == 0

    @rule(nth=NTH, moods=MOODS, steps=STEPS)
    def resume(self, nth: int, moods: list[Mood], steps: int | None) -> None:
        """Go on with any run that was not finished, however much has happened since."""
        if run_id := _one_of(self._unfinished(), nth):
            self._go(run_id, moods, steps)

    @rule(nth=NTH, moods=MOODS, steps=STEPS)
    def retry(self, nth: int, moods: list[Mood], steps: int | None) -> None:
        """Send again what failed, or is unknown, of any run."""
        journal = self.world.journal
        missed = {run_id: found for run_id in self.plans if (found := self._missed(run_id))}
        if run_id := _one_of(list(missed), nth):
            self.world.now += 60
            again = journal.derive_run(run_id, Pick(MISSED), NewRun(TARGET, self.world.now))
            self._begin(again, picked(self.plans[run_id], missed[run_id]), moods, steps)

    @rule(nth=NTH, moods=MOODS, steps=STEPS)
    def roll_back(self, nth: int, moods: list[Mood], steps: int | None) -> None:
        """Take any run back; what had changed is as it was before, if all goes well."""
        taken_back = _one_of(list(self.plans), nth)
        if not taken_back:
            return
        journal = self.world.journal
        journal.settle()
        rollback = roll_back(journal, journal.run(taken_back))
        note(f"{taken_back}: {[(step.touch.number, step.back.value) for step in rollback.steps]}")
        self._check_verdicts(taken_back, rollback)
        if not rollback.plan.to_send_count:
            return
        more = {"parent": taken_back, "options": {ROLLS_BACK: taken_back}}
        if self._send(rollback.plan, moods, steps, **more) and not self._has_failures():
            self._check_taken_back(taken_back, rollback)

    # --- what must be so --------------------------------------------------------------------------

    @invariant()
    def what_is_certain_is_so(self) -> None:
        """The account holds what the journal is certain of, and nothing that the journal does not know."""
        known = in_force(self.world.journal)
        for key, (config, doubt) in known.items():
            certain = {block: value for block, value in config.items() if block not in doubt}
            assert part(self.world.account.holds.get(key, {}), certain) == certain, key
        for key, held in self.world.account.holds.items():
            assert set(held) <= set(known.get(key, ({}, ()))[0]), key

    def _send(self, plan: Plan, moods: list[Mood], steps: int | None, **more: object) -> bool:
        """Pin a plan and send it; whether it went through."""
        return self._begin(self.world.pin(plan, **more), plan, moods, steps)

    def _begin(self, run_id: str, plan: Plan, moods: list[Mood], steps: int | None) -> bool:
        self.plans[run_id] = plan
        self.before[run_id] = self.world.account.copy()
        return self._go(run_id, moods, steps)

    def _go(self, run_id: str, moods: list[Mood], steps: int | None) -> bool:
        plan = self.plans[run_id]
        self.went.append(run_id)
        before = self.world.account.copy()
        for other in self._unfinished():
            if other != run_id:
                self.before.pop(other, None)
        self.world.send(run_id, moods, steps)
        held = self.world.account.holds
        sent = to_send(plan)
        assert set(self.world.account.sent) <= sent
        assert {key: config for key, config in held.items() if key not in sent} == {
            key: config for key, config in before.items() if key not in sent
        }
        # A process may die just after its last commit: what counts is what is on disk.
        if self.world.journal.run(run_id).state is not RunState.COMPLETED:
            return False
        self._check_completed(run_id, plan)
        return True

    def _check_completed(self, run_id: str, plan: Plan) -> None:
        """What a completed run says succeeded, or is unchanged, the account holds, each block as it says."""
        held, says = self.world.account.holds, wanted(plan)
        was_interrupted = run_id not in self.before
        for row in self.world.journal.results(run_id):
            key = f"+{row.number}", DIRECTIONS[row.direction]
            if row.state is RequestState.SUCCEEDED and not was_interrupted:
                assert part(held[key], says[key]) == says[key]
            if row.unchanged_since is not None and not was_interrupted:
                assert part(held[key], says[key]) == says[key]

    def _check_verdicts(self, taken_back: str, rollback: Rollback) -> None:
        """What is said to be impossible is, and what is sent is what the account held before."""
        says = wanted(self.plans[taken_back])
        before = self.before.get(taken_back)
        # Runs that went after it, which an older one that was resumed may have.
        since = set(self.went[self.went.index(taken_back) + 1 :]) - {taken_back}
        for step in rollback.steps:
            key = f"+{step.touch.number}", DIRECTIONS[step.touch.direction]
            held = None if before is None else before.get(key, {})
            was_certain = not set(step.touch.before_doubt) & set(says[key])
            is_certain = not set(step.touch.now_doubt) & set(says[key])
            assert step.touch.before_run != taken_back
            match step.back:
                case Back.CHANGED_SINCE:
                    others = [wanted(self.plans[run]).get(key, {}) for run in self.plans if run != taken_back]
                    assert any(part(other, says[key]) != says[key] for other in others if other), key
                    assert since
                case Back.NEVER_KNOWN:
                    assert held is None or not set(says[key]) <= set(held), key
                case Back.SENT:
                    assert step.payload is not None
                    restores = orjson.loads(step.payload.body)
                    assert set(restores) == set(says[key])
                    assert held is None or not was_certain or part(held, restores) == restores, key
                    now = self.world.account.holds.get(key, {})
                    assert not is_certain or part(now, says[key]) == says[key], key
                case Back.SAME:
                    assert held is None or not was_certain or part(held, says[key]) == says[key], key
                case Back.DONE:
                    assert since
                case Back.SEALED | Back.NOTHING_BEFORE:
                    raise AssertionError("there are no secrets and no snapshots here")

    def _check_taken_back(self, taken_back: str, rollback: Rollback) -> None:
        """The blocks that the run had changed are as they were before it."""
        before = self.before.get(taken_back)
        for step in rollback.steps:
            key = f"+{step.touch.number}", DIRECTIONS[step.touch.direction]
            if step.back is Back.SENT and before is not None and not step.touch.before_doubt:
                assert part(self.world.account.holds[key], wanted(rollback.plan)[key]) == part(
                    before[key], wanted(rollback.plan)[key]
                )

    def _compare(self) -> Comparison:
        journal = self.world.journal
        return compare(self.world.plan(), journal.applied(TARGET), journal.payload)

    def _has_failures(self) -> bool:
        counts = self.world.journal.counts(self.world.journal.runs()[-1].id)
        return counts.failed + counts.unknown > 0

    def _unfinished(self) -> list[str]:
        return [run.id for run in self.world.journal.runs() if run.state in UNFINISHED]

    def _missed(self, run_id: str) -> list[int]:
        """The places in its plan of what a run did not get applied, for all that is known."""
        return [row.seq for row in self.world.journal.results(run_id) if row.state in MISSED]


def _one_of(runs: list[str], nth: int) -> str:
    """Which one does not hang on how many there are: what is drawn is the same for every course of things."""
    return runs[nth % len(runs)] if runs else ""


TestFleet = FleetMachine.TestCase
TestFleet.settings = settings(max_examples=40, stateful_step_count=25)


# --- over HTTP ----------------------------------------------------------------------------------

#: The sandbox that the machine below sends to, while its tests run.
_url = ""


@pytest.fixture(autouse=True, scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for all: each course of things begins with an empty one."""
    global _url
    with serving(tmp_path_factory.mktemp("sandbox"), show_blocks="side") as running:
        _url = running.url
        yield


class HttpFleetMachine(FleetMachine):
    """The same promises, of a sandbox in a process of its own, spoken to over HTTP."""

    def made(self, folder: Path) -> FleetWorld:
        return HttpWorld(folder, HttpAccount(_url, NUMBER_COUNT))


TestFleetOverHttp = HttpFleetMachine.TestCase
TestFleetOverHttp.settings = settings(max_examples=12, stateful_step_count=20)
