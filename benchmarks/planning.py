"""Plans sheets of many rows beside a bare read of the same file.

`python -m benchmarks.planning plan|read|calamine FILE` prints its seconds.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.measuring import ROOT, Row, python


def write_sheet(path: Path, count: int) -> None:
    """A carrier's sheet: a number, a template, a direction and two columns that differ from row to row."""
    with path.open("w") as file:
        file.write("phone_number,template,direction,backup_host,customer\n")
        for i in range(count):
            file.write(
                f"+1415{2_000_000 + i % 8_000_000:07d},bench,{'outbound' if i % 3 else 'inbound'},"
                f"backup{i % 20}.sip.example.com,Customer {i}\n"
            )


def write_template(folder: Path) -> None:
    """A folder of templates with the one that the sheet names."""
    (folder / "templates").mkdir(exist_ok=True)
    (folder / "templates" / "bench.yaml").write_text(
        "failover_config:\n  enabled: true\n  endpoints:\n"
        '    - {host: "${backup_host}", port: 5061, transport: tls, priority: 1}\n'
        "  triggers: [unreachable, timeout]\n  failback: auto\n"
    )


def plans(rounds: int, folder: Path, *, count: int) -> list[Row]:
    """Time and peak memory of a plan, as ratios to a bare pandas read."""
    write_template(folder)
    path = folder / f"sheet-{count}.csv"
    write_sheet(path, count)
    peer = "pandas.read_csv as text"
    time_row = Row(f"plan of {count:,} rows", "≤ 4, then 2.5", unit=" s", peer_name=peer)
    memory_row = Row("… peak memory", "≤ 500 MB, then 250", unit=" MB", peer_name=peer)
    for _ in range(rounds):
        ours, bare = (python("benchmarks.planning", what, path) for what in ("plan", "read"))
        time_row.ours.append(float(ours.stdout))
        time_row.peers.append(float(bare.stdout))
        memory_row.ours.append(ours.peak_mb)
        memory_row.peers.append(bare.peak_mb)
    return [time_row, memory_row]


def workbooks(rounds: int, folder: Path, *, count: int) -> list[Row]:
    """The plan of a workbook beside a bare calamine read of it."""
    write_template(folder)
    path = folder / f"book-{count}.xlsx"
    write_workbook(path, count)
    row = Row(f"plan of a workbook of {count:,} rows", "≤ 3", unit=" s", peer_name="bare calamine")
    for _ in range(rounds):
        row.ours.append(float(python("benchmarks.planning", "plan", path).stdout))
        row.peers.append(float(python("benchmarks.planning", "calamine", path).stdout))
    return [row]


def write_workbook(path: Path, count: int) -> None:
    """The same sheet as a workbook."""
    import xlsxwriter

    with xlsxwriter.Workbook(path, {"constant_memory": True}) as book:
        sheet = book.add_worksheet("numbers")
        sheet.write_row(0, 0, ["phone_number", "template", "direction", "backup_host", "customer"])
        for i in range(count):
            host = f"backup{i % 20}.sip.example.com"
            direction = "outbound" if i % 3 else "inbound"
            number = f"+1415{2_000_000 + i % 8_000_000:07d}"
            sheet.write_row(i + 1, 0, [number, "bench", direction, host, f"Customer {i}"])


def _calamine(path: Path) -> None:
    import python_calamine

    python_calamine.CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()


def plan_sheet(path: Path) -> None:
    """Read, expand and check a sheet, as `sipbatch plan` does."""
    from batch.bland.payloads import SCHEMA
    from batch.planning import PlanOptions, make_plan
    from batch.sheets.opening import SheetOptions, open_sheets
    from batch.templates.folder import TemplateFolder

    sheets = open_sheets([path], SheetOptions(), blocks=SCHEMA.blocks)
    folder = TemplateFolder(path.parent / "templates", SCHEMA)
    plan = make_plan(sheets, folder, PlanOptions(keep_cells=False))
    assert not plan.rejects, plan.rejects[:3]


def bare_read(path: Path) -> None:
    """What pandas takes for the same cells as text."""
    import pandas as pd

    pd.read_csv(path, dtype=str, keep_default_na=False)


if __name__ == "__main__":
    import time

    sys.path.insert(0, str(ROOT))
    # Imports are start-up, measured apart: both sides begin with them behind them.
    import batch.planning
    import batch.sheets.opening
    import batch.templates.folder  # noqa: F401

    what, sheet = sys.argv[1], Path(sys.argv[2])
    if what != "calamine":  # nor is what is imported at the first use
        few = sheet.with_name("few.csv")
        write_sheet(few, 10)
        {"plan": plan_sheet, "read": bare_read}[what](few)
    began = time.perf_counter()
    {"plan": plan_sheet, "read": bare_read, "calamine": _calamine}[what](sheet)
    print(time.perf_counter() - began)
