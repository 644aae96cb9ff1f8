"""`sipbatch templates`: list, show, check and schema, as operators run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from batch.bland.payloads import SCHEMA
from batch.cli import main
from batch.templates.folder import TemplateFolder

ROOT = Path(__file__).parent.parent.parent
TEMPLATES = str(ROOT / "templates")
SECRET = "s3cr3t-canary"

SHEET = """number,template,Backup Host,backup_port,codec_config.transcode,owner
+14155550100,x,backup.example.com,,no,sales
+14155550101,x,,70000,perhaps,sales
+14155550102,x,backup.example.com,5062,,sales
"""


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.csv"
    path.write_text(SHEET, encoding="utf-8")
    return path


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    """`list` tells of each template what it is for, its direction, its base and the columns that it needs."""
    assert main(["templates", "list", "--templates", TEMPLATES]) == 0
    out = capsys.readouterr().out
    assert "failover: Two TLS backups, tried in order\n    outbound; columns backup_host*, backup_port" in out
    assert "extends alerts-noc" in out


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """`list --json` has every template of the folder, in order of names, with the names as written."""
    assert main(["templates", "list", "--templates", TEMPLATES, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in listed] == sorted(path.stem for path in Path(TEMPLATES).glob("*.yaml"))
    (failover,) = (one for one in listed if one["name"] == "failover")
    assert failover == {
        "name": "failover",
        "description": "Two TLS backups, tried in order",
        "direction": "outbound",
        "extends": [],
        "variables": ["backup_host", "backup_port", "second_backup_host"],
        "required": ["backup_host"],
    }


def test_list_goes_on_after_a_faulty_template(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One template that cannot be used hides no other; `list` says what is wrong with it."""
    (tmp_path / "bad.yaml").write_text("codec_config: {a: 1, a: 2}", encoding="utf-8")
    (tmp_path / "good.yaml").write_text("codec_config: {transcode: true}", encoding="utf-8")
    assert main(["templates", "list", "--templates", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert 'bad: cannot be used: bad.yaml:1: holds the key "a" again' in out
    assert "good\n    no direction; no columns" in out


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without templates is no error, and is said to be empty."""
    assert main(["templates", "list", "--templates", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no templates" in captured.err


def test_a_missing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is not there ends each command with 65 and the option that names another."""
    for arguments in (["list"], ["check"], ["show", "x"]):
        assert main(["templates", *arguments, "--templates", str(tmp_path / "no")]) == 65
        assert "--templates" in capsys.readouterr().err


def test_the_folder_is_a_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`SIPBATCH_TEMPLATES` names the folder where the option does not."""
    (tmp_path / "mine.yaml").write_text("codec_config: {transcode: true}", encoding="utf-8")
    monkeypatch.setenv("SIPBATCH_TEMPLATES", str(tmp_path))
    assert main(["templates", "list"]) == 0
    assert capsys.readouterr().out.startswith("mine\n")


def test_check_passes_the_samples(capsys: pytest.CaptureFixture[str]) -> None:
    """The sample templates have no fault, and `check` says how many it looked at."""
    assert main(["templates", "check", "--templates", TEMPLATES]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "7 templates, no faults." in captured.err


def test_check_names_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """`check` prints one line a fault, by file and line, and exits with 65."""
    folder = ROOT / "tests" / "fixtures" / "templates" / "faulty"
    expected = folder.with_name("faulty.txt").read_text(encoding="utf-8").splitlines()
    assert main(["templates", "check", "--templates", str(folder)]) == 65
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [f"{folder}/{line}" for line in expected]
    assert f"{len(expected)} faults." in captured.err
    assert main(["templates", "check", "--templates", str(folder), "--json"]) == 65
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert len(faults) == len(expected)
    assert {
        "file": "twice.yaml",
        "line": 4,
        "message": 'holds the key "transcode" again, after line 2',
    } in faults


def test_show_prints_the_merged_template(capsys: pytest.CaptureFixture[str]) -> None:
    """`show` prints a template with its base laid under it, as YAML that is itself a template."""
    assert main(["templates", "show", "failover-with-alerts", "--templates", TEMPLATES]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    template = TemplateFolder(Path(TEMPLATES), SCHEMA).get("failover-with-alerts")
    assert shown == {
        "description": template.description,
        "direction": "outbound",
        **template.body(),
    }
    assert shown["alert_config"]["thresholds"]["unreachable_minutes"] == 2
    assert shown["alert_config"]["thresholds"]["response_time_ms"] == 500


def test_show_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """`show --json` has what `list --json` has, and the merged body."""
    assert main(["templates", "show", "codecs + failover", "--templates", TEMPLATES, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["name"] == "codecs+failover"
    assert shown["body"]["codec_config"]["transcode"] == "${transcode:-true}"
    assert list(shown["body"]) == ["codec_config", "failover_config"]


def test_show_of_an_unknown_template(capsys: pytest.CaptureFixture[str]) -> None:
    """A template that is not there is answered with the one that was meant, and 65."""
    assert main(["templates", "show", "failovr", "--templates", TEMPLATES]) == 65
    assert 'Did you mean "failover"?' in capsys.readouterr().err


def test_show_row(sheet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`show --row` prints the body that the row is filled with, overrides included."""
    assert main(["templates", "show", "failover", "--row", f"{sheet}:2", "--templates", TEMPLATES]) == 0
    captured = capsys.readouterr()
    shown = yaml.safe_load(captured.out)
    assert shown["failover_config"]["endpoints"][0]["host"] == "backup.example.com"
    assert shown["failover_config"]["endpoints"][0]["port"] == 5061
    assert shown["codec_config"] == {"transcode": False}
    assert "numbers.csv:2 codec_config.transcode: warning: codec_config leaves out codecs" in captured.err


def test_show_row_that_cannot_be(sheet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row that cannot be filled is shown as far as it goes, with its problems by the sheet's headers."""
    arguments = ["templates", "show", "failover", "--row", f"{sheet}:3", "--templates", TEMPLATES]
    assert main([*arguments, "--json"]) == 65
    shown = json.loads(capsys.readouterr().out)
    assert shown["row"] == "numbers.csv:3"
    assert [one["column"] for one in shown["problems"]] == [
        "Backup Host",
        "codec_config.transcode",
        "backup_port",
    ]
    assert main(arguments) == 65
    assert "numbers.csv:3 Backup Host: is blank" in capsys.readouterr().err


def test_show_row_of_a_sheet_with_other_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--map` says which column is what, as it does where the sheet is planned."""
    (tmp_path / "odd.csv").write_text("Main DID,gateway\n+14155550100,b.example.com\n", encoding="utf-8")
    mapped = ["--map", "phone_number=Main DID", "--map", "backup_host=gateway"]
    arguments = ["templates", "show", "failover", "--row", f"{tmp_path / 'odd.csv'}:2", *mapped]
    assert main([*arguments, "--templates", TEMPLATES]) == 0
    assert "host: b.example.com" in capsys.readouterr().out
    assert main([*arguments, "--map", "gateway", "--templates", TEMPLATES]) == 2


@pytest.mark.parametrize(("row", "code"), [("numbers.csv", 2), ("numbers.csv:x", 2), (":7", 2)])
def test_show_row_is_explained(row: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A row that is not written as sheet, colon and number is a usage error with an example."""
    assert main(["templates", "show", "failover", "--row", row, "--templates", TEMPLATES]) == code
    assert "numbers.csv:7" in capsys.readouterr().err


def test_show_row_that_is_not_there(sheet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row that the sheet does not have, the header's included, is named."""
    for number in (1, 99):
        arguments = ["templates", "show", "failover", "--row", f"{sheet}:{number}"]
        assert main([*arguments, "--templates", TEMPLATES]) == 65
        assert f"numbers.csv:{number}: the sheet has no such row" in capsys.readouterr().err


def test_show_row_of_a_worksheet(capsys: pytest.CaptureFixture[str]) -> None:
    """A workbook's row may be named as messages name it, with the worksheet after a #."""
    for book in ("carrier_migration.xlsx", "carrier_migration.xlsx#Numbers"):
        row = f"{ROOT / 'sample_csvs' / book}:2"
        arguments = ["templates", "show", "carrier-migration", "--row", row, "--json"]
        assert main([*arguments, "--templates", TEMPLATES]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown["body"]["alert_config"]["channels"]["webhook"].endswith("/sip-alerts/sea")


def test_show_masks_the_environment(
    tmp_path: Path, sheet: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a template reads from the environment is never printed, whether the row is right or wrong."""
    (tmp_path / "hook.yaml").write_text(
        "allow_env: [HOOK]\nalert_config: {channels: {webhook: '${env:HOOK}/${owner}'}}", encoding="utf-8"
    )
    printed = ""
    for value in (f"https://h.example.com/{SECRET}", f"ftp://{SECRET}"):
        monkeypatch.setenv("HOOK", value)
        for extra in ([], ["--json"], ["--row", f"{sheet}:2"], ["--row", f"{sheet}:2", "--json"]):
            main(["templates", "show", "hook", "--templates", str(tmp_path), *extra])
            captured = capsys.readouterr()
            printed += captured.out + captured.err
    assert "***/sales" in printed
    assert SECRET not in printed


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """`schema` prints the JSON Schema alone on stdout, and on stderr the line to put into a template."""
    assert main(["templates", "schema"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "# yaml-language-server: $schema=.template.schema.json\n" in captured.err
