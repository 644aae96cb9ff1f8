"""A run from its plan to its report: what the commands and the callers of the library share.

    with Rollout.open(Workspace(path), "run") as rollout:
        run_id = rollout.pin(plan, destination, sending)
        finished = rollout.send(run_id, destination, sending)

The workspace is held from `open` to the end of the block. Everything between plan and report meets in the
journal, so that what goes on after a crash is no different from what goes on after the plan.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio
import anyio.abc

from batch.clock import real_clock
from batch.engine.blocking import OwnThread
from batch.engine.mailbox import Mailbox, obey_letters
from batch.errors import BatchError, InterruptedReportError, ReportError
from batch.journal.protocol import ROLLS_BACK, Counts, Journal, NewRun, Pick, RunRecord
from batch.progress import Progress, Silent, default_progress
from batch.runner import Controls, RunOptions, run
from batch.sending import DEFAULT_RATE, Sending
from batch.states import RequestState, StopReason
from batch.version import __version__
from batch.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from batch.destinations import Destination
    from batch.engine.advance import Ask
    from batch.plans import Plan
    from batch.read_back.along import ReadAlong
    from batch.read_back.verifying import Verified
    from batch.reporting import ReportFiles
    from batch.target import Target

__all__ = [
    "DEFAULT_RATE",
    "Finished",
    "Rollout",
    "Sending",
    "check_reachable",
    "in_event_loop",
    "write_report_of",
]

_T = TypeVar("_T")

#: The report of so many requests takes seconds, in which nobody should think that nothing happens.
_MANY = 50_000


@dataclass(frozen=True, slots=True)
class Finished:
    """A run as it stood when its process let go of it: completed, or to be resumed.

    `message` says why it stopped, where it stopped before its end. `report_error` says why there is no
    report, or an old one. `verified` is what reading back found, if it was asked for and come to.
    """

    id: str
    folder: Path
    counts: Counts
    reason: StopReason
    message: str
    duration_s: float
    report: ReportFiles | None
    report_error: ReportError | None = None
    verified: Verified | None = None

    @property
    def exit_code(self) -> int:
        """What the command that ran it ends with."""
        from batch.report.summary import exit_code_of

        if self.report_error is not None:
            return self.report_error.exit_code
        if self.verified is not None and self.verified.reason is not StopReason.DONE:
            return self.verified.exit_code
        has_drifted = self.verified is not None and self.verified.exit_code != 0
        return exit_code_of(self.reason, self.counts, has_drifted=has_drifted)

    @property
    def results_path(self) -> Path:
        """Where `results.csv` is."""
        return self.folder / "results.csv"

    def results_frame(self) -> pd.DataFrame:
        """The report as a DataFrame, read anew: one row a request and one a reject, in sheet order.

        Its columns are those of `results.csv`, with the types that `batch.report.frame` says.
        """
        from batch.report.frame import results_frame

        return results_frame(self.results_path)

    @property
    def results(self) -> pd.DataFrame:
        """The same as `results_frame()`."""
        return self.results_frame()


class Rollout:
    """Holds a workspace, with its journal open, for one command that sends."""

    def __init__(self, workspace: Workspace, command: str, *, formats: Collection[str] | None = None) -> None:
        """Take the workspace; `LockedError` if another run has it.

        `formats` are those of its reports, as `batch.reporting.write_report` takes them.
        """
        self.workspace = workspace
        self._formats = formats
        self._afterwards = ExitStack()
        self._stack = ExitStack()
        with self._stack:
            self._lock = self._stack.enter_context(workspace.lock(command))
            self.journal: Journal = workspace.journal()
            self._stack.callback(self.journal.close)
            self._stack = self._stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._afterwards:
            self._stack.close()

    def afterwards(self, work: Callable[[], None]) -> None:
        """Do this once the workspace is free again, however it comes to that."""
        self._afterwards.callback(work)

    def pin(
        self,
        plan: Plan,
        destination: Destination,
        sending: Sending,
        *,
        also: Mapping[str, object] | None = None,
        parent: str | None = None,
    ) -> str:
        """Write the plan into the journal as a new run, all or nothing; returns the run's id.

        `also` are further options to be kept with it, as JSON values. `parent` is the run that the plan was
        made of, if it was made of one: its rows are those of that run's sheets.
        """
        new = replace(_new_run(destination, sending, also), parent=parent)
        return self._named(self.journal.create_run(plan, new))

    def check_trusted(self, run: RunRecord, states: Collection[RequestState] | None = None) -> None:
        """Whether what the journal would send of a run is what was planned, before any of it is sent.

        `states` are those of the requests to be sent: what is left, if left out. `JournalError` if it is not,
        `CredentialsError` if it needs a secret that is not at hand.
        """
        from batch.journal.audit import LEFT, JournalAudit

        with closing(JournalAudit(self.workspace.journal_path)) as journal:
            journal.check_to_be_sent(run, LEFT if states is None else states)

    def derive(self, parent: RunRecord, pick: Pick, destination: Destination, sending: Sending) -> str:
        """A new run of some requests of another, with the payloads that were pinned then; returns its id."""
        # A part of a rollback takes back what that took back.
        also = None if parent.rolls_back is None else {ROLLS_BACK: parent.rolls_back}
        return self._named(self.journal.derive_run(parent.id, pick, _new_run(destination, sending, also)))

    def _named(self, run_id: str) -> str:
        self._lock.name_run(run_id)
        return run_id

    def send(
        self,
        run_id: str,
        destination: Destination,
        sending: Sending,
        *,
        progress: Progress | None = None,
        reading_progress: Callable[[], Progress] = Silent,
        say: Callable[[str], None] = lambda _: None,
        ask: Ask | None = None,
    ) -> Finished:
        """Send what is left of a run, and write its report, however the sending ends.

        The first SIGINT or SIGTERM lets what is in flight finish, the second ends it, and so does
        interrupting a notebook's cell; `say` is told, in words for the operator. Orders from another
        terminal are obeyed. `reading_progress` makes what shows a round of reads. Between waves `ask` asks,
        and without it the thresholds decide. Raises what made it impossible to go on, once the report is
        written, and `InterruptedReportError` if SIGINT comes while it is.
        """
        self._named(run_id)
        options = sending.run_options()
        shown = default_progress() if progress is None else progress
        brakes = _Brakes(options.drain_s, say)
        send = partial(self._send, run_id, sending, shown, reading_progress, brakes.controls, say, ask)
        started_s = time.monotonic()
        try:
            work = partial(self._at, destination, options, brakes, send)
            done = in_event_loop(work, interrupt=brakes.interrupt)
        except BaseException:
            shown.close()
            with suppress(BatchError):  # what ended the run is what the operator must hear of
                self.report(run_id)
            raise
        shown.close()
        duration_s = time.monotonic() - started_s
        folder = self.workspace.run_folder(run_id)
        report, report_error = None, None
        if done.ending.counts.requests >= _MANY:
            say(f"Writing the report of {done.ending.counts.requests:,} requests.")
        try:
            report = self.report(run_id)
        except ReportError as error:
            report_error = error
        except KeyboardInterrupt:
            raise InterruptedReportError(_unreported(run_id, done.ending.counts)) from None
        return Finished(
            run_id,
            folder,
            done.ending.counts,
            done.ending.reason,
            done.ending.message,
            duration_s,
            report,
            report_error,
            done.verified,
        )

    def report(self, run_id: str) -> ReportFiles:
        """Write the run's report as the journal has it now; `ReportError` if it cannot be written."""
        return write_report_of(self.journal, self.workspace, run_id, formats=self._formats)

    def verify(
        self,
        run_id: str,
        destination: Destination,
        sending: Sending,
        *,
        is_anew: bool = False,
        progress: Callable[[], Progress] = Silent,
        say: Callable[[str], None] = lambda _: None,
    ) -> Verified:
        """Read back what a run has sent, compare, and record what is found; the report is not written.

        One that did not come to its end goes on, unless `is_anew`. Signals are heeded as by `send`.
        """
        from batch.read_back.along import as_readable, make_reader
        from batch.read_back.verifying import verify

        self._named(run_id)
        options = sending.run_options()
        brakes = _Brakes(options.drain_s, say)

        async def read(target: Target) -> Verified:
            reader = await make_reader(self.journal, run_id, options, brakes.controls, progress)
            return await verify(self.journal, run_id, as_readable(target), reader, is_anew=is_anew)

        work = partial(self._at, destination, options, brakes, read)
        return in_event_loop(work, interrupt=brakes.interrupt)

    async def _send(
        self,
        run_id: str,
        sending: Sending,
        progress: Progress,
        reading_progress: Callable[[], Progress],
        controls: Controls,
        say: Callable[[str], None],
        ask: Ask | None,
        target: Target,
    ) -> ReadAlong:
        from batch.read_back.along import ReadAlong, send_reading_along

        options = sending.run_options()
        with OwnThread() as in_own_thread:
            if sending.snapshot or sending.verify:
                return await send_reading_along(
                    self.journal,
                    run_id,
                    target,
                    options,
                    is_to_snapshot=sending.snapshot,
                    is_to_verify=sending.verify,
                    progress=progress,
                    reading_progress=reading_progress,
                    controls=controls,
                    clock=real_clock(),
                    run_blocking=in_own_thread,
                    say=say,
                    ask=ask,
                )
            return ReadAlong(
                await run(
                    self.journal,
                    run_id,
                    target,
                    options,
                    progress=progress,
                    controls=controls,
                    clock=real_clock(),
                    run_blocking=in_own_thread,
                    ask=ask,
                )
            )

    async def _at(
        self,
        destination: Destination,
        options: RunOptions,
        brakes: _Brakes,
        work: Callable[[Target], Coroutine[Any, Any, _T]],
    ) -> _T:
        """Do what is to be done at the target, and heed signals and orders meanwhile."""
        brakes.attach(asyncio.get_running_loop())
        done: list[_T] = []
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            # Only the main thread is told of signals; a caller's other threads have their own ways to stop.
            if threading.current_thread() is threading.main_thread():
                await tasks.start(_obey_signals, brakes)
            tasks.start_soon(obey_letters, Mailbox(self.workspace.control_path), brakes.controls)
            try:
                async with destination.open(connections=options.most_workers) as target:
                    done.append(await work(target))
            except Exception as error:  # told below, outside of the group, which would wrap it
                failure = _innermost(error)
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return done[0]


