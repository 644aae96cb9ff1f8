"""The samples: what operators copy is right, and the sheet of mistakes is wrong in just the ways it says."""

from __future__ import annotations

import csv
import json
import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import phonenumbers
import pytest

from batch.bland.payloads import SCHEMA
from batch.planning import make_plan
from batch.plans import Plan, Reject
from batch.sheets.chunks import Sheet, SheetOptions
from batch.sheets.opening import open_sheets
from batch.templates.folder import TemplateFolder

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "sample_csvs"

#: The body that the vendor's page shows, without number and direction.
DOCUMENTED = {
    "failover_config": {
        "enabled": True,
        "endpoints": [
            {"host": "backup1.sip.provider.com", "port": 5061, "transport": "tls", "priority": 1},
            {"host": "backup2.sip.provider.com", "port": 5061, "transport": "tls", "priority": 2},
        ],
        "triggers": ["unreachable", "timeout"],
        "failback": "auto",
    },
    "codec_config": {"codecs": ["PCMU", "PCMA", "Opus"], "transcode": True},
    "alert_config": {
        "enabled": True,
        "thresholds": {
            "unreachable_minutes": 5,
            "failure_rate_percent": 20,
            "failure_rate_window_minutes": 30,
            "response_time_ms": 500,
        },
        "channels": {"email": True, "sms": False, "webhook": "https://hooks.example.com/sip-alerts"},
    },
}


def folder() -> TemplateFolder:
    return TemplateFolder(ROOT / "templates", SCHEMA)


def open_sample(name: str) -> Sheet:
    (sheet,) = open_sheets([SAMPLES / name], SheetOptions(), blocks=SCHEMA.blocks)
    return sheet


def plan_of(name: str) -> Plan:
    return make_plan([open_sample(name)], folder())


def rows_of(sheet: Sheet) -> list[tuple[str, ...]]:
    """The sheet's rows as texts."""
    rows: list[tuple[str, ...]] = []
    for chunk in sheet.chunks():
        rows.extend(zip(*(column.tolist() for column in chunk.cells), strict=True))
    return rows


def bodies(plan: Plan) -> list[dict[str, Any]]:
    return [json.loads(payload.body) for payload in plan.payloads]


# --- templates ----------------------------------------------------------------------------------


def test_the_documented_example() -> None:
    """`documented-example` is filled with the body of the vendor's page, for the page's direction."""
    template = folder().get("documented-example")
    filled = template.fill({}, {})
    assert filled.payload is not None
    assert json.loads(filled.payload.body) == DOCUMENTED
    assert template.direction == "outbound"
    assert filled.warnings == ()


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "templates").glob("*.yaml")))
def test_every_template_is_filled(name: str) -> None:
    """Every sample template says what it is for, and plain values fill it without a doubt."""
    template = folder().get(name)
    values = {
        "backuphost": "backup.sfo.sip.example.com",
        "site": "sfo",
        "codecs": "PCMA|PCMU",
        "transcode": "no",
    }
    filled = template.fill(values, {})
    assert template.description
    assert filled.payload is not None
    assert (filled.problems, filled.warnings) == ((), ())


# --- the migration ------------------------------------------------------------------------------


def test_the_migration_plans_without_a_doubt() -> None:
    """The migration sheet becomes 340 requests: 320 numbers, the main lines in both directions."""
    plan = plan_of("carrier_migration.csv")
    assert plan.rejects == ()
    # That a number has a second side, which stays as it is, is told of every migration like this one.
    assert {warning.kind for warning in plan.warnings} == {"number.one_direction"}
    assert (plan.request_count, plan.skipped_count) == (340, 0)
    assert len(np.unique(plan.numbers)) == 320
    assert plan.templates == ("carrier-migration+codecs", "carrier-migration")
    assert len(plan.payloads) == 10
    assert all(body["failover_config"]["failback"] == "manual" for body in bodies(plan))


