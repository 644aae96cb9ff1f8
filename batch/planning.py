"""Makes the plan: sheets and templates in, every request and reject of a run out, nothing sent.

Rows are worked on in columns, a chunk at a time; what is kept of a row until the end is a few numbers.
Blocks are expanded at the very end, in one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from batch.clashes import Conflict, Meetings
from batch.errors import SheetError
from batch.plans import (
    DIRECTIONS,
    CellChunk,
    Int32s,
    Int64s,
    Plan,
    Problem,
    Reject,
    SheetPin,
    UInt8s,
    keys_of,
    plan_digest,
)
from batch.rows import GrowingRows, NumberRules, RowReader, Rows
from batch.sheets.chunks import Sheet
from batch.sheets.columns import is_slip, listed
from batch.sheets.kept_columns import KeptColumns
from batch.templates.fillings import Templates

#: How many other rows a conflict names before it only counts them.
_NAMED = 4


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How sheets are read into requests.

    `region` (ISO 3166, "US") is that of numbers written without country code. `strict` mends nothing.
    `full_validity` asks whether a number can be assigned, not only whether its length is possible.
    `block_limit` is the most numbers in one row, `request_limit` the most requests in a plan. `keep_cells`
    packs the sheets' own cells into the plan, for the report; `keep_secrets` does not mask in them what opens
    a webhook, for those who get them back to mend them.
    """

    region: str | None = None
    strict: bool = False
    full_validity: bool = False
    block_limit: int = 100_000
    request_limit: int = 10_000_000
    keep_cells: bool = True
    keep_secrets: bool = False


def make_plan(sheets: Sequence[Sheet], templates: Templates, options: PlanOptions | None = None) -> Plan:
    """Plan every row of the sheets: each ends in requests or in one reject.

    Raises `SheetError` where a sheet has no column of templates, cannot be read to its end, or has rows
    that expand to more than `request_limit` requests, and `TemplateError` where there is no such folder.
    What is wrong with single rows is in `Plan.rejects`.
    """
    draft = _Draft(templates, options or PlanOptions())
    for sheet in sheets:
        draft.take(sheet)
    return draft.finish()


class _Unused(NamedTuple):
    """A column that no template uses, by sheet and row of the header; `meant` is a blank that comes near."""

    sheet_id: int
    row: int
    header: str
    meant: str


