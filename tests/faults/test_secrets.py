"""A canary key, and canary webhooks, through every way to fail: found in nothing that is said or written."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.bland.wires import Wire, answer, reset
from tests.faults.stage import FIRST_NUMBER, Command, Done, Invoke, Server, Stage, until
from tests.faults.wiring import SOMEBODY_ELSE, tls_of, wired

KEY = "sk-canary-key-4711081547110815"
#: One webhook comes from the environment, one from a cell of the sheet, one stands in the template.
ENV_HOOK = "https://ops:canary-user@hooks.example.com/services/T0CANARY/canary-path-4711?token=canary-query"
CELL_HOOK = "https://hooks.example.net/in/canary-cell-4711?sig=canary-sig"
OPEN_HOOK = "https://hooks.example.org/alerts"

TEMPLATES = {
    "by-env": ("allow_env: [OPS_HOOK]\n", "${env:OPS_HOOK}"),
    "by-cell": ("", "${hook}"),
    "open": ("", OPEN_HOOK),
}
LOUD = ("--debug", "--log-format", "json")
RUN = ("run", "numbers.csv", "--yes", "--rate", "1000/s", "--concurrency", "4", "--deadline", "2", *LOUD)

#: Parts of the secrets, none of which may be found: what is written may be cut or put apart.
KEY_PARTS = ("sk-canary-key", "4711081547110815")
ENV_PARTS = ("canary-user", "T0CANARY", "canary-path", "canary-query")
CELL_PARTS = ("canary-cell", "canary-sig")
A_NUMBER = re.compile(r"1415555\d{4}")


@dataclass
class Scene:
    """A stage with canaries on it, and everything that was said there."""

    stage: Stage
    said: list[Done] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        return {"BLAND_API_KEY": KEY, "OPS_HOOK": ENV_HOOK}

    def run(self, *words: str, url: str = "http://127.0.0.1:1") -> Done:
        """A command with the key in its environment, to its end."""
        done = self.stage.here(*words, environ={**self.environ, "BLAND_BASE_URL": url})
        self.said.append(done)
        return done

    def heard(self, command: Command) -> Done:
        done = command.done()
        self.said.append(done)
        return done

    def assert_silent(self) -> None:
        """No secret in what was said; none but what the sheet itself had in what was written."""
        texts = [text for done in self.said for text in (done.out, done.err)]
        for part in (*KEY_PARTS, *ENV_PARTS, *CELL_PARTS):
            assert not [text for text in texts if part in text], part
        assert not [line for done in self.said for line in done.err.splitlines() if A_NUMBER.search(line)]
        files = [path for path in self.stage.folder.rglob("*") if path.is_file()]
        written = {path: content_of(path) for path in files if path.name != "numbers.csv"}
        for part in (*KEY_PARTS, *ENV_PARTS):
            assert not [path for path, data in written.items() if part.encode() in data], part
        for part in CELL_PARTS:
            # What came in a cell is pinned in the journal, because `resume` does not read the sheet again.
            found = [path.name for path, data in written.items() if part.encode() in data]
            assert set(found) <= {"journal.db", "journal.db-wal"}, part


def content_of(path: Path) -> bytes:
    """What is in a file; of a workbook, what is in its parts, which are packed."""
    if path.suffix != ".xlsx":
        return path.read_bytes()
    with zipfile.ZipFile(path) as parts:
        return b"".join(parts.read(name) for name in parts.namelist())


@pytest.fixture
def scene(stage: Stage) -> Scene:
    """A sheet of thirty rows, ten for each way in which a webhook comes into a payload."""
    (stage.folder / "templates").mkdir()
    for name, (head, hook) in TEMPLATES.items():
        channels = f'{{email: true, sms: false, webhook: "{hook}"}}'
        text = f"{head}direction: outbound\nalert_config:\n  enabled: true\n  channels: {channels}\n"
        (stage.folder / "templates" / f"{name}.yaml").write_text(text, encoding="utf-8")
    names = [*TEMPLATES] * 10
    rows = [f"+{FIRST_NUMBER + nth},{name},{CELL_HOOK}" for nth, name in enumerate(names)]
    text = "\n".join(["phone_number,template,hook", *rows]) + "\n"
    (stage.folder / "numbers.csv").write_text(text, encoding="utf-8")
    return Scene(stage)


# --- what the server says ---------------------------------------------------------------------------


def echo(status: int, body: str, headers: tuple[str, ...] = ()) -> Callable[[bytes], bytes]:
    """Answer with everything that was sent: the key from the header, the webhook from the body."""

    def told(request: bytes) -> bytes:
        head, _, payload = request.partition(b"\r\n\r\n")
        sent = {"key": KEY, "head": head.decode(), "body": payload.decode()}
        text = body.replace("%s", json.dumps(json.dumps(sent))[1:-1])
        return answer(status, text.encode(), ("Content-Type: application/json", *headers))

    return told


#: Answers after which the run goes on; no two in a row that look like an outage.
ECHOES = (
    echo(400, '{"status": "error", "message": "%s"}'),
    echo(502, "<html><title>%s</title><h1>%s</h1></html>"),
    echo(422, '{"data": null, "errors": [{"error": "BAD %s", "message": "%s"}]}'),
    echo(500, "%s", (f"X-Request-Id: {KEY}",)),
    echo(400, '{"status": "error", "message": "Invalid", "errors": ["%s"]}'),
    echo(307, "", (f"Location: https://{KEY}@elsewhere.example.com/{KEY}?{KEY}",)),
    echo(200, '{"status": "success", "message": "%s"}', (f"X-Request-Id: {KEY}",)),
    echo(200, '{"status": "error", "message": "%s"}'),
)
#: Answers that stop it.
LAST_WORDS = {
    "403": echo(403, '{"required_scope": "%s"}', (f'WWW-Authenticate: Bearer scope="{KEY}"',)),
    "401": echo(401, '{"data": null, "errors": [{"error": "AUTH_FAILURE", "message": "%s"}]}'),
    "429": echo(429, '{"status": "error", "message": "%s"}', ("Retry-After: 100000",)),
}


@pytest.mark.parametrize("last", LAST_WORDS)
def test_server_that_echoes_what_it_was_sent(scene: Scene, last: str) -> None:
    """Whatever an API or a proxy repeats of a request in its answer, nobody reads the secrets in it."""
    count = 0

    async def play(wire: Wire) -> None:
        nonlocal count
        count += 1
        told = ECHOES[count % len(ECHOES)] if count < 20 else LAST_WORDS[last]
        await wire.write(told(server.requests[-1]))

    with wired(play) as server:
        done = scene.run(*RUN, "--concurrency", "1", url=server.url)
    assert done.code in (75, 77), done.err
    assert count >= 20
    assert all(KEY.encode() in request for request in server.requests)
    assert any(b"canary-query" in request for request in server.requests)
    scene.run("status", "--json")
    scene.run("report", "--json")  # all formats
    scene.assert_silent()


# --- what goes wrong on the way ---------------------------------------------------------------------

#: Runs the command with a bug in it, whose error tells all that it knows.
BUGGY = """
import sys
from batch.bland.api import BlandTarget
from batch.cli import main
async def send(self, number, direction, payload):
    headers = dict(self._headers)
    raise RuntimeError(f"{number} {headers} {payload.decode()}")
