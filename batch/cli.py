"""The `sipbatch` command: finds the subcommand, and turns every ending into a message and an exit code.

A subcommand's module is imported only when it is called, and nothing here needs pandas, numpy, pydantic
or httpx: `sipbatch --help` and `--version` answer at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path

import click

from batch.errors import BatchError, UsageError
from batch.version import __version__

#: Every command: the module that has it (as `command`, or by the name after a colon), and its line in
#: `sipbatch --help`.
COMMANDS: dict[str, tuple[str, str]] = {
    "plan": ("batch.commands.plan", "Read, expand and check sheets; show what would be sent. Sends nothing."),
    "run": ("batch.commands.run", "Plan, ask, send, report: the main job."),
    "resume": ("batch.commands.resume", "Go on with a run that did not finish."),
    "retry": ("batch.commands.retry", "Send again what ended failed or unknown."),
    "reconcile": ("batch.commands.reconcile", "Send only what differs from what is in force; for cron."),
    "rollback": ("batch.commands.rollback", "Take a run back: send what was in force before it."),
    "fleet": ("batch.commands.fleet", "Show what is in force at every number, as a sheet."),
    "history": ("batch.commands.history", "Tell the whole story of one number."),
    "verify": ("batch.commands.verify", "Read back what a run sent, and say what is not there as sent."),
    "status": ("batch.commands.status", "Show where a run stands; works while it is going."),
    "runs": ("batch.commands.runs", "List the runs of a workspace."),
    "pause": ("batch.commands.control:pause", "Have the run that is going send nothing more for now."),
    "continue": ("batch.commands.control:go_on", "Have a run that was paused go on."),
    "rate": ("batch.commands.control:rate", "Have the run that is going send at another rate."),
    "stop": ("batch.commands.control:stop", "Have the run that is going end; resume goes on with it."),
    "report": ("batch.commands.report", "Write a run's report again."),
    "templates": ("batch.commands.templates", "List, show and check templates."),
    "sandbox": ("batch.commands.sandbox", "Serve the API on this machine, to try things out."),
    "doctor": ("batch.commands.doctor", "Look at workspace, key, address and clock; changes nothing."),
}

#: Options that may also stand before the command; each is handed to the command, if it takes it.
LEADING_OPTIONS = ("--workspace", "--config", "--log-format")
LEADING_FLAGS = ("--quiet", "--debug")

PROGRAM = "sipbatch"
COMPLETION = "_SIPBATCH_COMPLETE"

EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx  # click hands it; the commands are always the same
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        # Here, and not above: settings need tomllib, which `--version` does not.
        from batch.settings import take_settings

        place, short_help = COMMANDS[cmd_name]
        module, _, name = place.partition(":")
        command: click.Command = getattr(import_module(module), name or "command")
        command.short_help = short_help
        take_settings(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, *rest = args
        if name not in COMMANDS and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, n=1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            raise click.UsageError(f'There is no command "{name}".{hint}', ctx)
        command = self.get_command(ctx, name)
        if command is not None and not ctx.resilient_parsing:
            rest = [*_leading(ctx, command), *rest]
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, short_help) for name, (_, short_help) in COMMANDS.items()])


def _leading(ctx: click.Context, command: click.Command) -> list[str]:
    """The options that stood before the command, as arguments for it."""
    taken = {name for parameter in command.params for name in parameter.opts}
    words: list[str] = []
    for option in (*LEADING_OPTIONS, *LEADING_FLAGS):
        value = ctx.params.get(option.removeprefix("--").replace("-", "_"))
        if not value:
            continue
        if option not in taken:
            raise click.UsageError(f"`sipbatch {command.name}` takes no {option} here.", ctx)
        words += [option] if option in LEADING_FLAGS else [option, str(value)]
    return words


def _hidden(function: click.decorators.FC) -> click.decorators.FC:
    """Let the leading options stand before the command without filling the first help page."""
    for option in reversed(LEADING_OPTIONS):
        function = click.option(option, hidden=True)(function)
    for flag in reversed(LEADING_FLAGS):
        function = click.option(flag, is_flag=True, hidden=True)(function)
    return function


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`sipbatch COMMAND --help` tells of one command. Try it out, with nothing at stake:\n"
    "`sipbatch run numbers.csv --sandbox`.",
)
@click.version_option(__version__, prog_name="sipbatch")
@_hidden
def cli(**leading: object) -> None:
    """Roll a spreadsheet of phone numbers out to a telephony API: planned, paced, journaled, resumable."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sipbatch` with these arguments (the process' own by default) and return its exit code."""
    _open_closed_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    code: object = 0
    meta: dict[str, object] = {}
    if COMPLETION in os.environ:  # the shell asks what may come next
        cli.main(arguments, prog_name=PROGRAM)
    try:
        _check_folder()
        # Not `cli.main`: it would end the process itself when a reader has gone.
        with _closed_stdout_is_fine(), cli.make_context(PROGRAM, arguments) as ctx:
            meta = ctx.meta
            code = cli.invoke(ctx)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return EXIT_USAGE
    except click.UsageError as error:
        _say(_usage(error), meta, EXIT_USAGE)
        return EXIT_USAGE
    except click.ClickException as error:
        _say(error.format_message(), meta, EXIT_USAGE)
        return EXIT_USAGE
    except BatchError as error:
        _say(str(error), meta, error.exit_code)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as interrupt:
        _say(str(interrupt) or "interrupted.", meta, EXIT_INTERRUPTED)
        return EXIT_INTERRUPTED
    except Exception as error:
        from batch.commands.tracebacks import tell

        _say(tell(error, with_traceback="--debug" in arguments), meta, EXIT_UNEXPECTED)
        return EXIT_UNEXPECTED


def _say(message: str, meta: Mapping[str, object], exit_code: int) -> None:
    """What ended the command, on stderr, in the form that the command was asked for."""
    text = f"sipbatch: {message}"
    if meta.get("sipbatch.log_format") == "json":
        from batch.commands.talk import Talk

        Talk("json").insist(text, event="error", exit_code=exit_code)
        return
    if not sys.stderr.isatty():
        from batch.masking import masked

        text = masked(text)  # it goes into a log, or into a mail
    with contextlib.suppress(OSError):  # whoever read stderr has gone; the exit code still tells
        click.echo(text, err=True)


def _check_folder() -> None:
    """`UsageError` if the current folder was removed: no path that is not absolute leads anywhere then."""
    try:
        Path.cwd()
    except OSError:
        raise UsageError("the folder that this was begun in is not there any more: cd to another.") from None


def _open_closed_streams() -> None:
    """Let what this process was begun without (`>&-`) lead nowhere.

    The next file that is opened would take its number, and be given what was meant for a terminal.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, number)
            if nowhere != number:
                os.close(nowhere)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for good


@contextlib.contextmanager
def _closed_stdout_is_fine() -> Iterator[None]:
    """Let whoever reads stdout stop reading (`| head`) without a traceback, then or at exit."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered goes nowhere, or Python would complain of it at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _usage(error: click.UsageError) -> str:
    """A usage error, with where the wrong value came from if that was not the command line."""
    lines = [error.format_message()]
    if error.ctx is not None:
        if isinstance(error, click.BadParameter) and error.param is not None:
            from batch.settings import origin

            source = origin(error.ctx, error.param)
            lines[0] += f" (It comes from {source}.)" if source else ""
        lines.append(f"See `{error.ctx.command_path} --help`.")
    return "\n".join(lines)
