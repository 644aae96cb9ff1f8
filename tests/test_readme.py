"""What the README says is true: its commands exist, its samples give what it shows, its Python runs."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from batch.cli import cli
from tests.sending import Desk, clean_environ

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def fenced(language: str) -> list[str]:
    """The README's blocks of code in one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[str]:
    """Every `sipbatch ...` of the README's code, without comments and what follows it in a shell."""
    lines = [
        line.removeprefix("$ ") for block in fenced("sh") + fenced("console") for line in block.splitlines()
    ]
    inline = re.findall(r"`(sipbatch [^`]+)`", README)
    named = [line for line in lines if line.startswith("sipbatch ")] + inline
    return sorted({re.split(r" (?:#|\|\|)", line)[0].strip() for line in named})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with the samples, as a clone has them."""
    for name in ("templates", "sample_csvs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return Desk(tmp_path)


@pytest.mark.parametrize("line", commands())
def test_commands_are_understood(line: str) -> None:
    """Every command and option that the README names is there."""
    words = shlex.split(line)[1:]
    context = click.Context(cli)
    command = cli.get_command(context, words[0])
    assert command is not None
    if isinstance(command, click.Group):
        command = command.get_command(context, words[1])
        assert command is not None
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_session_is_what_the_samples_give(desk: Desk) -> None:
    """What the session shows of the plan is what the plan prints, line by line."""
    [session] = [block for block in fenced("console") if "carrier_migration.csv" in block]
    shown = session.split("$ ")[1].splitlines()[1:]
    printed = desk.run("plan", "sample_csvs/carrier_migration.csv").out.splitlines()
    assert [line for line in shown if line not in [*printed, "[…]"]] == []


def test_mistakes_are_those_of_the_sample(desk: Desk) -> None:
    """The rejects that the README quotes are those of the sample."""
    [mistakes] = [block for block in fenced("console") if "every_mistake.csv" in block]
    shown = [line for line in mistakes.splitlines() if line.startswith("every_mistake.csv:")]
    printed = desk.run("plan", "sample_csvs/every_mistake.csv").out.splitlines()
    assert shown
    assert [line for line in shown if line not in printed] == []


def test_python_runs(desk: Desk) -> None:
    """The README's Python runs as it stands, and everything succeeds."""
    [code] = fenced("python")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=desk.folder,
        env=clean_environ(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0 340\n")
