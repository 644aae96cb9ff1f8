"""The options of the commands that send: how fast and how carefully, where to, and how much is said."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from batch.errors import UsageError
from batch.report.formats import FORMATS
from batch.workspace import DEFAULT_WORKSPACE, Workspace

if TYPE_CHECKING:
    from batch.destinations import Destination
    from batch.hooks import Hooks
    from batch.rollout import Sending

R = TypeVar("R")


def _read_canary(ctx: click.Context, param: click.Parameter, text: str | None) -> int | str | None:
    from batch.engine.waves import parse_canary

    del ctx, param  # click hands them
    return None if text is None else parse_canary(text)


_SENDING = (
    click.option(
        "--rate",
        metavar="N/s",
        help="How fast: 20/s, 600/m, several at once (20/s,600/m), or auto.  [default: 5/s]",
    ),
    click.option(
        "--concurrency",
        type=click.IntRange(1, 1024),
        metavar="N",
        help="The most requests in flight.  [default: what the rate needs]",
    ),
    click.option(
        "--max-attempts",
        type=click.IntRange(1, 100),
        metavar="N",
        help="The most attempts for one request.  [default: 5]",
    ),
    click.option(
        "--deadline",
        "deadline_s",
        type=click.FloatRange(min=0, min_open=True, max=3600),
        metavar="SECONDS",
        help="The longest that one attempt may take.  [default: 30]",
    ),
    click.option(
        "--max-failures",
        metavar="N|N%",
        help="Stop once more than N requests have failed, or N% of those that ended.",
    ),
    click.option(
        "--canary",
        metavar="N|auto",
        callback=_read_canary,
        help="Send N requests first, one of every template, direction and country among them (auto: a few of "
        "each), and the others only if all of those succeed.",
    ),
    click.option(
        "--waves",
        metavar="N%,...",
        help="How far each wave goes, such as 1%,10%,100%; each begins when the one before went well.",
    ),
    click.option(
        "--soak",
        "soak_s",
        type=click.FloatRange(min=0, max=86_400),
        metavar="SECONDS",
        help="How long to send nothing after a wave, before it is judged.",
    ),
    click.option(
        "--window",
        "windows",
        multiple=True,
        metavar="FROM-TO@ZONE",
        help="Send only then: 22:00-05:00@Europe/Berlin. Repeatable.",
    ),
    click.option(
        "--window-exit",
        is_flag=True,
        help="End with 75 when the window closes, and do not wait for the next.",
    ),
    click.option(
        "--snapshot",
        is_flag=True,
        help="Before sending, read what is there, as far as the API shows it: for a rollback.",
    ),
    click.option(
        "--verify", is_flag=True, help="After sending, read back whether all is there as it was sent."
    ),
)

#: Those that say what is sent when: what `plan` foresees. A window is left by the deadline before it closes.
_COURSE = (_SENDING[3], *_SENDING[5:9])

#: Those that also say how fast and how patiently something is read.
_PACE = _SENDING[:4]

_REPORT = click.option(
    "--report",
    "formats",
    type=click.Choice([*FORMATS]),
    multiple=True,
    help="What the report has beside results.csv. Repeatable.  [default: all of it]",
)

_HOOKS = (
    click.option(
        "--on-finish",
        metavar="COMMAND",
        help="A command for the shell when the run has ended; SIPBATCH_RUN, SIPBATCH_EXIT_CODE ... are in "
        "its environment.",
    ),
    click.option(
        "--webhook",
        metavar="URL",
        help="Where to post the summary as JSON when the run has ended, signed with SIPBATCH_WEBHOOK_SECRET.",
    ),
)

_ADDRESS = (
    click.option(
        "--base-url",
        default="https://api.bland.ai",
        show_default=True,
        metavar="URL",
        help="The API's address.",
    ),
    click.option(
        "--auth-scheme",
        type=click.Choice(["bearer", "raw"]),
        default="bearer",
        show_default=True,
        help="How the key is sent: as a bearer token, or bare.",
    ),
)

_TRANSPORT = click.option(
    "--transport",
    type=click.Choice(["direct", "httpx"]),
    help="What carries the requests: direct costs least, httpx is httpx over aiohttp.  [default: direct]",
)

_ACCOUNT = click.option(
    "--account",
    default="",
    metavar="NAME",
    help="A name of your own for the account, where several share a workspace.",
)

_SANDBOX = (
    click.option(
        "--sandbox", is_flag=True, help="Start the embedded API and send to it: nothing real is changed."
    ),
    click.option("--sandbox-limit", metavar="N/s", help="The sandbox' own rate limit."),
    click.option(
        "--sandbox-fault",
        "sandbox_faults",
        multiple=True,
        metavar="FAULT=SHARE",
        help="A fault and how often, as 503=0.02. Repeatable; `sipbatch sandbox --help` lists them.",
    ),
    click.option(
        "--sandbox-show-blocks",
        type=click.Choice(["none", "side", "options"]),
        help="Where the sandbox shows what it was sent, to be read back.  [default: none]",
    ),
    click.option("--sandbox-latency", metavar="TIME", help="How long the sandbox takes: 50ms, 20ms..80ms."),
    click.option(
        "--sandbox-seed", type=int, metavar="N", help="The seed of the sandbox' faults and latency."
    ),
    click.option(
        "--sandbox-record",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Where the sandbox writes what it receives, and reads what it has applied.",
    ),
)

_KEY_FILE = click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file with the API key, readable by its owner alone.  [default: BLAND_API_KEY, or a .env]",
)

_WORKSPACE = click.option(
    "--workspace",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_WORKSPACE,
    show_default=True,
    metavar="DIR",
    help="The folder that holds the journal and the reports.",
)


def sending_options(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options on pace and care, on its report, and on who is told of its end."""
    return _decorated(function, (*_SENDING, _REPORT, *_HOOKS))


