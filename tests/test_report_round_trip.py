"""The promise that a report is itself a sheet: fed back, it plans the same requests."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batch.bland.payloads import SCHEMA
from batch.journal.memory import MemoryJournal
from batch.journal.protocol import Journal
from batch.journal.sqlite import SqliteJournal
from batch.planning import PlanOptions, make_plan
from batch.plans import DIRECTIONS, Plan
from batch.reporting import ReportFiles, check_report, write_report
from batch.sheets.opening import SheetOptions, open_sheets, parse_condition
from batch.states import RequestState
from batch.templates.folder import TemplateFolder
from tests.report_runs import INVALID, NOT_FOUND, SUCCEEDED, create, play

TEMPLATES = {
    "voice": "direction: outbound\ncodec_config: {codecs: [PCMU, PCMA], transcode: true}\n",
    "backup": "direction: both\n"
    "failover_config:\n"
    "  enabled: true\n"
    "  endpoints:\n"
    "    - {host: '${backup_host}', port: '${port:-5061}', transport: tls, priority: 1}\n"
    "  triggers: [unreachable]\n"
    "  failback: auto\n",
    # It takes any text at all, so that what a cell holds is seen in the payload.
    "webhook": "direction: outbound\n"
    "alert_config: {enabled: true, channels: {webhook: 'https://example.com/${note:-}'}}\n",
}

Request = tuple[int, str, str, str]  # number, direction, template, payload


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> TemplateFolder:
    path = tmp_path_factory.mktemp("templates")
    for name, text in TEMPLATES.items():
        (path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return TemplateFolder(path, SCHEMA)


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    journal: Journal = MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "j.db")
    yield journal
    journal.close()


def plan_of(templates: TemplateFolder, *paths: Path, where: Sequence[str] = (), worksheet: str = "") -> Plan:
    conditions = tuple(parse_condition(text) for text in where)
    options = SheetOptions(where=conditions, worksheet=worksheet or None)
    return make_plan(open_sheets(paths, options, blocks=SCHEMA.blocks), templates)


def requests(plan: Plan) -> list[Request]:
    """Every request that is sent, in order, with the payload it gets."""
    return [
        (
            int(plan.numbers[seq]),
            DIRECTIONS[plan.directions[seq]],
            plan.templates[plan.template_ids[seq]],
            plan.payloads[plan.payload_ids[seq]].sha256,
        )
        for seq in range(plan.request_count)
        if plan.duplicate_of[seq] < 0
    ]


def report_of(
    journal: Journal, plan: Plan, folder: Path, *, formats: Sequence[str] = ("csv",)
) -> ReportFiles:
    """The report of a run of the plan in which everything succeeded."""
    run_id = create(journal, plan)
    play(journal, run_id, dict.fromkeys(range(plan.request_count), SUCCEEDED))
    report = write_report(journal, run_id, folder, formats=formats)
    assert check_report(journal, run_id, folder) == []
    return report


NUMBERS = """\
Main DID,Template,direction,Backup Host,port,codec_config.transcode,comment
"(415) 555-0100 ",voice,,,,,
+14155550101,backup,,sip1.example.com,,,=1+1
+14155550110..0112,backup,inbound,sip1.example.com,5060,,'=quoted
+14155550100,voice,,,,,again
1.41556E+10,voice,,,,,rejected
+14155550120,voice+backup,,sip2.example.com,,false,"two
lines"
"""

FLEET = """\
phone_number;phone_number_to;Profile;backup-host;site
+442079460100;+442079460103;voice;;Berlin
+442079460110;;backup;sip3.example.com;@home
+442079460120;+442079460110;voice;;backwards
"""


@pytest.fixture
def sheets(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "numbers.csv", tmp_path / "fleet.csv"]
    for path, text in zip(paths, (NUMBERS, FLEET), strict=True):
        path.write_text(text.replace("Main DID", "number"), encoding="utf-8")
    return paths


def test_a_report_plans_the_same(
    journal: Journal, templates: TemplateFolder, sheets: list[Path], tmp_path: Path
) -> None:
    """results.csv, given as the sheet, gives the same requests, payloads and rejects."""
    opened = open_sheets(sheets, blocks=SCHEMA.blocks)
    plan = make_plan(opened, templates, PlanOptions(region="US"))
    assert len(requests(plan)) == 14
    assert len(plan.rejects) == 2
    report = report_of(journal, plan, tmp_path / "run")
    again = plan_of(templates, report.results)
    assert requests(again) == requests(plan)
    assert again.digest == plan.digest
    assert len(again.rejects) == 2
    assert again.skipped_count == plan.skipped_count == 1


def test_a_report_of_a_report_plans_the_same(
    templates: TemplateFolder, sheets: list[Path], tmp_path: Path
) -> None:
    """However often a report is fed back and run, nothing in it changes but the results."""
    plan = plan_of(templates, sheets[1])
    first = report_of(MemoryJournal(), plan, tmp_path / "first")
    second = report_of(MemoryJournal(), plan_of(templates, first.results), tmp_path / "second")

    def own_cells(report: ReportFiles) -> list[list[str]]:
        with report.results.open(encoding="utf-8", newline="") as file:
            return [line[:-15] for line in csv.reader(file)]

    assert own_cells(first) == own_cells(second)
    assert requests(plan_of(templates, second.results)) == requests(plan)


@pytest.mark.parametrize("worksheet", ["Results", "Rejects"])
def test_a_workbook_plans_the_same(
    templates: TemplateFolder, sheets: list[Path], tmp_path: Path, worksheet: str
) -> None:
    """results.xlsx, given as the sheet, gives the same requests as results.csv does."""
    plan = plan_of(templates, *sheets)
    report = report_of(MemoryJournal(), plan, tmp_path / "run", formats=("xlsx",))
    again = plan_of(templates, report.paths["results.xlsx"], worksheet=worksheet)
    assert requests(again) == (requests(plan) if worksheet == "Results" else [])
    assert len(again.rejects) == (len(plan.rejects) if worksheet == "Rejects" else 0)


def test_what_failed_can_be_run_again(templates: TemplateFolder, sheets: list[Path], tmp_path: Path) -> None:
    """The command that a cause names for rows to be mended picks exactly the rows that it explains."""
    journal = MemoryJournal()
    plan = plan_of(templates, *sheets)
    run_id = create(journal, plan)
    endings = {0: ((RequestState.FAILED, INVALID),), 3: ((RequestState.FAILED, NOT_FOUND),)}
    play(journal, run_id, dict.fromkeys(range(plan.request_count), SUCCEEDED) | endings)
    report = write_report(journal, run_id, tmp_path / "run")
    command = next(cause.command for cause in report.summary.causes if not cause.is_resent)
    words = command.split()
    assert words[:3] == ["sipbatch", "run", "results.csv"]
    again = plan_of(templates, report.results, where=words[4::2])
    assert requests(again) == [requests(plan)[0]]


cells = st.text(alphabet=st.sampled_from("=+-@\t '\",;0159abé＝\u00a0|"), max_size=8)
rows = st.lists(st.tuples(st.integers(0, 9), cells, cells), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(rows, cells)
@example([(0, "'=1", "")], "=x")
@example([(0, "''+1", "-")], "@")
@example([(0, "+14155550100", "'")], "'+1")
def test_any_sheet_reads_back_as_the_same_requests(
    templates: TemplateFolder, rows: list[tuple[int, str, str]], header: str
) -> None:
    """Whatever the cells hold, formulas and quotes above all, the report plans the very same payloads."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "numbers.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["phone_number", "template", "note", f"c{header}"])
            writer.writerows((f"+1415555010{n}", "webhook", note, other) for n, note, other in rows)
        plan = plan_of(templates, path)
        report = report_of(MemoryJournal(), plan, Path(place, "run"))
        again = plan_of(templates, report.results)
        assert requests(again) == requests(plan)
        assert again.digest == plan.digest
        assert len(again.rejects) == len(plan.rejects)
