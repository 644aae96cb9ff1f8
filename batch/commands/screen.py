"""A few lines on a terminal that are drawn again where they stand."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Sequence

import click

#: To the start of a line that is so many lines above, and all below cleared.
_UP, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[{}A\r", "\x1b[K", "\x1b[J"


def is_terminal() -> bool:
    """Whether stdout is a terminal whose cursor can be moved."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Screen:
    """Draws on stdout; what is drawn next takes the place of what was drawn before."""

    def __init__(self) -> None:
        self._height = 0

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines, cut to the terminal's size: a line that wraps could not be drawn over."""
        columns, rows = _size()
        shown = [cut(line, columns - 1) for line in lines]
        if len(shown) >= rows:
            shown = [*shown[: max(1, rows - 2)], "…"]
        up = _UP.format(self._height) if self._height else ""
        body = "".join(f"{line}{_CLEAR_LINE}\n" for line in shown)
        self._height = len(shown)
        # One write, so that nobody sees half of it.
        click.echo(f"{up}{body}{_CLEAR_BELOW}", nl=False)
        sys.stdout.flush()

    def finish(self, lines: Sequence[str]) -> None:
        """Show these lines in full; they stay."""
        up = _UP.format(self._height) if self._height else ""
        self._height = 0
        click.echo(f"{up}{_CLEAR_BELOW}" + "\n".join(lines))

    def leave(self) -> None:
        """Leave what is shown, without the `^C` that the terminal put behind it."""
        click.echo(f"\r{_CLEAR_LINE}", nl=False)


def cut(line: str, columns: int) -> str:
    """As much of a line as fits, with `…` where something was left out."""
    if sum(map(_width, line)) <= columns:
        return line
    room, kept = columns - 1, ""
    for letter in line:
        room -= _width(letter)
        if room < 0:
            break
        kept += letter
    return f"{kept}…"


def _width(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _size() -> tuple[int, int]:
    try:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        columns, rows = 0, 0
    # A terminal that does not know its size says 0.
    return max(columns or 80, 20), max(rows or 24, 4)
