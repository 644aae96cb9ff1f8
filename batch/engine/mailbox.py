"""Orders for the process that sends a run: a folder in which each is a file, and so is its answer.

Files rather than a socket, because they are there on every file system, have no longest path and leave
nothing behind that could be taken for somebody who listens. The process that holds the workspace makes the
folder and takes it away; it alone writes to the journal.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio

from batch.engine.blocking import RunBlocking, in_thread
from batch.engine.controls import Answer, Controls, Order, Verb

#: How often the box is looked into, in seconds.
LOOK_EVERY_S = 0.5

_ORDER, _ANSWER = ".order", ".answer"

#: How often whoever waits for an answer looks for it, in the time in which the box is looked into once.
_PEEKS = 5


class Letter(NamedTuple):
    """An order that was found, and the file that it stands in."""

    path: Path
    order: Order


class Mailbox:
    """The folder at `path`, from either side of it; only its owner can enter it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # --- the process that sends -----------------------------------------------------------------

    def open(self) -> None:
        """Make the box, empty: what another process left there is nobody's any more."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(mode=0o700)

    def close(self) -> None:
        """Take the box away: from now on nobody looks into it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def letters(self) -> list[Letter]:
        """The orders that are there, oldest first; what cannot be read as an order is thrown away."""
        found = []
        try:
            paths = list(self.path.glob(f"*{_ORDER}"))
        except OSError:
            return []  # no file can be opened at this moment: a run does not end by that
        for path in paths:
            try:
                told = json.loads(path.read_bytes())
                found.append(
                    (path.stat().st_mtime_ns, Letter(path, Order(Verb(told["verb"]), told["value"])))
                )
            except FileNotFoundError:
                continue  # taken back at this moment
            except (OSError, ValueError, KeyError, TypeError):
                path.unlink(missing_ok=True)
        return [letter for _, letter in sorted(found)]

    def answer(self, letter: Letter, answer: Answer) -> None:
        """Say what became of an order, unless whoever gave it has taken it back."""
        if letter.path.exists():
            _write(letter.path.with_suffix(_ANSWER), asdict(answer))
            letter.path.unlink(missing_ok=True)

    @property
    def is_unread(self) -> bool:
        """Whether there is an answer that nobody has taken out yet."""
        return next(self.path.glob(f"*{_ANSWER}"), None) is not None

    # --- whoever gives orders -------------------------------------------------------------------

    def post(self, order: Order) -> Path:
        """Put an order into the box; `FileNotFoundError` if there is none."""
        path = self.path / f"{secrets.token_hex(8)}{_ORDER}"
        _write(path, asdict(order))
        return path

    def has(self, posted: Path) -> bool:
        """Whether an order is still there, or its answer."""
        return posted.exists() or posted.with_suffix(_ANSWER).exists()

    def answer_to(self, posted: Path) -> Answer | None:
        """What became of an order, or None as long as nobody says."""
        path = posted.with_suffix(_ANSWER)
        try:
            told = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        path.unlink(missing_ok=True)
        return Answer(bool(told["is_done"]), str(told["text"]))

    def take_back(self, posted: Path) -> None:
        """Nobody answers: it is not to be found later, when it is no longer meant."""
        for path in (posted, posted.with_suffix(_ANSWER)):
            with suppress(OSError):
                path.unlink(missing_ok=True)


async def obey_letters(
    mailbox: Mailbox,
    controls: Controls,
    *,
    run_blocking: RunBlocking = in_thread,
) -> None:
    """Do what the letters say for as long as the run goes on; without a box to make, there are none."""
    try:
        await run_blocking(mailbox.open)
    except OSError:
        return  # nobody can give orders then; that is no reason not to send
    try:
        while True:
            if controls.is_attached:
                for letter in await run_blocking(mailbox.letters):
                    answer = controls.obey(letter.order)
                    with suppress(OSError):
                        await run_blocking(partial(mailbox.answer, letter, answer))
            await anyio.sleep(LOOK_EVERY_S)
    finally:
        with anyio.CancelScope(shield=True):
            # Whoever has just been answered, perhaps by the end of the run, is to find it.
            for _ in range(_PEEKS):
                if not mailbox.is_unread:
                    break
                await anyio.sleep(LOOK_EVERY_S / _PEEKS)
            mailbox.close()


def order_and_wait(
    mailbox: Mailbox,
    order: Order,
    *,
    is_held: Callable[[], bool],
    timeout_s: float = 15.0,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer | None:
    """Give an order, and wait until somebody says what became of it; None if nobody does in time.

    `is_held` is asked from time to time whether there still is a process that could.
    """
    posted: Path | None = None
    ends_s = now() + timeout_s
    try:
        while True:
            if posted is None or not mailbox.has(posted):  # the box was made, or made anew, since
                with suppress(OSError):
                    posted = mailbox.post(order)
            for _ in range(_PEEKS):
                if posted is not None and (answer := mailbox.answer_to(posted)) is not None:
                    return answer
                sleep(LOOK_EVERY_S / _PEEKS)
            if now() >= ends_s or not is_held():
                return mailbox.answer_to(posted) if posted is not None else None
    finally:
        if posted is not None:
            mailbox.take_back(posted)


def _write(path: Path, told: dict[str, object]) -> None:
    """All of it or nothing, for its owner alone."""
    part = path.with_name(f"{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(told, file)
    part.replace(path)
