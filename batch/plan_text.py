"""A plan as an operator reads it, as JSON for scripts, and its rejects as a sheet to mend."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import orjson

from batch.errors import ReportError
from batch.fleet.comparison import Comparison, Difference
from batch.fleet.diff_text import counts_json, counts_text
from batch.guard import guard_all
from batch.planning import counts, expected_duration_s, first_requests
from batch.plans import DIRECTIONS, Plan, SheetPin
from batch.sealing import Seal, discreet

#: The version of what `to_json` returns. Fields are added under the same version; one that changes its
#: meaning, or goes, makes a new one.
JSON_SCHEMA = "sipbatch.plan/1"

#: How many pairs of repeated rows the text names; the JSON has all.
_REPEATS_SHOWN = 10


#: So many rejected rows can be taken in at a glance; more are also counted by cause.
_FEW = 10


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of a plan beyond the sheets.

    `comparison` is the plan beside what is in force (None: there is no journal), and `changes` tell in a few
    lines which fields change. `rates` are counts and the seconds that each is for; `rate_text` is how the
    operator writes them; `course` tells of waves and windows. `command` is the one that runs this plan;
    `rejects_path` is where its rejects were written.
    """

    target: str = ""
    comparison: Comparison | None = None
    changes: tuple[str, ...] = ()
    rates: tuple[tuple[float, float], ...] = ()
    rate_text: str = ""
    course: tuple[str, ...] = ()
    command: str = "sipbatch run SHEET"
    rejects_path: Path | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """A row, some or all of whose requests are skipped because an earlier row has them."""

    sheet_id: int
    row: int
    of_sheet_id: int
    of_row: int
    requests: int


def repeats(plan: Plan) -> list[Repeat]:
    """Every pair of a row and an earlier one that it repeats, in sheet order."""
    later = np.flatnonzero(plan.duplicate_of >= 0)
    earlier = plan.duplicate_of[later]
    sides = np.stack(
        [plan.sheet_ids[later], plan.rows[later], plan.sheet_ids[earlier], plan.rows[earlier]], axis=1
    )
    pairs, sizes = np.unique(sides, axis=0, return_counts=True)
    return [
        Repeat(sheet_id, row, of_sheet_id, of_row, size)
        for (sheet_id, row, of_sheet_id, of_row), size in zip(pairs.tolist(), sizes.tolist(), strict=True)
    ]


def request_body(plan: Plan, at: int) -> dict[str, object]:
    """The body of one request as it is sent: number and direction, then the config blocks.

    Only secrets are masked: the parts of a URL that open a webhook, and `${env:NAME}` stands for its value.
    """
    seal = Seal()
    seal.learn(plan.environment)
    blocks: dict[str, object] = orjson.loads(seal.sealed(plan.payloads[plan.payload_ids[at]].body))
    shown = {name: discreet(block) for name, block in blocks.items()}
    return {"phone_number": f"+{plan.numbers[at]}", "direction": DIRECTIONS[plan.directions[at]], **shown}


