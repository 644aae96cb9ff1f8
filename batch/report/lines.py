"""The report's lines, one a request and one a reject, in sheet order: what every table of it shows.

Results, rejects and the sheets' own cells come out of the journal as three streams in the same order
and are merged here, so that a report of a million lines is made in constant memory.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from batch.errors import JournalError
from batch.guard import guard, guard_all
from batch.journal.protocol import Journal, ResultRow, RunRecord
from batch.journal.verification import Verification
from batch.plans import DIRECTIONS, CellChunk, Reject, SheetPin
from batch.report.advice import after_reject, next_action
from batch.sheets.columns import RESULT_COLUMNS, VERIFIED_COLUMNS, fold
from batch.states import RequestState
from batch.timestamps import utc

#: `result_state` of a row that could not become a request.
REJECTED = "rejected"

#: What to do about a journal that contradicts itself.
NOT_TRUSTED = (
    "The counts do not add up, so the report was left as it was. Keep a copy of the workspace, and tell the"
    " maintainers: this is a fault of sipbatch or of the disk"
)

_NUMBER_TO = "phone_number_to"


class Line(NamedTuple):
    """One line of the report; exactly one of `result` and `reject` is there.

    `cells` are text, one for each column of the header, and safe to put into any sheet.
    """

    cells: list[str]
    result: ResultRow | None
    reject: Reject | None
    verification: Verification | None = None


class Lines:
    """All lines of a run's report, to be gone through once, and the header above them.

    After the last line `rows` says how many rows of each sheet were told of. `JournalError` if the
    streams do not fit together, or a row of a sheet is in none of them.
    """

    def __init__(self, journal: Journal, run: RunRecord) -> None:
        chunks = journal.cells(run.id)
        first = next(chunks, None)
        self._journal = journal
        self._run = run
        self._union = _Union.of(run.sheets, with_cells=first is not None)
        self._rows = _Rows(first, chunks, self._union, is_whole=run.parent is None)
        self._names = [guard(printable(sheet.name)) for sheet in run.sheets]
        self._run_cell = guard(run.id)
        self._is_taken_back = run.rolls_back is not None
        self._places = _Places()
        self._verifications = journal.verifications(run.id)
        self._verification = next(self._verifications, None)
        self._verified_columns = () if self._verification is None else VERIFIED_COLUMNS
        self.header: tuple[str, ...] = (*self._union.header, *RESULT_COLUMNS, *self._verified_columns)
        self.rows = [0] * len(run.sheets)

    def __iter__(self) -> Iterator[Line]:
        rejects = self._journal.rejects(self._run.id)
        reject = next(rejects, None)
        for result in self._journal.results(self._run.id):
            while reject is not None and (reject.sheet_id, reject.row) < (result.sheet_id, result.row):
                yield self._of_reject(reject)
                reject = next(rejects, None)
            yield self._of_result(result)
        while reject is not None:
            yield self._of_reject(reject)
            reject = next(rejects, None)
        self._rows.finish()

    def _of_result(self, result: ResultRow) -> Line:
        # Taken apart at once: this is done for every request, and looking fields up by name takes longer.
        (seq, sheet_id, row, number, direction, template, state, attempts, _, http_status) = result[:10]
        (error_code, error, first_at, last_at, duration_s, request_id, sha256, note, _, _, since) = result[
            10:
        ]
        if self._rows.seek(sheet_id, row):
            self.rows[sheet_id] += 1
        shape = self._union.shapes[sheet_id]
        cells = self._rows.cells()
        phone_number = f"+{number}"
        if note:
            note = note.replace("{was}", self._rows.number_cell()).replace("{number}", phone_number)
        cells[shape.number] = phone_number
        cells[shape.direction] = DIRECTIONS[direction]
        cells[shape.template] = guard(template)
        if shape.number_to is not None:
            cells[shape.number_to] = ""
        self._places.add(seq, sheet_id, row)
        is_well = state is RequestState.SUCCEEDED or state is RequestState.SKIPPED
        if state is RequestState.SKIPPED:
            note = self._skipped(result, note)
        first = "" if first_at is None else utc(first_at)
        last = first if last_at == first_at else "" if last_at is None else utc(last_at)
        cells += (
            state.value,
            str(attempts),
            "" if http_status is None else str(http_status),
            "" if is_well or not error_code else _text(error_code),
            "" if is_well or not error else _text(error),
            f"nothing: unchanged since {since}"
            if since is not None
            else "nothing"
            if is_well
            else next_action(state, http_status, error_code, is_taken_back=self._is_taken_back),
            first,
            last,
            "" if duration_s is None else str(round(duration_s * 1000)),
            _text(request_id) if request_id else "",
            sha256,
            _text(note) if note else "",
            self._names[sheet_id],
            str(row),
            self._run_cell,
        )
        if not self._verified_columns:
            return Line(cells, result, None)
        verification = self._verification_of(seq)
        cells += ("", "") if verification is None else (verification.proof, _text(verification.in_words))
        return Line(cells, result, None, verification)

    def _verification_of(self, seq: int) -> Verification | None:
        """What reading back said of a request; they come in the order of the requests."""
        while self._verification is not None and self._verification.seq < seq:
            self._verification = next(self._verifications, None)
        found = self._verification
        return found if found is not None and found.seq == seq else None

    def _of_reject(self, reject: Reject) -> Line:
        if self._rows.seek(reject.sheet_id, reject.row):
            self.rows[reject.sheet_id] += 1
        cells = self._rows.cells()
        problems = reject.problems
        cells += (
            REJECTED,
            "0",
            "",
            _text("; ".join(dict.fromkeys(problem.kind for problem in problems))),
            _text("; ".join(f"{p.column}: {p.message}" if p.column else p.message for p in problems)),
            _text(after_reject(problems)),
            "",
            "",
            "",
            "",
            "",
            "",
            self._names[reject.sheet_id],
            str(reject.row),
            self._run_cell,
            *([""] * len(self._verified_columns)),
        )
        return Line(cells, None, reject)

    def _skipped(self, result: ResultRow, note: str) -> str:
        """Why a request was skipped, before what was mended in its row."""
        if result.duplicate_of is None:
            why = f"unchanged: in force since run {result.unchanged_since}"
            return f"{why}; {note}" if note else why
        why = "duplicate of an earlier row"
        place = self._places.of(result.duplicate_of)
        if place is not None:
            sheet_id, row = place
            other = f"{self._run.sheets[sheet_id].name}:" if sheet_id != result.sheet_id else ""
            why = f"duplicate of row {other}{row}"
        return f"{why}; {note}" if note else why


def printable(text: str) -> str:
    """Text on one line without control characters: each is written as Python would escape it."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _text(text: str) -> str:
    return guard(printable(text))


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where one sheet's columns stand in the report."""

    positions: tuple[int, ...]
    number: int
    direction: int
    template: int
    number_to: int | None
    own_number: int  #: the number's column in the sheet itself