BlandTarget.send = send
sys.exit(main())
"""


def test_failures_on_the_way(scene: Scene) -> None:
    """No connection, another's certificate, resets, a bug: each tells what it is, and no secret."""
    assert scene.run(*RUN).code == 75
    with wired(reset, tls=tls_of(SOMEBODY_ELSE)) as server:
        assert scene.run(*RUN, url=server.tls_url).code == 75
    with wired(reset) as server:
        command = scene.stage.start(*RUN, environ={**scene.environ, "BLAND_BASE_URL": server.url})
        until(lambda: len(server.requests) >= 6 or not command.is_going, "some are reset")
        command.signal(signal.SIGINT)
        assert scene.heard(command).code == 130
        words = (scene.stage.sipbatch[0], "-c", BUGGY, *RUN)
        environ = {**scene.environ, "BLAND_BASE_URL": server.url}
        bug = scene.heard(scene.stage.launch(words, environ=environ))
    assert bug.code == 1
    assert "RuntimeError" in bug.err
    assert "Traceback" in bug.err
    scene.assert_silent()


def test_nothing_sent_yet(scene: Scene, invoke: Invoke) -> None:
    """Plans, checks and look-ups tell where a secret comes from, and never what it is."""
    for words in (
        ("plan", "numbers.csv"),
        ("plan", "numbers.csv", "--json"),
        ("templates", "check"),
        ("templates", "show", "by-env", "--row", "numbers.csv:2"),
        ("doctor",),
        ("doctor", "--json"),
        ("runs",),
        ("run", "numbers.csv", "--yes", "--plan-digest", "0" * 64, *LOUD),
    ):
        done = invoke(*words, **scene.environ, BLAND_BASE_URL="http://127.0.0.1:1")
        scene.said.append(done)
    plan = scene.said[0].out
    assert "${env:OPS_HOOK}" in plan
    assert "https://hooks.example.net/in/***?***" in plan
    assert OPEN_HOOK in plan
    scene.assert_silent()


