"""`--json` everywhere: what each command prints is as its published schema says, to the last field."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from batch.cli import COMMANDS, cli
from batch.json_shapes import SCHEMAS
from tests.json_validation import faults
from tests.sending import Desk, main
from tests.test_hooks import SEND
from tests.test_webhook import SECRET, Receiver, receiving

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"

Printed = Callable[..., str]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with the sample templates and a small sheet."""
    folder = tmp_path / "desk"
    folder.mkdir()
    shutil.copytree(ROOT / "templates", folder / "templates")
    desk = Desk(folder)
    desk.sheet(5)
    return desk


@pytest.fixture
def printed(desk: Desk, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Printed:
    """Runs a command in the desk's folder, and gives what it printed as data."""
    monkeypatch.chdir(desk.folder)
    for name in [name for name in os.environ if name.startswith(("BLAND_", "SIPBATCH_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SIPBATCH_WEBHOOK_SECRET", SECRET)

    def run(*arguments: str) -> str:
        main(*arguments)
        return capfd.readouterr().out

    return run


def check(name: str, value: Any) -> Any:
    """The value, which is as its schema says."""
    assert faults(value, SCHEMAS[name]()) == []
    return value


def check_lines(name: str, text: str) -> list[Any]:
    """The values of some lines, of which there are any, each as its schema says."""
    values = [check(name, json.loads(line)) for line in text.splitlines()]
    assert values
    return values


FAILING = ("--sandbox-fault", "404=0.5", "--sandbox-seed", "3")


def test_plan(printed: Printed, desk: Desk) -> None:
    """With rejects, repeats and warnings, and beside what is in force."""
    shutil.copytree(ROOT / "sample_csvs", desk.folder / "sample_csvs")
    told = check("plan", json.loads(printed("plan", "sample_csvs/every_mistake.csv", "--json")))
    assert told["rejects"]
    assert told["differences"] is None
    printed(*SEND)
    desk.sheet(6, extra=("+14155550100,codecs",))
    template = desk.folder / "templates" / "codecs.yaml"
    template.write_text(template.read_text(encoding="utf-8").replace("true", "false"), encoding="utf-8")
    told = check("plan", json.loads(printed("plan", "numbers.csv", "--sandbox", "--json", "--diff")))
    assert told["diff"]["patches"]
    assert told["skipped"]


def test_summary(printed: Printed) -> None:
    """Of `run`, `resume`, `retry` and `report`, with causes."""
    told = check("summary", json.loads(printed(*SEND, *FAILING, "--json")))
    assert told["causes"]
    check("summary", json.loads(printed("retry", "--yes", "--rate", "1000/s", "--json")))
    check("summary", json.loads(printed("report", "--json")))


def test_report_files(printed: Printed, desk: Desk) -> None:
    """`summary.json`, `manifest.json` and each line of `results.jsonl`."""
    printed(*SEND, *FAILING)
    folder = desk.workspace.run_folder(desk.workspace.records()[0].id)
    for name in ("summary", "manifest"):
        check(name, json.loads((folder / f"{name}.json").read_bytes()))
    check_lines("results-jsonl", (folder / "results.jsonl").read_text(encoding="utf-8"))


def test_status_and_runs(printed: Printed) -> None:
    """Of a run that has ended, and one that was halted."""
    printed(*SEND, *FAILING, "--max-failures", "1")
    printed(*SEND)
    check("runs", json.loads(printed("runs", "--json")))
    for run in json.loads(printed("runs", "--json")):
        check("status", json.loads(printed("status", run["run"], "--json")))
    check_lines("status", printed("status", "--watch", "--json"))


def test_reconcile(printed: Printed, desk: Desk) -> None:
    """What differs, and that nothing does."""
    sheet = ("numbers.csv", "--sandbox", "--json")
    told = check("reconcile", json.loads(printed("reconcile", *sheet, "--expect-no-changes")))
    assert told["patches"]
    check("summary", json.loads(printed("reconcile", *sheet, "--yes", "--rate", "1000/s")))
    told = check("reconcile", json.loads(printed("reconcile", *sheet, "--yes")))
    assert told["patches"] == []


def test_rollback(printed: Printed, desk: Desk) -> None:
    """What taking a run back comes to, and the run that does it."""
    printed(*SEND)
    run = desk.workspace.records()[0].id
    told = check("rollback", json.loads(printed("rollback", run, "--plan", "--json")))
    assert told["impossible"]
    template = desk.folder / "templates" / "codecs.yaml"
    template.write_text(template.read_text(encoding="utf-8").replace("true", "false"), encoding="utf-8")
    printed(*SEND)
    run = desk.workspace.records()[1].id
    told = check("rollback", json.loads(printed("rollback", run, "--plan", "--json")))
    assert told["patches"]
    check("summary", json.loads(printed("rollback", run, "--yes", "--json", "--rate", "1000/s")))


def test_verify(printed: Printed) -> None:
    """What reading back has found, where the sandbox shows it and where it does not."""
    record = ("--sandbox-record", "seen.jsonl")
    printed(*SEND, *record)
    told = check("verify", json.loads(printed("verify", "--json", "--rate", "1000/s")))
    assert told["verification"]


def test_fleet_and_history(printed: Printed) -> None:
    """What is in force, and how it came to that."""
    printed(*SEND, *FAILING)
    check_lines("fleet", printed("fleet", "--sandbox", "--json"))
    for number in range(14155550100, 14155550105):
        told = check("history", json.loads(printed("history", f"+{number}", "--json")))
        assert told["requests"]


def test_templates(printed: Printed, desk: Desk) -> None:
    """Good ones and a faulty one, as they are and filled in with a row."""
    check("templates-show", json.loads(printed("templates", "show", "failover", "--json")))
    row = ("templates", "show", "codecs", "--row", "numbers.csv:3", "--json")
    check("templates-show-row", json.loads(printed(*row)))
    (desk.folder / "templates" / "broken.yaml").write_text("extends: nothing\n", encoding="utf-8")
    told = check("templates-list", json.loads(printed("templates", "list", "--json")))
    assert any("faults" in one for one in told)
    told = check("templates-check", json.loads(printed("templates", "check", "--json")))
    assert told["faults"]


def test_doctor(printed: Printed) -> None:
    """Of this machine."""
    check("doctor", json.loads(printed("doctor", "--offline", "--json")))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook's other end."""
    with receiving(Receiver()) as running:
        yield running


def test_webhook(printed: Printed, receiver: Receiver) -> None:
    """What is posted."""
    printed(*SEND, *FAILING, "--webhook", receiver.url)
    check("webhook", json.loads(receiver.received[0].body))


def test_log(printed: Printed, desk: Desk) -> None:
    """Every line of a log, from the plan to the hooks."""
    desk.sheet(5, extra=("+141,codecs",))
    done = desk.run(*SEND, "--skip-rejects", "--on-finish", "true", "--log-format", "json", *FAILING)
    check_lines("log-events", done.err)


def json_commands() -> Iterator[str]:
    """Every command that takes `--json`: `run`, `templates list`, ..."""
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        inner = command.commands.items() if isinstance(command, click.Group) else [("", command)]
        for inner_name, one in inner:
            if any("--json" in parameter.opts for parameter in one.params):
                yield f"{name} {inner_name}".strip()


def test_every_command_is_documented_with_its_schema() -> None:
    """docs/json.md has each command that takes `--json`, and leads to schemas that are there."""
    text = (DOCS / "json.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `sipbatch ([a-z ]+[a-z])", text, re.MULTILINE)
    assert sorted(listed) == sorted(json_commands())
    linked = set(re.findall(r"\(schemas/([a-z-]+)\.schema\.json\)", text))
    assert linked == set(SCHEMAS)
