"""A fleet in small: an account that keeps what it was sent, processes that die, and sheets that are edited.

Everything between is real: sheets are written to disk and planned, the journal is a file, the engine sends.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio
import anyio.lowlevel
import numpy as np
import orjson

from batch.bland.payloads import SCHEMA
from batch.clock import Clock
from batch.engine.pacer import Rate
from batch.engine.retrying import Dice
from batch.journal.protocol import Journal, NewRun
from batch.journal.sqlite import SqliteJournal
from batch.planning import PlanOptions, make_plan
from batch.plans import DIRECTIONS, Plan
from batch.runner import Ending, RunOptions, run
from batch.sheets.chunks import SheetOptions
from batch.sheets.opening import open_sheets
from batch.target import Outcome, Verdict
from batch.templates.folder import TemplateFolder
from tests.simulation.virtual_time import run_virtual

_T = TypeVar("_T")

TARGET = "fleet"

#: A number and a direction, as the target is told them.
Key = tuple[str, str]
Config = dict[str, object]


class DeadError(BaseException):
    """The process is dead: nothing that it still does has an effect."""


class Mood(Enum):
    """What the account does to one request."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    DOWN = "down"  #: not applied, for a reason that passes
    LOSE_ANSWER = "lose answer"  #: applied, and nobody hears of it
    LOSE_REQUEST = "lose request"  #: not applied, and nobody knows
    DIE_BEFORE = "die before"  #: the process dies, and the request never arrives
    DIE_AFTER = "die after"  #: it is applied, and the process dies


class Account:
    """A target that holds, of every key, each block as it was applied last."""

    name = TARGET

    def __init__(self) -> None:
        self.holds: dict[Key, Config] = {}
        self.sent: list[Key] = []
        self.moods: list[Mood] = []
        self.is_dead = False

    def copy(self) -> dict[Key, Config]:
        """What it holds now."""
        return {key: dict(config) for key, config in self.holds.items()}

    async def send(self, number: str, direction: str, payload: bytes) -> Outcome:
        """Do as the next mood says; accept when there are no more."""
        await anyio.sleep(0.01)
        if self.is_dead:
            raise DeadError
        mood = self.moods.pop(0) if self.moods else Mood.ACCEPT
        self.sent.append((number, direction))
        if mood in (Mood.ACCEPT, Mood.LOSE_ANSWER, Mood.DIE_AFTER):
            self.holds.setdefault((number, direction), {}).update(orjson.loads(payload))
        match mood:
            case Mood.ACCEPT:
                return Outcome(Verdict.ACCEPTED, http_status=200)
            case Mood.REFUSE:
                return Outcome(Verdict.REFUSED, http_status=400, error_code="BAD_REQUEST")
            case Mood.DOWN:
                return Outcome(Verdict.TRANSIENT, http_status=500, error_code="DOWN")
            case Mood.LOSE_ANSWER | Mood.LOSE_REQUEST:
                return Outcome(Verdict.AMBIGUOUS, error_code="RESET")
            case Mood.DIE_BEFORE | Mood.DIE_AFTER:
                self.is_dead = True
                raise DeadError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass


class MortalJournal(SqliteJournal):
    """SQLite's, in a process that may die before or after one of its commits."""

    def __init__(self, path: Path, account: Account) -> None:
        self._account = account
        self.steps_left: int | None = None
        super().__init__(path)

    def _prepare(self) -> None:
        super()._prepare()
        self._db.execute("PRAGMA synchronous=OFF")  # nobody pulls the plug of this machine

    def _begin(self) -> None:
        if self._account.is_dead:
            raise DeadError
        super()._begin()

    def _commit(self) -> None:
        self._step()
        super()._commit()
        self._step()

    def _step(self) -> None:
        """Before a commit, or after it."""
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left <= 0:
                self._account.is_dead = True
                raise DeadError


@dataclass
class Line:
    """One row of the sheet, as the operator has it."""

    number: int
    template: str
    direction: str = "outbound"
    codecs: str = "PCMU"
    minutes: str = "5"


#: In virtual time nobody waits for it.
UNHURRIED = RunOptions(rates=(Rate(50, 1.0),), concurrency=3)