@dataclass(frozen=True, slots=True)
class _Union:
    """The columns of all sheets in order of appearance; a name that several have is one column."""

    header: tuple[str, ...]
    shapes: tuple[_Shape, ...]

    @classmethod
    def of(cls, sheets: Sequence[SheetPin], *, with_cells: bool) -> _Union:
        """Names are the same if templates would take them for the same.

        Without cells, only the columns that are expanded are left.
        """
        places: dict[tuple[str, bool, int], int] = {}
        header: list[str] = []
        shapes: list[_Shape] = []
        for sheet in sheets:
            words = [sheet.number_column, sheet.direction_column, sheet.template_column]
            own = list(range(len(sheet.header))) if with_cells else words.copy()
            if _NUMBER_TO in sheet.header:
                words.append(sheet.header.index(_NUMBER_TO))
            seen: Counter[tuple[str, bool]] = Counter()
            positions: dict[int, int] = {}
            for column in own:
                # A variable may be called like a word ("Template" beside `--map template=...`), and a
                # second column of one name stays the second: no cell is lost to another.
                name = (fold(sheet.header[column]), column in words)
                key = (*name, seen[name])
                seen[name] += 1
                if key not in places:
                    places[key] = len(header)
                    header.append(guard(sheet.header[column]))
                positions[column] = places[key]
            shapes.append(
                _Shape(
                    positions=tuple(positions.values()) if with_cells else (),
                    number=positions[sheet.number_column],
                    direction=positions[sheet.direction_column],
                    template=positions[sheet.template_column],
                    number_to=positions.get(words[3]) if len(words) > 3 else None,
                    own_number=sheet.number_column,
                )
            )
        return cls(tuple(header), tuple(shapes))


