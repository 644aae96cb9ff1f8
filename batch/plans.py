"""The plan: a value that is made before anything is sent, and can be printed, hashed and refused.

Made by `planning`, pinned by the journal. It is held in columns, one element a request, so that a
million requests are a few arrays; what their rows looked like is packed (`CellChunk`).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import orjson

from batch.errors import JournalError

#: Index in this tuple is how a direction stands in arrays and in the journal.
DIRECTIONS = ("inbound", "outbound")

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
UInt8s = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong, or doubtful, in one row, in words for the person who owns the sheet.

    `column` is the header as the sheet writes it (empty: the whole row). `message` says what is
    there, why it cannot be, and what to do. `kind` is a stable slug by which problems are counted,
    such as `number.lost_digits`.
    """

    column: str
    message: str
    kind: str


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that cannot become a request, with all its problems.

    `first` and `last` are the number that it is about, or the ends of its block, as far as they could be
    read: 0 where they could not. The journal does not keep them.
    """

    sheet_id: int
    row: int
    problems: tuple[Problem, ...]
    first: int = field(default=0, compare=False)
    last: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Warned:
    """One kind of warning: how many rows have it, and one of them as the example."""

    kind: str
    count: int
    sheet_id: int
    row: int
    column: str
    message: str


@dataclass(frozen=True, slots=True)
class Payload:
    """A filled, validated body without the number and the direction: canonical JSON and its digest."""

    body: bytes = field(repr=False)  # it may hold secrets
    sha256: str

    @classmethod
    def of(cls, blocks: dict[str, object]) -> Payload:
        """The payload of these config blocks; keys are sorted, so equal blocks are equal payloads."""
        # Copied, because what orjson returns holds on to several times its size.
        body = bytes(memoryview(orjson.dumps(blocks, option=orjson.OPT_SORT_KEYS)))
        return cls(body, hashlib.sha256(body).hexdigest())


@dataclass(frozen=True, slots=True)
class SheetPin:
    """Which sheet was planned: its name in messages and reports, where it came from, its digest.

    `header` is the header line as the report writes it: the matched columns under their own words
    (`phone_number`, `direction`, `template`, `phone_number_to`), all others as the sheet has them.
    `number_column`, `direction_column`, `template_column` index it (the last two are added, blank, where the
    sheet has none). `row_count` counts the rows planned, after `--where` and `--limit`.
    """

    name: str
    path: str
    sha256: str
    header: tuple[str, ...]
    number_column: int
    direction_column: int
    template_column: int
    row_count: int


@dataclass(frozen=True, slots=True)
class CellChunk:
    """Some consecutive rows of one sheet, packed: what the report shows of them."""

    sheet_id: int
    row_count: int
    blob: bytes

    @classmethod
    def pack(cls, sheet_id: int, rows: Sequence[int], columns: Sequence[Sequence[str]]) -> CellChunk:
        """`rows` are spreadsheet row numbers; `columns` hold one sequence of cells a header."""
        raw = orjson.dumps([list(rows), *(list(column) for column in columns)])
        return cls(sheet_id, len(rows), zlib.compress(raw, 1))

    def unpack(self) -> tuple[list[int], list[list[str]]]:
        """The row numbers, and the cells by column; `JournalError` if that is not what was packed."""
        try:
            rows, *columns = orjson.loads(zlib.decompress(self.blob))
        except (zlib.error, ValueError) as error:
            raise JournalError(
                "the journal is damaged: rows of a sheet that it keeps cannot be read; nothing was changed. "
                "Restore it from a backup"
            ) from error
        return rows, columns


@dataclass(frozen=True, slots=True)
class Plan:
    """Every request, reject and skip of a run; arrays are parallel, one element a request, in sheet order.

    `numbers` hold the E.164 digits as an integer (+14155550100 is 14155550100). `duplicate_of` is the
    index of the request that this one repeats (it is skipped), or -1. `note_ids` index `notes`, whose
    first element is empty; a note says what was mended, with `{was}` where the sheet's cell belongs and
    `{number}` where the number does. `unchanged_since` indexes `earlier_runs` by the run that put in force
    what this request says (it is skipped), or is -1; None says that nobody has looked, and all are sent.
    `environment` holds the values that templates took from the environment, by name: secrets.
    """

    sheets: tuple[SheetPin, ...]
    payloads: Sequence[Payload]
    templates: tuple[str, ...]
    numbers: Int64s
    directions: UInt8s
    payload_ids: Int32s
    template_ids: Int32s
    sheet_ids: Int32s
    rows: Int32s
    duplicate_of: Int64s
    note_ids: Int32s
    notes: tuple[str, ...]
    rejects: tuple[Reject, ...]
    warnings: tuple[Warned, ...]
    digest: str
    template_digests: dict[str, str] = field(default_factory=dict)
    cells: tuple[CellChunk, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    unchanged_since: Int32s | None = None
    earlier_runs: tuple[str, ...] = ()

    @property
    def request_count(self) -> int:
        """All requests, skipped ones included."""
        return len(self.numbers)

    @property
    def is_unchanged(self) -> Bools:
        """For each request whether what it says is in force already."""
        if self.unchanged_since is None:
            return np.zeros(self.request_count, dtype=np.bool_)
        return self.unchanged_since >= 0

    @property
    def is_skipped(self) -> Bools:
        """For each request whether it is not sent: it repeats an earlier row, or is unchanged."""
        return (self.duplicate_of >= 0) | self.is_unchanged

    @property
    def skipped_count(self) -> int:
        """Requests that are not sent."""
        return int(np.count_nonzero(self.is_skipped))

    @property
    def to_send_count(self) -> int:
        """Requests that a run of this plan sends."""
        return self.request_count - self.skipped_count

    def place(self, sheet_id: int, row: int) -> str:
        """A row as messages name it: `numbers.csv:7`."""
        return f"{self.sheets[sheet_id].name}:{row}"

    def warning(self, warned: Warned) -> str:
        """A warning in one line: where, what, and how many other rows have it."""
        place = f"{self.place(warned.sheet_id, warned.row)} {warned.column}".rstrip()
        more = warned.count - 1
        others = f" (and {more:,} more row{'s' * (more > 1)})" if more else ""
        return f"{place}: {warned.message}{others}"


def keys_of(numbers: Int64s, directions: UInt8s) -> Int64s:
    """One integer a request that is its key within a target: number × 2 + direction."""
    return numbers * 2 + directions


def plan_digest(numbers: Int64s, directions: UInt8s, payload_ids: Int32s, payloads: Sequence[Payload]) -> str:
    """SHA-256 over every key to be sent and the payload it gets, whatever the order of the rows.

    Neither the sheets' names nor the templates' are in it: two plans with one digest send the same.
    """
    # In arrays, since there may be as many payloads as requests, and with few copies of them.
    shas = (bytes.fromhex(payload.sha256) for payload in payloads)
    distinct, ranks = np.unique(np.fromiter(shas, dtype="S32", count=len(payloads)), return_inverse=True)
    h = hashlib.sha256()
    for start in range(0, len(distinct), 10_000):
        lines = distinct[start : start + 10_000].tobytes().hex("\n", 32)
        h.update(f"\n{lines}".encode() if start else lines.encode())
    keys = keys_of(numbers, directions)
    order = np.argsort(keys, kind="stable")
    h.update(keys[order].astype("<i8", copy=False).data)
    if len(payloads):
        h.update(ranks[payload_ids[order]].astype("<i8", copy=False).data)
    return h.hexdigest()
