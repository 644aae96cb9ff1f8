"""Rows of a sheet, checked in columns: what can become requests, what cannot, and how blocks expand."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from batch.errors import TemplateError
from batch.payload_store import PayloadStore
from batch.phone.evidence import HEADER_AGAIN
from batch.phone.forensics import kind_of_note
from batch.phone.reading import read_blocks
from batch.plans import Int32s, Int64s, Problem, Reject, UInt8s, Warned
from batch.schema import did_you_mean
from batch.sheets.chunks import Chunk, Sheet
from batch.sheets.columns import letter
from batch.templates.fillings import ChunkColumns, Fillings, Template, Templates
from batch.templates.typed_cells import shown

#: How a row's direction stands in arrays, beside 0 and 1, which index `DIRECTIONS`.
BOTH, _BLANK, _NONE = 2, 3, 4
_DIRECTION_CODES = {"inbound": 0, "outbound": 1, "both": BOTH, "": _BLANK}

#: What carriers call directions where the spelling is not near, by its letters.
_MEANT = {"in": "inbound", "out": "outbound", "inout": "both", "inboundoutbound": "both", "twoway": "both"}

T = TypeVar("T")

#: Distinct texts of a column that are remembered from one chunk to the next.
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class NumberRules:
    """How numbers are read; see `batch.planning.PlanOptions`."""

    region: str | None
    strict: bool
    full_validity: bool
    block_limit: int


class Rows(NamedTuple):
    """Rows that can become requests: parallel arrays, one element a row, in sheet order."""

    sheet_ids: Int32s
    rows: Int32s
    first: Int64s
    last: Int64s
    directions: UInt8s  #: 0, 1 or `BOTH`
    payload_ids: Int32s
    template_ids: Int32s
    note_ids: Int32s

    def where(self, keep: npt.NDArray[np.bool_]) -> Rows:
        """The rows for which `keep` is true."""
        return Rows._make(column[keep] for column in self)

    def widths(self) -> Int64s:
        """How many requests each row becomes."""
        widths: Int64s = (self.last - self.first + 1) << (self.directions == BOTH)
        return widths

    def expand(self) -> tuple[Int32s, Int64s, UInt8s]:
        """For each request its row's index here, its number and its direction.

        Requests are in the order of rows; within a row by number, inbound before outbound.
        """
        widths = self.widths()
        if (widths == 1).all():
            return np.arange(len(widths), dtype=np.int32), self.first, self.directions
        owners = np.repeat(np.arange(len(widths), dtype=np.int32), widths)
        steps = np.arange(len(owners), dtype=np.int64)
        steps -= np.repeat(np.cumsum(widths) - widths, widths)
        directions = self.directions[owners]
        both = directions == BOTH
        directions[both] = steps[both] & 1
        steps >>= both
        steps += self.first[owners]
        return owners, steps, directions


class GrowingRows:
    """Rows of one chunk after the other, in arrays that grow in place: they are never there twice."""

    def __init__(self) -> None:
        self._columns = [array(code) for code in "iiqqBiii"]

    def add(self, rows: Rows) -> None:
        """Append some rows."""
        for column, values in zip(self._columns, rows, strict=True):
            column.frombytes(np.ascontiguousarray(values, dtype=column.typecode).view(np.uint8).data)

    def all(self) -> Rows:
        """All rows, in the same memory: none may be added after."""
        return Rows._make(np.frombuffer(column, dtype=column.typecode) for column in self._columns)


class Names:
    """Distinct texts under small integers, in the order in which they were first met."""

    def __init__(self, *known: str) -> None:
        self.all = list(known)
        self._ids = {name: at for at, name in enumerate(known)}

    def id_of(self, name: str) -> int:
        """The place of a name in `all`."""
        known = self._ids.setdefault(name, len(self.all))
        if known == len(self.all):
            self.all.append(name)
        return known


class Tally:
    """Counts warnings by kind, keeping the first in sheet order as the example."""

    def __init__(self) -> None:
        self._by_kind: dict[str, Warned] = {}

    def add(self, problem: Problem, sheet_id: int, row: int, count: int = 1) -> None:
        """Count a warning that `count` rows have, `row` being the first of them."""
        known = self._by_kind.get(problem.kind)
        total = count + (known.count if known else 0)
        if known and (known.sheet_id, known.row) <= (sheet_id, row):
            sheet_id, row = known.sheet_id, known.row
            problem = Problem(known.column, known.message, known.kind)
        self._by_kind[problem.kind] = Warned(
            problem.kind, total, sheet_id, row, problem.column, problem.message
        )

    def all(self) -> tuple[Warned, ...]:
        """One for each kind, in the order in which the kinds were first met."""
        return tuple(self._by_kind.values())


class _Ref(NamedTuple):
    """What the text of a template cell means; `id` is -1 where it names no template that can be used."""

    id: int
    direction: int  #: 0, 1, `BOTH` or `_NONE`
    template: Template | None
    problem: Problem | None


class RowReader:
    """Turns chunks of sheets into rows that can become requests, and rejects."""

    def __init__(self, templates: Templates, rules: NumberRules) -> None:
        self.payloads = PayloadStore()
        self.templates = Names()
        self.notes = Names("")
        self.warnings = Tally()
        #: What the templates of the sheet that is being read call columns, by folded name.
        self.used_variables: dict[str, str] = {}
        self._folder = templates
        self._names = templates.names()  # now: a folder that is not there is one error, not one a row
        self._rules = rules
        self._fillings = Fillings(self.payloads)

    def start_sheet(self, sheet: Sheet, sheet_id: int) -> None:
        """Take the columns of the next sheet."""
        self._sheet, self._sheet_id = sheet, sheet_id
        self._nameless = [at for at in sheet.columns.ignored if not sheet.header[at].strip()]
        self._fillings.start_sheet(sheet.columns, sheet.header)
        self._refs: dict[str, _Ref] = {}
        self._directions: dict[str, tuple[int, Problem | None]] = {}
        self.used_variables = {}

    def read(self, chunk: Chunk) -> tuple[Rows, list[Reject]]:
        """The rows of one chunk, each either among the rows or among the rejects, in sheet order."""
        count = len(chunk.rows)
        columns = self._sheet.columns
        found = _Problems(chunk.problems)

        to_cells = None if columns.number_to is None else chunk.cells[columns.number_to]
        blocks = read_blocks(
            chunk.cells[columns.number],
            to_cells,
            column=self._sheet.header[columns.number],
            region=self._rules.region,
            strict=self._rules.strict,
            full_validity=self._rules.full_validity,
            numeric=chunk.numeric,
            limit=self._rules.block_limit,
        )
        found.add(blocks.problems)

        codes = ChunkColumns(chunk.cells)
        refs, ref_of = _by_text(codes, columns.template, count, self._refs, self._ref)
        sides, side_of = _by_text(codes, columns.direction, count, self._directions, self._direction)
        directions = np.array([code for code, _ in sides], dtype=np.uint8)[side_of]
        found.add_by_code([problem for _, problem in sides], side_of)
        blank = directions == _BLANK
        directions[blank] = np.array([ref.direction for ref in refs], dtype=np.uint8)[ref_of[blank]]
        for at in np.flatnonzero(directions == _NONE).tolist():
            ref = refs[ref_of[at]]
            if ref.template is not None and sides[side_of[at]][1] is None:
                found.add({at: (self._no_direction(ref.template.name),)})
        found.add_by_code([ref.problem for ref in refs], ref_of)

        payload_ids = np.full(count, -1, dtype=np.int32)
        for ref, members in zip(refs, _members(ref_of, len(refs)), strict=True):
            if ref.template is not None:
                self._fill(ref, codes, members, chunk, payload_ids, found)
        for at, doubts in chunk.warnings.items():
            for doubt in _one_a_kind(doubts):
                self.warnings.add(doubt, self._sheet_id, int(chunk.rows[at]))

        rejects = [
            Reject(self._sheet_id, int(chunk.rows[at]), problems, int(blocks.first[at]), int(blocks.last[at]))
            for at, problems in found.in_order()
        ]
        note_of = np.array([self.notes.id_of(kind) for kind in blocks.note_kinds], dtype=np.int32)
        rows = Rows(
            np.full(count, self._sheet_id, dtype=np.int32),
            chunk.rows.astype(np.int32),
            blocks.first,
            blocks.last,
            directions,
            payload_ids,
            np.array([ref.id for ref in refs], dtype=np.int32)[ref_of],
            note_of[blocks.notes],
        )
        if rejects:
            keep = np.ones(count, dtype=np.bool_)
            keep[found.rows()] = False
            rows = rows.where(keep)
        self._warn_of_mended(rows, chunk)
        self._warn_of_nameless(chunk)
        return rows, rejects

    def _warn_of_nameless(self, chunk: Chunk) -> None:
        """Count rows with a value where the header has none: a name that was lost changes what is sent."""
        for column in self._nameless:
            filled = [
                at for at, cell in enumerate(chunk.cells[column].tolist()) if cell and not cell.isspace()
            ]
            if filled:
                message = f"column {letter(column)} has values and no header: nothing is made of them"
                problem = Problem("", message, "columns.nameless")
                self.warnings.add(problem, self._sheet_id, int(chunk.rows[filled[0]]), len(filled))

    def _warn_of_mended(self, rows: Rows, chunk: Chunk) -> None:
        """Count mended cells: the report has a note on each, the plan says how many and shows one."""
        note_ids, first, counts = np.unique(rows.note_ids, return_index=True, return_counts=True)
        for note_id, at, count in zip(note_ids.tolist(), first.tolist(), counts.tolist(), strict=True):
            if not note_id:
                continue
            column, row = self._sheet.columns.number, int(rows.rows[at])
            was = str(chunk.cells[column][np.searchsorted(chunk.rows, row)])
            note = self.notes.all[note_id]
            message = note.replace("{number}", f"+{rows.first[at]}").replace("{was}", was)
            problem = Problem(self._header(column, ""), message, kind_of_note(note))
            self.warnings.add(problem, self._sheet_id, row, count)

    def _fill(
        self,
        ref: _Ref,
        codes: ChunkColumns,
        members: Int64s,
        chunk: Chunk,
        payload_ids: Int32s,
        found: _Problems,
    ) -> None:
        assert ref.template is not None
        self.used_variables |= ref.template.names
        filled = self._fillings.fill(ref.id, ref.template, codes, members)
        made = np.array([filling.payload_id for filling in filled.fillings], dtype=np.int32)
        payload_ids[members] = made[filled.which]
        if (made < 0).any():
            at = made[filled.which] < 0
            for row, which in zip(members[at].tolist(), filled.which[at].tolist(), strict=True):
                found.add({row: filled.fillings[which].problems})
        if any(filling.warnings for filling in filled.fillings):
            counts = np.bincount(filled.which, minlength=len(made)).tolist()
            for filling, count, first in zip(filled.fillings, counts, filled.first.tolist(), strict=True):
                for doubt in _one_a_kind(filling.warnings):
                    self.warnings.add(doubt, self._sheet_id, int(chunk.rows[first]), count)

    def _ref(self, text: str) -> _Ref:
        name = text.strip()
        if not name:
            column = self._header(self._sheet.columns.template, "template")
            known = ", ".join(self._names)
            message = f"is blank; name a template{f': {known}' if known else ''}"
            return _Ref(-1, _NONE, None, Problem(column, message, "template.missing"))
        try:
            template = self._folder.get(name)
        except TemplateError as error:
            column = self._header(self._sheet.columns.template, "template")
            return _Ref(-1, _NONE, None, Problem(column, str(error), "template.unusable"))
        direction = _DIRECTION_CODES[template.direction or ""]
        if direction == _BLANK:
            direction = _NONE
        return _Ref(self.templates.id_of(template.name), direction, template, None)

    def _direction(self, text: str) -> tuple[int, Problem | None]:
        code = _DIRECTION_CODES.get(text.strip().lower())
        if code is not None:
            return code, None
        meant = _MEANT.get("".join(filter(str.isalpha, text[:40].lower())))
        hint = did_you_mean(meant or text, ("inbound", "outbound", "both"))
        message = f"{shown(text)} is no direction: write inbound, outbound or both.{hint}"
        return _NONE, Problem(
            self._header(self._sheet.columns.direction, "direction"), message, "direction.unknown"
        )

    def _no_direction(self, template: str) -> Problem:
        return Problem(
            self._header(self._sheet.columns.direction, "direction"),
            f'is blank, and template "{template}" names none: write inbound, outbound or both',
            "direction.missing",
        )

    def _header(self, column: int | None, word: str) -> str:
        return word if column is None else self._sheet.header[column]


def _by_text(
    codes: ChunkColumns, column: int | None, count: int, remembered: dict[str, T], make: Callable[[str], T]
) -> tuple[list[T], Int64s]:
    """What each distinct text of a column means, and for every row which of them it has."""
    if column is None:
        texts, which = [""], np.zeros(count, dtype=np.int64)
    else:
        which, distinct = codes.codes(column)
        texts = distinct.tolist()
    if len(remembered) + len(texts) > _REMEMBERED:
        remembered.clear()
    for text in texts:
        if text not in remembered:
            remembered[text] = make(text)
    return [remembered[text] for text in texts], which


def _members(which: Int64s, count: int) -> list[Int64s]:
    """For each of `count` codes the rows that have it, in order."""
    if count == 1:
        return [np.arange(len(which), dtype=np.int64)]
    order = np.argsort(which, kind="stable").astype(np.int64, copy=False)
    return np.split(order, np.cumsum(np.bincount(which, minlength=count))[:-1])


def _one_a_kind(doubts: Iterable[Problem]) -> list[Problem]:
    return list({doubt.kind: doubt for doubt in reversed(list(doubts))}.values())


class _Problems:
    """What is wrong with each row of one chunk, in the order in which it was found."""

    def __init__(self, of_reading: Mapping[int, tuple[Problem, ...]]) -> None:
        self._by_row = {row: list(problems) for row, problems in of_reading.items()}
        # What the reader of the sheet says of a cell explains whatever else is wrong with it; a row
        # whose cells are not where they belong (no column named) has nothing else to be said of it, and
        # neither has the header once more, as joined files have it.
        self._said = {row: {p.column for p in problems} for row, problems in of_reading.items()}

    def add(self, problems: Mapping[int, tuple[Problem, ...]]) -> None:
        """Add to some rows, by row."""
        for row, more in problems.items():
            said = self._said.get(row, ())
            if "" not in said:
                self._by_row.setdefault(row, []).extend(p for p in more if p.column not in said)
                if any(problem.kind == HEADER_AGAIN for problem in more):
                    self._said[row] = {""}

    def add_by_code(self, problem_of: Sequence[Problem | None], which: Int64s) -> None:
        """Add to every row the problem of its code, where that has one."""
        wrong = np.array([problem is not None for problem in problem_of], dtype=np.bool_)
        if wrong.any():
            at = np.flatnonzero(wrong[which])
            for row, code in zip(at.tolist(), which[at].tolist(), strict=True):
                problem = problem_of[code]
                assert problem is not None
                self.add({row: (problem,)})

    def rows(self) -> list[int]:
        """The rows that have any, in order."""
        return sorted(self._by_row)

    def in_order(self) -> list[tuple[int, tuple[Problem, ...]]]:
        """Row and problems, by row."""
        return [(row, tuple(self._by_row[row])) for row in self.rows()]
