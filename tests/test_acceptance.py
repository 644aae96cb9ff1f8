"""The main job on the samples, over real HTTP, as the README promises it."""

from __future__ import annotations

import csv
import json
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.sending import Desk, Server, serving

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "sample_csvs"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with the sample sheets and templates, as a clone has them."""
    folder = tmp_path / "desk"
    folder.mkdir()
    shutil.copytree(ROOT / "templates", folder / "templates")
    shutil.copytree(SAMPLES, folder / "sample_csvs")
    return Desk(folder)


def told(server: Server) -> dict[str, Any]:
    """What the sandbox says of itself."""
    with urllib.request.urlopen(f"{server.url}/_sandbox?keys=no") as answer:
        summary: dict[str, Any] = json.load(answer)
    return summary


def newest_results(desk: Desk) -> Path:
    """The newest run's `results.csv`."""
    return desk.workspace.run_folder(desk.workspace.records()[-1].id) / "results.csv"


def plan(desk: Desk, *arguments: str) -> dict[str, Any]:
    """A plan as JSON."""
    done = desk.run("plan", *arguments, "--json")
    assert done.code == 0, done.err
    parsed: dict[str, Any] = json.loads(done.out)
    return parsed


@pytest.mark.parametrize(
    "sheet", ["carrier_migration.csv", "carrier_migration.xlsx", "fleet_rollout.csv", "reconciliation.csv"]
)
def test_good_samples_are_sent_whole(desk: Desk, tmp_path: Path, sheet: str) -> None:
    """Every good sample is configured, row by row, and its report is a sheet that plans the same."""
    with serving(tmp_path) as server:
        done = desk.run(
            "run", f"sample_csvs/{sheet}", "--yes", "--rate", "2000/s", "--json", **server.environ
        )
        assert done.code == 0, done.err
        counts = json.loads(done.out)["counts"]
        assert counts["succeeded"] + counts["skipped"] == counts["requests"] > 0
        assert told(server)["applied"] == counts["succeeded"]
    before = plan(desk, f"sample_csvs/{sheet}")
    again = plan(desk, str(newest_results(desk)))
    assert again["digest"] == before["digest"]


def test_workbook_and_csv_are_one_plan(desk: Desk) -> None:
    """The migration as a workbook is the migration as CSV."""
    digests = {plan(desk, f"sample_csvs/carrier_migration.{kind}")["digest"] for kind in ("csv", "xlsx")}
    assert len(digests) == 1


def test_every_mistake_is_listed_at_once_and_nothing_is_sent(desk: Desk, tmp_path: Path) -> None:
    """The sheet with every mistake ends with 65 and names each by row and column; the API hears nothing."""
    with (SAMPLES / "every_mistake.csv").open(encoding="utf-8", newline="") as file:
        rows = len(list(csv.reader(file))) - 1
    with serving(tmp_path) as server:
        done = desk.run("run", "sample_csvs/every_mistake.csv", "--yes", **server.environ)
        assert done.code == 65
        assert not server.seen("received")
    named = {line.split(" ")[0] for line in done.err.splitlines() if line.startswith("every_mistake.csv:")}
    assert len(named) >= rows - 4, "all but the two good rows and the repeats are rejected"
    assert done.out == ""


def test_rate_that_is_the_limit_is_never_told_to_slow_down(desk: Desk, tmp_path: Path) -> None:
    """At 50/s against a limit of 50/s there is no 429 at all, and the mean is at least 48/s."""
    desk.sheet(150)
    with serving(tmp_path, limit="50/s", latency="5ms..25ms") as server:
        done = desk.run("run", "numbers.csv", "--yes", "--rate", "50/s", "--json", **server.environ)
        assert done.code == 0, done.err
        assert told(server)["answers"] == {"200": 150}
    with newest_results(desk).open(encoding="utf-8", newline="") as file:
        sent = sorted(row["result_last_sent_at"] for row in csv.DictReader(file))
    assert (len(sent) - 1) / (_seconds(sent[-1]) - _seconds(sent[0])) >= 48


def test_rate_beyond_the_limit_ends_with_everything_applied(desk: Desk, tmp_path: Path) -> None:
    """At 200/s against a limit of 50/s the run slows down and ends, and every number is applied."""
    desk.sheet(120)
    with serving(tmp_path, limit="50/s", latency="5ms") as server:
        done = desk.run("run", "numbers.csv", "--yes", "--rate", "200/s", "--json", **server.environ)
        assert done.code == 0, done.err
        assert told(server)["applied"] == 120
        assert told(server)["answers"]["429"] > 0
    assert json.loads(done.out)["counts"]["succeeded"] == 120


def _seconds(timestamp: str) -> float:
    """The seconds within the day of an ISO 8601 timestamp."""
    hours, minutes, seconds = timestamp.rstrip("Z").split("T")[1].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