def test_the_workbook_is_the_same_sheet() -> None:
    """The migration workbook holds the rows of the CSV, plus signs included, and plans the same."""
    book, text = open_sample("carrier_migration.xlsx"), open_sample("carrier_migration.csv")
    assert book.header == text.header
    assert rows_of(book) == rows_of(text)
    assert plan_of("carrier_migration.xlsx").digest == plan_of("carrier_migration.csv").digest


def test_the_script_makes_the_samples(tmp_path: Path) -> None:
    """The committed script makes just the migration sheets that are committed."""
    script = runpy.run_path(str(SAMPLES / "make_samples.py"))
    script["write_csv"](tmp_path / "carrier_migration.csv")
    script["write_workbook"](tmp_path / "carrier_migration.xlsx")
    made = (tmp_path / "carrier_migration.csv").read_bytes()
    assert made == (SAMPLES / "carrier_migration.csv").read_bytes()
    (book,) = open_sheets([tmp_path / "carrier_migration.xlsx"], SheetOptions(), blocks=SCHEMA.blocks)
    assert rows_of(book) == rows_of(open_sample("carrier_migration.xlsx"))


def test_the_numbers_are_fictional_and_valid() -> None:
    """Every number of the migration is valid E.164, and one of those kept free for stories."""
    numbers = [row[0] for row in rows_of(open_sample("carrier_migration.csv"))]
    assert all(phonenumbers.is_valid_number(phonenumbers.parse(number)) for number in numbers)
    assert all(number[5:10] == "55501" for number in numbers)


# --- the rollout and the reconciliation ---------------------------------------------------------


def test_the_rollout_expands_blocks_and_overrides() -> None:
    """The rollout sheet shows blocks, both directions, and overrides that reach into a list."""
    plan = plan_of("fleet_rollout.csv")
    assert plan.rejects == ()
    assert plan.request_count == 144
    by_row = Counter(plan.rows.tolist())
    assert by_row == {2: 40, 3: 30, 4: 50, 5: 1, 6: 1, 7: 20, 8: 1, 9: 1}
    of_row = {int(row): bodies(plan)[int(plan.payload_ids[i])] for i, row in enumerate(plan.rows)}
    assert of_row[2] == {"codec_config": {"codecs": ["PCMU", "PCMA"], "transcode": True}}
    assert of_row[3] == {"codec_config": {"codecs": ["PCMA", "PCMU"], "transcode": False}}
    assert of_row[6]["failover_config"]["endpoints"][0]["host"] == "backup2.chi.sip.example.com"
    assert of_row[7]["failover_config"]["endpoints"][0]["host"] == "backup.sea.sip.example.com"
    assert of_row[8] == DOCUMENTED
    assert of_row[9] == {**DOCUMENTED, "codec_config": {"codecs": ["PCMA", "PCMU"], "transcode": False}}


def test_the_reconciliation_sheet_plans() -> None:
    """The reconciliation sheet, with the column names that another system gave it, plans without a reject."""
    plan = plan_of("reconciliation.csv")
    assert plan.rejects == ()
    assert plan.request_count == 52


# --- the mistakes -------------------------------------------------------------------------------

_FIRST = "failover_config.endpoints.0"
_PERCENT = "alert_config.thresholds.failure_rate_percent"

