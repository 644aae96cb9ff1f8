"""`sipbatch sandbox`: serve the API on this machine, to try things out with nothing at stake."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batch.bland.faults import FAILURE_FORMS, SUCCESS_FORMS
from batch.commands.talk import Talk, deliver

if TYPE_CHECKING:
    from batch.bland.sandbox import Sandbox
    from batch.bland.sandbox_options import LimitHeaders, SandboxOptions, ShowBlocks


class _SandboxCommand(click.Command):
    """A command whose help ends with what the sandbox guesses."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from batch.bland.guesses import GUESSES

        super().format_epilog(ctx, formatter)
        with formatter.section("Guessed, since nothing published says it (and what changes it)"):
            formatter.write_dl(
                [(g.about, g.says + (f" ({g.change})" if g.change else "")) for g in GUESSES], col_max=18
            )


def _faults(ctx: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, float]:
    """`NAME=PROBABILITY`, several times, as a mapping."""
    faults: dict[str, float] = {}
    for text in texts:
        name, equals, chance = text.rpartition("=")
        try:
            faults[name] = float(chance.removesuffix("%")) / (100 if chance.endswith("%") else 1)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise click.BadParameter(
                f'"{text}" must be a fault and its probability, such as 503=0.02 or hang=1%.', ctx, parameter
            )
    return faults


@click.command("sandbox", cls=_SandboxCommand, short_help="Serve the API on this machine, to try things out.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on.  [default: a free one]"
)
@click.option("--key", metavar="KEY", help="The only API key to accept; any that is not empty, if left out.")
@click.option("--expire-key-after", type=click.IntRange(0), metavar="N", help="Answer 401 after N changes.")
@click.option("--limit", metavar="RATE", help="Answer 429 beyond this: 50/s, 600/m, or both with a comma.")
@click.option(
    "--retry-after",
    metavar="FORM",
    default="auto",
    show_default=True,
    help="What a 429 or 503 says there: auto (seconds), auto-date, date+5, none, or any text as it is.",
)
@click.option(
    "--limit-headers",
    type=click.Choice(["none", "x-ratelimit", "ratelimit", "ratelimit-policy"]),
    default="none",
    show_default=True,
    help="Headers that tell the limit.",
)
@click.option(
    "--latency",
    metavar="TIME",
    default="0ms",
    show_default=True,
    help="50ms, 20ms..80ms (any between), or lognormal:50ms,0.5 (median and sigma).",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    callback=_faults,
    metavar="NAME=P",
    help="A fault and its probability: 429=0.05, 503=2%, 503/html, 200/1, 403:SIP_NOT_ENABLED, 504+applied, "
    "hang, drip, reset_before, reset_after, html, truncated, bad_gzip, redirect, ok/empty ... Repeatable.",
)
@click.option(
    "--fault-first", type=click.IntRange(0), metavar="N", help="Faults for the first N changes only."
)
@click.option(
    "--fault-after", type=click.IntRange(0), metavar="N", default=0, help="No fault for the first N."
)
@click.option(
    "--fault-arrivals",
    type=click.IntRange(0),
    metavar="N",
    help="Faults only when a number and direction comes for the first N times.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The chance by which faults fall.")