@dataclass
class FleetWorld:
    """One workspace, one account, and the sheet that says what the account is to hold."""

    folder: Path
    account: Account = field(default_factory=Account)
    lines: list[Line] = field(default_factory=list)
    options: RunOptions = UNHURRIED
    layout: int = 0
    now: float = 1_785_144_600.0
    dice: Dice = field(default_factory=lambda: random.Random(0).random)

    def __post_init__(self) -> None:
        (self.folder / "templates").mkdir()
        for name in ("voice", "alerts"):
            self.write_template(name, version=0)
        self.journal = self._opened()

    def _opened(self) -> MortalJournal:
        return MortalJournal(self.folder / "journal.db", self.account)

    def reborn(self) -> None:
        """The next process: what was committed is there, and nothing else."""
        self.account.is_dead = False
        self.account.moods.clear()
        self.journal.close()
        self.journal = self._opened()

    def close(self) -> None:
        self.journal.close()

    # --- sheet and templates --------------------------------------------------------------------

    def write_template(self, name: str, *, version: int) -> None:
        """Templates change too; a later version says more, or something else."""
        texts = {
            "voice": "codec_config:\n  codecs: '${codecs}'\n  transcode: " + ("false\n", "true\n")[version],
            "alerts": "alert_config:\n  enabled: true\n  thresholds: {unreachable_minutes: '${minutes}'}\n"
            + ("  channels: {email: true, sms: false}\n" if version else ""),
        }
        path = self.folder / "templates" / f"{name}.yaml"
        path.write_text(f"direction: outbound\n{texts[name]}", encoding="utf-8")

    def plan(self) -> Plan:
        """The sheet as it is exported now, read and planned."""
        path = self.folder / f"numbers.{('csv', 'tsv', 'csv')[self.layout]}"
        header, rows = self._table()
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=",\t;"[self.layout])
            writer.writerows([header, *rows])
        sheets = open_sheets([path], SheetOptions(), blocks=SCHEMA.blocks)
        templates = TemplateFolder(self.folder / "templates", SCHEMA)
        return make_plan(sheets, templates, PlanOptions(region="US"))

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows as the layout has them: order, notation and further columns differ."""
        if self.layout == 0:
            rows = [
                [f"+{line.number}", line.template, line.direction, line.codecs, line.minutes]
                for line in self.lines
            ]
            return ["phone_number", "template", "direction", "codecs", "minutes"], rows
        rows = [
            [line.minutes, "x", line.codecs, line.template, _national(line.number), line.direction]
            for line in self.lines
        ]
        return ["Minutes", "Remarks", "Codecs", "Profile", "Number", "Direction"], rows

    # --- runs -----------------------------------------------------------------------------------

    def pin(self, plan: Plan, **more: Any) -> str:
        """A new run of a plan."""
        self.now += 60
        return self.journal.create_run(plan, NewRun(TARGET, self.now, **more))

    def send(self, run_id: str, moods: Sequence[Mood] = (), steps: int | None = None) -> Ending | None:
        """Send what a run has left; None if the process died of it.

        The account has these moods first, and the process dies after so many steps of the journal.
        """
        self.now += 60
        self.account.moods = list(moods)
        self.account.sent.clear()
        self.journal.steps_left = steps
        try:
            ending = self._played(lambda: self._run(run_id))
            self.journal.steps_left = None
            return ending
        except DeadError:
            pass
        except BaseExceptionGroup as group:
            if group.split(DeadError)[1] is not None:
                raise
        self.reborn()
        return None

    def _played(self, work: Callable[[], Coroutine[Any, Any, Ending]]) -> Ending:
        """In virtual time, where nothing waits for a wire."""
        return run_virtual(work, backend="asyncio")

    async def _run(self, run_id: str) -> Ending:
        async def inline(work: Callable[[], _T]) -> _T:
            await anyio.lowlevel.checkpoint()
            return work()

        return await run(
            self.journal,
            run_id,
            self.account,
            self.options,
            clock=Clock(anyio.current_time, lambda: self.now),
            run_blocking=inline,
            dice=self.dice,
        )


def _national(number: int) -> str:
    digits = str(number)
    return f"({digits[1:4]}) {digits[4:7]}-{digits[7:]}"


def in_force(journal: Journal) -> dict[Key, tuple[Config, tuple[str, ...]]]:
    """What the journal says of every key: the blocks in force, and those of them that are in doubt."""
    applied = journal.applied(TARGET)
    return {
        key_of(key): (orjson.loads(journal.payload(payload_id)), applied.doubts[doubt_id])
        for key, payload_id, doubt_id in zip(
            applied.keys.tolist(), applied.payload_ids.tolist(), applied.doubt_ids.tolist(), strict=True
        )
    }


def key_of(key: int) -> Key:
    """A key of arrays as the target is told it."""
    return f"+{key >> 1}", DIRECTIONS[key & 1]


def wanted(plan: Plan) -> dict[Key, Config]:
    """What a plan wants every one of its keys to hold."""
    return {
        (f"+{number}", DIRECTIONS[direction]): orjson.loads(plan.payloads[payload_id].body)
        for number, direction, payload_id in zip(
            plan.numbers.tolist(), plan.directions.tolist(), plan.payload_ids.tolist(), strict=True
        )
    }


def to_send(plan: Plan) -> set[Key]:
    """The keys that a run of the plan sends to."""
    return {
        (f"+{plan.numbers[at]}", DIRECTIONS[plan.directions[at]])
        for at, is_skipped in enumerate(plan.is_skipped.tolist())
        if not is_skipped
    }


def picked(plan: Plan, keep: Sequence[int]) -> Plan:
    """The plan of some of its requests alone, as a retry sends them."""
    columns = ("numbers", "directions", "payload_ids", "template_ids", "sheet_ids", "rows", "note_ids")
    kept = {name: getattr(plan, name)[list(keep)] for name in columns}
    return replace(plan, **kept, duplicate_of=np.full(len(keep), -1), unchanged_since=None, earlier_runs=())


def part(config: Mapping[str, object], blocks: Mapping[str, object]) -> Config:
    """Of a configuration, the blocks that the other has too."""
    return {block: config.get(block) for block in blocks}
