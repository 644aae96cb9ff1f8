"""The log of `--log-format json`: every event that is written is documented, with just these fields.

`REWRITE_GOLDEN=1` in the environment writes the tables of docs/log-events.md anew.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from batch.journal.protocol import Counts
from batch.log_events import EVENTS, LogEvent
from batch.progress import JsonProgress
from tests.sending import Desk, Done, main

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs" / "log-events.md"
COMMON = {field.name for field in fields(LogEvent)}

Invoke = Callable[..., Done]


def names_of(kind: type) -> set[str]:
    """The fields of an event."""
    assert is_dataclass(kind)
    return {field.name for field in fields(kind)}


def said() -> Iterator[tuple[str, int, str, set[str]]]:
    """Everything that the program says by name: file, line, event, and the fields that it gives."""
    for path in sorted((ROOT / "batch").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
            event = given.pop("event", None)
            if isinstance(event, ast.Constant) and isinstance(event.value, str):
                yield path.name, node.lineno, event.value, set(given)


def test_what_is_said_by_name_is_documented() -> None:
    """Wherever the program names an event, it is one of the documented ones and has all of its fields."""
    found = list(said())
    assert len(found) > 10
    for path, line, event, given in found:
        assert event in EVENTS, f"{path}:{line}: describe it in batch/log_events.py"
        assert given | COMMON == names_of(EVENTS[event]), f"{path}:{line}"


def test_every_documented_event_is_said() -> None:
    """Nothing is promised that does not happen; `message` is what has no other name."""
    named = {event for _, _, event, _ in said()}
    assert set(EVENTS) - named == {"message", "progress"}


def test_progress_is_documented() -> None:
    """Its fields are those of every `progress` event."""
    stream = io.StringIO()
    JsonProgress(stream).update(Counts(pending=9, succeeded=1), 5.0, "the API said 429 for +14155550100")
    assert set(json.loads(stream.getvalue())) == names_of(EVENTS["progress"])
    assert json.loads(stream.getvalue())["waiting_for"] == "the API said 429 for +14155…00"


def documented() -> str:
    """The tables of docs/log-events.md."""
    lines = []
    for name, kind in EVENTS.items():
        lines += ["", f"## `{name}`", "", *(kind.__doc__ or "").splitlines()[:1]]
        own = [field for field in fields(kind) if field.name not in COMMON]
        if own:
            lines += ["", "| field | holds |", "|---|---|"]
            lines += [f"| `{field.name}` | {field.metadata['description']} |" for field in own]
    return "\n".join(lines) + "\n"


def test_documentation_is_that_of_the_code() -> None:
    """docs/log-events.md has every event and every field, as the code has them."""
    text = DOCS.read_text(encoding="utf-8")
    by_hand, mark, made = text.partition("tests/test_log_events.py -->\n")
    if os.environ.get("REWRITE_GOLDEN"):
        DOCS.write_text(by_hand + mark + documented(), encoding="utf-8")
        made = documented()
    assert made == documented()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with a sheet of five rows and its template in it."""
    folder = tmp_path / "desk"
    folder.mkdir()
    desk = Desk(folder)
    desk.sheet(5, extra=("+141,codecs", "+14155550100,nothing"))
    return desk


@pytest.fixture
def log(
    desk: Desk, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[dict[str, Any]]]:
    """Runs a command and gives its log, event by event."""
    monkeypatch.chdir(desk.folder)
    for name in [name for name in os.environ if name.startswith(("BLAND_", "SIPBATCH_"))]:
        monkeypatch.delenv(name)

    def logged(*arguments: str) -> list[dict[str, Any]]:
        main(*arguments, "--log-format", "json")
        return [json.loads(line) for line in capfd.readouterr().err.splitlines()]

    return logged


RUN = ("run", "numbers.csv", "--sandbox", "--yes", "--rate", "1000/s")


def test_log_of_a_run_is_documented_line_by_line(log: Callable[..., list[dict[str, Any]]]) -> None:
    """Each line is an event with exactly its fields, in an order that tells the story."""
    events = log(
        *RUN, "--skip-rejects", "--sandbox-fault", "400=1.0", "--canary", "1", "--on-finish", "echo well"
    )
    assert all(set(event) == names_of(EVENTS[event["event"]]) for event in events)
    order = list(dict.fromkeys(event["event"] for event in events if event["event"] != "message"))
    assert order == ["plan", "reject", "run", "progress", "finished", "on_finish"]
    finished = next(event for event in events if event["event"] == "finished")
    progress = [event for event in events if event["event"] == "progress"][-1]
    assert (finished["state"], finished["exit_code"]) == ("halted", 4)
    assert progress["failed"] == finished["counts"]["failed"]
    rejects = [event for event in events if event["event"] == "reject"]
    assert [(event["sheet"], event["row"]) for event in rejects] == [("numbers.csv", 7), ("numbers.csv", 8)]
    assert rejects[1]["problems"][0]["column"] == "template"


def test_numbers_are_masked(log: Callable[..., list[dict[str, Any]]]) -> None:
    """Nothing in the log has a phone number as a whole."""
    text = json.dumps(log(*RUN, "--skip-rejects"), ensure_ascii=False)
    assert re.findall(r"\+\d{8,}", text) == []
    assert "+14155…00" in text


def test_error_that_ends_the_command_is_the_last_line(log: Callable[..., list[dict[str, Any]]]) -> None:
    """With the exit code, and what to do."""
    *_, last = log(*RUN)
    assert set(last) == names_of(EVENTS["error"])
    assert (last["event"], last["exit_code"]) == ("error", 65)
    assert "2 rows were rejected" in last["text"]