@click.option(
    "--success-form", type=click.Choice(SUCCESS_FORMS), default="data", help="The body of a success."
)
@click.option("--failure-form", type=click.Choice(FAILURE_FORMS), help="The body of every failure.")
@click.option(
    # The long name is what makes it no setting: `numbers` is one, with another meaning.
    "--numbers",
    "--numbers-file",
    "numbers_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The numbers attached to the account, one a line; others are 404.  [default: all there are]",
)
@click.option(
    "--show-blocks",
    type=click.Choice(["none", "side", "options"]),
    default="none",
    show_default=True,
    help="Where reading a number back shows its config blocks.",
)
@click.option(
    "--merge-blocks", is_flag=True, help="Merge a block into the one that is there, not replace it."
)
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Append every event to FILE, and remember what it holds from before.",
)
@click.option("--quiet", is_flag=True, help="Say nothing on stderr but errors.")
def command(
    *,
    port: int,
    key: str | None,
    expire_key_after: int | None,
    limit: str | None,
    retry_after: str,
    limit_headers: LimitHeaders,
    latency: str,
    faults: dict[str, float],
    fault_first: int | None,
    fault_after: int,
    fault_arrivals: int | None,
    seed: int,
    success_form: str,
    failure_form: str | None,
    numbers_file: Path | None,
    show_blocks: ShowBlocks,
    merge_blocks: bool,
    record: Path | None,
    quiet: bool,
) -> None:
    """Serve the API on this machine, to try things out with nothing at stake.

    Prints its URL alone on stdout, and serves until it is stopped by Ctrl-C or SIGTERM. It validates
    strictly, keeps what was applied, and can fail in every way that an API can. What it saw, and changing it
    while it runs: GET and POST URL/_sandbox.

    \b
        sipbatch sandbox --port 8080 --limit 50/s --fault 503=2% --fault reset_after=1%
    """
    from batch.bland.sandbox_options import SandboxOptions, read_numbers

    options = SandboxOptions(
        port=port,
        key=key,
        expire_key_after=expire_key_after,
        limit=limit,
        retry_after=None if retry_after == "none" else retry_after,
        limit_headers=limit_headers,
        latency=latency,
        faults=faults,
        fault_first=fault_first,
        fault_after=fault_after,
        fault_arrivals=fault_arrivals,
        seed=seed,
        success_form=success_form,
        failure_form=failure_form or "",
        numbers=read_numbers(numbers_file) if numbers_file else None,
        show_blocks=show_blocks,
        merge_blocks=merge_blocks,
        record=record,
    )
    _run(_serve(options, Talk(is_quiet=quiet)))


def _run(main: Coroutine[None, None, None]) -> None:
    new_event_loop: Callable[[], asyncio.AbstractEventLoop]
    try:
        from uvloop import new_event_loop
    except ImportError:  # it is not made for every system
        new_event_loop = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)


async def _serve(options: SandboxOptions, talk: Talk) -> None:
    from batch.bland.sandbox import serve

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serve(options) as sandbox:
        deliver(sandbox.base_url)
        talk.say(_welcome(sandbox, options))
        await stop.wait()
        talk.say(_farewell(sandbox))


def _welcome(sandbox: Sandbox, options: SandboxOptions) -> str:
    from batch.bland.guesses import GUESSES

    key = "sandbox" if options.key is None else "THE-KEY-YOU-GAVE"
    recalled = len(sandbox.applied_sha256)
    lines = [
        f"The sandbox serves PATCH {sandbox.base_url}/v1/sip/config, on this machine only. To use it:",
        "",
        f"    export BLAND_BASE_URL={sandbox.base_url} BLAND_API_KEY={key}",
        "",
        f"What it received and applied: {sandbox.base_url}/_sandbox",
        f"{len(GUESSES)} of its behaviours are guesses, since nothing published says what the API does: "
        "`sipbatch sandbox --help` lists them.",
    ]
    if recalled:
        lines.append(f"From {options.record} it remembers what {_count(recalled, 'key')} got.")
    return "\n".join([*lines, "Ctrl-C stops it."])


def _farewell(sandbox: Sandbox) -> str:
    memory = sandbox.memory
    if not memory.received:
        return "Nothing was received."
    answers = ", ".join(f"{count:,} × {name}" for name, count in sorted(memory.answers.items()))
    return "\n".join(
        [
            f"{_count(memory.received, 'change')} received, {memory.applied:,} applied, to "
            f"{_count(len(sandbox.applied_sha256), 'key')} (a number in a direction).",
            f"Answers: {answers}.",
            f"Busiest second: {_count(sandbox.worst_second(), 'change')}.",
        ]
    )


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
