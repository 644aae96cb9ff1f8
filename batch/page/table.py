"""The table of results in the page: which lines it holds, and how they are packed to keep the file small.

Up to `MOST_LINES` all are there; beyond, those that did not succeed, refused and rejected ones before
those not sent yet. What does not fit is cut, and the page says so: `results.csv` has everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from batch.guard import unguard
from batch.journal.protocol import RunRecord
from batch.page.shares import country
from batch.plans import DIRECTIONS
from batch.report.causes import Cause, calling_code, shape
from batch.report.lines import REJECTED, Line, printable
from batch.sheets.columns import RESULT_COLUMNS, own_count
from batch.states import RequestState

#: The most lines that the table holds.
MOST_LINES = 10_000

#: The most bytes that the table takes up in the page, so that the whole of it stays below 3 MB.
MOST_BYTES = 2_400_000

#: The longest messages, in characters, of which the first that fits is taken.
_MESSAGE_LENGTHS = (400, 200, 120, 80, 40, 20)

#: The longest that any other text gets, and how many of the sheets' own columns are looked at.
_TEXT_LENGTH = 100
_MOST_OWN = 12

#: The words of a sheet that have a column of their own in the table.
_WORDS = ("phone_number", "direction", "template", "phone_number_to")

_URGENT = frozenset({RequestState.FAILED.value, RequestState.UNKNOWN.value, REJECTED})
_DONE = frozenset({RequestState.SUCCEEDED.value, RequestState.SKIPPED.value})

_ERROR_CODE = RESULT_COLUMNS.index("result_error_code")
_ERROR = RESULT_COLUMNS.index("result_error")
_ACTION = RESULT_COLUMNS.index("result_next_action")
_NOTE = RESULT_COLUMNS.index("result_note")
_STATUS = RESULT_COLUMNS.index("result_http_status")
_REQUEST_ID = RESULT_COLUMNS.index("result_request_id")
_STATE = RESULT_COLUMNS.index("result_state")

_CauseKey = tuple[str, int | None, str]


class _Kept(NamedTuple):
    """What the table shows of one line: `cause` is that of a failure, `problems` are a reject's, by kind."""

    place: int
    state: str
    number: int | str
    direction: str
    template: str
    attempts: int
    status: str
    code: str
    error: str
    action: str
    first_at: float | None
    last_at: float | None
    duration_s: float | None
    request_id: str
    note: str
    sheet_id: int
    row: int
    own: tuple[str, ...]
    cause: _CauseKey | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The table as JSON that may stand in a page, and what the page must say of it.

    `lines` of `wanted` are in it: of all lines of the report, `total`, or else of those that did not
    succeed. `cut_at` is the length at which messages were cut, if any were. `left_out` names columns of the
    sheets that did not fit.
    """

    json: str
    lines: int
    wanted: int
    total: int
    cut_at: int | None
    left_out: tuple[str, ...]

    @property
    def is_all(self) -> bool:
        """Whether every line of the report is in it."""
        return self.lines == self.total


class LineKeeper:
    """Keeps the lines that the table will hold; its memory is bounded, however many there are."""

    def __init__(self, header: Sequence[str], run: RunRecord, *, most: int = MOST_LINES) -> None:
        own = header[: own_count(header)]
        self._own_count = len(own)
        self._at = {word: own.index(word) for word in _WORDS if word in own}
        columns = [index for index in range(len(own)) if index not in self._at.values()]
        self._own = columns[:_MOST_OWN]
        self._too_many = tuple(_text(unguard(own[index])) for index in columns[_MOST_OWN:])
        self._names = tuple(_text(unguard(own[index])) for index in self._own)
        self._run = run
        self._most = most
        self._all: list[_Kept] | None = []
        self._urgent: list[_Kept] = []
        self._unfinished: list[_Kept] = []
        self._total = self._wanted = 0

    def add(self, line: Line) -> None:
        """Take in the next line of the report."""
        self._total += 1
        state = line.cells[self._own_count + _STATE]
        if self._all is not None and len(self._all) == self._most:
            whole, self._all = self._all, None
            self._urgent = [kept for kept in whole if kept.state in _URGENT]
            self._unfinished = [kept for kept in whole if kept.state not in _URGENT | _DONE]
        self._wanted += state not in _DONE
        if self._all is not None:
            self._all.append(self._kept(line, state))
        elif state in _DONE:
            return
        elif state in _URGENT:
            if len(self._urgent) < self._most:
                self._urgent.append(self._kept(line, state))
        elif len(self._unfinished) < self._most:
            self._unfinished.append(self._kept(line, state))

    def table(self, causes: Sequence[Cause]) -> Table:
        """The table of what was kept; `causes` are those of the run's failures."""
        if self._all is not None:
            lines, wanted = self._all, self._total
        else:
            room = max(0, self._most - len(self._urgent))
            lines = sorted([*self._urgent, *self._unfinished[:room]])
            wanted = self._wanted
        packer, length, text = self._fitting(lines, causes)
        is_cut = packer.is_cut
        columns = list(enumerate(self._names))
        if len(more := packer.packed(length, columns)) <= MOST_BYTES:
            text = more
        else:
            every, columns = columns, []
            for column in every:
                if len(more := packer.packed(length, [*columns, column])) <= MOST_BYTES:
                    text = more
                    columns.append(column)
        shown = {index for index, _ in columns}
        return Table(
            json=text,
            lines=packer.line_count,
            wanted=wanted,
            total=self._total,
            cut_at=length if is_cut else None,
            left_out=(
                *(name for index, name in enumerate(self._names) if index not in shown),
                *self._too_many,
            ),
        )

    def _fitting(self, lines: list[_Kept], causes: Sequence[Cause]) -> tuple[_Packer, int, str]:
        """The lines packed with messages as long as they can be; with fewer lines if nothing else helps."""
        while True:
            packer = _Packer(lines, self._run, causes)
            for length in _MESSAGE_LENGTHS:
                text = packer.packed(length, ())
                if len(text) <= MOST_BYTES:
                    return packer, length, text
            lines = lines[: len(lines) // 2]

    def _kept(self, line: Line, state: str) -> _Kept:
        cells, own = line.cells, self._own_count
        result, reject = line.result, line.reject
        cause: _CauseKey | None = None
        problems: tuple[str, ...] = ()
        if result is not None:
            number: int | str = result.number
            direction, template = DIRECTIONS[result.direction], result.template
            attempts, sheet_id, row = result.sends, result.sheet_id, result.row
            times = (result.first_sent_at, result.last_sent_at, result.duration_s)
            if state in _URGENT:
                cause = _cause_key(printable(result.error_code), result.http_status, shape(result.error))
        else:
            assert reject is not None
            number, direction, template = (
                _text(unguard(cells[self._at[word]])) if word in self._at else "" for word in _WORDS[:3]
            )
            attempts, sheet_id, row = 0, reject.sheet_id, reject.row
            times = (None, None, None)
            problems = tuple(dict.fromkeys(problem.kind for problem in reject.problems))
        return _Kept(
            self._total,
            state,
            number,
            direction,
            _text(template),
            attempts,
            cells[own + _STATUS],
            _text(unguard(cells[own + _ERROR_CODE])),
            unguard(cells[own + _ERROR])[: _MESSAGE_LENGTHS[0] + 1],
            _text(unguard(cells[own + _ACTION])),
            *times,
            _text(unguard(cells[own + _REQUEST_ID])),
            _text(unguard(cells[own + _NOTE]), 200),
            sheet_id,
            row,
            tuple(_text(unguard(cells[index])) for index in self._own),
            cause,
            problems,
        )


def _cause_key(code: str, http_status: int | None, message: str) -> _CauseKey:
    """What tells causes apart, as `batch.report.causes` groups them."""
    return code, None if code else http_status, message


def _text(text: str, length: int = _TEXT_LENGTH) -> str:
    # Cut before what is in it is looked at: a cell may be as long as it likes.
    return _cut(printable(text[: length + 1]), length)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


class _Words:
    """Texts that are written once and stood for by their index."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {}

    def of(self, text: str) -> int:
        return self.index.setdefault(text, len(self.index))


class _Packer:
    """Packs lines by column; texts that repeat are written once."""

    def __init__(self, lines: Sequence[_Kept], run: RunRecord, causes: Sequence[Cause]) -> None:
        self.is_cut = False
        self.line_count = len(lines)
        self._lines = lines
        self._sheets = [_text(sheet.name) for sheet in run.sheets]
        self._titles = [_text(cause.title, 160) for cause in causes]
        self._causes: dict[_CauseKey, int] = {}
        for index, cause in enumerate(causes):
            self._causes.setdefault(_cause_key(cause.error_code, cause.http_status, cause.message), index)
        starts = [line.first_at for line in lines if line.first_at is not None]
        self._base_ms = round(min(starts, default=0.0) * 1000)

    def packed(self, message_length: int, columns: Sequence[tuple[int, str]]) -> str:
        """The table as JSON; `columns` are indices and names of the sheets' own columns."""
        lines = self._lines
        self.is_cut = any(len(line.error) > message_length for line in lines)
        texts, templates, directions, countries = _Words(), _Words(), _Words(), _Words()
        texts.of("")
        states = [state.value for state in RequestState] + [REJECTED]
        kinds: dict[str, int] = {}
        data: dict[str, Any] = {
            "base": self._base_ms,
            "states": states,
            "sheets": self._sheets,
            "columns": [name for _, name in columns],
            "rows": {
                "state": [states.index(line.state) for line in lines],
                "number": [line.number for line in lines],
                "direction": [directions.of(line.direction) for line in lines],
                "template": [templates.of(line.template) for line in lines],
                "country": [countries.of(_country(line.number)) for line in lines],
                "cause": [list(self._why(line, kinds)) for line in lines],
                "sends": [line.attempts for line in lines],
                "status": [int(line.status) if line.status else 0 for line in lines],
                "code": [texts.of(line.code) for line in lines],
                "error": [texts.of(_cut(line.error, message_length)) for line in lines],
                "action": [texts.of(line.action) for line in lines],
                "last": [self._ms(line.last_at) for line in lines],
                "spread": [_spread_ms(line) for line in lines],
                "took": [
                    None if line.duration_s is None else round(line.duration_s * 1000) for line in lines
                ],
                "id": [texts.of(line.request_id) for line in lines],
                "note": [texts.of(line.note) for line in lines],
                "sheet": [line.sheet_id for line in lines],
                "row": [line.row for line in lines],
                "own": [[texts.of(line.own[index]) for line in lines] for index, _ in columns],
            },
        }
        data["directions"] = list(directions.index)
        data["templates"] = list(templates.index)
        data["countries"] = list(countries.index)
        data["texts"] = list(texts.index)
        data["causes"] = self._titles
        data["problems"] = [_text(kind) for kind in kinds]
        # What would end the element, or begin a comment in it, is written as JSON escapes it.
        raw = orjson.dumps(data).decode()
        return raw.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")

    def _why(self, line: _Kept, kinds: dict[str, int]) -> Iterator[int]:
        """The indices of a line's causes; those of rejects count on from those of failures."""
        for kind in line.problems:
            yield len(self._titles) + kinds.setdefault(kind, len(kinds))
        # Messages of too many kinds are one cause, which no key leads to: those lines are under none.
        if line.cause in self._causes:
            yield self._causes[line.cause]

    def _ms(self, at: float | None) -> int | None:
        return None if at is None else round(at * 1000) - self._base_ms


def _country(number: int | str) -> str:
    return country(calling_code(number)) if isinstance(number, int) else ""


def _spread_ms(line: _Kept) -> int:
    """Between the first and the last send."""
    if line.first_at is None or line.last_at is None:
        return 0
    return round(line.last_at * 1000) - round(line.first_at * 1000)
