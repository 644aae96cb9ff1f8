"""Fills and validates each template once per distinct combination of what a row gives it.

Rows are never looped over: the columns that a template uses are turned into codes, the codes of a row
are combined into one, and only the distinct ones are filled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from batch.payload_store import PayloadStore
from batch.plans import Int64s, Payload, Problem
from batch.schema import Path, did_you_mean, dotted
from batch.sheets.columns import ColumnMap, fold

Objects = npt.NDArray[np.object_]

#: Fillings that are remembered from one chunk to the next, over all templates: what bounds memory
#: where every row is distinct and remembering helps nobody.
REMEMBERED = 20_000

#: Combined codes stay below this, so that multiplying them never overflows 64 bits.
_CODE_LIMIT = 2**62


class Filled(Protocol):
    """What filling a template made: a payload, or the problems that stopped it."""

    @property
    def payload(self) -> Payload | None: ...

    @property
    def problems(self) -> tuple[Problem, ...]: ...

    @property
    def warnings(self) -> tuple[Problem, ...]: ...


class Template(Protocol):
    """What planning asks of a template."""

    @property
    def name(self) -> str: ...

    @property
    def direction(self) -> str | None: ...

    @property
    def variables(self) -> frozenset[str]: ...

    @property
    def names(self) -> dict[str, str]: ...

    def fill(self, values: Mapping[str, str], overrides: Mapping[Path, str]) -> Filled: ...


class Templates(Protocol):
    """What planning asks of a folder of templates."""

    def names(self) -> tuple[str, ...]: ...

    def get(self, ref: str) -> Template: ...

    def digests(self) -> dict[str, str]: ...

    def environment(self) -> dict[str, str]: ...


class Filling(NamedTuple):
    """What one combination became: `payload_id` is the store's, or -1 and there are problems."""

    payload_id: int
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


class FilledRows(NamedTuple):
    """The fillings of some rows: row `i` of those asked for has `fillings[which[i]]`."""

    which: Int64s
    fillings: list[Filling]
    first: Int64s  #: for each filling, the first of the rows that has it


class ChunkColumns:
    """The columns of one chunk as codes, each made when a template first asks for it."""

    def __init__(self, cells: Sequence[Objects]) -> None:
        self._cells = cells
        self._codes: dict[int, tuple[Int64s, Objects]] = {}

    def codes(self, column: int) -> tuple[Int64s, Objects]:
        """A code for every row, and the distinct texts that the codes index."""
        if column not in self._codes:
            codes, texts = pd.factorize(self._cells[column])
            self._codes[column] = (codes.astype(np.int64, copy=False), texts)
        return self._codes[column]

    def text(self, column: int, row: int) -> str:
        """The text of one cell."""
        return str(self._cells[column][row])


class Fillings:
    """Fills templates for the rows of one sheet after the other, remembering what it has filled."""

    def __init__(self, payloads: PayloadStore) -> None:
        self._payloads = payloads
        self._remembered: dict[tuple[int | str, ...], Filling] = {}

    def start_sheet(self, columns: ColumnMap, header: Sequence[str]) -> None:
        """Take the columns of the next sheet; what was filled for another header is forgotten."""
        self._remembered.clear()
        self._variables = dict(columns.variables)
        self._overrides = dict(columns.overrides)
        self._template_column = "template" if columns.template is None else header[columns.template]
        # Problems name a variable or a path; the operator knows the header that gave it.
        self._headers = {name: header[at] for name, at in self._variables.items()}
        self._headers |= {dotted(path): header[at] for at, path in self._overrides.items()}

    def fill(self, template_id: int, template: Template, chunk: ChunkColumns, rows: Int64s) -> FilledRows:
        """Fill one template for these rows of a chunk. `template_id` tells it from all others."""
        variables = [(name, at) for name, at in self._variables.items() if name in template.variables]
        used = [at for _, at in variables] + list(self._overrides)
        which, first = _distinct([chunk.codes(at) for at in used], rows)
        fillings = []
        for row in first.tolist():
            texts = tuple(chunk.text(at, row) for at in used)
            filling = self._remembered.get((template_id, *texts))
            if filling is None:
                values = {name: text for (name, _), text in zip(variables, texts, strict=False)}
                overrides = {
                    path: text
                    for path, text in zip(self._overrides.values(), texts[len(variables) :], strict=True)
                    if text.strip()
                }
                filling = self._filling(template.fill(values, overrides))
                if len(self._remembered) >= REMEMBERED:
                    self._remembered.clear()
                self._remembered[(template_id, *texts)] = filling
            fillings.append(filling)
        return FilledRows(which, fillings, first)

    def _filling(self, filled: Filled) -> Filling:
        payload_id = -1 if filled.payload is None else self._payloads.id_of(filled.payload)
        assert (payload_id < 0) == bool(filled.problems)
        return Filling(
            payload_id,
            tuple(map(self._placed, filled.problems)),
            tuple(map(self._placed, filled.warnings)),
        )

    def _placed(self, problem: Problem) -> Problem:
        column = problem.column
        if problem.kind == "template.no_column":
            hint = did_you_mean(column, [self._headers[name] for name in self._variables])
            way_on = f'.{hint} Rename that column, or name it with --map {column}="..."' if hint else ""
            return Problem(column, problem.message + way_on, problem.kind)
        if column == "template":
            header = self._template_column
        else:
            header = self._headers.get(column) or self._headers.get(fold(column), column)
        return problem if header == column else Problem(header, problem.message, problem.kind)


def _distinct(columns: Sequence[tuple[Int64s, Objects]], rows: Int64s) -> tuple[Int64s, Int64s]:
    """For each of the rows the number of its combination, and for each combination its first row."""
    combined = np.zeros(len(rows), dtype=np.int64)
    span = 1
    for codes, texts in columns:
        if len(texts) <= 1:
            continue
        if span * len(texts) >= _CODE_LIMIT:
            combined, distinct = pd.factorize(combined)
            combined, span = combined.astype(np.int64, copy=False), len(distinct)
        combined = combined * len(texts) + codes[rows]
        span *= len(texts)
    if span == 1:
        return combined, rows[:1]
    which, distinct = pd.factorize(combined)
    first = np.empty(len(distinct), dtype=np.int64)
    first[which[::-1]] = rows[::-1]  # of several writes to one place the last stays: the first row
    return which.astype(np.int64, copy=False), first
