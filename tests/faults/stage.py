"""Where faults are played: a folder as an operator has it, commands as processes, sandboxes beside them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.request import Request, urlopen

from anyio.from_thread import start_blocking_portal

from batch import cli
from batch.bland.sandbox import serve
from batch.bland.sandbox_options import SandboxOptions
from batch.errors import JournalError, UsageError
from batch.journal.protocol import RunRecord
from batch.journal.reader import SqliteReader
from batch.plans import Payload
from batch.workspace import Workspace
from tests.faults.record import Record

T = TypeVar("T")

SIPBATCH = (sys.executable, "-m", "batch")
KEY = "sk-test-0815471108154711"
FIRST_NUMBER = 14155550100

TEMPLATE = """\
description: One TLS backup, named by the row
direction: outbound
failover_config:
  enabled: true
  endpoints:
    - {host: "${host}", port: 5061, transport: tls, priority: 1}
  triggers: [timeout, unreachable]
  failback: auto
"""


def payload_of(host: str) -> Payload:
    """What the template gives for a host, worked out here and not by the code under test."""
    endpoint = {"host": host, "port": 5061, "transport": "tls", "priority": 1}
    failover = {
        "enabled": True,
        "endpoints": [endpoint],
        "triggers": ["timeout", "unreachable"],
        "failback": "auto",
    }
    return Payload.of({"failover_config": failover})


def seeded(seed: int | None = None) -> random.Random:
    """A source of chance whose seed is printed, so that a failure can be had again."""
    seed = secrets.randbelow(2**32) if seed is None else seed
    print(f"seed {seed}")  # noqa: T201 - pytest shows it where a test fails
    return random.Random(seed)


def until(seen: Callable[[], T], what: str, *, timeout_s: float = 30.0) -> T:
    """The first true thing that is seen; fails, naming what was waited for, if there is none in time."""
    ends_s = time.monotonic() + timeout_s
    while not (found := seen()):
        assert time.monotonic() < ends_s, f"waited {timeout_s:g} s in vain: {what}"
        time.sleep(0.01)
    return found


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


#: Runs a command within this process.
Invoke = Callable[..., Done]


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was started; what it says goes into files, so that nobody has to read it meanwhile."""

    process: subprocess.Popen[bytes]
    out_path: Path
    err_path: Path

    @property
    def out(self) -> str:
        return self.out_path.read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        return self.err_path.read_text(encoding="utf-8")

    @property
    def is_going(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def done(self, *, timeout_s: float = 60.0) -> Done:
        """Wait for its end."""
        code = self.process.wait(timeout=timeout_s)
        return Done(code, self.out, self.err)

    def killed(self) -> None:
        """SIGKILL, and it is gone when this returns; it may have ended by itself before."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(timeout=30)


@dataclass(frozen=True, slots=True)
class Server:
    """A sandbox over HTTP, with the record of what it received and applied."""

    url: str
    record: Record
    command: Command | None = None  #: where it is a process of its own

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def environ(self) -> dict[str, str]:
        """What makes a run send to it."""
        return {"BLAND_BASE_URL": self.url, "BLAND_API_KEY": KEY}

    def told(self, **changes: object) -> None:
        """Change how it behaves, while it runs."""
        request = Request(
            f"{self.url}/_sandbox",
            method="POST",
            data=json.dumps(changes).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urlopen(request, timeout=30) as response:
            assert response.status == 200

    def stop(self) -> None:
        """As if its machine had gone down: what it had applied stays applied, and is in its record."""
        assert self.command is not None
        self.command.killed()


@dataclass
class Stage:
    """A folder with a template, and everything that was started in it; `close` ends what is still going."""

    folder: Path
    commands: list[Command] = field(default_factory=list)
    sipbatch: tuple[str, ...] = SIPBATCH
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder / "sipbatch-runs")

    def templates(self) -> None:
        """The one template, `backup`."""
        (self.folder / "templates").mkdir(exist_ok=True)
        (self.folder / "templates" / "backup.yaml").write_text(TEMPLATE, encoding="utf-8")

    def sheet(self, rows: int, *, hosts: int = 7, name: str = "numbers.csv") -> dict[str, str]:
        """A sheet of so many rows; gives the digest of the payload that each number must get."""
        self.templates()
        wanted = {f"+{FIRST_NUMBER + nth}": f"backup{nth % hosts}.sip.example.com" for nth in range(rows)}
        lines = [
            "phone_number,template,host",
            *(f"{number},backup,{host}" for number, host in wanted.items()),
        ]
        (self.folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        digests = {host: payload_of(host).sha256 for host in set(wanted.values())}
        return {number: digests[host] for number, host in wanted.items()}

    def start(self, *arguments: str, environ: Mapping[str, str] | None = None, **options: Any) -> Command:
        """`sipbatch` with these arguments, without a terminal; `options` are those of `Popen`."""
        return self.launch([*self.sipbatch, *arguments], environ=environ, **options)

    def launch(
        self, words: Sequence[str], *, environ: Mapping[str, str] | None = None, **options: Any
    ) -> Command:
        """Any command; its environment is clean of what would change what `sipbatch` does."""
        logs = self.folder.parent / "logs"
        logs.mkdir(exist_ok=True)
        nth = len(self.commands)
        out_path, err_path = logs / f"{nth}.out", logs / f"{nth}.err"
        with out_path.open("wb") as out, err_path.open("wb") as err:
            process = subprocess.Popen(
                words,
                **{
                    "cwd": self.folder,
                    "env": {**_clean(), "PYTHONWARNINGS": "default", **(environ or {})},
                    "stdin": subprocess.DEVNULL,
                    "stdout": out,
                    "stderr": err,
                    **options,
                },
            )
        command = Command(process, out_path, err_path)
        self.commands.append(command)
        return command

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None, **options: Any) -> Done:
        """`sipbatch` with these arguments, to its end."""
        return self.start(*arguments, environ=environ, **options).done()

    def here(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Done:
        """`sipbatch` within this process: where it is neither killed nor limited."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            _environment({**_clean(), **(environ or {})}),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = cli.main(arguments)
        return Done(code, out.getvalue(), err.getvalue())

    @property
    def record_path(self) -> Path:
        """Where all sandboxes of this stage keep what they saw, so that the next remembers it."""
        return self.folder.parent / "sandbox.jsonl"

    def sandbox(self, **options: Any) -> Server:
        """A sandbox in a thread of this process; `options` are those of `SandboxOptions`."""
        settings = SandboxOptions(**{"key": KEY, "record": self.record_path, **options})
        portal = self._stack.enter_context(start_blocking_portal())
        sandbox = self._stack.enter_context(portal.wrap_async_context_manager(serve(settings)))
        return Server(sandbox.base_url, Record(self.record_path))

    def sandbox_process(self, *arguments: str, port: int = 0) -> Server:
        """`sipbatch sandbox` as a process of its own, which can be killed."""
        words = ("--quiet", "--port", str(port), "--key", KEY, "--record", str(self.record_path))
        command = self.start("sandbox", *words, *arguments)
        until(lambda: command.out.endswith("\n") or not command.is_going, "the sandbox listens")
        assert command.is_going, command.err
        return Server(command.out.strip(), Record(self.record_path), command)

    # --- what the journal says, read beside whoever writes it ---------------------------------------

    def journal(self) -> contextlib.closing[SqliteReader]:
        return contextlib.closing(SqliteReader(self.workspace.journal_path))

    def records(self) -> list[RunRecord]:
        """All runs there are; none while the journal is not made."""
        with contextlib.suppress(JournalError, UsageError):
            return self.workspace.records()
        return []

    @property
    def newest(self) -> RunRecord:
        return self.records()[-1]

    def is_held_by(self, command: Command) -> bool:
        """Whether this command holds the workspace now."""
        if not self.workspace.lock_path.exists():
            return False
        holder = self.workspace.holder()
        return holder is not None and holder.pid == command.process.pid

    def succeeded(self) -> int:
        """How many requests of the newest run have succeeded on disk."""
        with contextlib.suppress(JournalError, UsageError, IndexError), self.journal() as journal:
            return journal.counts(journal.runs()[-1].id).succeeded
        return 0

    def is_sending(self, command: Command, at_least: int) -> None:
        """Wait until the newest run has so many successes on disk, and is still going."""
        until(lambda: self.succeeded() >= at_least or not command.is_going, f"{at_least} succeeded")
        assert command.is_going, f"it ended before {at_least} had succeeded: {command.err}"

    def close(self) -> None:
        """End what is still going: processes each by its own id, then the servers of this process."""
        for command in reversed(self.commands):
            if command.is_going:
                command.signal(signal.SIGCONT)  # one that was stopped takes SIGKILL all the same; be sure
                command.killed()
        self._stack.close()


def _clean() -> dict[str, str]:
    """The environment without what would change what `sipbatch` does."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BLAND_", "SIPBATCH_"))}
    return kept | {"SIPBATCH_REPORT": "jsonl"}  # drawing charts takes a second for each run


@contextlib.contextmanager
def _environment(environ: Mapping[str, str]) -> Iterator[None]:
    """This environment and no other for as long as the block lasts."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """A stage in a new folder below this one."""
    place = folder / "desk"
    place.mkdir()
    stage = Stage(place)
    try:
        yield stage
    finally:
        stage.close()
