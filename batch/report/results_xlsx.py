"""`results.xlsx`: the report as a workbook for people: a summary, the results, the rejects.

Rows go through temporary files, so that memory does not grow with them.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batch.errors import WorkbookError
from batch.journal.protocol import RunRecord
from batch.report.formats import FORMATS
from batch.report.lines import Line
from batch.report.summary import Summary
from batch.report.workbook_formats import Formats, clean
from batch.report.workbook_summary import write_summary
from batch.sheets.columns import RESULT_COLUMNS, own_count
from batch.staging import StagedFile

NAME = FORMATS["xlsx"]

#: The most that one worksheet holds, its header included, and the most characters of one cell (Microsoft,
#: "Excel specifications and limits").
MOST_ROWS = 1_048_576
MOST_COLUMNS = 16_384
MOST_CHARACTERS = 32_767

#: How many rows decide how wide the columns are, and the bounds of that in characters.
_MEASURED_ROWS = 1_000
_WIDTHS = (9, 60)

#: Cells of these columns are numbers; everything else is text, a phone number above all.
_NUMERIC = ("result_attempts", "result_http_status", "result_duration_ms", "result_row")


class ResultsXlsx:
    """Writes the workbook; a context manager, for its temporary files.

    The worksheets are `Summary`, `Results` (then `Results 2` and so on, if there are more rows than one
    can hold) and `Rejects`, likewise, which is there only if rows were rejected. Cells are guarded like
    those of `results.csv`, so that any of the worksheets with results reads back as the same rows.
    """

    def __init__(self, file: StagedFile, header: Sequence[str], run: RunRecord) -> None:
        from xlsxwriter import Workbook

        if len(header) > MOST_COLUMNS:
            raise WorkbookError(
                f"{NAME} cannot hold {len(header):,} columns; results.csv can, so leave the workbook out"
            )
        self._file = file
        self._header = header
        self._stack = contextlib.ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="sipbatch-")))
        self._book: Any = Workbook(
            self._folder / NAME,
            {
                "constant_memory": True,
                "tmpdir": str(self._folder),
                "use_zip64": True,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            },
        )
        # The same run gives the same bytes: the time is the run's, not that of writing.
        created = datetime.fromtimestamp(run.created_at, UTC).replace(tzinfo=None, microsecond=0)
        self._book.set_properties({"title": f"sipbatch run {run.id}", "created": created})
        self._formats = Formats(self._book)
        self._summary: Any = self._book.add_worksheet("Summary")
        self._cut = 0
        self._results: list[_Table] = [self._table("Results")]
        self._rejects: list[_Table] = []

    def add(self, line: Line) -> None:
        """Append one line to the worksheet that it belongs to."""
        tables, name = (self._results, "Results") if line.reject is None else (self._rejects, "Rejects")
        try:
            if not tables or tables[-1].rows >= MOST_ROWS:
                tables.append(self._table(f"{name} {len(tables) + 1}" if tables else name))
            self._cut += tables[-1].add(line.cells)
        except OSError as error:
            raise _no_room(error) from error

    def finish(self, summary: Summary) -> None:
        """Write the summary and put the file together; `WorkbookError` if there is no room for it."""
        from xlsxwriter.exceptions import XlsxFileError

        try:
            for table in (*self._results, *self._rejects):
                table.finish()
            write_summary(self._summary, self._formats, summary, notes=self._notes())
            self._book.close()
        except (OSError, XlsxFileError) as error:
            raise _no_room(error) from error
        self._file.written_by(self._folder / NAME)

    def _notes(self) -> tuple[str, ...]:
        if not self._cut:
            return ()
        cells = "1 cell was" if self._cut == 1 else f"{self._cut:,} cells were"
        return (
            f"{cells} cut at {MOST_CHARACTERS:,} characters, the most that a workbook holds;"
            " results.csv has the whole.",
        )

    def _table(self, name: str) -> _Table:
        return _Table(self._book.add_worksheet(name), self._header, self._formats)

    def __enter__(self) -> ResultsXlsx:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for sheet in self._book.worksheets():
            # A full disk makes even closing fail, and a file that was never opened cannot be closed.
            with contextlib.suppress(OSError):
                sheet.row_data_fh.close()
        self._stack.close()


class _Table:
    """One worksheet of lines under the report's header."""

    def __init__(self, sheet: Any, header: Sequence[str], formats: Formats) -> None:
        self.rows = 0
        self._sheet = sheet
        self._formats = formats
        self._state = own_count(header)
        self._numeric = frozenset(self._state + RESULT_COLUMNS.index(name) for name in _NUMERIC)
        self._widths = [len(name) + 3 for name in header]  # room for the filter's button
        sheet.freeze_panes(1, 0)
        sheet.set_landscape()
        sheet.repeat_rows(0)
        for column, name in enumerate(header):
            sheet.write_string(0, column, clean(name), formats.header)
        self.rows = 1

    def add(self, cells: Sequence[str]) -> int:
        """Append a row; returns how many of its cells had to be cut."""
        sheet, row, text = self._sheet, self.rows, self._formats.text
        write = sheet.write_string
        cut = 0
        for column, cell in enumerate(cells):
            if not cell:
                continue
            if column == self._state:
                write(row, column, cell, self._formats.states[cell])
            elif column in self._numeric:
                sheet.write_number(row, column, int(cell), self._formats.number)
            else:
                cut += len(cell) > MOST_CHARACTERS
                write(row, column, clean(cell), text)
        if row <= _MEASURED_ROWS:
            self._widths = [max(*pair) for pair in zip(self._widths, map(len, cells), strict=True)]
        self.rows += 1
        return cut

    def finish(self) -> None:
        """Set what depends on how many rows there are, and on how wide they are."""
        least, most = _WIDTHS
        for column, width in enumerate(self._widths):
            self._sheet.set_column(column, column, min(max(width + 1, least), most), self._formats.text)
        self._sheet.autofilter(0, 0, max(self.rows - 1, 1), len(self._widths) - 1)
        self._sheet.ignore_errors({"number_stored_as_text": f"A1:XFD{MOST_ROWS}"})


def _no_room(error: Exception) -> WorkbookError:
    return WorkbookError(
        f"{NAME} cannot be put together ({error}): it needs room for temporary files in"
        f" {tempfile.gettempdir()}. The journal is intact: make room, or name another place by TMPDIR."
    )
