"""Settings: what an option falls back to: the environment, then `sipbatch.toml`, then its default.

Click does the falling back. This module gives each option that is a setting its environment variable,
and reads the settings file into click's default map. What is decided anew each time (`--yes`,
`--skip-rejects`, `--plan-digest`, `--where` ...) is no setting, and can only be an option.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from enum import Enum, auto
from pathlib import Path

import click

from batch.errors import UsageError
from batch.hooks import VARIABLES as HOOK_VARIABLES

#: Read from the current folder when `--config` names no other file.
DEFAULT_FILE = Path("sipbatch.toml")
ENVIRONMENT_PREFIX = "SIPBATCH_"

#: Read for the API's address, which is of the environment and stronger than the settings file.
DOTENV = Path(".env")


class Kind(Enum):
    """What a setting's value looks like in the file."""

    TEXT = auto()  #: a string, or a number that is read as one
    NUMBER = auto()
    FLAG = auto()
    PATH = auto()  #: taken from the folder of the settings file
    LIST = auto()  #: strings; a table is read as `key=value` each


#: Every setting by its option's name without the dashes, `_` for `-`.
SETTINGS: dict[str, Kind] = {
    "workspace": Kind.PATH,
    "templates": Kind.PATH,
    "rate": Kind.TEXT,
    "concurrency": Kind.NUMBER,
    "max_attempts": Kind.NUMBER,
    "deadline": Kind.NUMBER,
    "canary": Kind.TEXT,
    "waves": Kind.TEXT,
    "soak": Kind.NUMBER,
    "window": Kind.LIST,
    "window_exit": Kind.FLAG,
    "max_failures": Kind.TEXT,
    "max_changed": Kind.TEXT,
    "max_missing": Kind.TEXT,
    "base_url": Kind.TEXT,
    "auth_scheme": Kind.TEXT,
    "transport": Kind.TEXT,
    "account": Kind.TEXT,
    "snapshot": Kind.FLAG,
    "verify": Kind.FLAG,
    "key_file": Kind.PATH,
    "quiet": Kind.FLAG,
    "log_format": Kind.TEXT,
    "report": Kind.LIST,
    "on_finish": Kind.TEXT,
    "webhook": Kind.TEXT,
    "region": Kind.TEXT,
    "numbers": Kind.TEXT,
    "strict": Kind.FLAG,
    "block_limit": Kind.NUMBER,
    "request_limit": Kind.NUMBER,
    "max_unpacked_mb": Kind.NUMBER,
    "max_ratio": Kind.NUMBER,
    "max_entries": Kind.NUMBER,
    "max_cell_chars": Kind.NUMBER,
    "max_columns": Kind.NUMBER,
    "max_cells": Kind.NUMBER,
    "encoding": Kind.TEXT,
    "delimiter": Kind.TEXT,
    "worksheet": Kind.TEXT,
    "header_row": Kind.NUMBER,
    "map": Kind.LIST,
}

#: Each kind in words.
WANTED = {
    Kind.TEXT: "a text in quotes",
    Kind.NUMBER: "a number",
    Kind.FLAG: "true or false",
    Kind.PATH: "a path in quotes",
    Kind.LIST: "a list of texts, or a table",
}

#: Names under which people would try to keep the key, folded; refused before anything else is read.
SECRETS = frozenset(
    {"key", "apikey", "blandapikey", "authorization", "token", "apitoken", "secret", "password", "bearer"}
)

#: Where a webhook's secret is not kept either, folded; and the variables of ours that are no settings.
WEBHOOK_SECRETS = frozenset({"webhooksecret", "sipbatchwebhooksecret"})
OTHER_VARIABLES = ("SIPBATCH_WEBHOOK_SECRET", *HOOK_VARIABLES)

#: Other environment variables that an option reads, after its own.
ALSO_READ = {"base_url": ("BLAND_BASE_URL",)}

#: Where the context keeps which settings file was read.
META_FILE = "sipbatch.settings_file"


def take_settings(command: click.Command) -> None:
    """Let a command's options fall back to the environment and the settings file.

    Adds `--config` and `--debug`; a group hands all of it on to its commands. Doing it twice does nothing.
    """
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            take_settings(inner)
        return
    if any("--config" in parameter.opts for parameter in command.params):
        return
    for option in _options(command):
        name = setting_name(option)
        if name in SETTINGS:
            also = ALSO_READ.get(name, ())
            option.envvar = [ENVIRONMENT_PREFIX + name.upper(), *also]
    command.params.append(
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            envvar=ENVIRONMENT_PREFIX + "CONFIG",
            is_eager=True,
            expose_value=False,
            callback=_read_into_context,
            help=f"Read settings from FILE.  [default: {DEFAULT_FILE}, if there is one]",
        )
    )
    command.params.append(
        click.Option(["--debug"], is_flag=True, expose_value=False, help="Show a traceback if this fails.")
    )


