"""A desk with a fleet: sheets of many numbers, and a sandbox over HTTP that says what it holds."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.sending import FIRST_NUMBER, KEY, Desk, Server
from tests.verifying_desk import YES, Invoke, change, control, desk, invoke, results, server

__all__ = [
    "FAST",
    "YES",
    "Invoke",
    "Rows",
    "change",
    "control",
    "desk",
    "held",
    "invoke",
    "number",
    "results",
    "rows_of",
    "server",
    "write",
]

#: As the cron job gives them.
FAST = (*YES, "--quiet")

TEMPLATES = {
    "voice": "direction: outbound\ncodec_config: {codecs: '${codecs:-PCMU}', transcode: true}\n",
    "alerts": "direction: outbound\n"
    "alert_config: {enabled: true, thresholds: {unreachable_minutes: '${minutes:-5}'}}\n",
}

HEADER = ("phone_number", "template", "direction", "codecs", "minutes")

#: A sheet as lists of cells, in the order of `HEADER`.
Rows = list[list[str]]


def number(nth: int) -> str:
    """The nth number of the fleet."""
    return f"+{FIRST_NUMBER + nth}"


def rows_of(count: int, *, template: str = "voice", codecs: str = "PCMU") -> Rows:
    """So many numbers that all get the same."""
    return [[number(nth), template, "", codecs, ""] for nth in range(count)]


def write(
    desk: Desk,
    rows: Iterable[Sequence[str]],
    name: str = "numbers.csv",
    *,
    header: Sequence[str] = HEADER,
    delimiter: str = ",",
) -> Path:
    """Write a sheet, and the templates that it names."""
    folder = desk.folder / "templates"
    folder.mkdir(exist_ok=True)
    for template, text in TEMPLATES.items():
        (folder / f"{template}.yaml").write_text(text, encoding="utf-8")
    path = desk.folder / name
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return path


def held(server: Server, nth: int, direction: str = "outbound") -> dict[str, Any]:
    """What the sandbox holds for a number, as its API shows it."""
    answer = httpx.get(
        f"{server.url}/v1/sip",
        params={"phone_number": number(nth)},
        headers={"Authorization": f"Bearer {KEY}"},
        trust_env=False,
    )
    side = answer.json()["data"][direction] or {}
    return {name: block for name, block in side.items() if name.endswith("_config")}
