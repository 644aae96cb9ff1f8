"""What docs/cron.md shows works: its crontab as cron runs it, its units as systemd reads and runs them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from configparser import RawConfigParser
from pathlib import Path

import pytest

from batch.engine.run_options import RunOptions
from tests.fleet_desk import number, rows_of, write
from tests.sending import KEY, Desk, Done, Server, finished, serving

DOC = (Path(__file__).resolve().parent.parent / "docs" / "cron.md").read_text(encoding="utf-8")
UNITS = {
    path.rpartition("/")[2]: text for path, text in re.findall(r"```ini\n# (\S+)\n(.*?)```", DOC, re.DOTALL)
}
[CRONTAB] = re.findall(r"```crontab\n(.*?)```", DOC, re.DOTALL)
SERVICE, TIMER, MAIL = "sipbatch-reconcile.service", "sipbatch-reconcile.timer", "sipbatch-mail@.service"

#: Where the page has its files, and the command.
THERE, COMMAND = "/srv/sipbatch", "/usr/local/bin/sipbatch"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder as the page tells to make it, and the command somewhere that no `PATH` has."""
    folder = tmp_path / "srv"
    folder.mkdir()
    command = tmp_path / "sipbatch"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m batch "$@"\n', encoding="utf-8")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return Desk(folder)


def configure(desk: Desk, server: Server) -> None:
    """The key and the settings."""
    write(desk, rows_of(24))
    (desk.folder / "sipbatch.toml").write_text(
        f'rate = "1000/s"\nmax_failures = "1%"\nbase_url = "{server.url}"\n', encoding="utf-8"
    )
    (desk.folder / ".env").write_text(f"BLAND_API_KEY={KEY}\n", encoding="utf-8")
    (desk.folder / ".env").chmod(0o600)


def here(text: str, desk: Desk) -> str:
    """The same with the paths of this desk."""
    return text.replace(THERE, str(desk.folder)).replace(COMMAND, str(desk.folder.parent / "sipbatch"))


def jobs() -> list[str]:
    """The commands of the crontab."""
    lines = [line for line in CRONTAB.splitlines() if line and not line.startswith("#")]
    return [line.split(maxsplit=5)[5] for line in lines if not re.match(r"\w+=", line)]


def cron(desk: Desk) -> Done:
    """The job as cron runs it: by sh, elsewhere, with next to no environment. What it prints is mailed."""
    [job] = jobs()
    done = subprocess.run(
        ["/bin/sh", "-c", here(job, desk)],
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "HOME": str(desk.folder.parent), "SHELL": "/bin/sh"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_cron_mails_only_when_something_happened(desk: Desk, tmp_path: Path) -> None:
    """A line for what was sent, why for a refusal; nothing for nothing, and for a run that is going."""
    with serving(tmp_path) as server:
        configure(desk, server)
        first = cron(desk)
        assert re.fullmatch(r"24 new: 24 of 24 requests succeeded in run \S+ See \S+\n", first.out)
        assert (first.code, first.err) == (0, "")
        assert cron(desk) == Done(0, "", "")
        with desk.workspace.lock("run"):
            assert cron(desk) == Done(0, "", "")
        write(desk, rows_of(24)[:12])
        refused = cron(desk)
        assert (refused.code, refused.out) == (1, "")
        assert "12 of the 24 known numbers are in no sheet" in refused.err
        assert server.seen("applied").total() == 24


def test_the_crontab_is_one() -> None:
    """Five fields and a command in which nothing ends the line early."""
    [line] = [line for line in CRONTAB.splitlines() if "sipbatch reconcile" in line]
    assert all(re.fullmatch(r"[\d*/,-]+", field) for field in line.split()[:5])
    assert "%" not in line


# --- systemd ------------------------------------------------------------------------------------


def unit(name: str) -> RawConfigParser:
    """A unit's sections; their keys as they are written."""
    parser = RawConfigParser(delimiters=("=",), comment_prefixes=("#", ";"), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(UNITS[name])
    return parser


def test_the_units_belong_together() -> None:
    """The timer begins the service of its name, whose failure begins the mail, which is given that name."""
    assert set(UNITS) == {SERVICE, TIMER, MAIL}
    assert unit(TIMER)["Install"]["WantedBy"] == "timers.target"
    assert unit(SERVICE)["Unit"]["OnFailure"] == MAIL.replace("@.", "@%n.")
    assert unit(MAIL)["Service"]["ExecStart"].endswith(" sh %i")
    service = unit(SERVICE)["Service"]
    assert service["WorkingDirectory"] == service["ReadWritePaths"] == THERE
    # A stop waits for what is in flight, and for the report.
    assert float(service["TimeoutStopSec"]) >= 2 * RunOptions().drain_s


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_units(desk: Desk, tmp_path: Path) -> None:
    """Every section, key and value; only the command is where this test has it."""
    for name, text in UNITS.items():
        (tmp_path / name).write_text(here(text, desk), encoding="utf-8")
    instance = str(tmp_path / MAIL.replace("@.", "@x."))
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / SERVICE), str(tmp_path / TIMER), instance],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (verified.returncode, verified.stderr) == (0, "")


def started(desk: Desk) -> subprocess.Popen[str]:
    """The service's command as systemd runs it: no shell, the unit's folder, the environment of its file."""
    service = unit(SERVICE)["Service"]
    return subprocess.Popen(
        shlex.split(here(service["ExecStart"], desk)),
        cwd=here(service["WorkingDirectory"], desk),
        env={"PATH": os.defpath, "BLAND_API_KEY": KEY},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_neither_a_stop_nor_a_run_that_is_going_is_a_failure(desk: Desk, tmp_path: Path) -> None:
    """Their exit codes are those that the unit calls a success; the next hour sends what is left."""
    successes = {int(code) for code in unit(SERVICE)["Service"]["SuccessExitStatus"].split()}
    with serving(tmp_path) as server:
        configure(desk, server)
        settings = desk.folder / "sipbatch.toml"
        settings.write_text(settings.read_text(encoding="utf-8").replace("1000/s", "10/s"), encoding="utf-8")
        process = started(desk)
        while not server.seen("applied"):
            assert process.poll() is None
            time.sleep(0.02)
        going = finished(started(desk))
        assert (going.code, going.err) == (75, "")
        process.send_signal(signal.SIGTERM)
        stopped = finished(process)
        assert {going.code, stopped.code} == successes
        left = 24 - len(server.seen("applied"))
        assert left > 0
        again = finished(started(desk))
        assert again.code == 0
        assert again.out.startswith(f"{left} new, {24 - left} unchanged: {left} of {left} requests succeeded")
        assert server.seen("applied")[number(23)] == 1
