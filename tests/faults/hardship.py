"""Makes a machine mean: a file system that fills up, rights that root does not have, limits of a process."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Preexec = Callable[[], None]

#: For `python -c`: runs the command, and prints at the end how many bytes of memory it took at most. Not
#: `ru_maxrss`, which begins with what the process that started this one held.
MEASURED = """
import sys
from pathlib import Path
from batch.cli import main
code = main()
(peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
print(int(peak.split()[1]) * 1024)
sys.exit(code)
"""

_PR_CAPBSET_DROP = 24
#: The capabilities by which root reads and writes what its mode forbids.
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


def bound_by_rights() -> None:
    """In a child before it executes: the rights of files hold for it, also if it is root's."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "cannot give up root's rights")


def limited(kind: int, most: int) -> Preexec:
    """In a child before it executes: no more of this resource than so much."""
    return lambda: resource.setrlimit(kind, (most, most))


@contextmanager
def small_disk(place: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of its own for as long as the block lasts; skips the test where that is not allowed."""
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "none", str(place)]
    try:
        mounted = subprocess.run(words, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextmanager
def forbidden(path: Path, mode: int) -> Iterator[None]:
    """A file or folder with this mode for as long as the block lasts."""
    before = path.stat().st_mode & 0o7777
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)
