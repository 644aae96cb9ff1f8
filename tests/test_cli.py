"""The command line as a whole: it starts fast, finds its commands, and every ending has its exit code."""

from __future__ import annotations

import importlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from batch import cli
from batch.commands.tracebacks import without_secrets
from batch.errors import JournalError, LockedError
from batch.settings import SETTINGS, setting_name
from batch.version import __version__

HEAVY = ("pandas", "numpy", "pydantic", "httpx", "aiohttp", "anyio", "tqdm", "yaml", "sqlite3", "orjson")
SIPBATCH = [sys.executable, "-m", "batch"]

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs `main` in an empty folder; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run_main(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return run_main


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Puts a command `runs` in place that ends with an exception."""

    def put(error: BaseException) -> None:
        @click.command(name="runs")
        def command() -> None:
            raise error

        monkeypatch.setattr(importlib.import_module("batch.commands.runs"), "command", command)

    return put


def test_version_is_on_stdout(invoke: Invoke) -> None:
    """`sipbatch --version` says it and nothing else."""
    assert invoke("--version") == (0, f"sipbatch, version {__version__}\n", "")


def test_help_names_every_command(invoke: Invoke) -> None:
    """All commands of the design that there are, each with its line."""
    code, out, err = invoke("--help")
    assert (code, err) == (0, "")
    assert all(f"\n  {name} " in out for name in cli.COMMANDS)


def test_help_of_no_command_is_help(invoke: Invoke) -> None:
    """`sipbatch` alone shows what there is, as talk, and is a usage error."""
    code, out, err = invoke()
    assert (code, out) == (2, "")
    assert "Commands:" in err


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_loads_and_has_help(invoke: Invoke, name: str) -> None:
    """The table of commands tells the truth about their modules, and each explains itself."""
    code, out, _ = invoke(name, "--help")
    assert code == 0
    assert out.startswith(f"Usage: sipbatch {name}")
    assert "--debug" in out or "Commands:" in out


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_start_loads_nothing_heavy(arguments: list[str]) -> None:
    """Looking up a version or the help waits for no library of the work itself."""
    code = (
        "import sys; from batch.cli import main; main(sys.argv[1:]); "
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stderr == "[]\n"


def test_start_is_cheap() -> None:
    """`sipbatch --version` costs at most 0.12 s of CPU more than the interpreter does; the best of five."""

    def cpu_s(arguments: list[str]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    bare_s = min(cpu_s([sys.executable, "-c", "pass"]) for _ in range(5))
    assert min(cpu_s([*SIPBATCH, "--version"]) for _ in range(5)) - bare_s < 0.12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rn"], 'There is no command "rn". Did you mean "run"?'),
        (["xyzzy"], 'There is no command "xyzzy".'),
        (["runs", "--worksapce", "x"], "No such option"),
        (["runs", "--limit", "many"], "Invalid value for '--limit'"),
        (["run"], "Missing argument 'SHEET...'"),
        (["--quiet", "runs"], "`sipbatch runs` takes no --quiet here."),
    ],
)
def test_usage_error_is_2_and_guesses(invoke: Invoke, arguments: list[str], message: str) -> None:
    """What is mistyped is said on stderr, with what was perhaps meant and where to look."""
    code, out, err = invoke(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"sipbatch: {message}")
    assert "--help`." in err


def test_wrong_value_of_a_setting_names_its_file(invoke: Invoke) -> None:
    """A value that was not typed is blamed on where it stands."""
    Path("sipbatch.toml").write_text("concurrency = 0\n", encoding="utf-8")
    code, _, err = invoke("resume")
    assert code == 2
    assert "'--concurrency'" in err
    assert "(It comes from sipbatch.toml.)" in err


def test_wrong_value_in_the_environment_names_its_variable(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for the environment."""
    monkeypatch.setenv("SIPBATCH_CONCURRENCY", "0")
    _, _, err = invoke("resume")
    assert "(It comes from SIPBATCH_CONCURRENCY.)" in err


def test_options_may_stand_before_the_command(invoke: Invoke) -> None:
    """`sipbatch --workspace DIR runs` is `sipbatch runs --workspace DIR`."""
    code, _, err = invoke("--workspace", "elsewhere", "runs")
    assert code == 2
    assert err.startswith("sipbatch: elsewhere: there are no runs here.")


@pytest.mark.parametrize(
    ("error", "code"), [(JournalError("the disk is full."), 74), (LockedError("held."), 75)]
)
def test_error_is_one_line_and_owns_its_exit_code(
    invoke: Invoke, failing: Callable[[BaseException], None], error: Exception, code: int
) -> None:
    """What is raised on purpose is shown as it is, and nothing else is."""
    failing(error)
    assert invoke("runs") == (code, "", f"sipbatch: {error}\n")


def test_bug_is_one_line_without_what_it_quotes(
    invoke: Invoke, failing: Callable[[BaseException], None]
) -> None:
    """An unexpected error is exit 1, says where to report it, and does not repeat data."""
    failing(ValueError("+14155550100 sk-canary-4711"))
    code, out, err = invoke("runs")
    assert (code, out) == (1, "")
    assert err.startswith("sipbatch: unexpected ValueError at batch/cli.py:")
    assert f"sipbatch {__version__}" in err
    assert "--debug" in err
    assert err.count("\n") == 1
    assert "canary" not in err


def test_traceback_only_with_debug_and_without_secrets(
    invoke: Invoke, failing: Callable[[BaseException], None]
) -> None:
    """`--debug` shows where it happened, with keys, numbers and the paths of URLs masked."""
    failing(ValueError("+14155550100 at https://hooks.example.com/T0/secret key=sk-canary-4711aaaa"))
    code, _, err = invoke("runs", "--debug")
    assert code == 1
    assert "Traceback" in err
    assert "ValueError" in err
    assert not [word for word in ("canary", "T0/secret", "4155550100") if word in err]


def test_key_that_was_read_is_masked_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that looks like an ordinary word."""
    from batch.destinations import live

    monkeypatch.setenv("BLAND_API_KEY", "horse-battery")
    live("http://127.0.0.1:1")
    assert without_secrets("sent with horse-battery, to no end") == "sent with ***, to no end"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interrupt_is_130(
    invoke: Invoke, failing: Callable[[BaseException], None], error: BaseException
) -> None:
    """Ctrl-C before anything was sent, and no at the question, end the command without a traceback."""
    failing(error)
    code, out, err = invoke("runs")
    assert (code, out) == (130, "")
    assert "interrupted" in err
    assert "Traceback" not in err


def test_shell_completes_commands() -> None:
    """The shell's Tab finds what there is."""
    environ = {
        **os.environ,
        "_SIPBATCH_COMPLETE": "bash_complete",
        "COMP_WORDS": "sipbatch re",
        "COMP_CWORD": "1",
    }
    done = subprocess.run([*SIPBATCH], env=environ, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["plain,resume", "plain,retry", "plain,reconcile", "plain,report"]


def test_reader_of_stdout_may_leave() -> None:
    """`sipbatch --help | head -0` ends without a complaint."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*SIPBATCH, "--help"], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_folder_that_was_removed_is_usage(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun in a folder that is gone, as after a clean-up under a terminal, it says so and is no bug."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    code, out, err = invoke("runs")
    assert (code, out) == (2, "")
    assert "not there any more" in err


#: Options that are decided anew each time, and so are no settings; all others must be.
DECIDED_EACH_TIME = {
    "debug", "config", "help", "yes", "skip_rejects", "plan_digest", "json", "where", "limit", "sandbox",
    "sandbox_limit", "sandbox_fault", "sandbox_latency", "sandbox_seed", "sandbox_record",
    "sandbox_show_blocks",
}  # fmt: skip


@pytest.mark.parametrize("name", ["run", "resume"])
def test_every_option_of_sending_is_a_setting_or_decided_each_time(name: str) -> None:
    """A new option is put into one of the two on purpose."""
    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert command is not None
    names = {setting_name(one) for one in command.params if isinstance(one, click.Option)}
    assert names - set(SETTINGS) - DECIDED_EACH_TIME == set()