def setting_name(option: click.Option) -> str:
    """The name of the setting that an option would be: `max_failures` for `--max-failures`."""
    return max(option.opts, key=len).lstrip("-").replace("-", "_")


def read_settings(path: Path) -> dict[str, object]:
    """The settings of one file, by name, with paths taken from the file's folder.

    Raises `UsageError` naming the file and the key if it cannot be read, if a key is unknown or its
    value of the wrong kind, or if it holds an API key.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such settings file.") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{path}: the settings file cannot be read: {reason}.") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: this is not TOML: {error}.") from None
    for key in raw:
        folded = key.lower().replace("_", "").replace("-", "")
        if folded in WEBHOOK_SECRETS:
            raise UsageError(
                f"{path}: {key}: the secret of a webhook is never kept in a settings file. Remove it there, "
                "and set SIPBATCH_WEBHOOK_SECRET in the environment or a .env."
            )
        if folded in SECRETS:
            raise UsageError(
                f"{path}: {key}: the key is never kept in a settings file. Remove it there, and set "
                "BLAND_API_KEY, or name with key_file a file that only you can read."
            )
    return {_known(path, key): _value(path, key, value) for key, value in raw.items()}


def check_environment(environ: Mapping[str, str]) -> None:
    """Refuse a `SIPBATCH_*` variable that looks like a misspelt setting.

    It would silently leave the default in force. Others are somebody else's and are let be.
    """
    known = [ENVIRONMENT_PREFIX + name.upper() for name in (*SETTINGS, "config")]
    for name in environ:
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known and name not in OTHER_VARIABLES:
            near = get_close_matches(name, known, n=1, cutoff=0.85)
            if near:
                raise UsageError(f"The environment sets {name}, which is no setting. Did you mean {near[0]}?")


def origin(ctx: click.Context, parameter: click.Parameter) -> str:
    """Where a parameter's value came from, if not from the command line: for messages about it."""
    match ctx.get_parameter_source(parameter.name):
        case click.core.ParameterSource.ENVIRONMENT:
            names = [parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or ()
            return next((name for name in names if os.environ.get(name)), "")
        case click.core.ParameterSource.DEFAULT_MAP:
            return str(ctx.meta.get(META_FILE, ""))
        case _:
            return ""


def _options(command: click.Command) -> list[click.Option]:
    return [parameter for parameter in command.params if isinstance(parameter, click.Option)]


def _read_into_context(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    check_environment(os.environ)
    settings: dict[str, object] = {}
    if path is None and DEFAULT_FILE.exists():
        path = DEFAULT_FILE
    if path is not None:
        settings = read_settings(path)
        ctx.meta[META_FILE] = path
    if base_url := _base_url_in_dotenv():
        settings["base_url"] = base_url
    ctx.default_map = {
        option.name: settings[name]
        for option in _options(ctx.command)
        if option.name is not None and (name := setting_name(option)) in settings
    }


def _base_url_in_dotenv() -> str | None:
    """The address that stands beside the key in a `.env`: a key goes nowhere else than it was meant to."""
    if not DOTENV.exists():
        return None
    from dotenv import dotenv_values

    return dotenv_values(DOTENV, interpolate=False).get(ALSO_READ["base_url"][0])


def _known(path: Path, key: str) -> str:
    name = key.replace("-", "_")
    if name in SETTINGS:
        return name
    near = get_close_matches(name, SETTINGS, n=1)
    hint = f' Did you mean "{near[0]}"?' if near else f" There are: {', '.join(SETTINGS)}."
    raise UsageError(f'{path}: "{key}" is no setting.{hint}')


def _value(path: Path, key: str, value: object) -> object:
    kind = SETTINGS[_known(path, key)]
    read = _of_kind(kind, value, path.parent)
    if read is None:
        raise UsageError(f"{path}: {key}: this must be {WANTED[kind]}.")
    return read


def _of_kind(kind: Kind, value: object, folder: Path) -> object | None:
    """The value as its option takes it, or None if it is of another kind."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match kind:
        case Kind.TEXT:
            return str(value) if is_number or isinstance(value, str) else None
        case Kind.NUMBER:
            return value if is_number else None
        case Kind.FLAG:
            return value if isinstance(value, bool) else None
        case Kind.PATH:
            return folder / Path(value).expanduser() if isinstance(value, str) else None
        case Kind.LIST:
            values = list(value.values()) if isinstance(value, dict) else value
            items = values if isinstance(values, list) else [values]
            if not all(isinstance(item, str) for item in items):
                return None
            return [f"{left}={right}" for left, right in value.items()] if isinstance(value, dict) else items
