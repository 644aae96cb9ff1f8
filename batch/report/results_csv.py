"""`results.csv`: the report as a sheet, one line a request and one a reject."""

from __future__ import annotations

import csv
from collections.abc import Sequence

from batch.report.formats import FORMATS
from batch.report.lines import Line
from batch.staging import StagedFile

NAME = FORMATS["csv"]

#: How many lines are encoded and written at a time.
_BATCH = 1_000


class ResultsCsv:
    """Writes UTF-8 without a byte order mark, fields as in RFC 4180, and lines that end in LF.

    RFC 4180 ends lines in CRLF, but every spreadsheet reads LF as well, while `grep 'x$'`, `cut` and
    `awk` would find the CR in the last column of every line. Cells may hold line breaks: they are quoted.
    """

    def __init__(self, file: StagedFile, header: Sequence[str]) -> None:
        self._file = file
        self._rows: list[Sequence[str]] = [header]
        self._texts: list[str] = []
        # The writer is told CRLF so that it quotes cells with a lone CR in them, whatever the version
        # of Python; each line loses its CR again in `write`.
        self._writer = csv.writer(self, lineterminator="\r\n")

    def add(self, line: Line) -> None:
        """Append one line."""
        self._rows.append(line.cells)
        if len(self._rows) >= _BATCH:
            self._flush()

    def write(self, text: str) -> None:
        """Take one line from the CSV writer, which calls this."""
        self._texts.append(text[:-2])

    def close(self) -> None:
        """Write out what is left."""
        self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.writerows(self._rows)
            # Half a surrogate pair, out of a damaged sheet, has no UTF-8; the report is written for all that.
            text = "\n".join(self._texts) + "\n"
            self._file.write(text.encode("utf-8", errors="backslashreplace"))
            self._rows.clear()
            self._texts.clear()
