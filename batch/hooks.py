"""Lets the operator's own things know that a run has ended: a command (`--on-finish`) and a webhook.

They are told when the workspace is free again, so that a command may `resume` or `retry`. What becomes of
them changes nothing: neither the run, nor its report, nor the exit code. Command and URL are never shown.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from batch.report.summary import Summary
    from batch.webhook import Delivery, Webhook

#: How long the command may take, and how long it has to end when it is told to.
COMMAND_S = 60.0
_GRACE_S = 5.0

#: How much of what it prints is kept for an event.
_OUTPUT_BYTES = 4_000

_COUNTS = (
    "requests",
    "succeeded",
    "failed",
    "unknown",
    "skipped",
    "retrying",
    "pending",
    "in_flight",
    "rejected",
)

#: Every variable that the command gets; docs/hooks.md says what each holds.
VARIABLES = (
    "SIPBATCH_RUN",
    "SIPBATCH_EXIT_CODE",
    "SIPBATCH_STATE",
    "SIPBATCH_REASON",
    "SIPBATCH_HEADLINE",
    "SIPBATCH_TARGET",
    "SIPBATCH_WORKSPACE",
    "SIPBATCH_FOLDER",
    "SIPBATCH_SUMMARY",
    *(f"SIPBATCH_{name.upper()}" for name in _COUNTS),
)


@dataclass(frozen=True, slots=True)
class News:
    """That a command that sends has ended, and how; `summary` is None if even the journal cannot be read."""

    run_id: str
    exit_code: int
    workspace: Path
    folder: Path
    summary: Summary | None
    summary_path: Path | None

    def variables(self) -> dict[str, str]:
        """Those of `VARIABLES`, all of them; what is not known is empty."""
        run = self.summary.run if self.summary is not None else None
        counts = self.summary.counts if self.summary is not None else None
        return {
            "SIPBATCH_RUN": self.run_id,
            "SIPBATCH_EXIT_CODE": str(self.exit_code),
            "SIPBATCH_STATE": run.state if run is not None else "",
            "SIPBATCH_REASON": run.reason or "" if run is not None else "",
            "SIPBATCH_HEADLINE": self.summary.headline if self.summary is not None else "",
            "SIPBATCH_TARGET": run.target if run is not None else "",
            "SIPBATCH_WORKSPACE": str(self.workspace.absolute()),
            "SIPBATCH_FOLDER": str(self.folder.absolute()),
            "SIPBATCH_SUMMARY": str(self.summary_path.absolute()) if self.summary_path is not None else "",
            **{
                f"SIPBATCH_{name.upper()}": str(getattr(counts, name)) if counts is not None else ""
                for name in _COUNTS
            },
        }

    def body(self) -> bytes:
        """What the webhook is sent."""
        import orjson

        from batch.webhook import body_of

        if self.summary is not None:
            return body_of(self.summary, self.exit_code)
        text = (
            f"sipbatch run {self.run_id} ended with exit code {self.exit_code}; its journal cannot be read."
        )
        return orjson.dumps({"text": text, "exit_code": self.exit_code, "run": {"id": self.run_id}})


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """How the command ended: `problem` is empty if it did well, else it says what was wrong with it."""

    exit_code: int | None
    duration_s: float
    problem: str
    output: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Hooks:
    """Who is to be told."""

    command: str | None = None
    webhook: Webhook | None = None

    @property
    def is_within_one(self) -> bool:
        """Whether this very process was begun by such a command, so that another would go on for ever."""
        return VARIABLES[0] in os.environ

    def run_command(self, news: News, *, keep_output: bool) -> CommandEnd:
        """Give the command to the shell, and wait for it.

        What it prints goes to stderr, or is kept for the event. KeyboardInterrupt ends it, and is raised.
        """
        assert self.command is not None
        environ = {**os.environ, **news.variables()}
        with tempfile.TemporaryFile() as kept:
            return _run(self.command, environ, kept, keep_output=keep_output)

    def post(self, news: News) -> Delivery:
        """Post to the webhook; takes half a minute at most."""
        from functools import partial

        from batch.rollout import in_event_loop

        assert self.webhook is not None
        return in_event_loop(partial(self.webhook.post, news.body()))


def _run(command: str, environ: Mapping[str, str], kept: IO[bytes], *, keep_output: bool) -> CommandEnd:
    began_s = time.monotonic()
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            env=environ,
            stdin=subprocess.DEVNULL,
            # A file, and no pipe: what the command leaves behind would hold a pipe open, and us with it.
            stdout=kept if keep_output else _stderr(),
            stderr=kept if keep_output else _stderr(),
            start_new_session=True,
        )
    except OSError as error:
        return CommandEnd(None, 0.0, f"could not be started ({error.strerror})")
    try:
        code = process.wait(COMMAND_S)
        problem = "" if code == 0 else f"ended with {_ending(code)}"
    except subprocess.TimeoutExpired:
        _stop(process)
        code, problem = None, f"was stopped: it had not ended after {COMMAND_S:g} s"
    except BaseException:
        _stop(process)
        raise
    return CommandEnd(code, time.monotonic() - began_s, problem, _output(kept))


def _stderr() -> int:
    """The stderr of this process, or nothing if it has none."""
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return subprocess.DEVNULL


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the command and all that it began, politely first."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            continue
        return


def _ending(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"signal {-code}"


def _output(kept: IO[bytes]) -> str:
    size = kept.seek(0, os.SEEK_END)
    kept.seek(max(0, size - _OUTPUT_BYTES))
    return kept.read(_OUTPUT_BYTES).decode("utf-8", errors="replace")