def write_report_of(
    journal: Journal, workspace: Workspace, run_id: str, *, formats: Collection[str] | None = None
) -> ReportFiles:
    """Write a run's report into its folder; `ReportError` if it cannot be written."""
    from batch.reporting import write_report

    return write_report(journal, run_id, workspace.run_folder(run_id), formats=formats)


def in_event_loop(
    work: Callable[[], Coroutine[Any, Any, _T]], *, interrupt: Callable[[], None] | None = None
) -> _T:
    """Run async work to its end, also from within a notebook, whose own loop is running already.

    There, interrupting the cell calls `interrupt`, and the work goes on to the end that it comes to then.
    """
    options = {"use_uvloop": find_spec("uvloop") is not None}
    start = partial(_undisturbed, partial(anyio.run, work, backend="asyncio", backend_options=options))
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return start()
    with ThreadPoolExecutor(max_workers=1) as threads:
        # In this context, by which the notebook knows into which cell the output belongs.
        future = threads.submit(copy_context().run, start)
        while True:
            try:
                return future.result()
            except KeyboardInterrupt:
                if interrupt is None or future.done():
                    raise
                interrupt()


def check_reachable(destination: Destination) -> None:
    """`UnreachableError` if nothing would reach it: better told before a run is pinned."""
    in_event_loop(destination.probe)


