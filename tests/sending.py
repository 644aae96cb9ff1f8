"""What tests of the sending commands share: a folder, commands in it, a sandbox that outlives a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal

from batch import cli
from batch.bland.sandbox import serve
from batch.bland.sandbox_options import SandboxOptions
from batch.workspace import Workspace
from tests.conservation import assert_reports_add_up

SIPBATCH = (sys.executable, "-m", "batch")
KEY = "sk-canary-4711"
FIRST_NUMBER = 14155550100

TEMPLATE = """\
description: Two codecs, for tests
direction: outbound
codec_config:
  codecs: [PCMU, PCMA]
  transcode: true
"""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Desk:
    """A folder with a template, as an operator has it; commands are given in it."""

    folder: Path

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder / "sipbatch-runs")

    def sheet(self, rows: int, name: str = "numbers.csv", *, extra: Sequence[str] = ()) -> Path:
        """A sheet of so many good rows, and these lines after them."""
        (self.folder / "templates").mkdir(exist_ok=True)
        (self.folder / "templates" / "codecs.yaml").write_text(TEMPLATE, encoding="utf-8")
        lines = ["phone_number,template", *(f"+{FIRST_NUMBER + nth},codecs" for nth in range(rows)), *extra]
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """The command as a process of its own, without a terminal."""
        return subprocess.Popen(
            [*SIPBATCH, *arguments],
            cwd=self.folder,
            env={**clean_environ(), **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environ: str) -> Done:
        """The command as a process of its own, to its end; what it has reported adds up."""
        done = finished(self.start(*arguments, **environ))
        assert_reports_add_up(self.workspace.path)
        return done

    def files_with(self, text: str) -> list[Path]:
        """The files below the folder that hold this text."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return [path for path in files if text.encode() in path.read_bytes()]


def finished(process: subprocess.Popen[str], timeout_s: float = 60) -> Done:
    """Wait for a process."""
    out, err = process.communicate(timeout=timeout_s)
    return Done(process.returncode, out, err)


def clean_environ() -> dict[str, str]:
    """The environment without what would change what a command does; Python warns of what is left open."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BLAND_", "SIPBATCH_"))}
    # Drawing charts takes a second for each run; the tests of what a run writes unasked leave this out.
    return {**kept, "PYTHONWARNINGS": "default", "SIPBATCH_REPORT": "jsonl"}


@dataclass(frozen=True, slots=True)
class Server:
    """A sandbox over HTTP, with the file in which it records what it saw."""

    url: str
    record: Path

    @property
    def environ(self) -> dict[str, str]:
        """What makes a run send to it."""
        return {"BLAND_BASE_URL": self.url, "BLAND_API_KEY": KEY}

    def seen(self, event: str) -> Counter[str]:
        """How often each number was `received` or `applied`."""
        lines = self.record.read_text(encoding="utf-8").splitlines() if self.record.exists() else []
        events = [json.loads(line) for line in lines]
        return Counter(one.get("phone_number", "") for one in events if one["event"] == event)


@contextmanager
def serving(folder: Path, **options: Any) -> Iterator[Server]:
    """A sandbox in a thread of this process, as long as the block lasts; `options` are `SandboxOptions`."""
    record = folder / "sandbox.jsonl"
    settings = SandboxOptions(**{"key": KEY, "record": record, **options})
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(settings)) as sandbox,
    ):
        yield Server(sandbox.base_url, record)


def main(*arguments: str) -> int:
    """The command within this process, in the current folder."""
    return cli.main(arguments)