def duration_text(seconds: float) -> str:
    """About how long, for people: `40 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def render_text(plan: Plan, outlook: Outlook | None = None) -> str:
    """The plan for the person who decides whether to run it; ends with what to do next.

    Every rejected row is there, a line a problem, as `numbers.csv:7 phone_number: ...`. Characters that
    would move a terminal's cursor or reorder its text are written as escapes.
    """
    return "\n".join(_plain(line) for line in _lines(plan, outlook or Outlook())) + "\n"


def _lines(plan: Plan, outlook: Outlook) -> Iterator[str]:
    yield from _sheets(plan)
    yield ""
    if plan.request_count:
        yield from _table(
            ("template", "direction", "requests", "skipped", "payloads"),
            [(t.template, t.direction, t.requests, t.skipped, t.payloads) for t in counts(plan)],
        )
        yield ""
        yield "The first request of each:"
        for at in first_requests(plan):
            template = plan.templates[plan.template_ids[at]]
            place = plan.place(int(plan.sheet_ids[at]), int(plan.rows[at]))
            yield ""
            yield f"{place} {template} {DIRECTIONS[plan.directions[at]]}"
            body = orjson.dumps(request_body(plan, at), option=orjson.OPT_INDENT_2).decode()
            yield from body.split("\n")
        yield ""
    if plan.warnings:
        yield "Warnings:"
        yield from (f"  {plan.warning(warned)}" for warned in plan.warnings)
        yield ""
    if plan.skipped_count:
        yield from _skipped(plan)
        yield ""
    if plan.rejects:
        yield f"{_count(len(plan.rejects), 'row')} rejected:"
        for reject in plan.rejects:
            place = plan.place(reject.sheet_id, reject.row)
            for problem in reject.problems:
                yield (
                    f"{place} {problem.column}: {problem.message}"
                    if problem.column
                    else (f"{place}: {problem.message}")
                )
        if len(plan.rejects) > _FEW:
            yield from _causes(plan)
        yield ""
    yield from _what_next(plan, outlook)


def _sheets(plan: Plan) -> Iterator[str]:
    for sheet_id, (pin, requests, rejected) in enumerate(_by_sheet(plan)):
        skipped = np.count_nonzero(plan.duplicate_of[plan.sheet_ids == sheet_id] >= 0)
        line = f"{pin.name}: {_count(pin.row_count, 'row')}, {_count(requests, 'request')}"
        line += f", {skipped:,} of them skipped" if skipped else ""
        yield line + (f", {_count(rejected, 'row')} rejected" if rejected else "")


def _by_sheet(plan: Plan) -> Iterator[tuple[SheetPin, int, int]]:
    requests = np.bincount(plan.sheet_ids, minlength=len(plan.sheets)).tolist()
    rejects = Counter(reject.sheet_id for reject in plan.rejects)
    for sheet_id, pin in enumerate(plan.sheets):
        yield pin, requests[sheet_id], rejects[sheet_id]


def _table(header: Sequence[str], rows: Sequence[Sequence[str | int]]) -> Iterator[str]:
    """Columns under their header: text to the left, counts to the right."""
    cells = [
        header,
        *([f"{cell:,}" if isinstance(cell, int) else _plain(cell) for cell in row] for row in rows),
    ]
    widths = [max(len(row[at]) for row in cells) for at in range(len(header))]
    for row in cells:
        yield "  ".join(
            cell.rjust(width) if isinstance(value, int) else cell.ljust(width)
            for cell, width, value in zip(row, widths, rows[0], strict=True)
        ).rstrip()


def _skipped(plan: Plan) -> Iterator[str]:
    pairs = repeats(plan)
    yield f"Skipped, because an earlier row has the same request: {_count(plan.skipped_count, 'request')}"
    for pair in pairs[:_REPEATS_SHOWN]:
        of = plan.place(pair.of_sheet_id, pair.of_row)
        yield f"  {plan.place(pair.sheet_id, pair.row)} repeats {of} ({_count(pair.requests, 'request')})"
    if len(pairs) > _REPEATS_SHOWN:
        yield f"  and {len(pairs) - _REPEATS_SHOWN:,} more; --json lists all"


def _causes(plan: Plan) -> Iterator[str]:
    rows = Counter(kind for reject in plan.rejects for kind in {problem.kind for problem in reject.problems})
    common = [f"{kind} {count:,}" for kind, count in rows.most_common(_FEW) if count > 1]
    if common:
        yield f"The most common causes, in rows: {', '.join(common)}"


def _what_next(plan: Plan, outlook: Outlook) -> Iterator[str]:
    to_send = plan.to_send_count
    where = f" to {outlook.target}" if outlook.target else ""
    if not to_send:
        yield "Nothing to send."
    else:
        yield f"A run sends {_count(to_send, 'request')}{where}."
        if outlook.comparison is not None:
            yield f"Beside what is in force, by the journal: {counts_text(outlook.comparison)}."
            yield from (f"  {line}" for line in outlook.changes)
        if outlook.rates:
            takes = duration_text(expected_duration_s(to_send, outlook.rates))
            yield f"At {outlook.rate_text} that takes about {takes}."
        yield from outlook.course
        yield f"Plan digest: {plan.digest}"
    if plan.rejects:
        rejected = _count(len(plan.rejects), "rejected row")
        if outlook.rejects_path is not None:
            yield f"Next: mend the {rejected} in {outlook.rejects_path} and plan that sheet."
        else:
            yield f"Next: mend the {rejected} and plan again (--rejects FILE.csv writes them as a sheet)."
        if to_send:
            yield f"Or run without them: {outlook.command} --skip-rejects --plan-digest {plan.digest}"
    elif to_send and outlook.comparison is not None and not outlook.comparison.to_send_count:
        yield "Next: nothing; all of it is in force. Sending it once more would be:"
        yield f"{outlook.command} --plan-digest {plan.digest}"
    elif to_send:
        yield f"Next: {outlook.command} --plan-digest {plan.digest}"
        if outlook.comparison is not None and outlook.comparison.count(Difference.UNCHANGED):
            reconcile = outlook.command.replace("sipbatch run", "sipbatch reconcile", 1)
            yield f"Or send only what differs: {reconcile} --plan-digest {plan.digest}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


#: Controls, and the marks that reorder or hide text; a JSON body has its own escapes for the first 32.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def _plain(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def to_json(plan: Plan, outlook: Outlook | None = None) -> dict[str, object]:
    """The plan as JSON values. Field names are stable; `schema` is the version of them.

    - `schema`, `digest`, `target`
    - `counts`: `rows`, `requests`, `to_send`, `skipped`, `rejected` (rows), `unchanged` (of those to send,
      in force as they are; null if there is no journal), `expected_duration_s` (null without a rate)
    - `differences`: how many requests are `new`, `changed`, `in_doubt`, `unchanged`, and how many known keys
      are `missing` from the sheets, or in rows that are `rejected`; null if there is no journal
    - `sheets`: `name`, `path`, `sha256`, `rows`, `requests`, `rejected`
    - `templates`: `name`, `direction`, `requests`, `skipped`, `payloads`
    - `template_digests`: SHA-256 by template, bases included
    - `first_requests`: `sheet`, `row`, `template`, `direction`, `payload_sha256`, `body` as it is sent
    - `warnings`: `kind`, `count`, and of an example `sheet`, `row`, `column`, `message`
    - `skipped`: `sheet`, `row`, `repeats_sheet`, `repeats_row`, `requests`
    - `rejects`: `sheet`, `row`, `problems`: `column` (empty: the whole row), `message`, `kind`
    """
    outlook = outlook or Outlook()
    name = [pin.name for pin in plan.sheets]
    return {
        "schema": JSON_SCHEMA,
        "digest": plan.digest,
        "target": outlook.target,
        "counts": {
            "rows": sum(pin.row_count for pin in plan.sheets),
            "requests": plan.request_count,
            "to_send": plan.to_send_count,
            "skipped": plan.skipped_count,
            "rejected": len(plan.rejects),
            "unchanged": None
            if outlook.comparison is None
            else outlook.comparison.count(Difference.UNCHANGED),
            "expected_duration_s": expected_duration_s(plan.to_send_count, outlook.rates)
            if outlook.rates
            else None,
        },
        "differences": None if outlook.comparison is None else counts_json(outlook.comparison),
        "sheets": [
            {
                "name": pin.name,
                "path": pin.path,
                "sha256": pin.sha256,
                "rows": pin.row_count,
                "requests": requests,
                "rejected": rejected,
            }
            for pin, requests, rejected in _by_sheet(plan)
        ],
        "templates": [
            {
                "name": t.template,
                "direction": t.direction,
                "requests": t.requests,
                "skipped": t.skipped,
                "payloads": t.payloads,
            }
            for t in counts(plan)
        ],
        "template_digests": dict(plan.template_digests),
        "first_requests": [
            {
                "sheet": name[plan.sheet_ids[at]],
                "row": int(plan.rows[at]),
                "template": plan.templates[plan.template_ids[at]],
                "direction": DIRECTIONS[plan.directions[at]],
                "payload_sha256": plan.payloads[plan.payload_ids[at]].sha256,
                "body": request_body(plan, at),
            }
            for at in first_requests(plan)
        ],
        "warnings": [
            {
                "kind": warned.kind,
                "count": warned.count,
                "sheet": name[warned.sheet_id],
                "row": warned.row,
                "column": warned.column,
                "message": warned.message,
            }
            for warned in plan.warnings
        ],
        "skipped": [
            {
                "sheet": name[pair.sheet_id],
                "row": pair.row,
                "repeats_sheet": name[pair.of_sheet_id],
                "repeats_row": pair.of_row,
                "requests": pair.requests,
            }
            for pair in repeats(plan)
        ],
        "rejects": [
            {
                "sheet": name[reject.sheet_id],
                "row": reject.row,
                "problems": [
                    {"column": problem.column, "message": problem.message, "kind": problem.kind}
                    for problem in reject.problems
                ],
            }
            for reject in plan.rejects
        ],
    }


#: What `write_rejects` says of a row, behind the sheet's own columns; all are ignored when it is read.
_RESULT_COLUMNS = ("result_state", "result_error", "result_sheet", "result_row")


def write_rejects(plan: Plan, path: Path) -> None:
    """Write the rejected rows as a CSV to mend and plan again: the sheets' own columns, and what is wrong.

    The plan must have been made with `keep_cells`. Sheets with different columns share one header. The
    file appears whole or not at all; `ReportError` if it cannot be written.
    """
    columns = list(dict.fromkeys(column for pin in plan.sheets for column in _columns(pin)))
    part = path.with_name(f"{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        with open(
            part, "w", encoding="utf-8", errors="backslashreplace", newline="", opener=_privately
        ) as file:
            writer = csv.writer(_LineFeeds(file))
            writer.writerow([*guard_all(name for name, _ in columns), *_RESULT_COLUMNS])
            writer.writerows(guard_all(line) for line in _rejected_lines(plan, columns))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        reason = error.strerror or "the system does not say why"
        raise ReportError(
            f"{path}: the rejected rows cannot be written: {reason}. Nothing was sent."
        ) from None


def _privately(path: str, flags: int) -> int:
    """Open a file that only its owner can read: a sheet's cells may hold what opens a webhook."""
    return os.open(path, flags, 0o600)


class _LineFeeds:
    """Ends lines as `results.csv` does; the CSV writer is told CRLF, so that it quotes a lone CR."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        self._file.write(text[:-2] + "\n")


def _columns(pin: SheetPin) -> list[tuple[str, int]]:
    """Each column by its name and how many of that name stand before it: nameless ones may be several."""
    return [(name, pin.header[:at].count(name)) for at, name in enumerate(pin.header)]


def _rejected_lines(plan: Plan, columns: Sequence[tuple[str, int]]) -> Iterator[list[str]]:
    rejected = {(reject.sheet_id, reject.row): reject for reject in plan.rejects}
    for chunk in plan.cells:
        pin = plan.sheets[chunk.sheet_id]
        rows, cells = chunk.unpack()
        own = dict(zip(_columns(pin), cells, strict=True))
        for at, row in enumerate(rows):
            reject = rejected.get((chunk.sheet_id, row))
            if reject is not None:
                error = "; ".join(
                    f"{problem.column}: {problem.message}" if problem.column else problem.message
                    for problem in reject.problems
                )
                line = [own[column][at] if column in own else "" for column in columns]
                yield [*line, "rejected", _plain(error), pin.name, str(row)]
