"""Asks the operator between two waves, while the run's other work goes on."""

from __future__ import annotations

import os
import sys

import anyio
import click

#: The most that is read of an answer.
_MOST_BYTES = 4_096


async def ask_on_terminal(question: str) -> bool:
    """Ask on the terminal; anything but yes is no. Whoever stops the run need not answer first."""
    # A progress bar may stand on the last line.
    click.echo(f"\n{question} [y/N]: ", nl=False, err=True)
    stdin = sys.stdin.fileno()
    await anyio.wait_readable(stdin)
    # A terminal gives whole lines; what a buffer would keep for later, nobody would look for there.
    line = os.read(stdin, _MOST_BYTES).decode(errors="replace")
    return line.strip().lower() in ("y", "yes")
