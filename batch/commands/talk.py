"""What a command says: data to stdout; talk and progress to stderr, as text or as one JSON event a line."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeVar

import click

from batch.errors import ReportError, UsageError
from batch.masking import masked, masked_value
from batch.progress import JsonProgress, LineProgress, Progress, Silent, TqdmProgress
from batch.timestamps import utc

R = TypeVar("R")

#: As if interrupted by SIGINT, which is one way to answer no.
EXIT_INTERRUPTED = 130

#: Where the context keeps the format, for the error that ends the command.
META_LOG_FORMAT = "sipbatch.log_format"

#: What writing fails with where the reader of a pipe, or a terminal, has gone.
_GONE = (errno.EPIPE, errno.EIO)

LogFormat = Literal["text", "json"]


@dataclass(frozen=True, slots=True)
class Talk:
    """How much is said on stderr, and in which form. Whoever stops reading it stops nothing."""

    log_format: LogFormat = "text"
    is_quiet: bool = False

    def say(self, text: str, *, event: str = "message", **detail: object) -> None:
        """Say something that nobody needs who asked for quiet; `detail` is for the JSON event alone."""
        if not self.is_quiet:
            self.insist(text, event=event, **detail)

    def insist(self, text: str, *, event: str = "message", **detail: object) -> None:
        """Say something also to those who asked for quiet: why not everything is well."""
        if self.log_format == "json":
            told = {"event": event, "at": utc(time.time()), "text": text.strip(), **detail}
            text = json.dumps(masked_value(told))
        elif not sys.stderr.isatty():
            text = masked(text)  # it goes into a log, or into a mail
        with suppress(OSError):
            click.echo(text, err=True)

    def interrupt(self, text: str) -> None:
        """Say something while a bar may stand on the terminal's last line, with `^C` behind it."""
        is_in_bar = self.log_format == "text" and sys.stderr.isatty()
        self.say(f"\n{text}" if is_in_bar else text)

    def progress(self) -> Progress:
        """What shows a run as it goes: a bar on a terminal, else lines or events."""
        if self.is_quiet:
            return Silent()
        if self.log_format == "json":
            return JsonProgress(sys.stderr)
        return TqdmProgress(sys.stderr) if sys.stderr.isatty() else LineProgress(sys.stderr)


def deliver(data: str) -> None:
    """Write data to stdout. If nobody reads it any more, what was done still decides the exit code.

    `ReportError` if the file that stdout goes into does not take it.
    """
    try:
        click.echo(data)
        sys.stdout.flush()
    except OSError as error:
        # What is still buffered goes nowhere, or Python would complain of it at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        if error.errno not in _GONE:
            raise ReportError(f"standard output cannot be written ({error.strerror}).") from None


def require_terminal() -> None:
    """`UsageError` if there is nobody to ask; told before a large sheet is read."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("There is no terminal to ask on: say --yes to send without being asked.")


def confirm(question: str) -> None:
    """Ask on the terminal; anything but yes ends the command, with nothing sent."""
    try:
        is_yes = click.confirm(question, err=True)
    except click.Abort:
        is_yes = False
    if not is_yes:
        click.echo("\nNothing was sent.", err=True)
        click.get_current_context().exit(EXIT_INTERRUPTED)


def _remember(ctx: click.Context, _: click.Parameter, log_format: LogFormat) -> LogFormat:
    ctx.meta[META_LOG_FORMAT] = log_format
    return log_format


def talk_options(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command `--quiet` and `--log-format`, which it takes as they are."""
    function = click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        callback=_remember,
        help="How talk and progress are written to stderr: as text, or as one JSON event a line.",
    )(function)
    return click.option("--quiet", is_flag=True, help="Say nothing on stderr but what is wrong.")(function)