class _Draft:
    """A plan while its sheets are being read."""

    def __init__(self, templates: Templates, options: PlanOptions) -> None:
        rules = NumberRules(options.region, options.strict, options.full_validity, options.block_limit)
        self._reader = RowReader(templates, rules)
        self._templates, self._options = templates, options
        self._pins: list[SheetPin] = []
        self._number_headers: list[str] = []
        self._unused: list[_Unused] = []
        self._cells: list[CellChunk] = []
        self._rows = GrowingRows()
        self._rejects: list[Reject] = []
        self._request_count = 0

    def take(self, sheet: Sheet) -> None:
        """Read one sheet to its end."""
        if sheet.columns.template is None:
            raise SheetError(
                f"{sheet.name}:{sheet.header_row}: no column names the templates: the header has "
                f"{listed(sheet.header)}. Call one template (config, config_template and profile are "
                'understood too), or name it with --map template="..."'
            )
        sheet_id = len(self._pins)
        self._reader.start_sheet(sheet, sheet_id)
        kept = KeptColumns.of(sheet)
        row_count = 0
        for chunk in sheet.chunks():
            row_count += len(chunk.rows)
            rows, rejects = self._reader.read(chunk)
            self._rows.add(rows)
            self._rejects += rejects
            self._request_count += int(rows.widths().sum())
            if self._request_count > self._options.request_limit:
                raise SheetError(
                    f"{sheet.name}: up to row {int(chunk.rows[-1])} the rows expand to "
                    f"{self._request_count:,} requests, and the limit is {self._options.request_limit:,}; "
                    "raise it with --request-limit, or split the sheet"
                )
            if self._options.keep_cells:
                self._cells.append(kept.pack(sheet_id, chunk, given=self._given(sheet)))
        self._number_headers.append(sheet.header[sheet.columns.number])
        if row_count:
            self._note_unused(sheet, sheet_id)
        else:
            message = "no row stands below the header, or none that --where asks for"
            self._reader.warnings.add(Problem("", message, "sheet.no_rows"), sheet_id, sheet.header_row)
        self._pins.append(kept.pin(sheet, row_count))

    def finish(self) -> Plan:
        """Expand, compare the requests with each other, and put the plan together."""
        rows = self._rows.all()
        rows = rows._replace(payload_ids=self._reader.payloads.merged(rows.payload_ids))
        owners, numbers, directions = rows.expand()
        meetings = Meetings.of(keys_of(numbers, directions))
        conflicts = meetings.conflicts(owners, rows.payload_ids[owners])
        if conflicts:
            self._rejects += [self._conflict(rows, conflict) for conflict in conflicts]
            self._rejects.sort(key=lambda reject: (reject.sheet_id, reject.row))
            keep = np.ones(len(rows.rows), dtype=np.bool_)
            keep[[conflict.owner for conflict in conflicts]] = False
            rows = rows.where(keep)
            owners, numbers, directions = rows.expand()
            meetings = Meetings.of(keys_of(numbers, directions))
        duplicate_of = meetings.duplicate_of()
        self._warn_of_unused()
        self._warn_of_lone(rows, owners, numbers, directions, meetings.alone())
        del meetings

        # Not needed any more, and there may be millions of each.
        rows = rows._replace(first=numbers[:0], last=numbers[:0])
        # What only rejected rows had is not of the plan: neither a payload nor a template.
        payloads, payload_ids = self._reader.payloads.taken(rows.payload_ids)
        template_order, template_of = pd.factorize(rows.template_ids)
        template_ids = template_order.astype(np.int32, copy=False)
        expanded_payload_ids = payload_ids[owners]
        first = duplicate_of < 0
        if first.all():
            digest = plan_digest(numbers, directions, expanded_payload_ids, payloads)
        else:
            digest = plan_digest(numbers[first], directions[first], expanded_payload_ids[first], payloads)
        return Plan(
            sheets=tuple(self._pins),
            payloads=payloads,
            templates=tuple(self._reader.templates.all[at] for at in template_of.tolist()),
            numbers=numbers,
            directions=directions,
            payload_ids=expanded_payload_ids,
            template_ids=template_ids[owners],
            sheet_ids=rows.sheet_ids[owners],
            rows=rows.rows[owners],
            duplicate_of=duplicate_of,
            note_ids=rows.note_ids[owners],
            notes=tuple(self._reader.notes.all),
            rejects=tuple(self._rejects),
            warnings=self._reader.warnings.all(),
            digest=digest,
            template_digests=dict(self._templates.digests()),
            cells=tuple(self._cells),
            environment=self._templates.environment(),
        )

    def _conflict(self, rows: Rows, conflict: Conflict) -> Reject:
        def place(owner: int) -> str:
            where = f"{self._pins[rows.sheet_ids[owner]].name}:{rows.rows[owner]}"
            if rows.template_ids[owner] == rows.template_ids[conflict.owner]:
                return where
            return f'{where} (template "{self._reader.templates.all[rows.template_ids[owner]]}")'

        sheet_id = int(rows.sheet_ids[conflict.owner])
        named = [place(owner) for owner in conflict.others[:_NAMED]]
        if len(conflict.others) > _NAMED:
            named.append("others")
        more = f" (and {conflict.key_count - 1:,} more of this row)" if conflict.key_count > 1 else ""
        message = (
            f"+{conflict.key >> 1} {DIRECTIONS[conflict.key & 1]}{more} gets another configuration "
            f"from {', '.join(named)}: keep one of them"
        )
        problem = Problem(self._number_headers[sheet_id], message, "number.conflict")
        owner = conflict.owner
        ends = int(rows.first[owner]), int(rows.last[owner])
        return Reject(sheet_id, int(rows.rows[owner]), (problem,), *ends)

    def _given(self, sheet: Sheet) -> frozenset[int]:
        """The columns of a sheet whose cells go into payloads, and so may hold what opens a webhook."""
        if self._options.keep_secrets:
            return frozenset()
        columns = sheet.columns
        used = (at for name, at in columns.variables.items() if name in self._reader.used_variables)
        return frozenset({*columns.overrides, *used})

    def _note_unused(self, sheet: Sheet, sheet_id: int) -> None:
        used, variables = self._reader.used_variables, sheet.columns.variables
        for name, column in variables.items():
            if name not in used:
                meant = (used[other] for other in used if other not in variables and is_slip(name, (other,)))
                header = sheet.header[column]
                self._unused.append(_Unused(sheet_id, sheet.header_row, header, next(meant, "")))

    def _warn_of_unused(self) -> None:
        if self._unused:
            # The example is one that may be a slip, if there is any: it is the one to look at.
            first = next((unused for unused in self._unused if unused.meant), self._unused[0])
            names = ", ".join(dict.fromkeys(f'"{unused.header}"' for unused in self._unused))
            message = f"no template uses the values of: {names}; they are only copied into the report"
            if first.meant:
                message += f'. Is "{first.header}" meant for ${{{first.meant}}}? Then rename it'
            problem = Problem(first.header, message, "columns.unused")
            self._reader.warnings.add(problem, first.sheet_id, first.row)

    def _warn_of_lone(
        self, rows: Rows, owners: Int32s, numbers: Int64s, directions: UInt8s, alone: Int64s
    ) -> None:
        if len(alone):
            at = int(alone[0])
            owner, here = int(owners[at]), int(directions[at])
            sheet_id = int(rows.sheet_ids[owner])
            message = (
                f"+{numbers[at]} gets its {DIRECTIONS[here]} side configured, "
                f"and nothing here configures its {DIRECTIONS[1 - here]} side, which stays as it is"
            )
            self._reader.warnings.add(
                Problem(self._number_headers[sheet_id], message, "number.one_direction"),
                sheet_id,
                int(rows.rows[owner]),
                count=1 + int(np.count_nonzero(np.diff(owners[alone]))),  # of rows: owners ascend
            )


