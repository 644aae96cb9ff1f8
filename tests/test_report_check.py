"""Promises of `check_report`, and of a report that is written again: it is the journal, to the byte."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from batch.journal.memory import MemoryJournal
from batch.journal.protocol import Journal
from batch.journal.sqlite import SqliteJournal
from batch.report import manifest
from batch.reporting import check_report, write_report
from batch.states import RequestState
from tests.report_runs import (
    MIXED,
    assert_conserved,
    contents,
    create,
    mixed_draft,
    mixed_run,
    play,
    read,
)

ALL_FORMATS = ("csv", "jsonl", "xlsx")


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    journal: Journal = (
        MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal.db")
    )
    yield journal
    journal.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "run"


def test_the_same_journal_gives_the_same_bytes(journal: Journal, folder: Path) -> None:
    """A report that is written again is the same to the byte, the workbook included."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, folder, formats=ALL_FORMATS)
    before = contents(folder)
    write_report(journal, run_id, folder, formats=("csv",))
    assert contents(folder) == before


def test_no_file_is_left_behind_the_others(journal: Journal, folder: Path) -> None:
    """A file of an earlier report is written again even if it was not asked for."""
    run_id = create(journal, mixed_draft().plan())
    write_report(journal, run_id, folder, formats=ALL_FORMATS)
    before = contents(folder)
    play(journal, run_id, MIXED)
    report = write_report(journal, run_id, folder, formats=("csv",))
    after = contents(folder)
    assert after.keys() == before.keys()
    assert not {name for name in after if after[name] == before[name]}
    assert report.summary.files == (
        "results.csv",
        "results.jsonl",
        "results.xlsx",
        "summary.json",
        "manifest.json",
    )
    assert_conserved(journal, run_id, folder)


EVERY_FORMAT = (*ALL_FORMATS, "html")
FILES = ("results.csv", "results.jsonl", "results.xlsx", "report.html", "summary.json", "manifest.json")


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_found(journal: Journal, folder: Path, name: str) -> None:
    """A check names the file in which a single byte is another one."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, folder, formats=EVERY_FORMAT, has_charts=False)
    assert check_report(journal, run_id, folder) == []
    content = bytearray((folder / name).read_bytes())
    at = content.index(b"e", len(content) // 2)
    content[at] ^= 1
    (folder / name).write_bytes(content)
    found = check_report(journal, run_id, folder)
    assert found
    assert all(line.startswith(f"{folder / name}: ") for line in found)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_found(journal: Journal, folder: Path, name: str) -> None:
    """A check names the file that is gone."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, folder, formats=EVERY_FORMAT, has_charts=False)
    (folder / name).unlink()
    assert check_report(journal, run_id, folder)[0].startswith(
        f"{folder / name}: cannot be read (No such file"
    )


def test_a_forged_report_is_found(journal: Journal, folder: Path) -> None:
    """Even if the manifest fits the changed file, the journal does not; the first wrong line is named."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, folder)
    content = (folder / "results.csv").read_bytes()
    forged = content.replace(b"failed,1,404", b"succeeded,1,200", 1)
    (folder / "results.csv").write_bytes(forged)
    listed = orjson.loads((folder / "manifest.json").read_bytes())
    digest = manifest.FileDigest.of(folder / "results.csv")
    listed["files"]["results.csv"] = {"sha256": digest.sha256, "size_bytes": digest.size_bytes}
    (folder / "manifest.json").write_bytes(
        orjson.dumps(listed, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    assert check_report(journal, run_id, folder) == [
        f"{folder}/results.csv: is not what the journal gives, from line 4 on"
    ]


def test_a_changed_journal_is_found(tmp_path: Path, folder: Path) -> None:
    """A check of the report is one of the journal too: what was changed in that shows."""
    path = tmp_path / "journal.db"
    with closing(SqliteJournal(path)) as journal:
        run_id = mixed_run(journal)
        write_report(journal, run_id, folder, formats=EVERY_FORMAT, has_charts=False)
    with closing(sqlite3.connect(path)) as database, database:
        changed = database.execute(
            "UPDATE requests SET error = 'all is well' WHERE error LIKE 'no such number%'"
        ).rowcount
    assert changed > 0
    with closing(SqliteJournal(path)) as journal:
        found = check_report(journal, run_id, folder)
    assert f"{folder}/results.csv: is not what the journal gives, from line 4 on" in found
    assert [line for line in found if line.startswith(f"{folder}/report.html: is not what the journal gives")]


def test_a_report_of_an_earlier_time_is_found(journal: Journal, folder: Path) -> None:
    """A check of a report from before the run went on says that it is to be written again."""
    run_id = create(journal, mixed_draft().plan())
    write_report(journal, run_id, folder)
    play(journal, run_id, MIXED)
    (found,) = check_report(journal, run_id, folder)
    assert "the run went on after it was written" in found
    assert f"sipbatch report {run_id}" in found


def test_a_report_of_another_run_is_found(journal: Journal, folder: Path) -> None:
    """A check of a folder with another run's report says which run it is of."""
    run_id = mixed_run(journal)
    other = mixed_run(journal)
    write_report(journal, other, folder)
    assert check_report(journal, run_id, folder)[0] == f"{folder}/manifest.json: says it is of run {other}"


def test_a_file_that_is_not_of_the_report_is_found(journal: Journal, folder: Path) -> None:
    """A results file that the manifest does not know is named."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, folder, formats=("csv",))
    (folder / "results.jsonl").write_text("{}")
    assert check_report(journal, run_id, folder) == [f"{folder}/results.jsonl: is not of this report"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"files": 7}', '{"files": {"a": {"size": 1}}}', "\xff"])
def test_a_damaged_manifest_is_found(journal: Journal, folder: Path, text: str) -> None:
    """A manifest that is none is said to be damaged, whatever is in it."""
    run_id = mixed_run(journal)
    write_report(journal, run_id, folder)
    (folder / "manifest.json").write_text(text, encoding="latin-1")
    (found,) = check_report(journal, run_id, folder)
    assert found == f"{folder}/manifest.json: is not a manifest of sipbatch: it was changed, or is damaged"


def test_counts_in_the_manifest_add_up(journal: Journal, folder: Path) -> None:
    """Lines, rows and attempts of the manifest are those of the files that it lists."""
    write_report(journal, mixed_run(journal), folder, formats=EVERY_FORMAT, has_charts=False)
    listed = orjson.loads((folder / "manifest.json").read_bytes())
    counts = listed["counts"]
    states = [counts[state.value] for state in RequestState]
    assert counts["requests"] == sum(states)
    assert listed["lines"] == counts["requests"] + counts["rejected"] == len(read(folder / "results.csv"))
    assert listed["attempts"] == len((folder / "results.jsonl").read_bytes().splitlines())
    assert counts["rows"] == sum(sheet["rows"] for sheet in listed["sheets"])
    assert {name: digest["size_bytes"] for name, digest in listed["files"].items()} == {
        name: (folder / name).stat().st_size for name in FILES[:-1]
    }