#: For what each wrong row says of itself: the column that is blamed, the problem's kind, words of it.
MISTAKES = {
    "a spreadsheet has lost the last digits of the number": (
        "phone_number",
        "number.lost_digits",
        "1.41556E+10",
    ),
    "more than 15 digits": ("phone_number", "number.too_long", "16 digits"),
    "letters in the number": ("phone_number", "number.letters", "FISH"),
    "an extension: there is no number of its own behind it": (
        "phone_number",
        "number.extension",
        "leave it out",
    ),
    "too short for its country": ("phone_number", "number.length", "9 digits"),
    "no country has this code": ("phone_number", "number.country_code", "no country code"),
    "no country code in the number, and no --region that says which": (
        "phone_number",
        "number.country_code",
        "--region",
    ),
    "no number": ("phone_number", "number.blank", "+14155550100"),
    "a date": ("phone_number", "number.date", "2025-04-15"),
    "an error of the spreadsheet": ("phone_number", "number.error_cell", "#N/A"),
    "two numbers in one cell": ("phone_number", "number.several", "row of its own"),
    "a block whose end comes before its beginning": ("phone_number", "block.backwards", "exchange its ends"),
    "a block of ten million numbers": ("phone_number", "block.limit", "--block-limit"),
    "no template": ("template", "template.missing", "failover"),
    "a template that is not there, but nearly": ("template", "template.unusable", 'Did you mean "failover"?'),
    "one of two joined templates is not there": ("template", "template.unusable", '"alerts-noc"?'),
    "a template name that leaves the folder": ("template", "template.unusable", "holds no /"),
    "no direction, and the template has none": ("direction", "direction.missing", "alerts-noc"),
    "a direction that is none": ("direction", "direction.unknown", 'Did you mean "inbound"?'),
    "the template needs backup_host": ("backup_host", "template.blank", f"{_FIRST}.host needs it"),
    "a port beyond 65535": ("backup_port", "payload.range", "70000"),
    "a port that is no number": ("backup_port", "cell.integer", "5061/tls"),
    "a comma in a port": ("backup_port", "cell.decimal_comma", "without a comma"),
    "a host that holds a port as well": ("backup_host", "payload.host", "holds a port"),
    "a host that is a URL": ("backup_host", "payload.host", "bare name or address"),
    "a cell that a spreadsheet would run": ("backup_host", "payload.host", "bare name or address"),
    "a codec in another spelling": ("codecs", "payload.choice", 'Did you mean "G.729"?'),
    "a codec that is not known": ("codecs", "payload.choice", "AMR-WB"),
    "a codec named twice": ("codecs", "payload.duplicate_codec", "PCMU more than once"),
    "neither true nor false": ("codec_config.transcode", "cell.boolean", "write true, yes, y, on, 1"),
    "an override of a field that is not there": (
        "codec_config.bitrate",
        "override.unknown_field",
        "codec_config takes codecs, transcode",
    ),
    "a percentage over 100": (_PERCENT, "payload.range", "100 or less"),
    "a decimal comma": (_PERCENT, "cell.decimal_comma", "such as 12.5"),
    "one number with two payloads: conflicts with the next row": ("phone_number", "number.conflict", ":38"),
    "one number with two payloads: conflicts with the row before": ("phone_number", "number.conflict", ":37"),
    "a block in which the next row's number lies with another payload": (
        "phone_number",
        "number.conflict",
        ":40",
    ),
    "another payload than its block has in the row before": ("phone_number", "number.conflict", ":39"),
}


@pytest.fixture(scope="module")
def mistakes() -> dict[str, Reject]:
    """The rejected rows of the sheet of mistakes, by what they say of themselves."""
    with (SAMPLES / "every_mistake.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    return {lines[reject.row - 1][-1]: reject for reject in plan_of("every_mistake.csv").rejects}


def test_every_mistake_is_found_at_once(mistakes: dict[str, Reject]) -> None:
    """Of the sheet of mistakes just those rows are rejected that say that something is wrong with them."""
    with (SAMPLES / "every_mistake.csv").open(encoding="utf-8", newline="") as file:
        said = [row["mistake"] for row in csv.DictReader(file)]
    assert (
        sorted(mistakes) == sorted(text for text in said if not text.startswith("none:")) == sorted(MISTAKES)
    )


@pytest.mark.parametrize("said", MISTAKES)
def test_each_mistake_is_explained(said: str, mistakes: dict[str, Reject]) -> None:
    """Each wrong row has one problem, in the column that it says, with what is there or what to do."""
    column, kind, words = MISTAKES[said]
    (problem,) = mistakes[said].problems
    assert (problem.column, problem.kind) == (column, kind)
    assert words in problem.message


def test_the_right_rows_stand() -> None:
    """The rows without a mistake are planned, the repeated one as a duplicate of the first."""
    plan = plan_of("every_mistake.csv")
    assert plan.rows.tolist() == [2, 3, 41]
    assert plan.duplicate_of.tolist() == [-1, 0, -1]
