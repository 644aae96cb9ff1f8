"""How the C library treats memory that was freed."""

from __future__ import annotations

import ctypes
from contextlib import suppress

#: `M_MMAP_THRESHOLD` of glibc's `mallopt(3)`.
_MMAP_THRESHOLD = -3

#: Blocks of so many bytes, the columns of a large sheet above all, are given back when they are freed.
_LARGE = 1_000_000


def give_back_freed() -> None:
    """Let the system have large blocks back as soon as they are freed; without glibc nothing is changed.

    Left alone, glibc takes the first large blocks that are freed as a sign that more will be wanted, and
    keeps what it gets from then on: what a plan took in seconds would be held as long as its run goes on.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library, or none that can be asked
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)