def test_what_is_read_back_and_taken_back(scene: Scene) -> None:
    """The API shows every webhook when it is asked: what is found, has drifted or goes back tells none."""
    server = scene.stage.sandbox(key=KEY, show_blocks="side")
    changed(server, f"+{FIRST_NUMBER}", CELL_HOOK + "0")
    assert scene.run("plan", "numbers.csv", "--online", url=server.url).code == 0
    assert scene.run(*RUN, "--verify", "--snapshot", url=server.url).code == 0
    for nth in range(3):  # by somebody else
        changed(server, f"+{FIRST_NUMBER + nth}", CELL_HOOK + str(nth))
    for words in (
        ("verify", "--rate", "1000/s"),
        ("verify", "--rate", "1000/s", "--json"),
        ("report", "--format", "html", "--format", "xlsx", "--format", "jsonl", "--json"),
        ("history", f"+{FIRST_NUMBER + 1}"),
        ("fleet", "--json"),
        ("reconcile", "numbers.csv", "--yes", "--verify", "--rate", "1000/s", *LOUD),
    ):
        scene.run(*words, url=server.url)
    assert "drifted" in scene.said[2].out
    done = scene.run("rollback", scene.stage.newest.id, "--yes", "--rate", "1000/s", *LOUD, url=server.url)
    assert done.code == scene.said[-2].code == 0, done
    scene.assert_silent()


def changed(server: Server, number: str, webhook: str) -> None:
    """Give a number another webhook, as somebody else's tool would."""
    alerts = {"enabled": True, "channels": {"email": True, "sms": False, "webhook": webhook}}
    told = {"phone_number": number, "direction": "outbound", "alert_config": alerts}
    body = json.dumps(told).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    request = Request(f"{server.url}/v1/sip/config", method="PATCH", data=body, headers=headers)
    with urlopen(request, timeout=30) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("text", "mode"),
    [(KEY, 0o644), (f"{KEY} {KEY}", 0o600), (f'"{KEY}"', 0o600), (f"BLAND_API_KEY={KEY}", 0o600)],
)
def test_key_that_cannot_be_used(scene: Scene, invoke: Invoke, text: str, mode: int) -> None:
    """What is wrong with a key, or with its file, is told without any of it."""
    path = scene.stage.folder.parent / "key"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    for words in ((*RUN, "--key-file", str(path)), ("doctor", "--offline", "--key-file", str(path))):
        done = invoke(*words, OPS_HOOK=ENV_HOOK)
        scene.said.append(done)
        assert done.code == 77, done
    settings = scene.stage.folder / "sipbatch.toml"
    settings.write_text(f'api_key = "{KEY}"\n', encoding="utf-8")
    done = invoke(*RUN, OPS_HOOK=ENV_HOOK)
    scene.said.append(done)
    assert done.code == 2
    settings.unlink()
    scene.assert_silent()


# --- secrets that are needed again ------------------------------------------------------------------


