"""Sheets and templates in; every row ends in requests or in one reject."""

from __future__ import annotations

import csv
import hashlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import openpyxl
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.bland.payloads import SCHEMA
from batch.errors import SheetError, TemplateError
from batch.payload_store import PayloadStore
from batch.planning import (
    PlanOptions,
    Tallied,
    counts,
    expected_duration_s,
    first_requests,
    make_plan,
)
from batch.plans import DIRECTIONS, Plan, keys_of
from batch.sheets.chunks import SheetOptions
from batch.sheets.opening import open_sheets
from batch.templates.folder import TemplateFolder

TEMPLATES = {
    "voice": "direction: outbound\ncodec_config: {codecs: [PCMU, PCMA], transcode: true}\n",
    "wide": "codec_config: {codecs: [G.722, Opus], transcode: true}\n",
    "backup": "direction: both\n"
    "failover_config:\n"
    "  enabled: true\n"
    "  endpoints:\n"
    "    - {host: '${backup_host}', port: '${port:-5061}', transport: tls, priority: 1}\n"
    "  triggers: [unreachable]\n"
    "  failback: auto\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("templates")
    for name, text in TEMPLATES.items():
        (path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return path


def write(path: Path, lines: Iterable[Sequence[str]]) -> Path:
    """A CSV of these lines."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(lines)
    return path


def plan_of(folder: Path, *paths: Path, options: PlanOptions | None = None, **reading: object) -> Plan:
    """The plan of some sheets with the templates of a folder."""
    sheets = open_sheets(paths, SheetOptions(**reading), blocks=SCHEMA.blocks)  # type: ignore[arg-type]
    return make_plan(sheets, TemplateFolder(folder, SCHEMA), options)


def plan_rows(folder: Path, header: str, *rows: str, options: PlanOptions | None = None) -> Plan:
    """The plan of a sheet called numbers.csv, given as its lines, the cells apart by commas."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "numbers.csv")
        path.write_text("\n".join((header, *rows, "")), encoding="utf-8")
        return plan_of(folder, path, options=options)


def requests(plan: Plan) -> list[tuple[str, str]]:
    """Number and direction of every request."""
    return [(f"+{n}", DIRECTIONS[d]) for n, d in zip(plan.numbers, plan.directions, strict=True)]


def bodies(plan: Plan) -> list[Mapping[str, object]]:
    """The payload of every request."""
    return [orjson.loads(plan.payloads[at].body) for at in plan.payload_ids]


def sent(plan: Plan) -> dict[int, str]:
    """Key to payload of what a run sends."""
    keys = keys_of(plan.numbers, plan.directions)
    return {
        int(keys[at]): plan.payloads[plan.payload_ids[at]].sha256
        for at in np.flatnonzero(plan.duplicate_of < 0)
    }


def problems(plan: Plan) -> dict[int, list[tuple[str, str]]]:
    """Column and kind of every problem, by row."""
    return {
        reject.row: [(problem.column, problem.kind) for problem in reject.problems] for reject in plan.rejects
    }


def kinds(plan: Plan) -> dict[str, int]:
    """Count by kind of every warning."""
    return {warned.kind: warned.count for warned in plan.warnings}


# --- rows become requests -----------------------------------------------------------------------


def test_requests_in_sheet_order(folder: Path) -> None:
    """Requests come by row; within a row by number, inbound before outbound."""
    plan = plan_rows(
        folder,
        "phone_number,template,direction",
        "+14155550109,voice,",
        "+14155550101..0102,voice,both",
        "+14155550100,voice,INBOUND",
    )
    assert requests(plan) == [
        ("+14155550109", "outbound"),
        ("+14155550101", "inbound"),
        ("+14155550101", "outbound"),
        ("+14155550102", "inbound"),
        ("+14155550102", "outbound"),
        ("+14155550100", "inbound"),
    ]
    assert plan.rows.tolist() == [2, 3, 3, 3, 3, 4]
    assert plan.rejects == ()


def test_block_notations(folder: Path) -> None:
    """A block is the same however it is written: in full, by its last digits, or with its end in a column."""
    plans = [
        plan_rows(folder, "number,template,phone_number_to", line)
        for line in (
            "+14155550198..+14155550203,voice,",
            "+14155550198..0203,voice,",
            "+14155550198,voice,+14155550203",
        )
    ]
    assert plans[0].numbers.tolist() == list(range(14155550198, 14155550204))
    assert len({plan.digest for plan in plans}) == 1


def test_millions_of_numbers(folder: Path) -> None:
    """Blocks expand in arrays: a million requests of ten rows take moments, and stay one payload."""
    rows = [f"+1415{first}00000..+1415{first}99999,voice" for first in range(20, 30)]
    plan = plan_rows(folder, "number,template", *rows)
    assert plan.request_count == 1_000_000
    assert np.array_equal(plan.numbers, np.arange(14152000000, 14153000000))
    assert (len(plan.payloads), plan.skipped_count) == (1, 0)


def test_values_and_overrides_reach_the_payload(folder: Path) -> None:
    """Variables fill the template, an override column beats it, and a blank override leaves it alone."""
    plan = plan_rows(
        folder,
        "number,config,direction,Backup Host,failover_config.failback",
        "+14155550100,backup,inbound,a.example.com,manual",
        "+14155550101,backup,inbound,b.example.com,",
        "+14155550102,backup,inbound,a.example.com,manual",
    )
    failover = [body["failover_config"] for body in bodies(plan)]
    assert [(f["endpoints"][0]["host"], f["failback"]) for f in failover] == [  # type: ignore[index]
        ("a.example.com", "manual"),
        ("b.example.com", "auto"),
        ("a.example.com", "manual"),
    ]
    assert len(plan.payloads) == 2


def test_joined_templates(folder: Path) -> None:
    """`a+b` is a template of its own, under that name."""
    plan = plan_rows(folder, "number,template,backup_host", "+14155550100,voice+backup,a.example.com")
    assert plan.templates == ("voice+backup",)
    assert set(bodies(plan)[0]) == {"codec_config", "failover_config"}


def test_several_sheets_make_one_plan(folder: Path, tmp_path: Path) -> None:
    """Sheets follow one another, each with its own columns, and share payloads."""
    first = write(tmp_path / "first.csv", [("number", "template"), ("+14155550100", "voice")])
    second = write(tmp_path / "second.csv", [("Profile", "DID"), ("voice", "+14155550101")])
    plan = plan_of(folder, first, second)
    assert [pin.name for pin in plan.sheets] == ["first.csv", "second.csv"]
    assert plan.sheet_ids.tolist() == [0, 1]
    assert len(plan.payloads) == 1
    assert plan.sheets[0].sha256 == hashlib.sha256(first.read_bytes()).hexdigest()


def test_templates_are_recorded(folder: Path) -> None:
    """The plan holds the digest of every template that it used, and of no other."""
    plan = plan_rows(folder, "number,template", "+14155550100,voice")
    digest = hashlib.sha256(TEMPLATES["voice"].encode()).hexdigest()
    assert plan.template_digests == {"voice": digest}


def test_empty_sheet(folder: Path) -> None:
    """A sheet of nothing but a header is a plan of nothing."""
    plan = plan_rows(folder, "number,template,site")
    assert (plan.request_count, plan.rejects, counts(plan), first_requests(plan)) == (0, (), [], [])
    assert kinds(plan) == {"sheet.no_rows": 1}


def test_request_limit(folder: Path) -> None:
    """Rows that expand to more requests than the limit are refused by an error that names the option."""
    with pytest.raises(SheetError, match=r"numbers\.csv: .*20,000 requests.*--request-limit"):
        plan_rows(
            folder,
            "number,template,direction",
            "+14155550000..9999,voice,both",
            options=PlanOptions(request_limit=19_999),
        )


def test_no_column_of_templates(folder: Path) -> None:
    """A sheet without a column of templates is one error, which says how to name it."""
    with pytest.raises(SheetError, match=r'numbers\.csv:1: .*"number", "site".*--map template='):
        plan_rows(folder, "number,site", "+14155550100,x")


def test_no_such_folder(tmp_path: Path) -> None:
    """A folder of templates that is not there is one error, not one a row."""
    with pytest.raises(TemplateError, match="nowhere"):
        plan_rows(tmp_path / "nowhere", "number,template", "+14155550100,voice", "+14155550101,voice")


# --- rejects ------------------------------------------------------------------------------------


def test_all_problems_of_a_row_at_once(folder: Path) -> None:
    """One reject a row has every problem of it, under the sheet's own headers, in the order of the words."""
    plan = plan_rows(
        folder,
        "DID,Profile,direction,Backup Host,port,failover_config.failback",
        "12,backup,outbond,,99999,sometimes",
    )
    [reject] = plan.rejects
    assert [problem.column for problem in reject.problems][:3] == ["DID", "direction", "Backup Host"]
    assert {problem.column for problem in reject.problems} == {
        "DID",
        "direction",
        "Backup Host",
        "port",
        "failover_config.failback",
    }
    assert 'Did you mean "outbound"?' in reject.problems[1].message
    assert plan.request_count == 0


def test_direction_must_come_from_somewhere(folder: Path) -> None:
    """A row without a direction whose template has none is rejected; the message names the template."""
    plan = plan_rows(folder, "number,template,direction", "+14155550100,wide,", "+14155550101,wide,inbound")
    assert problems(plan) == {2: [("direction", "direction.missing")]}
    assert '"wide"' in plan.rejects[0].problems[0].message
    assert requests(plan) == [("+14155550101", "inbound")]


@pytest.mark.parametrize(
    ("cell", "meant"), [("in", "inbound"), ("Out", "outbound"), ("in/out", "both"), ("inbuond", "inbound")]
)
def test_a_direction_by_another_name(folder: Path, cell: str, meant: str) -> None:
    """What carriers call a direction is not taken for it, and answered with the word that is."""
    plan = plan_rows(folder, "number,template,direction", f"+14155550100,voice,{cell}")
    [problem] = plan.rejects[0].problems
    assert problem.message.endswith(f'Did you mean "{meant}"?')


def test_unknown_and_missing_template(folder: Path) -> None:
    """A template that is not there is rejected by row, with the nearest name; so is a blank one."""
    plan = plan_rows(folder, "number,template", "+14155550100,voise", "+14155550101,", "+14155550102,voice")
    assert [reject.row for reject in plan.rejects] == [2, 3]
    assert 'Did you mean "voice"?' in plan.rejects[0].problems[0].message
    assert "backup, voice, wide" in plan.rejects[1].problems[0].message


def test_every_row_ends_once(folder: Path) -> None:
    """Rows that are rejected have no request, and all others have."""
    plan = plan_rows(
        folder,
        "number,template,backup_host",
        *(
            f"+1415555{at:04},{'backup' if at % 3 else 'voice'},{'a.example.com' if at % 2 else ''}"
            for at in range(60)
        ),
    )
    rejected = {reject.row for reject in plan.rejects}
    requested = set(plan.rows.tolist())
    assert rejected == {at + 2 for at in range(60) if at % 3 and not at % 2}
    assert rejected | requested == set(range(2, 62))
    assert not rejected & requested


def test_rejects_in_sheet_order(folder: Path) -> None:
    """Rejects of all causes, those of meeting another row included, are in sheet order."""
    plan = plan_rows(
        folder,
        "number,template",
        "+14155550100,voice+backup",
        "+14155550101,voice",
        "+14155550102,voise",
        "+14155550101,voice+wide",
        "+1,voice",
    )
    assert [reject.row for reject in plan.rejects] == [2, 3, 4, 5, 6]


def test_ragged_row_has_one_problem(folder: Path) -> None:
    """A row whose cells are not where they belong is rejected for that alone."""
    plan = plan_rows(folder, "number,template,direction", "+14155550100,voice", "a,b,c,d,e")
    assert [len(reject.problems) for reject in plan.rejects if reject.row == 3] == [1]


def test_the_header_once_more_has_one_problem(folder: Path) -> None:
    """The header amid the rows, as joined files have it, is one problem and not one for each column."""
    plan = plan_rows(
        folder, "number,template,direction", "+14155550100,voice,", "Number,template,direction", "x,y,z"
    )
    assert problems(plan)[3] == [("number", "number.header")]
    assert len(problems(plan)[4]) == 3


# --- rows that meet -----------------------------------------------------------------------------


def test_duplicate_is_skipped(folder: Path) -> None:
    """The same key with the same payload: the later row is skipped and points to the first."""
    plan = plan_rows(folder, "number,template", *["+14155550100,voice"] * 3, "+14155550101,voice")
    assert plan.duplicate_of.tolist() == [-1, 0, 0, -1]
    assert (plan.skipped_count, plan.to_send_count) == (2, 2)


def test_duplicate_by_content(folder: Path, tmp_path: Path) -> None:
    """What counts is the payload, not the template's name or how a cell was written."""
    plan = plan_rows(
        folder,
        "number,template,direction,codec_config.transcode",
        "+14155550100,voice,,",
        "+1 415 555 0100,voice,outbound,TRUE",
    )
    assert plan.duplicate_of.tolist() == [-1, 0]


def test_conflict_rejects_both(folder: Path) -> None:
    """The same key with another payload: both rows are rejected and name each other."""
    plan = plan_rows(folder, "number,template,direction", "+14155550100,voice,", "+14155550100,wide,outbound")
    assert plan.request_count == 0
    first, second = (reject.problems[0] for reject in plan.rejects)
    assert "numbers.csv:3" in first.message
    assert "numbers.csv:2" in second.message
    assert {first.kind, second.kind} == {"number.conflict"}
    assert plan.payloads == ()


def test_conflict_of_a_block_and_a_number(folder: Path) -> None:
    """A block that holds the number of another row meets it as a number does, and is rejected whole."""
    plan = plan_rows(
        folder,
        "number,template,direction",
        "+14155550100..0199,voice,",
        "+14155550150,wide,outbound",
        "+14155550160,voice,",
        "+14155550170,wide,inbound",
    )
    assert [reject.row for reject in plan.rejects] == [2, 3]
    assert requests(plan) == [("+14155550160", "outbound"), ("+14155550170", "inbound")]
    assert plan.duplicate_of.tolist() == [-1, -1]


def test_rejected_row_is_no_original(folder: Path) -> None:
    """A row that is rejected, for whatever reason, is not what another row is a duplicate of."""
    plan = plan_rows(
        folder,
        "number,template,direction,backup_host",
        "+14155550100..0101,voice,,",
        "+14155550101,wide,outbound,",
        "+14155550100,voice,,",
        "+14155550100,voice,,",
    )
    assert [reject.row for reject in plan.rejects] == [2, 3]
    assert plan.rows.tolist() == [4, 5]
    assert plan.duplicate_of.tolist() == [-1, 0]


def test_conflict_across_sheets(folder: Path, tmp_path: Path) -> None:
    """Rows of different sheets meet too, and are named by sheet and row."""
    first = write(tmp_path / "a.csv", [("number", "template"), ("+14155550100", "voice")])
    second = write(tmp_path / "b.csv", [("number", "template"), ("+14155550100", "voice+wide")])
    plan = plan_of(folder, first, second)
    assert ['b.csv:2 (template "voice+wide")' in r.problems[0].message for r in plan.rejects] == [True, False]
    assert 'a.csv:2 (template "voice")' in plan.rejects[1].problems[0].message


# --- warnings and notes -------------------------------------------------------------------------


def test_unused_columns_are_one_warning(folder: Path, tmp_path: Path) -> None:
    """Columns that no template uses are named in one warning, whatever the sheets and rows."""
    lines = [("number", "template", "site", "backup_host"), ("+14155550100", "voice", "x", "y")]
    plan = plan_of(folder, write(tmp_path / "a.csv", lines))
    [warned] = [warned for warned in plan.warnings if warned.kind == "columns.unused"]
    assert '"site", "backup_host"' in warned.message
    assert (warned.count, warned.row) == (1, 1)


def test_values_without_a_header_are_told(folder: Path) -> None:
    """A column whose name was lost is not used, and said: it may have been the direction."""
    rows = ["+14155550100,voice,,both,", "+14155550101,voice,,,", "+14155550102,voice,,inbound,"]
    plan = plan_rows(folder, "number,template,,,", *rows)
    [warned] = [warned for warned in plan.warnings if warned.kind == "columns.nameless"]
    assert (warned.count, warned.row) == (2, 2)
    assert "column D has values and no header" in warned.message


def test_a_slip_in_a_variable_is_told(folder: Path) -> None:
    """A column that is one letter off a template's is asked about, before all others that are not used."""
    plan = plan_rows(folder, "number,template,site,backup_hosts", "+14155550100,backup,x,a.example.com")
    [warned] = [warned for warned in plan.warnings if warned.kind == "columns.unused"]
    assert warned.column == "backup_hosts"
    assert 'Is "backup_hosts" meant for ${backup_host}?' in warned.message


def test_a_column_that_a_template_needs_is_looked_for(folder: Path) -> None:
    """Where the sheet lacks a column that must be there, the nearest one is named, and how to map it."""
    plan = plan_rows(folder, "number,template,Backup", "+14155550100,backup,a.example.com")
    [problem] = plan.rejects[0].problems
    assert (problem.column, problem.kind) == ("backup_host", "template.no_column")
    assert 'Did you mean "Backup"? Rename that column, or name it with --map backup_host=' in problem.message


def test_one_direction_of_a_number(folder: Path) -> None:
    """Rows of numbers that have one direction configured, and not the other, are counted, with an example."""
    plan = plan_rows(
        folder,
        "number,template,direction",
        "+14155550100,voice,both",
        "+14155550101,voice,inbound",
        "+14155550102,voice,inbound",
        "+14155550101,voice,outbound",
        "+14155550103,voice,inbound",
    )
    [warned] = [warned for warned in plan.warnings if warned.kind == "number.one_direction"]
    assert (warned.count, warned.row) == (2, 4)
    assert "+14155550102" in warned.message


def test_template_warnings_are_counted_by_row(folder: Path) -> None:
    """A warning of the payload's rules is counted for every row that has it, and shown once."""
    plan = plan_rows(
        folder,
        "number,template,backup_host,port",
        *(f"+1415555010{at},backup,a.example.com,{5060 if at < 4 else 5061}" for at in range(6)),
    )
    counted = [warned for warned in plan.warnings if warned.column == "port"]
    assert [(warned.count, warned.row) for warned in counted] == [(4, 2)]


def test_mended_cells_are_noted(folder: Path) -> None:
    """A request of a mended cell has a note, with places for what was there and what it became."""
    plan = plan_rows(folder, "number,template", "+14155550100,voice", "+1 (415) 555-0101,voice")
    assert plan.notes[0] == ""
    assert plan.note_ids[0] == 0
    note = plan.notes[plan.note_ids[1]]
    assert "{was}" in note
    [warned] = [warned for warned in plan.warnings if warned.kind == "number.mended"]
    assert (warned.count, warned.row, warned.column) == (1, 3, "number")
    assert '"+1 (415) 555-0101" became +14155550101' in warned.message


def test_mended_cells_are_counted_by_what_was_done(folder: Path) -> None:
    """Cells that were given digits, or may have lost some, are counted apart from those that lost signs."""
    cells = ["+1 415 555 0100", "4155550101", "+1-415-555-0102", "+14155550103", "4155550104", "1 4155550105"]
    rows = [f"{cell},voice" for cell in cells]
    plan = plan_rows(folder, "number,template", *rows, options=PlanOptions(region="US"))
    mended = [warned for warned in plan.warnings if warned.kind in ("number.mended", "number.completed")]
    assert [(warned.kind, warned.count, warned.row) for warned in mended] == [
        ("number.mended", 3, 2),
        ("number.completed", 2, 3),
    ]


def test_numbers_that_may_be_rounded_are_counted_apart(folder: Path, tmp_path: Path) -> None:
    """A number cell that ends in four zeros is a warning of its own, however many others were mended."""
    workbook = openpyxl.Workbook()
    for row in (["number", "template"], [14155550101, "voice"], [14155560000, "voice"]):
        workbook["Sheet"].append(row)
    workbook.save(tmp_path / "book.xlsx")
    plan = plan_of(folder, tmp_path / "book.xlsx")
    [warned] = [warned for warned in plan.warnings if warned.kind == "number.maybe_rounded"]
    assert (warned.count, warned.row) == (1, 3)
    assert "make sure it was not rounded" in warned.message


# --- what the report needs ----------------------------------------------------------------------


def test_cells_are_kept(folder: Path) -> None:
    """The plan holds every row's own cells, rejected ones too, under the words for the matched columns."""
    plan = plan_rows(
        folder, "site,DID,codec_config.transcode,Profile", "north,+14155550100,,voice", "south,12,no,"
    )
    [pin] = plan.sheets
    assert pin.header == ("site", "phone_number", "codec_config.transcode", "template", "direction")
    assert (pin.number_column, pin.direction_column, pin.template_column) == (1, 4, 3)
    [chunk] = plan.cells
    rows, columns = chunk.unpack()
    assert rows == [2, 3]
    assert columns == [["north", "south"], ["+14155550100", "12"], ["", "no"], ["voice", ""], ["", ""]]
    assert pin.row_count == 2


def test_cells_can_be_left_out(folder: Path) -> None:
    """A plan that is only shown packs no cells."""
    plan = plan_rows(folder, "number,template", "+14155550100,voice", options=PlanOptions(keep_cells=False))
    assert plan.cells == ()


def test_earlier_results_are_dropped(folder: Path) -> None:
    """A report that is fed back plans the same, and its old results are neither variables nor kept."""
    plain = plan_rows(folder, "phone_number,template,site", "+14155550100,voice,x")
    again = plan_rows(
        folder,
        "phone_number,template,site,result_state,result_error",
        "+14155550100,voice,x,failed,'=boom",
    )
    assert again.digest == plain.digest
    assert again.sheets[0].header == ("phone_number", "template", "site", "direction")
    assert kinds(again) == kinds(plain)


def test_mapped_columns_are_understood_without_map(folder: Path, tmp_path: Path) -> None:
    """The kept header says what `--map` said: the report of a mapped sheet plans the same by itself."""
    lines = [
        ("Main DID", "number", "Profil", "Kodek?", "H"),
        ("+14155550100", "7", "backup+voice", "no", "a.example.com"),
    ]
    named = {
        "phone_number": "Main DID",
        "template": "Profil",
        "codec_config.transcode": "Kodek?",
        "backup_host": "H",
    }
    plan = plan_of(folder, write(tmp_path / "a.csv", lines), columns=named)
    [pin] = plan.sheets
    _, columns = plan.cells[0].unpack()
    report = [(*pin.header, "result_state"), (*(column[0] for column in columns), "failed")]
    again = plan_of(folder, write(tmp_path / "b.csv", report))
    assert plan.rejects == ()
    assert again.digest == plan.digest


# --- questions about a plan ---------------------------------------------------------------------


def test_counts_and_first_requests(folder: Path) -> None:
    """Requests are counted by template and direction, and the first of each that is sent is found."""
    plan = plan_rows(
        folder,
        "number,template,direction,backup_host",
        "+14155550100,voice,both,",
        "+14155550101,backup,inbound,a.example.com",
        "+14155550102,backup,inbound,b.example.com",
        "+14155550100,voice,inbound,",
    )
    assert counts(plan) == [
        Tallied("voice", "inbound", 2, 1, 1),
        Tallied("voice", "outbound", 1, 0, 1),
        Tallied("backup", "inbound", 2, 0, 2),
    ]
    assert first_requests(plan) == [0, 1, 2]


@pytest.mark.parametrize(
    ("count", "rates", "expected_s"),
    [
        (1, [(5, 1)], 0.0),
        (101, [(5, 1)], 20.0),
        (601, [(20, 1), (600, 60)], 60.0),
        (0, [(5, 1)], 0.0),
        (9, [], 0.0),
    ],
)
def test_expected_duration(count: int, rates: list[tuple[float, float]], expected_s: float) -> None:
    """Sends are spread evenly at the slowest of the rates, the first of them at once."""
    assert expected_duration_s(count, rates) == pytest.approx(expected_s)


def test_payloads_are_kept_once(folder: Path) -> None:
    """Rows that differ in what no template uses share one payload."""
    plan = plan_rows(folder, "number,template,site", *(f"+1415555{at:04},voice,{at}" for at in range(500)))
    assert len(plan.payloads) == 1
    assert np.unique(plan.payload_ids).tolist() == [0]


def test_filled_once_a_combination(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload is made once for each distinct combination of what its template uses, not once a row."""
    made = []
    original = PayloadStore.id_of
    monkeypatch.setattr(PayloadStore, "id_of", lambda self, one: made.append(one) or original(self, one))
    plan_rows(
        folder,
        "number,template,backup_host,site",
        *(f"+1415555{at:04},backup,{'ab'[at % 2]}.example.com,{at}" for at in range(300)),
    )
    assert len(made) == 2


# --- properties ---------------------------------------------------------------------------------

ROWS = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.integers(0, 4),
        st.sampled_from(["voice", "wide", "backup", "nosuch", "voice+wide"]),
        st.sampled_from(["inbound", "Outbound", "both", "", "sideways"]),
        st.sampled_from(["", "a.example.com", "b.example.com"]),
    ),
    max_size=12,
)
HEADER = ("number", "template", "direction", "backup_host")


def lines_of(rows: list[tuple[int, int, str, str, str]]) -> list[tuple[str, ...]]:
    """Lines of a sheet whose blocks overlap more often than not."""
    return [
        (f"+1415555010{first}..{first + more + 100:04}" if more else f"+1415555010{first}", *rest)
        for first, more, *rest in rows
    ]


@settings(deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_sorting_changes_no_request(folder: Path, rows: list[tuple[int, int, str, str, str]], dice) -> None:  # type: ignore[no-untyped-def]
    """However a sheet is sorted, the same keys get the same payloads, and the digest is the same."""
    lines = lines_of(rows)
    shuffled = dice.sample(lines, len(lines))
    with tempfile.TemporaryDirectory() as place:
        one = plan_of(folder, write(Path(place, "one.csv"), [HEADER, *lines]))
        other = plan_of(folder, write(Path(place, "other.csv"), [HEADER, *shuffled]))
    assert sent(one) == sent(other)
    assert one.digest == other.digest
    assert len(one.rejects) == len(other.rejects)


@settings(deadline=None)
@given(ROWS)
def test_against_a_naive_plan(folder: Path, rows: list[tuple[int, int, str, str, str]]) -> None:
    """The plan is what going through the rows one by one, number by number, would make of them."""
    lines = lines_of(rows)
    with tempfile.TemporaryDirectory() as place:
        plan = plan_of(folder, write(Path(place, "numbers.csv"), [HEADER, *lines]))

    expanded: list[tuple[int, int, str, str]] = []  # row, number, direction, payload
    bad: set[int] = set()
    templates = TemplateFolder(folder, SCHEMA)
    for row, (first, more, ref, direction, host) in enumerate(rows, start=2):
        try:
            template = templates.get(ref)
        except TemplateError:
            bad.add(row)
            continue
        filled = template.fill({"backuphost": host}, {})
        side = direction.lower() or template.direction
        if filled.payload is None or side not in ("inbound", "outbound", "both"):
            bad.add(row)
            continue
        expanded += [
            (row, 14155550100 + first + step, one, filled.payload.sha256)
            for step in range(more + 1)
            for one in (DIRECTIONS if side == "both" else (side,))
        ]
    by_key: dict[tuple[int, str], set[str]] = {}
    for _, number, side, payload in expanded:
        by_key.setdefault((number, side), set()).add(payload)
    clashing = {row for row, number, side, _ in expanded if len(by_key[number, side]) > 1}
    kept = [request for request in expanded if request[0] not in clashing]
    first_of: dict[tuple[int, str], int] = {}
    for at, (_, number, side, _) in enumerate(kept):
        first_of.setdefault((number, side), at)

    assert [reject.row for reject in plan.rejects] == sorted(bad | clashing)
    assert plan.rows.tolist() == [row for row, *_ in kept]
    assert plan.numbers.tolist() == [number for _, number, *_ in kept]
    assert [DIRECTIONS[d] for d in plan.directions] == [side for *_, side, _ in kept]
    assert [plan.payloads[at].sha256 for at in plan.payload_ids] == [payload for *_, payload in kept]
    assert plan.duplicate_of.tolist() == [
        -1 if first_of[number, side] == at else first_of[number, side]
        for at, (_, number, side, _) in enumerate(kept)
    ]
