"""Memory that was freed goes back to the system, and does not stay with the process for the whole night."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

#: Frees a large block, as a plan does, takes another, keeps a little that lies behind it, and frees it too.
_PROGRAM = """
import ctypes
from pathlib import Path
from batch.heap import give_back_freed

malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.restype, malloc.argtypes, free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def held_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

def taken(size):
    block = malloc(size)
    ctypes.memset(block, 1, size)
    return block

{before}
free(taken(20_000_000))
began = held_mb()
large, small = taken(20_000_000), taken(100_000)
free(large)
print(held_mb() - began)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has other ways")
@pytest.mark.parametrize(("before", "is_held"), [("", True), ("give_back_freed()", False)])
def test_large_blocks_are_given_back(before: str, *, is_held: bool) -> None:
    """Without it glibc keeps them, which shows that the measurement can tell."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(before=before)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (float(done.stdout) > 15) is is_held, done.stdout
