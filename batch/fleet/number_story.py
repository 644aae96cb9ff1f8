"""The whole story of one number: every request for it, what each changed, and what is in force now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import orjson

from batch.fleet.diff_text import change_text, value_text
from batch.fleet.plan_diff import FieldChange, field_changes, fields_of
from batch.fleet.sheet import entry_json
from batch.journal.in_force import Blocks
from batch.journal.known import FleetEntry
from batch.journal.protocol import AttemptRow, Chapter, Journal, RunRecord
from batch.plans import DIRECTIONS
from batch.report.lines import printable
from batch.states import RequestState
from batch.timestamps import utc


@dataclass(frozen=True, slots=True)
class Telling:
    """One request, with its run and what it changed, or may have."""

    run: RunRecord
    chapter: Chapter
    changes: tuple[FieldChange, ...]

    @property
    def at(self) -> float:
        """When it was sent last, or, where it never was, planned."""
        sent_at = self.chapter.result.last_sent_at
        return self.run.created_at if sent_at is None else sent_at


@dataclass(frozen=True, slots=True)
class Now:
    """What is in force in one direction at one target: the entry, its body without secrets, its digest."""

    target: str
    account: str
    entry: FleetEntry
    kept: bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class Story:
    """All that the journal knows of a number; requests are oldest first."""

    number: int
    tellings: tuple[Telling, ...]
    now: tuple[Now, ...]


def story(journal: Journal, number: int) -> Story:
    """The story of a number, given as its E.164 digits."""
    runs = {run.id: run for run in journal.runs()}
    chapters = journal.history(number)
    tellings = [Telling(runs[chapter.run_id], chapter, _changes(journal, chapter)) for chapter in chapters]
    tellings.sort(key=lambda telling: telling.at)
    places = dict.fromkeys((telling.run.target, telling.run.account) for telling in tellings)
    now = [one for target, account in places for one in _now(journal, number, target, account)]
    return Story(number, tuple(tellings), tuple(now))


def _changes(journal: Journal, chapter: Chapter) -> tuple[FieldChange, ...]:
    if not chapter.is_touched:
        return ()
    before = {} if chapter.before_id is None else orjson.loads(journal.kept(chapter.before_id))
    return field_changes(before, orjson.loads(journal.kept(chapter.payload_id)))


def _now(journal: Journal, number: int, target: str, account: str) -> Iterator[Now]:
    sha256s = journal.applied(target, account).sha256s
    for entry in journal.fleet(target, account):
        if entry.number == number:
            yield Now(target, account, entry, journal.kept(entry.payload_id), sha256s[entry.payload_id])


# --- for people ---------------------------------------------------------------------------------


def story_text(story: Story) -> Iterator[str]:
    """The story, newest last, and then what is in force; runs that skipped the number are told together."""
    yield f"+{story.number}"
    for is_skipped, tellings in groupby(story.tellings, key=_is_skipped):
        together = list(tellings)
        yield ""
        if is_skipped:
            runs = list(dict.fromkeys(telling.run.id for telling in together))
            whose = f"run {runs[0]}" if len(runs) == 1 else f"{len(runs):,} runs, {runs[0]} to {runs[-1]}"
            yield f"nothing was sent by {whose}: unchanged, or a duplicate"
        else:
            yield from _paragraphs(together)
    for now in story.now:
        yield ""
        yield from _now_text(now)


def _is_skipped(telling: Telling) -> bool:
    return telling.chapter.result.state is RequestState.SKIPPED


def _paragraphs(tellings: list[Telling]) -> Iterator[str]:
    for at, telling in enumerate(tellings):
        if at:
            yield ""
        yield from _telling_text(telling)


def _telling_text(telling: Telling) -> Iterator[str]:
    run, chapter = telling.run, telling.chapter
    result = chapter.result
    place = f"{run.sheets[result.sheet_id].name}:{result.row}"
    where = f"{run.target}, account {run.account}" if run.account else run.target
    what = f"{DIRECTIONS[result.direction]} {result.template}: {result.state.value}"
    yield printable(f"{utc(telling.at)} {what}, in run {run.id} ({place}) to {where}")
    if run.rolls_back is not None:
        yield f"  takes back run {run.rolls_back}"
    yield f"  payload {result.payload_sha256}"
    for attempt in chapter.attempts:
        yield f"  {_attempt_text(attempt)}"
    if not chapter.is_touched:
        return
    yield from (f"  {change_text(change)}" for change in telling.changes)
    if not telling.changes:
        yield "  it was in force already"
    if chapter.before_doubt:
        yield f"  before, {_in_doubt(chapter.before_doubt)}"


def _attempt_text(attempt: AttemptRow) -> str:
    answer = f"HTTP {attempt.http_status}" if attempt.http_status is not None else "no answer"
    said = " ".join(part for part in (attempt.error_code, attempt.message) if part)
    took = f"{round(attempt.duration_s * 1000)} ms"
    text = f"attempt {attempt.send} at {utc(attempt.sent_at)}: {attempt.verdict}, {answer}, {took}"
    return printable(f"{text}: {said}" if said else text)


def _now_text(now: Now) -> Iterator[str]:
    entry = now.entry
    where = f"{now.target}, account {now.account}" if now.account else now.target
    yield printable(
        f"In force now: {DIRECTIONS[entry.direction]} at {where}, by {entry.template}, "
        f"since {utc(entry.at)} (run {entry.run_id})"
    )
    yield from (
        f"  {printable(path)}: {value_text(value)}" for path, value in fields_of(orjson.loads(now.kept))
    )
    if entry.doubt:
        yield f"  {_in_doubt(entry.doubt)}"


def _in_doubt(doubt: Blocks) -> str:
    return f"the last send of {' and '.join(doubt)} may not have been applied"


# --- for scripts --------------------------------------------------------------------------------


def story_json(story: Story) -> dict[str, object]:
    """The story as JSON values. Field names are stable.

    - `phone_number`
    - `requests`, oldest first: `run`, `run_state`, `takes_back` (a run, or null), `target`, `account`,
      `sheet`, `row`, `direction`, `template`, `state`, `unchanged_since` (a run, or null), `payload_sha256`,
      `attempts` (as in `results.jsonl`), `changes` (`path`, and `from` and `to` where the field is set; null
      if nothing was changed), `in_doubt_before` (blocks)
    - `in_force`: `target`, `account`, and what `sipbatch fleet --json` says
    """
    return {
        "phone_number": f"+{story.number}",
        "requests": [_telling_json(telling) for telling in story.tellings],
        "in_force": [
            {"target": now.target, "account": now.account, **entry_json(now.entry, now.kept, now.sha256)}
            for now in story.now
        ],
    }


def _telling_json(telling: Telling) -> dict[str, object]:
    run, chapter = telling.run, telling.chapter
    result = chapter.result
    return {
        "run": run.id,
        "run_state": run.state.value,
        "takes_back": run.rolls_back,
        "target": run.target,
        "account": run.account,
        "sheet": run.sheets[result.sheet_id].name,
        "row": result.row,
        "direction": DIRECTIONS[result.direction],
        "template": result.template,
        "state": result.state.value,
        "unchanged_since": result.unchanged_since,
        "payload_sha256": result.payload_sha256,
        "attempts": [_attempt_json(attempt) for attempt in chapter.attempts],
        "changes": [change.as_json() for change in telling.changes] if chapter.is_touched else None,
        "in_doubt_before": list(chapter.before_doubt),
    }


def _attempt_json(attempt: AttemptRow) -> dict[str, object]:
    return {
        "send": attempt.send,
        "sent_at": utc(attempt.sent_at),
        "duration_ms": round(attempt.duration_s * 1000, 3),
        "verdict": attempt.verdict,
        "http_status": attempt.http_status,
        "error_code": attempt.error_code,
        "message": attempt.message,
        "request_id": attempt.request_id,
    }
