"""A plan as people and scripts read it.

The golden files in `fixtures/plans` are what is expected to the letter; `REWRITE_GOLDEN=1` in the environment
writes them anew.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from click.testing import CliRunner, Result

from batch.bland.payloads import SCHEMA
from batch.cli import cli
from batch.errors import ReportError
from batch.fleet.comparison import Comparison, compare
from batch.journal.known import Applied
from batch.journal.protocol import Ended, NewRun, Shard
from batch.journal.sqlite import SqliteJournal
from batch.plan_text import Outlook, duration_text, render_text, repeats, to_json, write_rejects
from batch.planning import make_plan
from batch.plans import Plan, Problem, Reject, keys_of
from batch.sheets.chunks import SheetOptions
from batch.sheets.opening import open_sheets
from batch.states import RequestState, StopReason
from batch.target import Outcome, Verdict
from batch.templates.folder import TemplateFolder

FIXTURES = Path(__file__).parent / "fixtures" / "plans"

TEMPLATES = {
    "voice": "direction: outbound\ncodec_config: {codecs: [PCMU, PCMA], transcode: true}\n",
    "backup": "direction: both\n"
    "failover_config:\n"
    "  enabled: true\n"
    "  endpoints:\n"
    "    - {host: '${backup_host}', port: '${port:-5061}', transport: tls, priority: 1}\n"
    "  triggers: [unreachable]\n"
    "  failback: auto\n",
}

MIGRATION = """\
phone_number,template,direction,backup_host,port,site
+14155550100,voice,,,,north
+14155550101,backup,,sip1.example.com,,north
+14155550110..0119,backup,inbound,sip1.example.com,5060,south
+14155550100,voice,,,,north again
1.41556E+10,voice,outbond,,,east
+14155550115,backup,inbound,sip2.example.com,,west
+14155550120,backups,,,,west
"""

FLEET = """\
DID;Profile
+442079460100;voice
+442079460101;voice
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with templates and two sheets."""
    (tmp_path / "templates").mkdir()
    for name, text in TEMPLATES.items():
        (tmp_path / "templates" / f"{name}.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "migration.csv").write_text(MIGRATION, encoding="utf-8")
    (tmp_path / "fleet.csv").write_text(FLEET, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan_of(*paths: Path, options: SheetOptions | None = None) -> Plan:
    """The plan of some sheets with the templates in this folder."""
    sheets = open_sheets(paths, options or SheetOptions(), blocks=SCHEMA.blocks)
    return make_plan(sheets, TemplateFolder(Path("templates"), SCHEMA))


def plan_lines(path: Path, *lines: str) -> Plan:
    """The plan of a sheet of these lines, written to a path."""
    path.write_text("\n".join((*lines, "")), encoding="utf-8")
    return plan_of(path)


def golden(name: str, text: str) -> str:
    """What a golden file holds; first written anew if that is asked for."""
    path = FIXTURES / name
    if os.environ.get("REWRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def beside(plan: Plan, applied: int) -> Comparison:
    """The plan beside a fleet in which the first requests of it are in force, and another number."""
    keys = keys_of(plan.numbers, plan.directions)[:applied]
    payload_ids = plan.payload_ids[:applied].astype(np.int64)
    zeros = np.zeros(applied + 1, dtype=np.int32)
    order = np.argsort(keys)
    known = Applied(
        keys=np.append(keys[order], [10**14]),
        payload_ids=np.append(payload_ids[order], 0),
        doubt_ids=zeros,
        run_ids=zeros,
        doubts=((),),
        runs=("20260727-093000-1",),
        sha256s={at: payload.sha256 for at, payload in enumerate(plan.payloads)},
    )
    return compare(plan, known, lambda payload_id: plan.payloads[payload_id].body)


def sipbatch(*words: str | Path) -> Result:
    """What `sipbatch plan` with these words says and ends with."""
    return CliRunner().invoke(cli, ["plan", *map(str, words)], standalone_mode=False)


def table(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV by header."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


# --- text ---------------------------------------------------------------------------------------


def test_text_of_a_plan_with_everything(place: Path) -> None:
    """A plan with blocks, warnings, skips and rejects reads as in the golden file."""
    plan = plan_of(place / "migration.csv", place / "fleet.csv")
    outlook = Outlook(
        target="sandbox",
        comparison=beside(plan, 2),
        changes=("voice, 3 requests: codec_config.transcode: false → true",),
        rates=((5, 1),),
        rate_text="5/s",
        command="sipbatch run migration.csv fleet.csv",
    )
    text = render_text(plan, outlook)
    assert text == golden("everything.txt", text)


def test_text_of_a_plain_plan(place: Path) -> None:
    """A plan without anything to mend is short, and ends with the command that runs just it."""
    outlook = Outlook(rates=((20, 1),), rate_text="20/s", command="sipbatch run fleet.csv --rate 20/s")
    text = render_text(plan_of(place / "fleet.csv"), outlook)
    assert text == golden("plain.txt", text)


def test_text_of_nothing(place: Path) -> None:
    """A sheet without rows has nothing to send, and no command to send it."""
    text = render_text(plan_lines(place / "empty.csv", "number,template"))
    assert text == golden("nothing.txt", text)


def test_rejects_are_all_there(place: Path) -> None:
    """Every problem of every rejected row is a line of its own, as sheet, row and column, however many."""
    plan = plan_lines(place / "bad.csv", "number,template", *["12,nosuch"] * 200)
    lines = render_text(plan).splitlines()
    assert [line.split(" ")[:2] for line in lines if line.startswith("bad.csv:") and "nosuch" in line] == [
        [f"bad.csv:{row}", "template:"] for row in range(2, 202)
    ]
    assert sum(line.startswith("bad.csv:7 number: ") for line in lines) == 1


def test_terminal_is_safe(place: Path) -> None:
    """What a cell holds cannot move the cursor, colour, break or reorder the lines that quote it."""
    hostile = "\x1b[2J\x9bx\u202e\u2028y"
    plan = plan_lines(place / "bad.csv", "number,template", "+14155550100,voice")
    problem = Problem(hostile, hostile, "cell.hostile")
    text = render_text(replace(plan, rejects=(Reject(0, 2, (problem,)),), templates=(hostile,)))
    assert not set(text) & set(hostile) - set("[2Jxy")
    assert "\\u001b[2J" in text


def test_body_is_what_is_sent(place: Path) -> None:
    """The body shown is the JSON object of number, direction and the payload's blocks, and parses."""
    text = render_text(plan_of(place / "fleet.csv"))
    body = orjson.loads(text[text.index("\n{") : text.index("\n}") + 2])
    assert body == {
        "phone_number": "+442079460100",
        "direction": "outbound",
        "codec_config": {"codecs": ["PCMU", "PCMA"], "transcode": True},
    }
    assert list(body)[:2] == ["phone_number", "direction"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1 s"),
        (40.4, "40 s"),
        (90, "2 min"),
        (3599, "60 min"),
        (7200, "2 h"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
        (172_800, "2 d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    """Durations are rounded to what a person plans by."""
    assert duration_text(seconds) == text


def test_repeats(place: Path) -> None:
    """A row that repeats two others is listed with each, and with how many of its requests."""
    plan = plan_lines(
        place / "r.csv",
        "number,template",
        "+14155550100..0103,voice",
        "+14155550106..0107,voice",
        "+14155550102..0108,voice",
    )
    found = [(pair.row, pair.of_row, pair.requests) for pair in repeats(plan)]
    assert found == [(4, 2, 2), (4, 3, 2)]


# --- JSON ---------------------------------------------------------------------------------------


def test_json_of_a_plan(place: Path) -> None:
    """The JSON has the documented fields, to the letter of the golden file."""
    plan = plan_of(Path("migration.csv"), Path("fleet.csv"))
    outlook = Outlook(target="sandbox", comparison=beside(plan, 2), rates=((5, 1),), rate_text="5/s")
    text = orjson.dumps(to_json(plan, outlook), option=orjson.OPT_INDENT_2).decode() + "\n"
    assert text == golden("everything.json", text)


def test_json_adds_up(place: Path) -> None:
    """In the JSON requests are those to send and those skipped, by template, by sheet and in all."""
    plan = to_json(plan_of(place / "migration.csv", place / "fleet.csv"))
    counts = plan["counts"]
    assert isinstance(counts, dict)
    assert counts["requests"] == counts["to_send"] + counts["skipped"]
    for part in ("templates", "sheets"):
        listed = plan[part]
        assert isinstance(listed, list)
        assert sum(one["requests"] for one in listed) == counts["requests"]


# --- rejects as a sheet -------------------------------------------------------------------------


def test_rejects_can_be_mended_and_fed_back(place: Path) -> None:
    """The rejects' own cells come out as they went in, so that mended they plan like any sheet."""
    write_rejects(plan_of(place / "migration.csv", place / "fleet.csv"), place / "mend.csv")
    lines = table(place / "mend.csv")
    assert [(line["result_sheet"], line["result_row"]) for line in lines] == [
        ("migration.csv", "4"),
        ("migration.csv", "6"),
        ("migration.csv", "7"),
        ("migration.csv", "8"),
    ]
    assert [line["phone_number"] for line in lines] == [
        "'+14155550110..0119",
        "1.41556E+10",
        "+14155550115",
        "+14155550120",
    ]
    assert {line["result_state"] for line in lines} == {"rejected"}
    again = plan_of(place / "mend.csv")
    kinds = [[problem.kind for problem in reject.problems] for reject in again.rejects]
    assert kinds == [
        [problem.kind for problem in reject.problems] for reject in plan_of(place / "migration.csv").rejects
    ]


def test_rejects_are_safe_in_a_spreadsheet(place: Path) -> None:
    """A cell that a spreadsheet would run is harmless in the file of rejects, and reads back as it was."""
    plan = plan_lines(
        place / "bad.csv", "number,template,site", '=1+1,voice,"=HYPERLINK(""http://x"")"', "12,voice,-ok"
    )
    write_rejects(plan, place / "mend.csv")
    text = (place / "mend.csv").read_text(encoding="utf-8-sig")
    cells = [cell for line in csv.reader(text.splitlines()) for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "-", "@"))]
    [sheet] = open_sheets([place / "mend.csv"], SheetOptions(), blocks=SCHEMA.blocks)
    [chunk] = sheet.chunks()
    assert chunk.cells[2].tolist() == ['=HYPERLINK("http://x")', "-ok"]


def test_sheets_of_different_columns_share_a_header(place: Path) -> None:
    """Rejects of sheets with different columns stand under one header, each cell under its own."""
    one, other = place / "one.csv", place / "other.csv"
    one.write_text("number,template,site\n12,voice,north\n", encoding="utf-8")
    other.write_text("Owner,Profile,DID\nann,voice,13\n", encoding="utf-8")
    write_rejects(plan_of(one, other), place / "mend.csv")
    lines = [(line["phone_number"], line["site"], line["Owner"]) for line in table(place / "mend.csv")]
    assert lines == [("12", "north", ""), ("13", "", "ann")]


def test_nothing_rejected_leaves_an_empty_file(place: Path) -> None:
    """Without rejects the file has only its header: an older one cannot be taken for this plan's."""
    (place / "mend.csv").write_text("number\n12\n", encoding="utf-8")
    write_rejects(plan_of(place / "fleet.csv"), place / "mend.csv")
    assert table(place / "mend.csv") == []


def test_rejects_that_cannot_be_written(place: Path) -> None:
    """Where the file cannot be written the error names it, and says that nothing was sent."""
    with pytest.raises(ReportError, match=r"nowhere/mend\.csv.*Nothing was sent"):
        write_rejects(plan_of(place / "fleet.csv"), place / "nowhere" / "mend.csv")


# --- the command --------------------------------------------------------------------------------


def test_plan_that_can_run(place: Path) -> None:
    """A plan without rejects exits with 0 and prints the command that runs just this plan."""
    result = sipbatch("fleet.csv", "--rate", "2/s")
    digest = plan_of(place / "fleet.csv").digest
    assert result.return_value == 0
    assert result.stdout.endswith(f"Next: sipbatch run fleet.csv --rate 2/s --plan-digest {digest}\n")
    assert not (place / "sipbatch-runs").exists()


def test_plan_with_rejects(place: Path) -> None:
    """A plan with rejects is printed all the same, and exits with 65."""
    result = sipbatch("migration.csv", "fleet.csv", "--rejects", "mend.csv")
    assert result.return_value == 65
    assert "migration.csv:6 direction: " in result.stdout
    assert "The first request of each:" in result.stdout
    assert "mend.csv" in result.stderr
    assert len(table(place / "mend.csv")) == 4


def test_json_is_all_of_stdout(place: Path) -> None:
    """With `--json` stdout is one JSON document, rejects or not."""
    result = sipbatch("migration.csv", "--json", "--rejects", "mend.csv")
    plan = orjson.loads(result.stdout)
    assert plan["schema"] == "sipbatch.plan/1"
    assert plan["counts"]["rejected"] == 4
    assert result.return_value == 65


def test_exit_code_says_whether_there_is_something_to_send(place: Path) -> None:
    """With `--exit-code` there being something to send is 5, and nothing 0."""
    (place / "empty.csv").write_text("number,template\n", encoding="utf-8")
    assert sipbatch("fleet.csv", "--exit-code").return_value == 5
    assert sipbatch("empty.csv", "--exit-code").return_value == 0


@pytest.mark.parametrize(
    ("applied", "differences", "says", "code"),
    [
        (0, "2 new", "Next: sipbatch run", 5),
        (1, "1 new, 1 unchanged", "Or send only what differs: sipbatch reconcile fleet.csv", 5),
        (2, "2 unchanged", "Next: nothing; ", 0),
    ],
)
def test_what_is_applied_is_known_from_the_journal(
    place: Path, applied: int, differences: str, says: str, code: int
) -> None:
    """The journal tells how much is applied just so; where all of it is, there is nothing to send."""
    Path("runs").mkdir()
    with closing(SqliteJournal(Path("runs", "journal.db"))) as journal:
        run = journal.create_run(plan_of(place / "fleet.csv"), NewRun(target="sandbox", created_at=0.0))
        journal.begin(run, 0.0)
        claims = journal.exchange(run, want=applied, shards=[Shard(0, 2)])
        accepted = Outcome(Verdict.ACCEPTED, http_status=200)
        ended = [Ended(claim, RequestState.SUCCEEDED, accepted, 0.0, 0.0) for claim in claims]
        journal.exchange(run, ended=ended)
        journal.end(run, StopReason.DONE if applied == 2 else StopReason.SIGINT, 0.0)
    result = sipbatch("fleet.csv", "--sandbox", "--workspace", "runs", "--exit-code")
    assert f"Beside what is in force, by the journal: {differences}.\n" in result.stdout
    assert says in result.stdout
    assert result.return_value == code


def test_command_to_run_repeats_what_was_given(place: Path) -> None:
    """The command to run has every option that shapes the plan, quoted for the shell, and no other."""
    (place / "dids.csv").write_text("Main DID\tp\n4155550100\tvoice\n", encoding="utf-8")
    result = sipbatch(
        "dids.csv", "--map", "phone_number=Main DID", "--map", "template=p", "--region", "us",
        "--delimiter", "tab", "--where", "p!=x", "--limit", "5", "--exit-code", "--quiet",
    )  # fmt: skip
    expected = (
        "Next: sipbatch run dids.csv --region US --map 'phone_number=Main DID' --map template=p "
        "--where 'p!=x' --limit 5 --delimiter tab --plan-digest "
    )
    assert expected in result.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--map", "nothing"), '--map phone_number="Main DID"'),
        (("--map", "template=a", "--map", "template=b"), "two columns for template"),
        (("--where", "nothing"), "COLUMN!=VALUE"),
        (("--region", "Atlantis"), "two letters"),
        (("--delimiter", "ab"), "one character"),
        (("--rate", "fast"), "5/s"),
    ],
)
def test_options_that_are_wrong(place: Path, words: Sequence[str], says: str) -> None:
    """An option that is not understood is named with an example of what is."""
    result = sipbatch("fleet.csv", *words)
    assert result.exception is not None
    assert says in str(result.exception)
