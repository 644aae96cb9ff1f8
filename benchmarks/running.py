"""A whole run as an operator types it: its peak of memory, and whether it ends as fast as it begins."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.measuring import Row, load_server, python
from benchmarks.planning import write_sheet, write_template

_SHARE = 10  #: the first and the last tenth of a run are compared


def runs(rounds: int, folder: Path, *, count: int) -> list[Row]:
    """`sipbatch run` from the sheet to the report, against an instant server over 64 connections."""
    del rounds  # one is long enough to be its own average
    place = folder / "run"
    place.mkdir()
    write_template(place)
    sheet = place / "numbers.csv"
    write_sheet(sheet, count)
    with load_server() as base_url:
        words = ["run", sheet, "--templates", place / "templates", "--workspace", place / "runs", "--yes"]
        how = ["--base-url", base_url, "--rate", "1000000/s", "--concurrency", 64, "--quiet"]
        done = python("batch", *words, *how, environ={"BLAND_API_KEY": "bench"})
    (results,) = (place / "runs").glob("*/results.csv")
    first_per_s, last_per_s = _speeds(results, count)
    whole = Row(f"run of {count:,} rows, sheet to report", "", [count / done.wall_s], unit="/s")
    memory = Row("… peak memory", "≤ 500 MB, then 250", [done.peak_mb], unit=" MB")
    flat = Row("… its last tenth beside its first", "≥ 0.95", [last_per_s], [first_per_s], unit="/s")
    flat.peer_name = "the first tenth"
    return [whole, memory, flat]


def _speeds(results: Path, count: int) -> tuple[float, float]:
    """Sends a second in the first and in the last tenth of a run, by its own report."""
    from datetime import datetime

    with results.open(newline="", encoding="utf-8-sig") as file:
        sent = [row["result_last_sent_at"] for row in csv.DictReader(file)]
    times = sorted(sent)  # ISO 8601 sorts as text
    tenth = count // _SHARE

    def per_s(part: list[str]) -> float:
        first, last = (datetime.fromisoformat(part[at]).timestamp() for at in (0, -1))
        return (len(part) - 1) / (last - first)

    return per_s(times[:tenth]), per_s(times[-tenth:])
