"""An unexpected error as it may be told: where it happened, without keys, numbers and secret URLs."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from batch.bland.wording import mask
from batch.destinations import KEYS_READ
from batch.version import __version__

_PACKAGE = Path(__file__).parent.parent
_NUMBER = re.compile(r"(?<!\d)(\+?\d{3})\d{4,9}(\d{2})(?!\d)")


def tell(error: Exception, *, with_traceback: bool) -> str:
    """What the operator is shown of a bug; without a traceback one line.

    The line has the error's kind and place, not its text: that may quote what the program was given.
    """
    places = [
        f"{Path(frame.f_code.co_filename).relative_to(_PACKAGE.parent)}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _PACKAGE in Path(frame.f_code.co_filename).parents
    ]
    where = f" at {places[-1]}" if places else ""
    line = (
        f"unexpected {type(error).__name__}{where}. This is a bug in sipbatch {__version__}: please report it"
    )
    if not with_traceback:
        return (
            f"{line} to whoever maintains it, with this line and what the same command prints with --debug."
        )
    return f"{line} to whoever maintains it, with all of this.\n{without_secrets(_trace(error))}"


def without_secrets(text: str) -> str:
    """The text without the keys that were read, what looks like one, the paths of URLs, and whole numbers."""
    for key in KEYS_READ:
        text = key.redact(text)
    return _NUMBER.sub(r"\1...\2", mask(text))


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error)).rstrip()
