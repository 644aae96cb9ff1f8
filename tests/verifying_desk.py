"""A desk whose commands go to a sandbox that shows what it was sent: for tests of reading back."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.sending import FIRST_NUMBER, KEY, Desk, Done, Server, main, serving

YES = ("--yes", "--rate", "1000/s")
TRANSCODE = {"codec_config": {"codecs": ["PCMU", "PCMA"], "transcode": False}}

Invoke = Callable[..., Done]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with a template in it."""
    folder = tmp_path / "desk"
    folder.mkdir()
    return Desk(folder)


@pytest.fixture
def invoke(desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs a command in this process, in the desk's folder, without a terminal."""
    monkeypatch.chdir(desk.folder)
    for name in ("BLAND_API_KEY", "BLAND_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def invoke_here(*arguments: str) -> Done:
        code = main(*arguments)
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return invoke_here


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke) -> Iterator[Server]:
    """A sandbox that shows what it was sent, to which the commands go."""
    with serving(tmp_path, show_blocks="side") as running:
        for name, value in running.environ.items():
            monkeypatch.setenv(name, value)
        yield running


def change(server: Server, nth: int, blocks: dict[str, Any] = TRANSCODE) -> None:
    """Somebody else configures a number."""
    body = {"phone_number": f"+{FIRST_NUMBER + nth}", "direction": "outbound", **blocks}
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = httpx.patch(f"{server.url}/v1/sip/config", json=body, headers=headers, trust_env=False)
    assert answer.status_code == 200


def control(server: Server, **options: object) -> None:
    """Change how the sandbox behaves."""
    assert httpx.post(f"{server.url}/_sandbox", json=options, trust_env=False).status_code == 200


def results(desk: Desk, run: int = -1) -> list[dict[str, str]]:
    """A run's `results.csv`."""
    folder = desk.workspace.run_folder(desk.workspace.records()[run].id)
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