def report_option(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--report`."""
    return _decorated(function, (_REPORT,))


def course_options(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options on what is sent when: canary, waves, soak and windows."""
    return _decorated(function, _COURSE)


def pace_options(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options on how fast and how patiently it reads."""
    return _decorated(function, _PACE)


def destination_options(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options on where to send and with which key."""
    return _decorated(function, (*_ADDRESS, _ACCOUNT, *_SANDBOX, _KEY_FILE, _TRANSPORT))


def address_options(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--base-url` and `--auth-scheme`."""
    return _decorated(function, _ADDRESS)


def fleet_options(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--base-url`, `--sandbox` and `--account`: which fleet it asks the journal about."""
    return _decorated(function, (_ADDRESS[0], _SANDBOX[0], _ACCOUNT))


def key_file_option(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--key-file`."""
    return _decorated(function, (_KEY_FILE,))


def reconnect_options(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--key-file` and `--transport`: how to reach again what a run was sent to."""
    return _decorated(function, (_KEY_FILE, _TRANSPORT))


def key_options(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--auth-scheme` and `--key-file`."""
    return _decorated(function, (_ADDRESS[-1], _KEY_FILE))


def workspace_option(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--workspace`."""
    return _decorated(function, (_WORKSPACE,))


def _decorated(function: Callable[..., R], options: tuple[Callable[..., Any], ...]) -> Callable[..., R]:
    for option in reversed(options):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Given:
    """The values of a command's parameters, those of these options among them."""

    params: Mapping[str, Any]

    def sending(self) -> Sending:
        """How to send by what was given; what was not is the default."""
        from batch.rollout import Sending

        return Sending().changed(**self._of(_SENDING_NAMES))

    def sending_over(self, ctx: click.Context, pinned: Sending) -> Sending:
        """How to go on with a run: as it was pinned, but for what stands on the command line.

        What the environment and the settings file say was in force when it was pinned, or came later:
        neither is what the operator asked of this run.
        """
        typed = {
            name: value
            for name, value in self.params.items()
            if name in _SENDING_NAMES and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        }
        return pinned.changed(**typed)

    def destination(self, ctx: click.Context) -> Destination:
        """Where to send; `UsageError` if options contradict each other, `CredentialsError` without a key."""
        from batch.destinations import DEFAULT_TRANSPORT, EmbeddedSandbox, live

        sandbox = self._sandbox()
        if not self.params["sandbox"]:
            if sandbox:
                raise UsageError(f"--sandbox-{next(iter(sandbox))} has a meaning only with --sandbox.")
            return live(
                self.params["base_url"],
                key_file=self.params["key_file"],
                auth_scheme=self.params["auth_scheme"],
                account=self.params["account"],
                transport=self.params["transport"] or DEFAULT_TRANSPORT,
            )
        if ctx.get_parameter_source("base_url") is ParameterSource.COMMANDLINE:
            raise UsageError("--sandbox and --base-url name two different places: leave one out.")
        destination = EmbeddedSandbox(sandbox, self.params["transport"] or DEFAULT_TRANSPORT)
        destination.check()
        return destination

    def formats(self) -> tuple[str, ...] | None:
        """What the report is to have; None if nothing was said."""
        return self.params["formats"] or None

    def hooks(self) -> Hooks:
        """Who is told of the end; `UsageError` if the webhook cannot be used."""
        from batch.hooks import Hooks
        from batch.webhook import read_webhook

        url = self.params["webhook"]
        webhook = read_webhook(url, os.environ) if url else None
        return Hooks(self.params["on_finish"] or None, webhook)

    def _of(self, names: tuple[str, ...]) -> dict[str, Any]:
        return {name: self.params[name] for name in names}

    def _sandbox(self) -> dict[str, object]:
        given: dict[str, object] = {
            "limit": self.params["sandbox_limit"],
            "latency": self.params["sandbox_latency"],
            "seed": self.params["sandbox_seed"],
            "show_blocks": self.params["sandbox_show_blocks"],
            "faults": _faults(self.params["sandbox_faults"]) or None,
            "record": None
            if self.params["sandbox_record"] is None
            else str(self.params["sandbox_record"].absolute()),
        }
        return {name: value for name, value in given.items() if value is not None}


_PACE_NAMES = ("rate", "concurrency", "max_attempts", "deadline_s")
_SENDING_NAMES = (
    *_PACE_NAMES,
    "max_failures",
    "canary",
    "waves",
    "soak_s",
    "windows",
    "window_exit",
    "snapshot",
    "verify",
)


def _faults(texts: tuple[str, ...]) -> dict[str, float]:
    faults: dict[str, float] = {}
    for text in texts:
        name, _, share = text.rpartition("=")
        try:
            faults[name] = float(share.removesuffix("%")) / (100 if share.endswith("%") else 1)
        except ValueError:
            name = ""
        if not name:
            raise UsageError(
                f'--sandbox-fault "{text}" is not understood: write a fault, =, and how often, '
                "such as 503=0.02."
            )
    return faults


def command_line(workspace: Workspace, *words: str) -> str:
    """A `sipbatch` command as the operator can type it here."""
    return shlex.join(["sipbatch", *words, *workspace_words(workspace)])


def workspace_words(workspace: Workspace) -> tuple[str, ...]:
    """The option by which a command finds this workspace, if it needs one."""
    return () if workspace.path == DEFAULT_WORKSPACE else ("--workspace", str(workspace.path))