def test_resume_needs_the_secret_as_it_was(scene: Scene) -> None:
    """The journal keeps the variable's name: without its value, or with another, nothing is sent."""
    server = scene.stage.sandbox(faults={"422": 1.0}, fault_after=12, key=KEY)
    first = scene.run(*RUN, "--max-failures", "1", url=server.url)
    assert first.code == 4
    received = server.record.received()
    server.told(faults={})
    for hook in ({}, {"OPS_HOOK": "https://hooks.example.com/another"}):
        done = scene.stage.here("resume", *LOUD, environ={"BLAND_API_KEY": KEY, **hook})
        scene.said.append(done)
        assert done.code == 77
        assert "${env:OPS_HOOK}" in done.err
    assert server.record.received() == received
    assert scene.run("resume", *LOUD, url=server.url).code == 3
    assert scene.run("retry", "--yes", *LOUD, url=server.url).code == 0
    applied = server.record.read().applied
    assert len(applied) == 30
    assert "canary-query" in server.record.path.read_text(encoding="utf-8")
    scene.assert_silent()


def test_key_is_in_no_title(scene: Scene) -> None:
    """Who lists the processes of this machine sees neither the key nor a webhook."""
    with wired(lambda wire: wire.reader.read()) as server:
        path = scene.stage.folder.parent / "key"
        path.touch(mode=0o600)
        path.write_text(KEY, encoding="utf-8")
        environ = {"OPS_HOOK": ENV_HOOK, "BLAND_BASE_URL": server.url}
        command = scene.stage.start(*RUN, "--key-file", str(path), environ=environ)
        until(lambda: server.requests or not command.is_going, "something is sent")
        process = Path(f"/proc/{command.process.pid}")
        shown = (process / "cmdline").read_bytes() + (process / "comm").read_bytes()
        inherited = (process / "environ").read_bytes()
        command.signal(signal.SIGINT)
        until(lambda: "stopping" in command.err, "the first signal is heeded")
        command.signal(signal.SIGINT)
        scene.heard(command)
    assert b"canary" not in shown
    assert KEY.encode() not in inherited
    path.unlink()
    scene.assert_silent()


# --- who may read what ------------------------------------------------------------------------------


def test_files_are_their_owners_alone(scene: Scene) -> None:
    """Whatever the umask: files 0600, folders 0700, while it runs and afterwards."""
    server = scene.stage.sandbox(latency="30ms", key=KEY)
    environ = {**scene.environ, "BLAND_BASE_URL": server.url}
    command = scene.stage.start(*RUN, environ=environ, preexec_fn=lambda: os.umask(0) and None)
    scene.stage.is_sending(command, 3)
    while_it_runs = modes(scene.stage.workspace.path)
    assert {"journal.db", "journal.db-wal", "journal.db-shm", "lock"} <= set(while_it_runs)
    assert scene.heard(command).code == 0
    formats = ("csv", "jsonl", "xlsx", "html")
    words = ("report", "--quiet", *(f"--format={one}" for one in formats))
    writing = scene.stage.start(*words, environ=environ, preexec_fn=lambda: os.umask(0) and None)
    assert scene.heard(writing).code == 0
    afterwards = modes(scene.stage.workspace.path)
    assert {"results.csv", "results.jsonl", "results.xlsx", "report.html", "summary.json"} <= set(afterwards)
    for name, mode in {**while_it_runs, **afterwards}.items():
        wanted = 0o700 if name.startswith("/") else 0o600
        assert mode == wanted, f"{name} is {mode:04o}"
    mend = scene.stage.folder / "mend.csv"
    before = os.umask(0)
    try:
        scene.run("plan", "numbers.csv", "--rejects", str(mend))
    finally:
        os.umask(before)
    assert stat.S_IMODE(mend.stat().st_mode) == 0o600


def modes(folder: Path) -> dict[str, int]:
    """The modes of everything in a folder, itself included; folders begin with a slash."""
    paths = [folder, *folder.rglob("*")]
    return {
        f"/{path.name}" if path.is_dir() else path.name: stat.S_IMODE(path.stat().st_mode) for path in paths
    }
