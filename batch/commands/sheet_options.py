"""The options by which sheets are read and planned: shared by every command that takes sheets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from batch.errors import UsageError

if TYPE_CHECKING:
    from batch.plans import Plan
    from batch.sheets.chunks import Condition, SheetOptions

R = TypeVar("R")

DEFAULT_TEMPLATES = Path("templates")

#: `--max-NAME`, the field of `batch.sheets.chunks.Bounds` that it sets, its default there, and its help.
_BOUNDS = (
    ("unpacked-mb", "unpacked_mb", 1_000, "The most megabytes that a workbook or a .gz may unpack to"),
    ("ratio", "ratio", 200, "The most times its packed size that a workbook or a .gz may unpack to"),
    ("entries", "entries", 10_000, "The most files that a workbook may consist of"),
    ("cell-chars", "cell_chars", 32_767, "The most characters in a cell"),
    ("columns", "columns", 1_000, "The most columns of a sheet"),
    ("cells", "cells", 30_000_000, "The most cells of a workbook"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetArguments:
    """What the command line says of the sheets, and how to plan them.

    `paths` holds `"-"` for standard input. `bounds` has only those that were given.
    """

    paths: tuple[Path | Literal["-"], ...]
    templates: Path
    region: str | None
    strict: bool
    numbers: str
    columns: dict[str, str]
    where: tuple[Condition, ...]
    limit: int | None
    encoding: str | None
    delimiter: str | None
    worksheet: str | None
    header_row: int | None
    block_limit: int
    request_limit: int
    bounds: dict[str, int]

    @property
    def is_narrowed(self) -> bool:
        """Whether only some rows of the sheets were asked for."""
        return bool(self.where) or self.limit is not None

    @property
    def sheet_options(self) -> SheetOptions:
        """How the sheets are read."""
        from batch.sheets.chunks import Bounds, SheetOptions

        return SheetOptions(
            encoding=self.encoding,
            delimiter=self.delimiter,
            worksheet=self.worksheet,
            header_row=self.header_row,
            columns=self.columns,
            where=self.where,
            limit=self.limit,
            bounds=Bounds(**self.bounds),
        )

    def plan(self, *, keep_cells: bool = True, keep_secrets: bool = False) -> Plan:
        """Open the sheets and the templates, and make the plan of them.

        `keep_cells` packs the sheets' own cells into it, `keep_secrets` unmasked. May raise
        `SheetError` and `TemplateError`.
        """
        from batch.bland.payloads import SCHEMA
        from batch.heap import give_back_freed
        from batch.planning import PlanOptions, make_plan
        from batch.sheets.opening import open_sheets
        from batch.templates.folder import TemplateFolder

        options = PlanOptions(
            region=self.region,
            strict=self.strict,
            full_validity=self.numbers == "valid",
            block_limit=self.block_limit,
            request_limit=self.request_limit,
            keep_cells=keep_cells,
            keep_secrets=keep_secrets,
        )
        give_back_freed()
        sheets = open_sheets(self.paths, self.sheet_options, blocks=SCHEMA.blocks)
        return make_plan(sheets, TemplateFolder(self.templates, SCHEMA), options)


def sheet_options(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command its SHEET arguments and every option on reading them, as one `given: SheetArguments`.

    The command's other parameters come as they are.
    """

    @wraps(function)
    def command(**params: Any) -> R:
        bounds = {field: params.pop(f"max_{field}") for _, field, _, _ in _BOUNDS}
        given = SheetArguments(
            paths=tuple("-" if path == "-" else Path(path) for path in params.pop("sheets")),
            templates=params.pop("templates"),
            region=params.pop("region"),
            strict=params.pop("strict"),
            numbers=params.pop("numbers"),
            columns=_columns(params.pop("map")),
            where=_conditions(params.pop("where")),
            limit=params.pop("limit"),
            encoding=params.pop("encoding"),
            delimiter=params.pop("delimiter"),
            worksheet=params.pop("worksheet"),
            header_row=params.pop("header_row"),
            block_limit=params.pop("block_limit"),
            request_limit=params.pop("request_limit"),
            bounds={field: most for field, most in bounds.items() if most is not None},
        )
        return function(given=given, **params)

    decorated: Callable[..., R] = command
    for decorate in reversed(_PARAMETERS):
        decorated = decorate(decorated)
    return decorated


