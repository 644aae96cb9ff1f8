"""How tests open sheets, and look at what came out of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from batch.errors import SheetError
from batch.sheets.chunks import Chunk, Sheet, SheetOptions
from batch.sheets.opening import open_sheets

BLOCKS = ("failover_config", "codec_config", "alert_config")

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of text or bytes, by name."""

    def write(content: str | bytes, name: str = "numbers.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def open_one(path: Path | str, **options: object) -> Sheet:
    """Open one sheet."""
    [sheet] = open_sheets([path], SheetOptions(**options), blocks=BLOCKS)
    return sheet


def rows_of(sheet: Sheet) -> dict[int, list[str]]:
    """The cells of every row, by the number that the spreadsheet shows."""
    return {
        row: [cells[at] for cells in chunk.cells]
        for chunk in sheet.chunks()
        for at, row in enumerate(chunk.rows.tolist())
    }


def messages_of(chunks: Iterable[Chunk], kind: str) -> dict[int, str]:
    """Problems and warnings of one kind, by row, with the column before the message."""
    return {
        int(chunk.rows[at]): f"{problem.column}: {problem.message}"
        for chunk in chunks
        for found in (chunk.problems, chunk.warnings)
        for at, problems in found.items()
        for problem in problems
        if problem.kind == kind
    }


def found_in(sheet: Sheet) -> set[tuple[int, str, str]]:
    """Row, column and kind of all problems, and of all warnings with a ~ before the kind."""
    return {
        (int(chunk.rows[at]), problem.column, mark + problem.kind)
        for chunk in sheet.chunks()
        for mark, found in (("", chunk.problems), ("~", chunk.warnings))
        for at, problems in found.items()
        for problem in problems
    }


def refusal(path: Path | str, **options: object) -> str:
    """The message with which a sheet is refused, when it is opened or read."""
    with pytest.raises(SheetError) as caught:
        list(open_one(path, **options).chunks())
    return str(caught.value)
