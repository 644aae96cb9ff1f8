"""Makes the plan that takes a run back: what was in force before it, for what nothing has changed since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import orjson

from batch.errors import CredentialsError
from batch.fleet.comparison import BodyOf
from batch.fleet.sheet import AS_GIVEN
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
    NOTHING_BEFORE = "nothing_before"  #: nothing was set up there before, and nothing can be taken away
    SEALED = "sealed"  #: what was in force before has a secret that is not at hand

    @property
    def is_impossible(self) -> bool:
        """Whether the number stays as the run, or a later one, has left it."""
        return self in (Back.CHANGED_SINCE, Back.NEVER_KNOWN, Back.NOTHING_BEFORE, Back.SEALED)


class Seen(NamedTuple):
    """What was there of a request's number and direction before its run sent anything to it.

    `at` is when it was read (UTC, seconds since the epoch). `blocks` are those that were shown and can be
    sent; None says that nothing was set up in that direction.
    """

    at: float
    blocks: dict[str, object] | None


class Step(NamedTuple):
    """A request of the run that is taken back, and what that means; `why` where it is impossible.

    `doubt` are the blocks of `payload` of which the last send before the run may not have been applied,
    `is_seen` says that some of it is known from the run's snapshot.
    """

    touch: Touch
    back: Back
    payload: Payload | None
    why: str
    doubt: Blocks = ()
    is_seen: bool = False


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


def roll_back(journal: Journal, run: RunRecord, seen: Mapping[int, Seen] | None = None) -> Rollback:
    """The plan that takes a run back; the journal must have been settled.

    `seen` is what the run's snapshot knows, by request. What was seen to be there is what was there: it
    stands for what was sent last before it was read, and for what no run of this workspace has sent.
    """
    ended_at = {one.id: one.ended_at for one in journal.runs()}
    judge = _Judge(run, journal.payload, seen or {}, ended_at)
    steps = tuple(judge.step(touch) for touch in journal.touches(run.id))
    sent = [step for step in steps if step.back is Back.SENT]
    in_doubt = sum(bool(step.doubt) for step in sent)
    return Rollback(run, _plan(run, sent, tuple(_rejects(steps))), steps, in_doubt)


class _Verdict(NamedTuple):
    """What becomes of a request; `unknown` are the blocks of which nobody knows what was there."""

    back: Back
    payload: Payload | None = None
    unknown: Blocks = ()
    doubt: Blocks = ()
    is_seen: bool = False


class _Judge:
    """Decides what a touch means, once for each combination of what was, was sent and is."""

    def __init__(
        self,
        run: RunRecord,
        body_of: BodyOf,
        seen: Mapping[int, Seen],
        ended_at: Mapping[str, float | None],
    ) -> None:
        self._run = run
        self._body_of = body_of
        self._seen = seen
        self._ended_at = ended_at
        self._known: dict[tuple[object, ...], _Verdict] = {}

    def step(self, touch: Touch) -> Step:
        seen = self._seen.get(touch.seq)
        shown = None if seen is None or seen.blocks is None else orjson.dumps(seen.blocks)
        is_newer = seen is not None and self._is_after(touch.before_run, seen.at)
        key = (
            *(touch.payload_id, touch.before_id, touch.before_doubt, touch.now_id, touch.now_doubt),
            *(seen is None, shown, is_newer),
        )
        if key not in self._known:
            try:
                self._known[key] = self._judge(touch, seen, is_newer=is_newer)
            except CredentialsError:
                self._known[key] = _Verdict(Back.SEALED)
        found = self._known[key]
        why = self._why(touch, found)
        return Step(touch, found.back, found.payload, why, found.doubt, found.is_seen)

    def _is_after(self, run_id: str, at: float) -> bool:
        """Whether a run had changed all that it ever changed by then; none at all had."""
        ended_at = self._ended_at.get(run_id)
        return not run_id or (ended_at is not None and ended_at <= at)

    def _judge(self, touch: Touch, seen: Seen | None, *, is_newer: bool) -> _Verdict:
        sent = self._body_of(touch.payload_id)
        blocks = blocks_of(sent)
        before = {} if touch.before_id is None else part_of(self._body_of(touch.before_id), blocks)
        doubt = set(touch.before_doubt)
        is_bare = is_newer and seen is not None and seen.blocks is None
        shown = {} if seen is None else part_of(orjson.dumps(seen.blocks or {}), blocks)
        if is_bare:
            before = {}
        elif is_newer:
            before |= shown
            doubt -= shown.keys()
        else:
            before = {**shown, **before}
        now = part_of(self._body_of(touch.now_id), blocks)
        unknown = tuple(block for block in blocks if block not in before)
        is_back = not unknown and _same(now, before)
        if not unknown and _same(orjson.loads(sent), before):
            return _Verdict(Back.SAME)
        if is_back and not set(touch.now_doubt) & set(blocks):
            return _Verdict(Back.DONE)
        if not is_back and not _same(now, orjson.loads(sent)):
            return _Verdict(Back.CHANGED_SINCE)
        if unknown:
            return _Verdict(Back.NOTHING_BEFORE if is_bare else Back.NEVER_KNOWN, unknown=unknown)
        in_doubt = tuple(block for block in blocks if block in doubt)
        return _Verdict(Back.SENT, Payload.of(before), doubt=in_doubt, is_seen=bool(shown))

    def _why(self, touch: Touch, found: _Verdict) -> str:
        match found.back:
            case Back.CHANGED_SINCE:
                return f"changed since by run {touch.now_run}; left as it is"
            case Back.NEVER_KNOWN:
                what = " and ".join(found.unknown)
                return f"nobody knows what was in {what} before run {self._run.id}; left as it is"
            case Back.NOTHING_BEFORE:
                return f"nothing was set up there before run {self._run.id}; nothing can be taken away"
            case Back.SEALED:
                return "what was in force before has a secret that is not in the environment; left as it is"
            case Back.SENT | Back.SAME | Back.DONE:
                return ""


def _same(one: dict[str, object], other: dict[str, object]) -> bool:
    """Whether blocks are the same, byte by byte: to Python, true is 1."""
    texts = [orjson.dumps(blocks, option=orjson.OPT_SORT_KEYS) for blocks in (one, other)]
    return texts[0] == texts[1]


def _plan(run: RunRecord, sent: Sequence[Step], rejects: tuple[Reject, ...]) -> Plan:
    """The steps as a plan over the rows of the run's own sheets."""
    payloads = list(dict.fromkeys(step.payload for step in sent if step.payload is not None))
    templates = list(dict.fromkeys(_template(step) for step in sent))
    notes = ["", *dict.fromkeys(_note(step, run) for step in sent)]
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
        template_ids=np.array([template_at[_template(step)] for step in sent], dtype=np.int32),
        sheet_ids=np.array([step.touch.sheet_id for step in sent], dtype=np.int32),
        rows=np.array([step.touch.row for step in sent], dtype=np.int32),
        duplicate_of=np.full(len(sent), -1, dtype=np.int64),
        note_ids=np.array([note_at[_note(step, run)] for step in sent], dtype=np.int32),
        notes=tuple(notes),
        rejects=rejects,
        warnings=(),
        digest=plan_digest(numbers, directions, payload_ids, payloads),
    )


def _template(step: Step) -> str:
    """The one that was applied last before; what was only seen has none."""
    return step.touch.before_template or AS_GIVEN


def _note(step: Step, run: RunRecord) -> str:
    if step.is_seen:
        return f"what was there before run {run.id}, by its snapshot"
    return f"what run {step.touch.before_run} had put in force"


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
