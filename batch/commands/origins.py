"""Where a run came from: which files it was planned from, and whether they are still as they were."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batch.commands.typed import typed
from batch.report.causes import AGAIN

if TYPE_CHECKING:
    from batch.journal.protocol import RunRecord

#: Under these names a run's options say from where its files are named.
FOLDER, TEMPLATES = "folder", "templates"

#: What the rows of a run's report need as well when they are planned anew: how they are read, and for whom.
_READING = frozenset({"templates", "region", "strict", "numbers"})
_REACHING = frozenset({"base_url", "account", "auth_scheme", "key_file", "transport"})

_TEMPLATE_ENDINGS = (".yaml", ".yml", ".json")
_GOES_ON = "the run goes on with what was planned from it."


def origins(ctx: click.Context, templates: Path) -> dict[str, object]:
    """What a run's options need to say so that its files can be found again, and its rows be run again.

    What came from the environment or the settings file counts as much as what was typed: a command that is
    pasted elsewhere must not go to another API.
    """

    defaults = {option.name: option.default for option in ctx.command.params}

    def takes(name: str) -> bool:
        return name in _READING | _REACHING and ctx.params[name] not in (None, False, defaults[name])

    return {FOLDER: str(Path.cwd()), TEMPLATES: str(templates.absolute()), AGAIN: typed(ctx, takes)}


def changed_since(run: RunRecord) -> Iterator[str]:
    """Says of each sheet and template that is not as it was when the run was planned."""
    folder = Path(str(run.options.get(FOLDER, "")))
    for path, sha256 in dict.fromkeys((sheet.path, sheet.sha256) for sheet in run.sheets):
        if path != "-":
            yield from _changed(path, [folder / path], sha256)
    templates = run.options.get(TEMPLATES)
    if isinstance(templates, str):
        for name, sha256 in run.template_digests.items():
            files = [Path(templates) / f"{name}{ending}" for ending in _TEMPLATE_ENDINGS]
            yield from _changed(f"template {name}", files, sha256)


def _changed(what: str, files: list[Path], sha256: str) -> Iterator[str]:
    """The first of the files that is there counts."""
    for file in files:
        try:
            with file.open("rb") as opened:
                now = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError:
            continue
        if now != sha256:
            yield f"{what} was changed since; {_GOES_ON}"
        return
    yield f"{what} is not there any more; {_GOES_ON}"
