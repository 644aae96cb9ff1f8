"""`sipbatch doctor` finds what is wrong before a run has to, says what to do, and changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
import tracemalloc
import zlib
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest

from batch.bland import reach
from batch.checks import Level
from batch.health import check_clock, check_sqlite, check_time_zone
from tests.bland.wires import Play, Wire, always, answer, forever, hang
from tests.faults.hardship import bound_by_rights, forbidden, small_disk
from tests.faults.stage import KEY, Done, Invoke, Stage
from tests.faults.wiring import SOMEBODY_ELSE, tls_of, wired

RUN = ("run", "numbers.csv", "--yes", "--rate", "1000/s", "--sandbox", "--quiet")
LIST = b'{"data": {"numbers": []}, "errors": null}'


def dated() -> tuple[str, ...]:
    """The headers of an answer by a clock that is right."""
    return ("Content-Type: application/json", f"Date: {formatdate(usegmt=True)}")


def found(done: Done) -> dict[str, dict[str, str]]:
    """The checks of `--json`, by what they are about."""
    told = json.loads(done.out)
    assert told["schema"] == "sipbatch.doctor/1"
    assert told["exit_code"] == done.code
    return {check["about"]: check for check in told["checks"]}


def completed(stage: Stage, invoke: Invoke) -> str:
    """A run that is done, by its id."""
    stage.sheet(20)
    assert invoke(*RUN).code == 0
    return stage.newest.id


def test_all_is_well(stage: Stage, invoke: Invoke) -> None:
    """One line each, all ok but what the machine itself may be warned of, and exit 0."""
    run_id = completed(stage, invoke)
    with wired(always(answer(200, LIST, dated()))) as server:
        done = invoke("doctor", BLAND_API_KEY=KEY, BLAND_BASE_URL=server.url)
        assert all(request.startswith(b"GET /v1/sip/numbers ") for request in server.requests)
        assert len(server.requests) == 1
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    abouts = {line[9:].split("  ")[0].strip() for line in lines if line.startswith("ok ")}
    assert {"workspace", "room", "lock", "journal", f"run {run_id}", "key", "address", "clock"} <= abouts
    assert not [line for line in lines if line.startswith("wrong")]
    assert KEY not in done.out


def test_nothing_is_made(stage: Stage, invoke: Invoke) -> None:
    """Where there is no workspace yet, there is none afterwards."""
    done = invoke("doctor", "--offline", "--json", BLAND_API_KEY=KEY)
    assert done.code == 0
    assert "the first run makes it" in found(done)["workspace"]["text"]
    assert [*stage.folder.iterdir()] == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("DELETE FROM requests WHERE seq = 3", "requests are missing from the run (1)"),
        ("UPDATE requests SET state = 'pending' WHERE seq = 3", "left, though the run is completed"),
        ("UPDATE requests SET verdict = 'refused' WHERE seq = 3", "without an answer that accepted"),
        ("UPDATE requests SET sends = 7 WHERE seq = 3", "sent more or fewer times"),
        ("UPDATE requests SET number = 14155559999 WHERE seq = 3", "the plan's digest differs"),
        ("UPDATE requests SET due_at = 1.0 WHERE seq = 3", "due again without being retried"),
        ("UPDATE requests SET payload_id = 999 WHERE seq = 3", "a payload, a template or a note"),
        ("UPDATE cells SET row_count = row_count - 1", "was planned with 20 rows, and 19 are kept"),
        ("UPDATE payloads SET body = CAST('{}' AS BLOB) WHERE id = 1", "content and digest differ (1)"),
    ],
)
def test_run_that_does_not_add_up(stage: Stage, invoke: Invoke, damage: str, says: str) -> None:
    """Whatever of the law of conservation is broken, it is said of which run, with exit 74."""
    completed(stage, invoke)
    with contextlib.closing(sqlite3.connect(stage.workspace.journal_path)) as journal:
        journal.execute(damage)
        journal.commit()
    done = invoke("doctor", "--offline", "--json", BLAND_API_KEY=KEY)
    assert done.code == 74
    wrong = [check for check in found(done).values() if check["level"] == "wrong"]
    assert any(says in check["text"] for check in wrong), wrong
    assert all("backup" in check["to_do"] for check in wrong)


def test_killed_run_is_told_of(stage: Stage, invoke: Invoke) -> None:
    """A run that was killed adds up; a warning says which command goes on with it."""
    server = stage.sandbox(latency="30ms")
    stage.sheet(200)
    words = ("run", "numbers.csv", "--yes", "--rate", "500/s")
    command = stage.start(*words, environ=server.environ)
    stage.is_sending(command, 10)
    command.killed()
    checks = found(invoke("doctor", "--json", **server.environ))
    run_id = stage.newest.id
    assert checks[f"run {run_id}"]["level"] == "warning"
    assert checks[f"run {run_id}"]["to_do"] == f"go on with it: sipbatch resume {run_id}"
    assert checks["key"]["text"] == "found in BLAND_API_KEY; the API takes it"
    assert checks["clock"]["level"] == "ok"


def test_rights(stage: Stage, invoke: Invoke) -> None:
    """What others can read is a warning; what oneself cannot write is wrong."""
    completed(stage, invoke)
    with forbidden(stage.workspace.path, 0o755), forbidden(stage.workspace.journal_path, 0o644):
        checks = found(invoke("doctor", "--offline", "--json", BLAND_API_KEY=KEY))
    assert checks["workspace"]["to_do"].startswith("chmod 700 ")
    with forbidden(stage.workspace.path, 0o500):
        words = ("doctor", "--offline", "--json")
        done = stage.run(*words, environ={"BLAND_API_KEY": KEY}, preexec_fn=bound_by_rights)
    assert done.code == 74
    assert found(done)["workspace"]["level"] == "wrong"


def _pipe(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True)


def _link_to_itself(path: Path) -> None:
    path.parent.symlink_to(path.parent)


@pytest.mark.parametrize(
    ("make", "name", "about", "says"),
    [
        (_pipe, "journal.db", "journal", "is no file"),
        (_folder, "journal.db", "journal", "is no file"),
        (_pipe, "lock", "lock", "is no file"),
        (_folder, "lock", "lock", "is no file"),
        (_link_to_itself, "lock", "workspace", "a link that leads nowhere"),
    ],
)
def test_something_else_in_a_files_place(
    stage: Stage, invoke: Invoke, make: Callable[[Path], None], name: str, about: str, says: str
) -> None:
    """A pipe, a folder, a link: nobody waits for it, `doctor` says what it is, and a run ends with 74."""
    make(stage.workspace.path / name)
    done = invoke("doctor", "--offline", "--json", BLAND_API_KEY=KEY)
    assert done.code == 74
    assert found(done)[about]["level"] == "wrong"
    assert says in found(done)[about]["text"]
    stage.sheet(1)
    assert invoke(*RUN).code == 74


def test_read_only_file_system(stage: Stage, invoke: Invoke) -> None:
    """Both say so, and what is there can be looked at."""
    kept = stage.workspace.path
    run_id = completed(stage, invoke)
    moved = stage.folder / "kept"
    kept.rename(moved)
    with small_disk(kept, 4_000_000):
        shutil.copytree(moved, kept, dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", str(kept)], check=True)
        done = invoke("doctor", "--offline", "--json", BLAND_API_KEY=KEY)
        assert done.code == 74
        assert "read-only" in found(done)["workspace"]["text"]
        done = invoke(*RUN)
        assert done.code == 74
        assert "read-only" in done.err
        assert "Nothing was sent" in done.err
        done = invoke("status")
        assert done.code == 0
        assert run_id in done.out


@pytest.mark.parametrize(
    ("status", "about", "level", "code"),
    [
        (401, "key", "wrong", 77),
        (403, "key", "warning", 0),
        (404, "address", "warning", 0),
        (503, "address", "warning", 0),
    ],
)
def test_what_the_api_says(invoke: Invoke, status: int, about: str, level: str, code: int) -> None:
    """A key that is refused is wrong; a right that is not given, or a bad minute, is a warning."""
    with wired(always(answer(status, b'{"status": "error", "message": "no"}', dated()))) as server:
        done = invoke("doctor", "--json", BLAND_API_KEY=KEY, BLAND_BASE_URL=server.url)
    assert done.code == code
    assert found(done)[about]["level"] == level
    assert found(done)[about]["to_do"]


def test_no_key_and_nobody_there(invoke: Invoke) -> None:
    """Both are told at once; the first that is wrong decides the exit code."""
    done = invoke("doctor", "--json", "--base-url", "http://127.0.0.1:9")
    assert done.code == 77
    checks = found(done)
    assert "BLAND_API_KEY" in checks["key"]["text"]
    assert "refused the connection" in checks["address"]["text"]
    assert invoke("doctor", "--base-url", "http://127.0.0.1:9", BLAND_API_KEY=KEY).code == 75


@pytest.mark.parametrize(
    "garbage", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"]
)
def test_server_that_is_none(invoke: Invoke, garbage: bytes) -> None:
    """Something that listens and is no API ends in a sentence, not in a bug."""
    with wired(always(garbage, close=True)) as server:
        done = invoke("doctor", "--json", BLAND_API_KEY=KEY, BLAND_BASE_URL=server.url)
    assert done.code == 75
    assert "no proper answer" in found(done)["address"]["text"]


async def _drip(wire: Wire) -> None:
    """A head at once, and then a blank now and then, without end."""
    await wire.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n{")
    for _ in range(50):
        await asyncio.sleep(0.1)
        await wire.write(b" ")


@pytest.mark.parametrize(
    "play",
    [
        pytest.param(hang, id="says nothing"),
        pytest.param(_drip, id="drips"),
        pytest.param(forever(b"", b"HTTP/1.1 102 Processing\r\n\r\n"), id="is always about to answer"),
    ],
)
def test_server_that_never_ends_is_left(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, play: Play) -> None:
    """One deadline for the whole answer, however the time is spent: nobody waits for ever."""
    monkeypatch.setattr(reach, "_LONGEST_S", 0.4)
    with wired(play) as server:
        done = invoke("doctor", "--json", BLAND_API_KEY=KEY, BLAND_BASE_URL=server.url)
    assert done.code == 75
    assert "no whole answer within 0.4 s" in found(done)["address"]["text"]


def test_bomb_is_not_unpacked(invoke: Invoke) -> None:
    """An answer that unpacks to 200 MB takes no memory to speak of; its status is enough."""
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join((*(packer.compress(bytes(10**6)) for _ in range(200)), packer.flush()))
    with wired(always(answer(200, bomb, (*dated(), "Content-Encoding: gzip")))) as server:
        tracemalloc.start()
        done = invoke("doctor", "--json", BLAND_API_KEY=KEY, BLAND_BASE_URL=server.url)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert b"\r\naccept-encoding: identity\r\n" in server.requests[0].lower()
    assert found(done)["address"]["level"] == "ok"
    assert peak_bytes < 30e6


def test_certificate_of_nobody(invoke: Invoke) -> None:
    """The key is not sent to a server that nobody vouches for."""
    with wired(always(answer()), tls=tls_of(SOMEBODY_ELSE)) as server:
        done = invoke("doctor", "--json", BLAND_API_KEY=KEY, BLAND_BASE_URL=server.tls_url)
        assert server.requests == []
    assert done.code == 75
    assert "cannot be verified" in found(done)["address"]["text"]


# --- what is known without a machine ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ((3, 40, 1), Level.WARNING),
        ((3, 44, 5), Level.WARNING),
        ((3, 44, 6), Level.OK),
        ((3, 45, 0), Level.WARNING),
        ((3, 50, 6), Level.WARNING),
        ((3, 50, 7), Level.OK),
        ((3, 51, 2), Level.WARNING),
        ((3, 51, 3), Level.OK),
        ((3, 53, 0), Level.OK),
    ],
)
def test_wal_reset_bug_is_known_by_version(version: tuple[int, int, int], level: Level) -> None:
    """In all versions up to 3.51.2, but for the two to which its mending was brought back."""
    assert check_sqlite(version).level is level


NOW = 1_785_144_600.4  # 2026-07-27T09:30:00Z and a little


@pytest.mark.parametrize(
    ("ahead_s", "level", "says"),
    [
        (0.0, Level.OK, "within a few seconds"),
        (4.0, Level.OK, "within a few seconds"),
        (30.0, Level.WARNING, "29 s ahead of the API's"),
        (-30.0, Level.WARNING, "29 s behind the API's"),
        (3600.0, Level.WARNING, "certificates may be refused"),
    ],
)
def test_clock_is_compared_with_the_date_of_an_answer(ahead_s: float, level: Level, says: str) -> None:
    """As far as a date without fractions can tell, and without blaming the clock for a slow answer."""
    date = formatdate(NOW, usegmt=True)
    check = check_clock(date, asked_at=NOW + ahead_s, answered_at=NOW + ahead_s + 0.3)
    assert check.level is level
    assert says in f"{check.text} {check.to_do}"


def test_slow_answer_is_no_wrong_clock() -> None:
    """The date is from somewhere between the question and the answer."""
    date = formatdate(NOW + 20, usegmt=True)
    assert check_clock(date, asked_at=NOW, answered_at=NOW + 40).level is Level.OK


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_answer_without_a_date(date: str) -> None:
    """Is a warning: there is nothing to compare with."""
    assert check_clock(date, asked_at=time.time(), answered_at=time.time()).level is Level.WARNING


@pytest.mark.parametrize(
    ("name", "level"),
    [("", Level.OK), ("Europe/Berlin", Level.OK), ("Europe/Atlantis", Level.WARNING), ("UTC0", Level.OK)],
)
def test_time_zone_that_is_not_known(name: str, level: Level) -> None:
    """The system takes an unknown zone for UTC and says nothing."""
    assert check_time_zone(name).level is level