class _Places:
    """The sheet and row of each request, by stretches: most are of the row after that of the one before."""

    def __init__(self) -> None:
        self._firsts = array("q")
        self._ends = array("q")
        self._shifts = array("q")

    def add(self, seq: int, sheet_id: int, row: int) -> None:
        """A request, after all that have a lower seq."""
        shift = (sheet_id << 32 | row) - seq
        if not self._ends or self._ends[-1] != seq or self._shifts[-1] != shift:
            self._firsts.append(seq)
            self._shifts.append(shift)
            self._ends.append(seq)
        self._ends[-1] += 1

    def of(self, seq: int) -> tuple[int, int] | None:
        """The sheet and row of a request, or None if it was not added."""
        at = bisect_right(self._firsts, seq) - 1
        if at < 0 or seq >= self._ends[at]:
            return None
        place = self._shifts[at] + seq
        return place >> 32, place & 0xFFFFFFFF


class _Rows:
    """The sheets' own cells, gone through forward, row by row."""

    def __init__(
        self, first: CellChunk | None, chunks: Iterator[CellChunk], union: _Union, *, is_whole: bool
    ) -> None:
        self._chunk = first
        self._chunks = chunks
        self._union = union
        self._is_whole = is_whole
        self._sheet_id = self._row = -1
        self._rows: list[int] = []
        self._next = 0
        self._columns: list[list[str]] = []
        self._guarded: list[tuple[str, ...]] | None = None
        self._index: int | None = None
        self._blank = [""] * len(union.header)
        if first is not None:
            self._rows, self._columns = first.unpack()

    def seek(self, sheet_id: int, row: int) -> bool:
        """Go to a row; whether it is another one than before."""
        if row == self._row and sheet_id == self._sheet_id:
            return False
        place = (sheet_id, row)
        if place < (self._sheet_id, self._row):
            raise JournalError(
                f"the journal gives row {row} of sheet {sheet_id + 1} after row {self._row} of sheet"
                f" {self._sheet_id + 1}. {NOT_TRUSTED}"
            )
        self._sheet_id, self._row = place
        self._index = None
        while self._chunk is not None and self._chunk.sheet_id <= sheet_id:
            while self._next < len(self._rows):
                here = (self._chunk.sheet_id, self._rows[self._next])
                if here > place:
                    return True
                self._next += 1
                if here == place:
                    self._index = self._next - 1
                    return True
                self._passed_over(here)
            self._load()
        return True

    def cells(self) -> list[str]:
        """The guarded cells of the row under the report's columns; blank ones where they were not kept."""
        if self._index is None or self._chunk is None:
            return self._blank.copy()
        if self._guarded is None:
            positions = self._union.shapes[self._chunk.sheet_id].positions
            columns: list[Sequence[str]] = [[""] * len(self._rows)] * len(self._blank)
            for position, column in zip(positions, self._columns, strict=True):
                columns[position] = guard_all(column)
            self._guarded = list(zip(*columns, strict=True))
        return list(self._guarded[self._index])

    def number_cell(self) -> str:
        """What the row's number column held before anything was mended."""
        if self._index is None or self._chunk is None:
            return "another form"
        return self._columns[self._union.shapes[self._chunk.sheet_id].own_number][self._index]

    def finish(self) -> None:
        """Make sure that no row is left over."""
        while self._is_whole and self._chunk is not None:
            if self._next < len(self._rows):
                self._passed_over((self._chunk.sheet_id, self._rows[self._next]))
            self._load()

    def _load(self) -> None:
        self._chunk = next(self._chunks, None)
        self._next = 0
        self._guarded = None
        self._rows, self._columns = self._chunk.unpack() if self._chunk is not None else ([], [])

    def _passed_over(self, place: tuple[int, int]) -> None:
        if self._is_whole:
            raise JournalError(
                f"row {place[1]} of sheet {place[0] + 1} is in the journal with neither a request nor a"
                f" reject. {NOT_TRUSTED}"
            )
