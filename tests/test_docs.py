"""What docs/sheets.md and docs/templates.md say is what happens."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import click
import pytest

from batch.bland.payloads import SCHEMA
from batch.cli import cli
from batch.phone.reading import read_numbers
from batch.sheets.chunks import Bounds
from batch.sheets.columns import ALIASES, fold
from batch.templates import files
from batch.templates.editor_schema import HEADER_LINE
from batch.templates.folder import MAX_CHAIN, Filled, TemplateFolder
from batch.templates.heads import OWN_KEYS

DOCS = Path(__file__).resolve().parent.parent / "docs"
SHEETS = (DOCS / "sheets.md").read_text(encoding="utf-8")
TEMPLATES = (DOCS / "templates.md").read_text(encoding="utf-8")


def table(text: str, *header: str) -> list[list[str]]:
    """The rows of the table with this header, without the ticks of code."""
    _, _, after = text.partition(f"| {' | '.join(header)} |\n")
    lines = after.split("\n\n")[0].splitlines()[1:]
    # A bar within ticks is not one that parts cells.
    cells = [re.split(r"\|(?=(?:[^`]*`[^`]*`)*[^`]*$)", line.strip()[1:-1]) for line in lines]
    return [[re.sub(r"^`(.*)`$", r"\1", cell.strip()) for cell in row] for row in cells]


def test_the_tables_are_found() -> None:
    """No table of these tests is empty because its header was worded anew."""
    assert len(MENDED) > 8
    assert len(REJECTED) > 10
    assert len(table(SHEETS, "option", "default", "the most")) == len(asdict(Bounds()))
    assert len(BLANKS) == 4


MENDED = table(SHEETS, "cell", "`--region`", "becomes", "because")
REJECTED = table(SHEETS, "cell", "`--region`", "rejected as", "what to do")
BLANKS = table(TEMPLATES, "written", "the cell is `5062`", "the cell is blank")


@pytest.mark.parametrize(("cell", "region", "becomes", "because"), MENDED)
def test_cells_are_mended_as_told(cell: str, region: str, becomes: str, because: str) -> None:
    """A cell becomes the number that the table has, and the note says why in its words."""
    reading = read_numbers([cell], column="DID", region=region or None)
    assert [f"+{value}" for value in reading.values] == [becomes]
    assert reading.note_kinds[reading.notes[0]].endswith(f": {because}")


@pytest.mark.parametrize(("cell", "region", "kind"), [row[:3] for row in REJECTED])
def test_cells_are_rejected_as_told(cell: str, region: str, kind: str) -> None:
    """A cell is rejected for the reason that the table has."""
    [problem] = read_numbers([cell], column="DID", region=region or None).problems[0]
    assert problem.kind == kind


def test_aliases_are_those_that_are_known() -> None:
    """The names of columns in the table are all that stand for them."""
    rows = {row[0]: row[1] for row in table(SHEETS, "column", "also called", "holds")}
    for word, aliases in ALIASES.items():
        assert {fold(word), *map(fold, filter(None, rows[word].split(", ")))} == set(aliases)


def test_bounds_are_the_options_and_their_defaults() -> None:
    """Each bound has its option, whose help and the page give the default that it has."""
    told = {row[0]: int(row[1].replace(",", "")) for row in table(SHEETS, "option", "default", "the most")}
    assert told == {f"--max-{name.replace('_', '-')}": most for name, most in asdict(Bounds()).items()}
    plan = cli.get_command(click.Context(cli), "plan")
    assert plan is not None
    helps = {opt: getattr(param, "help", "") for param in plan.params for opt in param.opts}
    assert [option for option, most in told.items() if f": {most} unless" not in helps[option]] == []


@pytest.mark.parametrize("text", [SHEETS, TEMPLATES], ids=["sheets", "templates"])
def test_options_are_there(text: str) -> None:
    """Every option that the pages name is one of `plan` or of `templates show`."""
    context = click.Context(cli)
    plan, templates = (cli.get_command(context, name) for name in ("plan", "templates"))
    assert plan is not None
    assert isinstance(templates, click.Group)
    known = {
        opt for command in (plan, *templates.commands.values()) for p in command.params for opt in p.opts
    }
    assert set(re.findall(r"--[a-z][a-z-]+", text)) <= known


def test_every_option_of_reading_is_told() -> None:
    """No option that says how sheets are read is missing from the page."""
    from batch.commands.sheet_options import sheet_options

    reading = click.command()(sheet_options(lambda given: None))
    options = {opt for param in reading.params for opt in param.opts if opt.startswith("--")}
    assert options - {"--templates"} <= set(re.findall(r"--[a-z][a-z-]+", SHEETS))


@pytest.mark.parametrize(("written", "filled", "blank"), BLANKS)
def test_blanks_are_filled_as_told(tmp_path: Path, written: str, filled: str, blank: str) -> None:
    """A placeholder gives what the table says, with a cell and without."""
    endpoint = f'{{host: a.example.com, port: "{written}"}}'
    (tmp_path / "t.yaml").write_text(f"failover_config:\n  endpoints: [{endpoint}]\n", encoding="utf-8")
    template = TemplateFolder(tmp_path, SCHEMA).get("t")
    assert outcome(template.fill({"port": "5062"}, {})) == filled
    assert outcome(template.fill({"port": ""}, {})).startswith(blank)


def outcome(filled: Filled) -> str:
    """What became of the port of a template's only endpoint, as the page says it."""
    if filled.payload is None:
        return f"the row is rejected: {filled.problems[0].message}"
    [endpoint] = json.loads(filled.payload.body)["failover_config"]["endpoints"]
    return str(endpoint.get("port", "the key is left out"))


def test_the_template_of_the_page_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's own template has no fault, and begins with the line for editors."""
    [text] = re.findall(r"```yaml\n(.*?)```", TEMPLATES, re.DOTALL)
    assert text.startswith(f"{HEADER_LINE}\n")
    (tmp_path / "page.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "alerts-noc.yaml").write_bytes((DOCS.parent / "templates" / "alerts-noc.yaml").read_bytes())
    monkeypatch.setenv("FAILOVER_DOMAIN", "example.com")
    template = TemplateFolder(tmp_path, SCHEMA).get("page")
    values = dict.fromkeys(template.variables, "x") | {"backuphost": "a.example.com", "backupport": ""}
    assert template.fill(values, {}).problems == ()


def test_keys_and_bounds_of_templates() -> None:
    """The keys and bounds that the page names are those that there are."""
    keys = {
        key
        for row in re.findall(r"^\| (`.*?`) \|", TEMPLATES, re.MULTILINE)
        for key in re.findall(r"`(\w+)`", row)
    }
    assert keys == {*OWN_KEYS, *SCHEMA.blocks}
    bounds = files.Bounds()
    said = f"{bounds.file_bytes // 1024} KiB, {bounds.depth} levels, {bounds.values:,} values"
    assert said in TEMPLATES
    assert f"{bounds.aliases} aliases" in TEMPLATES
    assert f"at most {MAX_CHAIN}" in TEMPLATES