class _Brakes:
    """Drains a run when it is stopped the first time, and aborts it the second; says which, to whoever asked.

    `interrupt` may be called from another thread than the run's own.
    """

    def __init__(self, drain_s: float, say: Callable[[str], None]) -> None:
        self.controls = Controls()
        self.stopped_by: signal.Signals | None = None
        self._drain_s = drain_s
        self._say = say
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """The run begins in this loop."""
        self._loop = loop

    def interrupt(self) -> None:
        """The operator interrupts the cell of a notebook, or what else began the run."""
        if self._loop is None:
            self.stop(signal.SIGINT)
            return
        with suppress(RuntimeError):  # the loop has just ended, and the run with it
            self._loop.call_soon_threadsafe(self.stop, signal.SIGINT)

    def stop(self, received: signal.Signals) -> None:
        """The first drains, the second aborts; a hang-up drains, however often it comes."""
        if self.stopped_by is None:
            self.stopped_by = received
            self._say(
                f"stopping: nothing more is sent, and what is in flight has {self._drain_s:g} s to finish. "
                "Once more stops at once."
            )
            self.controls.drain(StopReason.SIGINT if received == signal.SIGINT else StopReason.SIGTERM)
        elif received != signal.SIGHUP:
            self._say("stopping at once: what is in flight is given up, and is sent again by `resume`.")
            self.controls.abort()


async def _obey_signals(
    brakes: _Brakes, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Stop the run by SIGINT, SIGTERM and SIGHUP for as long as it goes."""
    heeded = [signal.SIGINT, signal.SIGTERM]
    # A hang-up that is ignored from the start was ignored on purpose: by nohup, so that the run goes on.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heeded.append(signal.SIGHUP)
    try:
        with anyio.open_signal_receiver(*heeded) as signals:
            task_status.started()
            async for received in signals:
                brakes.stop(received)
    finally:
        if brakes.stopped_by == signal.SIGHUP:
            # A terminal that goes tells its shell, which tells us again: not while the report is written.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _new_run(destination: Destination, sending: Sending, also: Mapping[str, object] | None) -> NewRun:
    return NewRun(
        target=destination.name,
        created_at=time.time(),
        account=destination.account,
        options={**sending.pinned(), **destination.pinned, **(also or {})},
        version=__version__,
    )


def _unreported(run_id: str, counts: Counts) -> str:
    """What an operator must know who does not wait for the report."""
    ends = ("succeeded", "failed", "unknown", "skipped", "left")
    said = [f"{count:,} {end}" for end in ends if (count := getattr(counts, end))]
    ways = [f"`sipbatch report {run_id}` writes the report"]
    if counts.left:
        ways.append(f"`sipbatch resume {run_id}` sends what is left")
    return (
        f"interrupted while the report was being written. Run {run_id} itself had ended, and the journal has "
        f"all of it: {', '.join(said)}. {', '.join(ways)}"
    )


def _undisturbed(work: Callable[[], _T]) -> _T:
    """Run it without the garbage collector looking through all that was loaded before, 50 ms at a time."""
    gc.freeze()
    try:
        return work()
    finally:
        gc.unfreeze()


def _innermost(error: Exception) -> Exception:
    """The one error in groups of one: whoever handles it asks for its kind."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