def _region(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    if text is None:
        return None
    import phonenumbers

    region = text.strip().upper()
    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise click.BadParameter(f'"{text}" is no country: write its two letters, such as US or GB.')
    return region


_DELIMITER_WORDS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


def _delimiter(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    if text is None:
        return None
    delimiter = _DELIMITER_WORDS.get(text.lower(), text)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise click.BadParameter(f'"{text}" is no delimiter: write one character, or "tab".')
    return delimiter


def _columns(texts: tuple[str, ...]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for text in texts:
        word, equals, header = text.partition("=")
        if not (equals and word.strip() and header.strip()):
            raise UsageError(
                f'--map "{text}" is not understood: write what a column is, =, and its header, '
                'such as --map phone_number="Main DID".'
            )
        if word.strip() in columns:
            raise UsageError(f"--map names two columns for {word.strip()}: leave one out.")
        columns[word.strip()] = header.strip()
    return columns


def _conditions(texts: tuple[str, ...]) -> tuple[Condition, ...]:
    from batch.sheets.opening import parse_condition

    return tuple(parse_condition(text) for text in texts)


_PARAMETERS = (
    click.argument("sheets", nargs=-1, required=True, metavar="SHEET..."),
    click.option(
        "--templates",
        type=click.Path(path_type=Path),
        default=DEFAULT_TEMPLATES,
        show_default=True,
        metavar="DIR",
        help="The folder of templates.",
    ),
    click.option(
        "--region",
        callback=_region,
        metavar="CC",
        help="The country (US, GB, ...) of numbers that are written without their country code.",
    ),
    click.option("--strict", is_flag=True, help="Mend nothing: reject what is not plain E.164."),
    click.option(
        "--numbers",
        type=click.Choice(["possible", "valid"]),
        default="possible",
        show_default=True,
        help="Take numbers of a possible length, or only those that the country's numbering plan has.",
    ),
    click.option(
        "--map",
        multiple=True,
        metavar="WORD=COLUMN",
        help='Say which column is what: --map phone_number="Main DID". Repeatable.',
    ),
    click.option(
        "--where",
        multiple=True,
        metavar="COLUMN=VALUE",
        help="Take only rows with this value, or without it (COLUMN!=VALUE). Repeatable: all must hold.",
    ),
    click.option(
        "--limit", type=click.IntRange(min=1), metavar="N", help="Take the first N rows of a sheet."
    ),
    click.option("--encoding", metavar="NAME", help="The encoding of a text sheet, where it is not UTF-8."),
    click.option(
        "--delimiter", callback=_delimiter, metavar="C", help="What separates cells, if the header misleads."
    ),
    click.option(
        "--worksheet",
        metavar="NAME",
        help="The worksheet of a workbook that has several; or write book.xlsx#NAME.",
    ),
    click.option(
        "--header-row",
        type=click.IntRange(min=1),
        metavar="N",
        help="The row of the header, if it is not found.",
    ),
    click.option(
        "--block-limit",
        type=click.IntRange(min=1),
        default=100_000,
        show_default=True,
        metavar="N",
        help="The most numbers in the block of one row.",
    ),
    click.option(
        "--request-limit",
        type=click.IntRange(min=1),
        default=10_000_000,
        show_default=True,
        metavar="N",
        help="The most requests in a plan.",
    ),
    *(
        click.option(
            f"--max-{name}",
            f"max_{field}",
            type=click.IntRange(min=1),
            metavar="N",
            help=f"{text}: {default} unless this says otherwise.",
        )
        for name, field, default, text in _BOUNDS
    ),
)
