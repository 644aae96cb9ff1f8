"""Makes carrier_migration.csv and the same rows as a workbook: `python sample_csvs/make_samples.py [FOLDER]`.

The numbers are fictional: 555-0100 to 555-0199 are kept free for that in every North American area code.
"""

from __future__ import annotations

import csv
import datetime
import sys
from pathlib import Path

import xlsxwriter

HEADER = ("phone_number", "template", "direction", "site", "backup_host", "backup_port")

#: Area code, site, and the port of the site's gateway where the sheet names it.
SITES = (
    ("206", "sea", ""),
    ("212", "nyc", "5061"),
    ("312", "chi", ""),
    ("415", "sfo", ""),
    ("512", "aus", "5061"),
)
NUMBERS_PER_SITE = 64
#: The first numbers of a site are its main lines: they take calls as well, and may use Opus.
MAIN_LINES = 4


def migration_rows() -> list[tuple[str, ...]]:
    """One row a number: 320 numbers at five sites, 20 of them in both directions."""
    rows = []
    for area, site, port in SITES:
        for index in range(NUMBERS_PER_SITE):
            is_main = index < MAIN_LINES
            rows.append(
                (
                    f"+1{area}55501{index:02}",
                    "carrier-migration+codecs" if is_main else "carrier-migration",
                    "both" if is_main else "",
                    site,
                    f"backup.{site}.sip.example.com",
                    port,
                )
            )
    return rows


def write_csv(path: Path) -> None:
    """Write the rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(migration_rows())


def write_workbook(path: Path) -> None:
    """Write the rows as a workbook: every cell as text, so that numbers keep their plus sign."""
    with xlsxwriter.Workbook(path) as workbook:
        workbook.set_properties({"created": datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)})
        bold, text = workbook.add_format({"bold": True}), workbook.add_format({"num_format": "@"})
        sheet = workbook.add_worksheet("Numbers")
        for column, (name, width) in enumerate(zip(HEADER, (16, 26, 10, 6, 30, 12), strict=True)):
            sheet.set_column(column, column, width, text)
            sheet.write_string(0, column, name, bold)
        for line, row in enumerate(migration_rows(), start=1):
            for column, cell in enumerate(row):
                if cell:
                    sheet.write_string(line, column, cell, text)
        sheet.freeze_panes(1, 1)
        sheet.autofilter(0, 0, NUMBERS_PER_SITE * len(SITES), len(HEADER) - 1)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    write_csv(folder / "carrier_migration.csv")
    write_workbook(folder / "carrier_migration.xlsx")
