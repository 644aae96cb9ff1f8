"""The columns of a sheet that the report shows: which they are, under which words, and packed by chunk."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from batch.plans import CellChunk, SheetPin
from batch.schema import dotted
from batch.sealing import discreet_url
from batch.sheets.chunks import Chunk, Sheet
from batch.sheets.columns import ALIASES, fold


@dataclass(frozen=True, slots=True)
class KeptColumns:
    """Which columns of a sheet are kept (None: one that is added, blank), and the header they get."""

    header: tuple[str, ...]
    columns: tuple[int | None, ...]
    number: int
    direction: int
    template: int

    @classmethod
    def of(cls, sheet: Sheet) -> KeptColumns:
        """All columns of the sheet but the results of an earlier run, in its order."""
        kept: list[int | None] = [at for at, name in enumerate(sheet.header) if not _is_result(name)]
        known = _known(sheet)
        header = [known.get(at) or _apart(sheet.header[at]) for at in kept if at is not None]
        for word in ("direction", "template"):
            if word not in header:
                header.append(word)
                kept.append(None)
        return cls(
            tuple(header),
            tuple(kept),
            header.index("phone_number"),
            header.index("direction"),
            header.index("template"),
        )

    def pin(self, sheet: Sheet, row_count: int) -> SheetPin:
        """The sheet as the plan names it."""
        return SheetPin(
            sheet.name,
            sheet.path,
            sheet.sha256,
            self.header,
            self.number,
            self.direction,
            self.template,
            row_count,
        )

    def pack(self, sheet_id: int, chunk: Chunk, *, given: Collection[int] = ()) -> CellChunk:
        """The kept cells of one chunk.

        URLs are masked in the columns that are `given` to payloads: what opens a webhook is in no report.
        """
        blank = [""] * len(chunk.rows)
        cells = [blank if at is None else chunk.cells[at].tolist() for at in self.columns]
        for place, at in enumerate(self.columns):
            if at in given and any(cell.startswith(_URLS) for cell in cells[place]):
                cells[place] = [discreet_url(cell) for cell in cells[place]]
        return CellChunk.pack(sheet_id, chunk.rows.tolist(), cells)


#: How a cell begins that may be a URL.
_URLS = ("http", "HTTP", "Http")


def _is_result(name: str) -> bool:
    return name.strip().casefold().startswith("result_")


def _known(sheet: Sheet) -> dict[int, str]:
    """The words of the matched columns, and of columns that `--map` gave another meaning that meaning.

    Under these a report that is fed back is understood without the `--map` of the sheet.
    """
    columns = sheet.columns
    matched = {
        columns.number: "phone_number",
        columns.direction: "direction",
        columns.template: "template",
        columns.number_to: "phone_number_to",
    }
    return {
        **{at: name for name, at in columns.variables.items() if fold(sheet.header[at]) != name},
        **{
            at: dotted(path)
            for at, path in columns.overrides.items()
            if fold(sheet.header[at]) != fold(dotted(path))
        },
        **{at: word for at, word in matched.items() if at is not None},
    }


def _apart(name: str) -> str:
    """A header that is a variable's although it is one of the words, since `--map` gave that to another."""
    return f"{name.strip()} (2)" if name.strip() in ALIASES else name
