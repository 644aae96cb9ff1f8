"""Which files a report has: those that were asked for, or else all that somebody may want of it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

#: The files that may be chosen, by their format; `summary.json` and `manifest.json` are always written.
FORMATS = {
    "csv": "results.csv",
    "jsonl": "results.jsonl",
    "xlsx": "results.xlsx",
    "html": "report.html",
}

#: What a report has unless something else is asked for; `results.csv` is part of every one.
USUAL = tuple(FORMATS)

#: A workbook of more lines takes longer to write than anybody waits for who did not ask for it, and to open
#: than anybody likes.
MOST_BOOK_LINES = 250_000


def usual(line_count: int) -> tuple[str, ...]:
    """The formats of a report of so many lines for which nothing else was asked."""
    return tuple(name for name in USUAL if name != "xlsx" or line_count <= MOST_BOOK_LINES)


def names(formats: Collection[str], folder: Path) -> tuple[str, ...]:
    """The files to write, in the order of `FORMATS`: also those that the folder has of an earlier report."""
    return tuple(
        name for key, name in FORMATS.items() if key == "csv" or key in formats or (folder / name).exists()
    )