class Tallied(NamedTuple):
    """How many requests of a plan use one template in one direction."""

    template: str
    direction: str
    requests: int  #: all of them, skipped ones included
    skipped: int
    payloads: int  #: distinct ones


def counts(plan: Plan) -> list[Tallied]:
    """The requests of a plan by template and direction, templates in the order of the sheets."""
    groups = plan.template_ids.astype(np.int64) * len(DIRECTIONS) + plan.directions
    size = len(plan.templates) * len(DIRECTIONS)
    requests = np.bincount(groups, minlength=size)
    skipped = np.bincount(groups[plan.duplicate_of >= 0], minlength=size)
    pairs = np.unique(groups * max(len(plan.payloads), 1) + plan.payload_ids)
    payloads = np.bincount(pairs // max(len(plan.payloads), 1), minlength=size)
    return [
        Tallied(
            plan.templates[group // len(DIRECTIONS)],
            DIRECTIONS[group % len(DIRECTIONS)],
            int(requests[group]),
            int(skipped[group]),
            int(payloads[group]),
        )
        for group in range(size)
        if requests[group]
    ]


def first_requests(plan: Plan) -> list[int]:
    """The index of the first request sent of each template and direction, in the order of `counts`."""
    groups = plan.template_ids.astype(np.int64) * len(DIRECTIONS) + plan.directions
    sent = np.flatnonzero(plan.duplicate_of < 0)
    _, first = np.unique(groups[sent], return_index=True)
    return [int(at) for at in sent[first]]


def expected_duration_s(count: int, rates: Sequence[tuple[float, float]]) -> float:
    """How long sending takes at these rates, in seconds: each is a count and the seconds it is for.

    Sends are spread evenly at the slowest of the rates; answers that are slower than that, pauses and
    retries come on top.
    """
    return max((count - 1) * per_s / number for number, per_s in rates) if count > 1 and rates else 0.0
