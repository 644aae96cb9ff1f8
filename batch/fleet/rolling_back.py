"""Makes the plan that takes a run back: what was in force before it, for what nothing has changed since."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import orjson

from batch.errors import CredentialsError
from batch.fleet.comparison import BodyOf
from batch.journal.in_force import Blocks, blocks_of, part_of
from batch.journal.known import Touch
from batch.journal.protocol import Journal, RunRecord
from batch.plans import DIRECTIONS, Payload, Plan, Problem, Reject, plan_digest
from batch.report.advice import ROLLBACK

#: How many requests of a row a problem names before it only counts them.
_NAMED = 4


class Back(StrEnum):
    """What taking a run back means for a request that changed its number, or may have."""

    SENT = "sent"  #: what was in force before is sent
    SAME = "same"  #: the run sent what was in force already
    DONE = "done"  #: what was in force before is in force again
    CHANGED_SINCE = "changed_since"  #: something else was sent since
    NEVER_KNOWN = "never_known"  #: nobody knows what was in force before
    SEALED = "sealed"  #: what was in force before has a secret that is not at hand

    @property
    def is_impossible(self) -> bool:
        """Whether the number stays as the run, or a later one, has left it."""
        return self in (Back.CHANGED_SINCE, Back.NEVER_KNOWN, Back.SEALED)


class Step(NamedTuple):
    """A request of the run that is taken back, and what that means; `why` where it is impossible."""

    touch: Touch
    back: Back
    payload: Payload | None
    why: str


@dataclass(frozen=True, slots=True)
class Rollback:
    """What taking a run back comes to: the plan of it, and every request that the run changed.

    What cannot be taken back is in the plan as rejects of the sheets' rows. `in_doubt` counts what is sent
    of which the last send before the run may not have been applied.
    """

    run: RunRecord
    plan: Plan
    steps: tuple[Step, ...]
    in_doubt: int

    def count(self, back: Back) -> int:
        """How many requests of the run this is so for."""
        return sum(step.back is back for step in self.steps)

    @property
    def impossible_count(self) -> int:
        """How many requests cannot be taken back."""
        return sum(step.back.is_impossible for step in self.steps)


def roll_back(journal: Journal, run: RunRecord) -> Rollback:
    """The plan that takes a run back; the journal must have been settled."""
    judge = _Judge(run, journal.payload)
    steps = tuple(judge.step(touch) for touch in journal.touches(run.id))
    sent = [step for step in steps if step.back is Back.SENT]
    in_doubt = sum(bool(set(step.touch.before_doubt) & set(_blocks(step))) for step in sent)
    return Rollback(run, _plan(run, sent, tuple(_rejects(steps))), steps, in_doubt)


class _Judge:
    """Decides what a touch means, once for each combination of what was, was sent and is."""

    def __init__(self, run: RunRecord, body_of: BodyOf) -> None:
        self._run = run
        self._body_of = body_of
        self._known: dict[tuple[object, ...], tuple[Back, Payload | None, Blocks]] = {}

    def step(self, touch: Touch) -> Step:
        key = (touch.payload_id, touch.before_id, touch.now_id, touch.now_doubt)
        if key not in self._known:
            try:
                self._known[key] = self._judge(touch)
            except CredentialsError:
                self._known[key] = Back.SEALED, None, ()
        back, payload, unknown = self._known[key]
        return Step(touch, back, payload, self._why(touch, back, unknown))

    def _judge(self, touch: Touch) -> tuple[Back, Payload | None, Blocks]:
        sent = self._body_of(touch.payload_id)
        blocks = blocks_of(sent)
        before = {} if touch.before_id is None else part_of(self._body_of(touch.before_id), blocks)
        now = part_of(self._body_of(touch.now_id), blocks)
        unknown = tuple(block for block in blocks if block not in before)
        is_back = not unknown and _same(now, before)
        if not unknown and _same(orjson.loads(sent), before):
            return Back.SAME, None, ()
        if is_back and not set(touch.now_doubt) & set(blocks):
            return Back.DONE, None, ()
        if not is_back and not _same(now, orjson.loads(sent)):
            return Back.CHANGED_SINCE, None, ()
        if unknown:
            return Back.NEVER_KNOWN, None, unknown
        return Back.SENT, Payload.of(before), ()

    def _why(self, touch: Touch, back: Back, unknown: Blocks) -> str:
        match back:
            case Back.CHANGED_SINCE:
                return f"changed since by run {touch.now_run}; left as it is"
            case Back.NEVER_KNOWN:
                what = " and ".join(unknown)
                return f"nobody knows what was in {what} before run {self._run.id}; left as it is"
            case Back.SEALED:
                return "what was in force before has a secret that is not in the environment; left as it is"
            case Back.SENT | Back.SAME | Back.DONE:
                return ""


def _same(one: dict[str, object], other: dict[str, object]) -> bool:
    """Whether blocks are the same, byte by byte: to Python, true is 1."""
    texts = [orjson.dumps(blocks, option=orjson.OPT_SORT_KEYS) for blocks in (one, other)]
    return texts[0] == texts[1]


def _blocks(step: Step) -> Blocks:
    return () if step.payload is None else blocks_of(step.payload.body)


def _plan(run: RunRecord, sent: Sequence[Step], rejects: tuple[Reject, ...]) -> Plan:
    """The steps as a plan over the rows of the run's own sheets."""
    payloads = list(dict.fromkeys(step.payload for step in sent if step.payload is not None))
    templates = list(dict.fromkeys(step.touch.before_template for step in sent))
    notes = ["", *dict.fromkeys(_note(step.touch) for step in sent)]
    places = ({one: at for at, one in enumerate(ones)} for ones in (payloads, templates, notes))
    payload_at, template_at, note_at = places
    numbers = np.array([step.touch.number for step in sent], dtype=np.int64)
    directions = np.array([step.touch.direction for step in sent], dtype=np.uint8)
    payload_ids = np.array([payload_at[step.payload] for step in sent], dtype=np.int32)
    return Plan(
        sheets=run.sheets,
        payloads=payloads,
        templates=tuple(templates),
        numbers=numbers,
        directions=directions,
        payload_ids=payload_ids,
        template_ids=np.array([template_at[step.touch.before_template] for step in sent], dtype=np.int32),
        sheet_ids=np.array([step.touch.sheet_id for step in sent], dtype=np.int32),
        rows=np.array([step.touch.row for step in sent], dtype=np.int32),
        duplicate_of=np.full(len(sent), -1, dtype=np.int64),
        note_ids=np.array([note_at[_note(step.touch)] for step in sent], dtype=np.int32),
        notes=tuple(notes),
        rejects=rejects,
        warnings=(),
        digest=plan_digest(numbers, directions, payload_ids, payloads),
    )


def _note(touch: Touch) -> str:
    return f"what run {touch.before_run} had put in force"


def _rejects(steps: Sequence[Step]) -> Iterator[Reject]:
    """One for every row with requests that cannot be taken back, in sheet order."""
    rows: dict[tuple[int, int], dict[tuple[Back, str], list[Touch]]] = {}
    for step in steps:
        if step.back.is_impossible:
            place = step.touch.sheet_id, step.touch.row
            rows.setdefault(place, {}).setdefault((step.back, step.why), []).append(step.touch)
    for (sheet_id, row), reasons in sorted(rows.items()):
        problems = (
            Problem("", f"{_named(touches)}: {why}", f"{ROLLBACK}{back.value}")
            for (back, why), touches in reasons.items()
        )
        yield Reject(sheet_id, row, tuple(problems))


def _named(touches: Sequence[Touch]) -> str:
    named = [f"+{touch.number} {DIRECTIONS[touch.direction]}" for touch in touches[:_NAMED]]
    more = f" and {len(touches) - _NAMED:,} more of this row" if len(touches) > _NAMED else ""
    return f"{', '.join(named)}{more}"
