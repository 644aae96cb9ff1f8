"""A run's results as a DataFrame: `results.csv` with the types that its columns have."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from batch.errors import ReportError
from batch.guard import unguard_all

_COUNTS = ("result_attempts", "result_http_status", "result_duration_ms", "result_row")
_TIMES = ("result_first_sent_at", "result_last_sent_at")


def results_frame(path: Path) -> pd.DataFrame:
    """One row a request and one a reject, in sheet order, from a `results.csv`.

    The sheet's own cells are text as the sheet had them, blank ones are "". Attempts, HTTP status, duration
    (milliseconds) and row are `Int64`, the times are UTC; what a row does not have is missing (`NA`, `NaT`).
    `ReportError` if there is no such report.
    """
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"{path}: the report cannot be read: {error.strerror}.") from None
    for column in frame.columns:
        if column in _COUNTS:
            frame[column] = pd.to_numeric(frame[column].replace("", pd.NA)).astype("Int64")
        elif column in _TIMES:
            frame[column] = pd.to_datetime(frame[column].replace("", None), utc=True, format="ISO8601")
        else:
            frame[column] = pd.array(unguard_all(frame[column]), dtype="str")
    return frame.rename(columns=dict(zip(frame.columns, unguard_all(frame.columns), strict=True)))
