"""`results.jsonl`: every attempt of every request, one JSON object a line, for scripts and archives."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from batch.errors import JournalError
from batch.journal.protocol import AttemptRow, ResultRow, RunRecord
from batch.plans import DIRECTIONS
from batch.report.formats import FORMATS
from batch.report.lines import NOT_TRUSTED, Line
from batch.staging import StagedFile
from batch.timestamps import utc

NAME = FORMATS["jsonl"]

#: How much is gathered before it is written.
_BATCH_BYTES = 1 << 17


class ResultsJsonl:
    """Merges the attempts, which come by request, with the lines of the report.

    A line's fields are those of `docs/report.md`; text is as the journal has it, without formula guards.
    """

    def __init__(self, file: StagedFile, run: RunRecord, attempts: Iterator[AttemptRow]) -> None:
        self._file = file
        self._run = run
        self._attempts = attempts
        self._attempt = next(attempts, None)
        # Copied into one buffer, because what orjson returns holds on to several times its size.
        self._lines = bytearray()

    def add(self, line: Line) -> None:
        """Append a line for each attempt of a request; a reject has none."""
        result = line.result
        if result is None:
            return
        while self._attempt is not None and self._attempt.seq <= result.seq:
            if self._attempt.seq < result.seq:
                raise JournalError(_stray(self._attempt))
            self._lines += orjson.dumps(self._fields(result, self._attempt), option=orjson.OPT_APPEND_NEWLINE)
            self._attempt = next(self._attempts, None)
        if len(self._lines) >= _BATCH_BYTES:
            self._flush()

    def close(self) -> None:
        """Write out what is left; `JournalError` if attempts are left over."""
        if self._attempt is not None:
            raise JournalError(_stray(self._attempt))
        self._flush()

    def _fields(self, result: ResultRow, attempt: AttemptRow) -> dict[str, object]:
        return {
            "run": self._run.id,
            "sheet": self._run.sheets[result.sheet_id].name,
            "row": result.row,
            "request": result.seq,
            "phone_number": f"+{result.number}",
            "direction": DIRECTIONS[result.direction],
            "template": result.template,
            "payload_sha256": result.payload_sha256,
            "send": attempt.send,
            "sent_at": utc(attempt.sent_at),
            "duration_ms": round(attempt.duration_s * 1000, 3),
            "verdict": attempt.verdict,
            "http_status": attempt.http_status,
            "error_code": attempt.error_code,
            "message": attempt.message,
            "request_id": attempt.request_id,
        }

    def _flush(self) -> None:
        if self._lines:
            self._file.write(bytes(self._lines))
            self._lines.clear()


def _stray(attempt: AttemptRow) -> str:
    return (
        f"the journal has attempt {attempt.send} of request {attempt.seq}, out of order or of no request of"
        f" the run. {NOT_TRUSTED}"
    )
