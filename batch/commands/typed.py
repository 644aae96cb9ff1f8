"""The options of a command as they can be typed again."""

from __future__ import annotations

from collections.abc import Callable

import click


def typed(ctx: click.Context, takes: Callable[[str], bool]) -> list[str]:
    """The words of those options of this command whose name is taken: `["--rate", "20/s", "--yes"]`."""
    words = []
    for option in ctx.command.params:
        name = option.name or ""
        if not isinstance(option, click.Option) or not takes(name):
            continue
        value = ctx.params[name]
        if option.is_flag:
            words.append(option.opts[0])
        else:
            for one in value if isinstance(value, tuple) else (value,):
                words += [option.opts[0], _as_typed(one)]
    return words


def _as_typed(value: object) -> str:
    """A value as it is typed: `60`, not `60.0`, and no tab."""
    if isinstance(value, float):
        return f"{value:g}"
    return "tab" if value == "\t" else str(value)
