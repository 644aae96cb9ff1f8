"""What `import batch` offers: plan sheets, run the plan against a target, and get the results.

    import batch

    plan = batch.plan("numbers.csv", templates="templates", region="US")
    finished = batch.run(plan, target=batch.sandbox(limit="50/s"), workspace="runs", rate="20/s")
    finished.results            # a DataFrame, one row a request and one a reject
    finished.exit_code          # 0: every request succeeded or needed nothing

It is the engine of the command `sipbatch`, with the same journal and reports: a run that is begun here can be
resumed there, and the reverse. Everything raised on purpose is a `batch.BatchError`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from batch.destinations import (
    DEFAULT_TRANSPORT,
    LIVE_URL,
    Carrier,
    Destination,
    EmbeddedSandbox,
    Given,
    Live,
    live,
    pinned_destination,
)
from batch.errors import RejectedError, UsageError
from batch.journal.protocol import Pick
from batch.progress import Progress
from batch.rollout import DEFAULT_RATE, Finished, Rollout, Sending, check_reachable
from batch.states import RequestState
from batch.target import Target
from batch.workspace import DEFAULT_WORKSPACE, UNFINISHED, Workspace, find_run

if TYPE_CHECKING:
    from batch.plans import Plan

__all__ = ["api", "plan", "resume", "retry", "run", "sandbox"]

AnyPath = str | os.PathLike[str]


def plan(
    *sheets: AnyPath,
    templates: AnyPath = "templates",
    region: str | None = None,
    strict: bool = False,
    numbers: Literal["possible", "valid"] = "possible",
    columns: Mapping[str, str] | None = None,
    where: Mapping[str, str] | None = None,
    limit: int | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    worksheet: str | None = None,
    header_row: int | None = None,
    block_limit: int = 100_000,
) -> Plan:
    """Read, expand and check sheets; nothing is sent.

    `sheets` are CSV files or workbooks. `region` ("US") is that of numbers without a country code. `columns`
    says which column is what (`{"phone_number": "Main DID"}`); `where` takes only rows with these values;
    `limit` the first rows of each sheet. The rest is as `sipbatch plan --help` says.

    The rows that cannot be sent are in `Plan.rejects`, with all that is wrong with each. Raises `SheetError`
    and `TemplateError` if a sheet cannot be read at all, or a template is faulty.
    """
    from batch.bland.payloads import SCHEMA
    from batch.planning import PlanOptions, make_plan
    from batch.sheets.chunks import Condition, SheetOptions
    from batch.sheets.opening import open_sheets
    from batch.templates.folder import TemplateFolder

    if not sheets:
        raise UsageError("There is no sheet to plan: name at least one.")
    reading = SheetOptions(
        encoding=encoding,
        delimiter=delimiter,
        worksheet=worksheet,
        header_row=header_row,
        columns=dict(columns or {}),
        where=tuple(Condition(column, "=", value) for column, value in (where or {}).items()),
        limit=limit,
    )
    planning = PlanOptions(
        region=region, strict=strict, full_validity=numbers == "valid", block_limit=block_limit
    )
    opened = open_sheets([Path(sheet) for sheet in sheets], reading, blocks=SCHEMA.blocks)
    return make_plan(opened, TemplateFolder(Path(templates), SCHEMA), planning)


def run(
    plan: Plan,
    *,
    target: Destination | Target | str,
    workspace: AnyPath = DEFAULT_WORKSPACE,
    skip_rejects: bool = False,
    rate: str = DEFAULT_RATE,
    concurrency: int | None = None,
    max_attempts: int = 5,
    deadline_s: float = 30.0,
    max_failures: str | None = None,
    canary: int | Literal["auto"] | None = None,
    waves: str | None = None,
    soak_s: float = 0.0,
    windows: Sequence[str] = (),
    report: Collection[str] | None = None,
    progress: Progress | None = None,
) -> Finished:
    """Send a plan, and report on every row of it.

    `target` is `batch.sandbox()`, `batch.api()`, a base URL, or any `batch.Target` of your own. `rate` is as
    "20/s" or "20/s,600/m"; `max_failures` as "200" or "5%"; `canary` so many requests, one of every
    template, direction and country among them, must succeed before the others are sent. `waves` is how far
    each wave goes ("1%,10%,100%"), with `soak_s` seconds of nothing after it. Only within `windows`
    ("22:00-05:00@Europe/Berlin") is anything sent. `report` is what the report has beside `results.csv`: some
    of "jsonl", "xlsx" and "html", and all of it if left out. SIGINT and SIGTERM let what is in flight finish,
    if this is the main thread.

    Raises `RejectedError` if the plan has rejects and they are not to be skipped, `LockedError` if another
    run holds the workspace, `CredentialsError` without an API key, `UnreachableError` if nothing answers
    there, `JournalError` if the journal cannot be written. However the run ends otherwise, where it stands
    is in what is returned, and `resume` goes on.
    """
    if plan.rejects and not skip_rejects:
        first = plan.rejects[0]
        raise RejectedError(
            f"{len(plan.rejects):,} rows are rejected, the first at {plan.place(first.sheet_id, first.row)}: "
            f"{first.problems[0].message} Nothing was sent; `skip_rejects=True` sends the others."
        )
    sending = Sending(
        rate,
        concurrency,
        max_attempts,
        deadline_s,
        max_failures,
        canary,
        waves=waves,
        soak_s=soak_s,
        windows=tuple(windows),
    )
    sending.run_options()
    destination = _destination(target)
    check_reachable(destination)
    with Rollout(Workspace(Path(workspace)), "run", formats=report) as rollout:
        run_id = rollout.pin(plan, destination, sending)
        return rollout.send(run_id, destination, sending, progress=progress)


def resume(
    run: str | None = None,
    *,
    target: Destination | Target | str | None = None,
    workspace: AnyPath = DEFAULT_WORKSPACE,
    rate: str | None = None,
    concurrency: int | None = None,
    report: Collection[str] | None = None,
    progress: Progress | None = None,
) -> Finished:
    """Go on with a run that did not finish: the newest one, or the one whose id is, or begins with, `run`.

    What is left is sent as it was pinned, at the rate that the run had last. `target` is needed only if it
    was one of your own. Raises `UsageError` if there is no such run, or nothing is left of it, `JournalError`
    if the journal would send something else than was planned, and what `run` raises.
    """
    with Rollout(Workspace(Path(workspace)), "resume", formats=report) as rollout:
        found = find_run(
            rollout.journal.runs(),
            run,
            fits=lambda one: one.state in UNFINISHED,
            fitting="that can be resumed",
        )
        if found.state not in UNFINISHED:
            raise UsageError(f"Run {found.id} is completed: nothing is left to send.")
        destination = (
            pinned_destination(found.options, found.target) if target is None else _destination(target)
        )
        if destination.name != found.target:
            raise UsageError(
                f"Run {found.id} was sent to {found.target}, and this is {destination.name}: what was done "
                "there says nothing of here. Plan and run it anew."
            )
        rollout.check_trusted(found)
        had = Sending.from_pinned(found.options).at_last_rate(rollout.journal.events(found.id))
        sending = had.changed(rate=rate, concurrency=concurrency)
        check_reachable(destination)
        return rollout.send(found.id, destination, sending, progress=progress)


def retry(
    run: str | None = None,
    *,
    target: Destination | Target | str | None = None,
    workspace: AnyPath = DEFAULT_WORKSPACE,
    error_code: str | None = None,
    template: str | None = None,
    rate: str | None = None,
    concurrency: int | None = None,
    report: Collection[str] | None = None,
    progress: Progress | None = None,
) -> Finished:
    """Send again, as a run of its own, what ended failed or unknown in a run: the newest one, or `run`.

    `error_code` and `template` take only some of it. `target` is needed only if it was one of your own.
    Raises what `resume` raises.
    """
    states = frozenset({RequestState.FAILED, RequestState.UNKNOWN})
    with Rollout(Workspace(Path(workspace)), "retry", formats=report) as rollout:
        parent = find_run(rollout.journal.runs(), run)
        destination = (
            pinned_destination(parent.options, parent.target) if target is None else _destination(target)
        )
        sending = Sending.from_pinned(parent.options).changed(rate=rate, concurrency=concurrency)
        rollout.check_trusted(parent, states)
        check_reachable(destination)
        run_id = rollout.derive(parent, Pick(states, error_code, template), destination, sending)
        return rollout.send(run_id, destination, sending, progress=progress)


def sandbox(**options: object) -> EmbeddedSandbox:
    """The embedded sandbox as a target: `sandbox(limit="50/s", faults={"503": 0.02}, latency="20ms")`.

    It is started with the run and ends with it. The options are those of
    `batch.bland.sandbox_options.SandboxOptions`; `UsageError` if one is wrong.
    """
    destination = EmbeddedSandbox(options)
    destination.check()
    return destination


def api(
    base_url: str = LIVE_URL,
    *,
    key_file: AnyPath | None = None,
    auth_scheme: Literal["bearer", "raw"] = "bearer",
    account: str = "",
    transport: Carrier = DEFAULT_TRANSPORT,
) -> Live:
    """The API as a target, with the key from `BLAND_API_KEY`, the key file or a `.env`.

    `account` is a name of your own, where several accounts share a workspace. `transport` is `direct`, which
    costs least, or `httpx`, which goes through httpx and aiohttp.
    `CredentialsError` if there is none, or others can read it; `UsageError` for an address that is none.
    """
    path = None if key_file is None else Path(key_file)
    return live(base_url, key_file=path, auth_scheme=auth_scheme, account=account, transport=transport)


def _destination(target: Destination | Target | str) -> Destination:
    if isinstance(target, str):
        return live(target)
    return target if isinstance(target, Destination) else Given(target)
