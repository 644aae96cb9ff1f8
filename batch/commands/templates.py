"""`sipbatch templates`: what templates there are, what is wrong with them, and what they make of a row."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batch.errors import RejectedError, SheetError, TemplateError, UsageError

if TYPE_CHECKING:
    from batch.plans import Problem
    from batch.templates.folder import Template, TemplateFolder

_EPILOG = """Examples:

\b
  sipbatch templates list
  sipbatch templates show failover --row numbers.csv:7
  sipbatch templates check --templates customers/templates
  sipbatch templates schema > templates/.template.schema.json
"""


def _folder_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--templates",
        "path",
        type=click.Path(path_type=Path),
        default=Path("templates"),
        show_default=True,
        metavar="DIR",
        help="The folder of templates.",
    )(function)


_json_option = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")


@click.group(name="templates", epilog=_EPILOG)
def command() -> None:
    """List, show and check templates."""


@command.command(name="list")
@_folder_option
@_json_option
def list_templates(path: Path, *, as_json: bool) -> None:
    """List the templates of the folder: direction, columns used, what each builds on and is for."""
    folder = _folder(path)
    templates = [_described(folder, name) for name in folder.names()]
    if as_json:
        _print_json(templates)
        return
    if not templates:
        click.echo(f"{path} holds no templates yet.", err=True)
    for template in templates:
        click.echo(_line(template))


@command.command()
@click.argument("name")
@_folder_option
@click.option("--row", metavar="SHEET:ROW", help="Fill it with this row of a sheet: numbers.csv:7.")
@click.option("--worksheet", metavar="NAME", help="The worksheet of a workbook that has several.")
@click.option("--encoding", metavar="NAME", help="The encoding of a text sheet, where it is not UTF-8.")
@click.option(
    "--map",
    "columns",
    multiple=True,
    callback=lambda _ctx, _option, texts: _columns(texts),
    metavar="WORD=COLUMN",
    help='Say which column is what: --map phone_number="Main DID". Repeatable.',
)
@click.option(
    "--header-row",
    type=click.IntRange(min=1),
    metavar="N",
    help="The row of the header, if it is not found.",
)
@_json_option
def show(name: str, path: Path, *, row: str | None, as_json: bool, **sheet: Any) -> None:
    """Show a template with all that it builds on, or what a row of a sheet makes of it.

    NAME may be several templates joined by +. The row fills NAME, whatever its own template is.
    """
    template = _folder(path).get(name)
    if row is None:
        _show_template(template, as_json=as_json)
    else:
        _show_row(template, row, sheet, as_json=as_json)


@command.command()
@_folder_option
@_json_option
def check(path: Path, *, as_json: bool) -> int:
    """Find every fault in the folder, used or not. Exits with 65 if there is any."""
    from batch.templates.checks import check_folder

    checked = check_folder(_folder(path))
    if as_json:
        faults = [
            {"file": fault.place.file, "line": fault.place.line or None, "message": fault.message}
            for fault in checked.faults
        ]
        _print_json({"templates": list(checked.names), "faults": faults})
    else:
        for fault in checked.faults:
            click.echo(f"{path}/{fault}" if str(path) != "." else str(fault))
    click.echo(f"{_count(len(checked.names), 'template')}, {_count(len(checked.faults), 'fault')}.", err=True)
    return TemplateError.exit_code if checked.faults else 0


@command.command()
def schema() -> None:
    """Print a JSON Schema of template files, by which an editor completes and checks them."""
    from batch.bland.payloads import SCHEMA
    from batch.templates.editor_schema import HEADER_LINE, SCHEMA_FILE, template_schema

    _print_json(template_schema(SCHEMA))
    click.echo(f"Keep it as {SCHEMA_FILE} beside the templates, and begin each of them with:", err=True)
    click.echo(HEADER_LINE, err=True)


def _folder(path: Path) -> TemplateFolder:
    from batch.bland.payloads import SCHEMA
    from batch.templates.folder import TemplateFolder

    return TemplateFolder(path, SCHEMA)


# --- list ---------------------------------------------------------------------------------------


def _described(folder: TemplateFolder, name: str) -> dict[str, Any]:
    """One template as `list --json` has it; one that cannot be used has its faults instead of the rest."""
    try:
        template = folder.get(name)
    except TemplateError as error:
        return {"name": name, "faults": str(error)}
    return _facts(template)


def _facts(template: Template) -> dict[str, Any]:
    return {
        "name": template.name,
        "description": template.description,
        "direction": template.direction,
        "extends": list(template.extends),
        "variables": list(template.names.values()),
        "required": [written for key, written in template.names.items() if key in template.required],
    }


def _line(facts: dict[str, Any]) -> str:
    """A template in one or two lines: `*` marks the columns that must have a value."""
    if "faults" in facts:
        return f"{facts['name']}: cannot be used: {facts['faults']}"
    about = [facts["direction"] or "no direction"]
    if facts["extends"]:
        about.append(f"extends {' + '.join(facts['extends'])}")
    used = [name + "*" * (name in facts["required"]) for name in facts["variables"]]
    about.append(f"columns {', '.join(used)}" if used else "no columns")
    title = f"{facts['name']}: {facts['description']}" if facts["description"] else facts["name"]
    return f"{title}\n    {'; '.join(about)}"


# --- show ---------------------------------------------------------------------------------------


def _show_template(template: Template, *, as_json: bool) -> None:
    if as_json:
        _print_json({**_facts(template), "body": template.body()})
        return
    head = {"description": template.description, "direction": template.direction}
    _print_yaml({**{key: value for key, value in head.items() if value}, **template.body()})


def _show_row(template: Template, row: str, sheet: dict[str, Any], *, as_json: bool) -> None:
    values, overrides, place, header = _cells(row, sheet, template)
    filled = template.fill(values, overrides)
    body = template.preview(values, overrides)
    if as_json:
        _print_json(
            {
                "template": template.name,
                "row": place,
                "body": body,
                "problems": _problems(filled.problems, header),
                "warnings": _problems(filled.warnings, header),
            }
        )
    else:
        _print_yaml(body)
    for problem in _problems(filled.warnings, header):
        click.echo(f"{place} {problem['column']}: warning: {problem['message']}", err=True)
    if filled.problems:
        lines = [f"{place} {one['column']}: {one['message']}" for one in _problems(filled.problems, header)]
        raise RejectedError("\n".join([f"the row cannot become a request with {template.name}:", *lines]))


def _cells(
    row: str, given: dict[str, Any], template: Template
) -> tuple[dict[str, str], dict[tuple[str | int, ...], str], str, dict[str, str]]:
    """One row of a sheet: its cells by variable and by override, its place, and the header of each."""
    path, number = _place(row)
    from batch.schema import dotted
    from batch.sheets.chunks import SheetOptions
    from batch.sheets.opening import open_sheets

    (sheet,) = open_sheets([path], SheetOptions(**given), blocks=template.schema.blocks)
    columns, header = sheet.columns, sheet.header
    headers = {
        template.names[key]: header[at] for key, at in columns.variables.items() if key in template.names
    }
    headers |= {dotted(path): header[at] for at, path in columns.overrides.items()}
    place = f"{sheet.name}:{number}"
    for chunk in sheet.chunks():
        if number not in chunk.rows:
            continue
        at = chunk.rows.tolist().index(number)
        values = {name: str(chunk.cells[column][at]) for name, column in columns.variables.items()}
        overrides = {path: str(chunk.cells[column][at]) for column, path in columns.overrides.items()}
        return values, overrides, place, headers
    raise SheetError(f"{place}: the sheet has no such row, or it is blank, or the header's.")


def _columns(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (word, _, header) in zip(texts, pairs, strict=True):
        if not (word.strip() and header.strip()):
            raise UsageError(f'--map "{text}" is not understood: write phone_number="Main DID".')
    return {word.strip(): header.strip() for word, _, header in pairs}


def _place(row: str) -> tuple[Path, int]:
    sheet, colon, number = row.rpartition(":")
    if not (sheet and colon and number.isascii() and number.isdigit() and len(number) < 10):
        raise UsageError(f'--row "{row}" is not understood: write a sheet, a colon and a row: numbers.csv:7.')
    return Path(sheet), int(number)


def _problems(problems: Sequence[Problem], headers: dict[str, str]) -> list[dict[str, str]]:
    return [
        {"column": headers.get(one.column, one.column), "message": one.message, "kind": one.kind}
        for one in problems
    ]


# --- printing -----------------------------------------------------------------------------------


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _print_yaml(value: object) -> None:
    import yaml

    click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000), nl=False)


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
