"""Compares three accounts of a run: the sandbox's record, the journal, and the report."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from batch.journal.audit import JournalAudit
from batch.journal.protocol import Counts, ResultRow
from batch.plans import DIRECTIONS
from tests.faults.record import Account
from tests.faults.stage import Stage


def report_rows(folder: Path) -> list[dict[str, str]]:
    """The lines of a folder's `results.csv`."""
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def audited(stage: Stage, run_id: str) -> Counts:
    """The journal's counts of a run, once the file is whole and the run adds up."""
    journal = JournalAudit(stage.workspace.journal_path)
    try:
        assert journal.integrity() == []
        assert journal.contradictions(journal.run(run_id)) == []
        return journal.counts(run_id)
    finally:
        journal.close()


def rows_of(stage: Stage, run_id: str) -> dict[tuple[str, str], ResultRow]:
    """The journal's requests by number and direction."""
    with stage.journal() as journal:
        return {(f"+{row.number}", DIRECTIONS[row.direction]): row for row in journal.results(run_id)}


def assert_all_agree(stage: Stage, run_id: str, account: Account, wanted: Mapping[str, str]) -> None:
    """Every request of `wanted` (payload digest by number) succeeded, and all three accounts say so.

    The sandbox applied to each key exactly its payload and to no other key anything; it saw no send
    that the journal does not know of; the report has every row, with what was applied.
    """
    counts = audited(stage, run_id)
    assert counts == Counts(succeeded=len(wanted))
    rows = rows_of(stage, run_id)
    assert {number for number, _ in rows} == set(wanted)
    assert set(account.applied) == set(rows)
    for key, digests in account.applied.items():
        assert set(digests) == {wanted[key[0]]}
    arrived = account.by_key()
    assert set(arrived) == set(rows)
    unknown = {key: len(arrived[key]) for key, row in rows.items() if len(arrived[key]) > row.sends}
    assert not unknown, f"received more often than the journal knows of sends: {unknown}"
    report = report_rows(stage.workspace.run_folder(run_id))
    assert len(report) == len(wanted)
    assert {row["phone_number"]: row["result_payload_sha256"] for row in report} == dict(wanted)
    assert {row["result_state"] for row in report} == {"succeeded"}
