"""Hooks: a command and a webhook are told how a run ended, and change nothing about it."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import click
import pytest

from batch import hooks, rollout
from batch.cli import COMMANDS, cli
from batch.errors import JournalError
from batch.hooks import VARIABLES, Hooks, News
from batch.settings import SETTINGS
from tests.sending import Desk, Done, main
from tests.test_webhook import SECRET, TOKEN, Receiver, documented, receiving

SEND = ("run", "numbers.csv", "--sandbox", "--yes", "--rate", "1000/s")
DOCS = Path(__file__).parent.parent / "docs"

Invoke = Callable[..., Done]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A folder with a sheet of five rows and its template in it."""
    folder = tmp_path / "desk"
    folder.mkdir()
    desk = Desk(folder)
    desk.sheet(5)
    return desk


@pytest.fixture
def invoke(desk: Desk, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs a command in this process, in the desk's folder, without a terminal."""
    monkeypatch.chdir(desk.folder)
    for name in [name for name in os.environ if name.startswith(("BLAND_", "SIPBATCH_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SIPBATCH_WEBHOOK_SECRET", SECRET)

    def invoke_here(*arguments: str) -> Done:
        code = main(*arguments)
        return Done(code, *capfd.readouterr())

    return invoke_here


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook's other end."""
    with receiving(Receiver()) as running:
        yield running


def told(desk: Desk, name: str = "told") -> dict[str, str]:
    """The variables that a hook wrote down with `env`."""
    lines = (desk.folder / name).read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines]
    return {name: value for name, _, value in pairs if name in VARIABLES}


def sending_commands() -> list[str]:
    """Every command that sends: it takes a rate, and says how many may fail."""
    found = []
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        options = {option for parameter in command.params for option in parameter.opts}
        if {"--rate", "--max-failures"} <= options:
            found.append(name)
    return found


# --- the command ------------------------------------------------------------------------------------


def test_command_is_told_how_the_run_ended(desk: Desk, invoke: Invoke) -> None:
    """Every variable is there, and says what `summary.json` says."""
    assert invoke(*SEND, "--on-finish", "env > told; pwd > where", "--quiet") == Done(0, "", "")
    variables = told(desk)
    assert set(variables) == set(VARIABLES)
    run = desk.workspace.records()[0].id
    summary = json.loads(Path(variables["SIPBATCH_SUMMARY"]).read_text(encoding="utf-8"))
    assert variables["SIPBATCH_RUN"] == summary["run"]["id"] == run
    assert variables["SIPBATCH_EXIT_CODE"] == str(summary["run"]["exit_code"]) == "0"
    assert variables["SIPBATCH_STATE"] == "completed"
    assert variables["SIPBATCH_REASON"] == "done"
    assert variables["SIPBATCH_HEADLINE"] == summary["headline"]
    assert variables["SIPBATCH_TARGET"] == "sandbox"
    assert variables["SIPBATCH_WORKSPACE"] == str(desk.workspace.path)
    assert variables["SIPBATCH_FOLDER"] == str(desk.workspace.run_folder(run))
    for name, count in summary["counts"].items():
        assert variables.get(f"SIPBATCH_{name.upper()}", str(count)) == str(count)
    assert (variables["SIPBATCH_REQUESTS"], variables["SIPBATCH_SUCCEEDED"]) == ("5", "5")
    assert (desk.folder / "where").read_text(encoding="utf-8").strip() == str(desk.folder)


@pytest.mark.parametrize("faults", [(), ("--sandbox-fault", "400=1.0")])
def test_command_that_fails_is_a_warning(invoke: Invoke, faults: tuple[str, ...]) -> None:
    """It is told also to those who asked for quiet, and the exit code stays that of the run."""
    code = invoke(*SEND, *faults, "--quiet").code
    done = invoke(*SEND, *faults, "--quiet", "--on-finish", "exit 7")
    assert done.code == code
    assert "warning: the --on-finish command ended with exit code 7.\n" in done.err


def test_command_is_never_shown(desk: Desk, invoke: Invoke) -> None:
    """It may hold a token: it is in no output and in no file, also where it fails."""
    done = invoke(*SEND, "--on-finish", f"true {TOKEN}; exit 1", "--debug", "--log-format", "json")
    assert TOKEN not in done.out + done.err
    assert desk.files_with(TOKEN) == []


def test_what_the_command_prints_is_talk(invoke: Invoke) -> None:
    """Standard output stays with data; the command's input is empty."""
    done = invoke(*SEND, "--json", "--on-finish", "cat; echo hello; echo hallo >&2")
    assert json.loads(done.out)["counts"]["succeeded"] == 5
    assert "hello\nhallo\n" in done.err


def test_what_the_command_prints_stands_in_its_event(invoke: Invoke) -> None:
    """With JSON events, standard error stays one event a line, without whole numbers."""
    command = "echo +14155550100; echo two; exit 3"
    done = invoke(*SEND, "--log-format", "json", "--on-finish", command)
    events = [json.loads(line) for line in done.err.splitlines()]
    assert events[-1]["event"] == "on_finish"
    assert events[-1]["output"] == "+14155…00\ntwo\n"
    assert (events[-1]["ok"], events[-1]["exit_code"]) == (False, 3)


def test_command_that_takes_too_long_is_stopped(
    desk: Desk, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that it began, and with a warning."""
    monkeypatch.setattr(hooks, "COMMAND_S", 0.3)
    done = invoke(*SEND, "--on-finish", "sleep 60 & echo $! > child; wait")
    assert done.code == 0
    assert "warning: the --on-finish command was stopped: it had not ended after 0.3 s." in done.err
    assert not is_alive(int((desk.folder / "child").read_text(encoding="utf-8")))


def test_command_that_does_not_listen_is_killed(
    invoke: Invoke, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that ignores SIGTERM holds nothing up for long."""
    monkeypatch.setattr(hooks, "COMMAND_S", 0.3)
    monkeypatch.setattr(hooks, "_GRACE_S", 0.3)
    command = "trap '' TERM; echo $$ > child; while :; do sleep 1; done"
    assert invoke(*SEND, "--on-finish", command).code == 0
    assert not is_alive(int((desk.folder / "child").read_text(encoding="utf-8")))


def is_alive(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


def test_what_goes_on_in_the_background_holds_nothing_up(desk: Desk, invoke: Invoke) -> None:
    """A command may leave something behind that goes on printing."""
    command = "(while :; do echo x; sleep 1; done) & echo $! > child"
    try:
        assert invoke(*SEND, "--log-format", "json", "--on-finish", command).code == 0
    finally:
        with suppress(ProcessLookupError):
            os.kill(int((desk.folder / "child").read_text(encoding="utf-8")), signal.SIGKILL)


def test_command_finds_the_workspace_free(desk: Desk) -> None:
    """It may send again what failed, in the same workspace; that begins no command of its own for ever."""
    command = 'python -m batch retry "$SIPBATCH_RUN" --yes > inner 2>&1; echo $? >> inner'
    done = desk.run(*SEND, "--sandbox-fault", "400=1.0", PATH=_path(), SIPBATCH_ON_FINISH=command)
    assert done.code == 3
    inner = (desk.folder / "inner").read_text(encoding="utf-8")
    assert len(desk.workspace.records()) == 2
    assert "The --on-finish command is left out" in inner
    assert inner.endswith("3\n")


def _path() -> str:
    """Where the Python of the tests is found as `python`."""
    import sys

    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def test_interrupted_run_is_told_too(desk: Desk) -> None:
    """Paging is for what did not go well: the command hears of 130, and of what is left."""
    process = desk.start(*SEND[:-1], "1/s", "--on-finish", "env > told")
    assert process.stderr is not None
    while "of 5 done" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert told(desk)["SIPBATCH_EXIT_CODE"] == "130"
    assert told(desk)["SIPBATCH_STATE"] == "interrupted"
    assert int(told(desk)["SIPBATCH_PENDING"]) > 0


def test_run_that_an_error_broke_off_is_told_too(
    desk: Desk, invoke: Invoke, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that cannot be written is what an operator must hear of; the error is told as always."""

    async def fail(*_: object, **__: object) -> None:
        raise JournalError("the disk is full")

    monkeypatch.setattr(rollout, "run", fail)
    done = invoke(*SEND, "--on-finish", "env > told", "--webhook", receiver.url)
    assert done.code == 74
    assert done.err.endswith("sipbatch: the disk is full\n")
    assert told(desk)["SIPBATCH_EXIT_CODE"] == "74"
    assert json.loads(receiver.received[0].body)["exit_code"] == 74


def test_what_is_known_is_told_where_not_even_the_journal_can_be_read(tmp_path: Path) -> None:
    """The run, the exit code and where to look; all else is empty."""
    news = News("20260728-101500-3", 74, tmp_path, tmp_path / "20260728-101500-3", None, None)
    variables = news.variables()
    assert set(variables) == set(VARIABLES)
    assert {name for name, value in variables.items() if value} == {
        "SIPBATCH_RUN",
        "SIPBATCH_EXIT_CODE",
        "SIPBATCH_WORKSPACE",
        "SIPBATCH_FOLDER",
    }
    body = json.loads(news.body())
    assert (body["run"], body["exit_code"]) == ({"id": "20260728-101500-3"}, 74)
    assert "cannot be read" in body["text"]


def test_bug_in_a_hook_changes_nothing(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even what nobody expected leaves the exit code as it was."""

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError(TOKEN)

    monkeypatch.setattr(Hooks, "run_command", fail)
    done = invoke(*SEND, "--on-finish", "true")
    assert done.code == 0
    assert "warning: the run's end could not be told on (unexpected ZeroDivisionError)." in done.err
    assert TOKEN not in done.err


def test_ctrl_c_gives_hooks_up(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run has ended long since: its exit code stays."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Hooks, "run_command", interrupted)
    done = invoke(*SEND, "--on-finish", "true")
    assert done.code == 0
    assert "warning: interrupted while the run's end was being told on." in done.err


# --- the webhook ------------------------------------------------------------------------------------


def test_webhook_gets_the_summary_signed(desk: Desk, invoke: Invoke, receiver: Receiver) -> None:
    """The body is `summary.json` and what it means for people; the documented receiver takes it."""
    done = invoke(*SEND, "--webhook", receiver.url, "--sandbox-fault", "400=1.0")
    assert done.code == 3
    [received] = receiver.received
    assert documented("is_from_sipbatch")(SECRET, received.headers["X-Sipbatch-Signature"], received.body)
    body = json.loads(received.body)
    folder = desk.workspace.run_folder(body["run"]["id"])
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["headline"] in body["text"]
    assert "exit code 3" in body["text"]
    assert body == {**summary, "text": body["text"], "exit_code": 3}
    assert "The webhook at 127.0.0.1 took the summary." in done.err


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_secrets_are_nowhere(
    desk: Desk, invoke: Invoke, receiver: Receiver, status: int, log_format: str
) -> None:
    """Neither URL nor secret is in an output, the journal or a report, whether it was taken or not."""
    receiver.statuses = (status,)
    done = invoke(
        *SEND, "--webhook", receiver.url, "--debug", "--json", "--log-format", log_format, "--quiet"
    )
    assert done.code == 0
    assert ("did not take the summary: it answered with HTTP 404" in done.err) == (status == 404)
    for secret in (TOKEN, SECRET):
        assert secret not in done.out + done.err
        assert desk.files_with(secret) == []


def test_webhook_that_is_not_there_changes_no_exit_code(invoke: Invoke) -> None:
    """A receiver that is down is a warning."""
    with receiving(Receiver()) as gone:
        pass
    done = invoke(*SEND, "--webhook", gone.url, "--quiet")
    assert done.code == 0
    assert re.search(r"warning: the webhook at 127\.0\.0\.1 did not take the summary", done.err)


def test_wrong_webhook_is_told_before_anything_is_done(desk: Desk, invoke: Invoke) -> None:
    """Not after a night's run."""
    done = invoke(*SEND, "--webhook", f"http://chat.example.com/{TOKEN}")
    assert (done.code, desk.workspace.path.exists()) == (2, False)
    assert TOKEN not in done.err


# --- every command, and settings --------------------------------------------------------------------


def test_every_command_that_sends_has_both() -> None:
    """One that was forgotten would be the one that runs at night."""
    assert {"run", "resume", "retry", "reconcile"} <= set(sending_commands())
    for name in sending_commands():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--on-finish", "--webhook"} <= options, name


def test_every_command_that_sends_tells_them(desk: Desk, invoke: Invoke) -> None:
    """`run`, `resume`, `retry` and `reconcile`, each of its own run."""
    hook = ("--on-finish", "env > told", "--quiet")
    fast = ("--rate", "1000/s")
    invoke(*SEND, "--sandbox-fault", "404=1.0", "--canary", "1")
    for nth, command in enumerate((("resume", *fast), ("retry", "--yes", *fast), ("reconcile", *SEND[1:]))):
        code = invoke(*command, *hook).code
        assert told(desk)["SIPBATCH_RUN"] == desk.workspace.records()[nth].id
        assert told(desk)["SIPBATCH_EXIT_CODE"] == str(code)


def test_both_are_settings(desk: Desk, invoke: Invoke, receiver: Receiver) -> None:
    """A cron job keeps them in `sipbatch.toml`."""
    toml = f'on_finish = "env > told"\nwebhook = "{receiver.url}"\n'
    (desk.folder / "sipbatch.toml").write_text(toml, encoding="utf-8")
    assert invoke(*SEND).code == 0
    assert told(desk)["SIPBATCH_EXIT_CODE"] == "0"
    assert len(receiver.received) == 1


def test_secret_in_the_settings_file_is_refused(desk: Desk, invoke: Invoke) -> None:
    """It belongs into the environment; the refusal does not print it."""
    (desk.folder / "sipbatch.toml").write_text(f'webhook_secret = "{SECRET}"\n', encoding="utf-8")
    done = invoke(*SEND)
    assert done.code == 2
    assert "set SIPBATCH_WEBHOOK_SECRET" in done.err
    assert SECRET not in done.err


def test_variables_are_no_settings() -> None:
    """What a command is told must not change what a `sipbatch` within it does, but for the workspace."""
    names = {f"SIPBATCH_{name.upper()}" for name in SETTINGS}
    assert names & set(VARIABLES) == {"SIPBATCH_WORKSPACE"}


def test_variables_are_documented() -> None:
    """docs/hooks.md has each of them."""
    text = (DOCS / "hooks.md").read_text(encoding="utf-8")
    assert [name for name in VARIABLES if f"`{name}`" not in text] == []
