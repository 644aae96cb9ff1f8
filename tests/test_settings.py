"""Settings: option over environment over file over default, and nothing misspelt goes unseen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from batch.errors import UsageError
from batch.settings import SETTINGS, check_environment, read_settings, setting_name, take_settings


def make_command() -> click.Command:
    @click.command()
    @click.option("--rate", default="5/s")
    @click.option("--max-failures")
    @click.option("--base-url", default="https://default.example")
    @click.option("--workspace", type=click.Path(path_type=Path), default=Path("sipbatch-runs"))
    @click.option("--map", "mappings", multiple=True)
    @click.option("--quiet", is_flag=True)
    @click.option("--yes", is_flag=True)
    def command(**values: object) -> None:
        for name, value in values.items():
            click.echo(f"{name}={value}")

    take_settings(command)
    return command


Invoke = Callable[..., Result]


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Runs the command in an empty folder, with a settings file there if one is given."""
    monkeypatch.chdir(tmp_path)

    def invoke_in_folder(*arguments: str, toml: str = "", **environ: str) -> Result:
        if toml:
            Path("sipbatch.toml").write_text(toml, encoding="utf-8")
        return CliRunner().invoke(make_command(), list(arguments), env=dict(environ))

    return invoke_in_folder


def settings_of(tmp_path: Path, toml: str) -> dict[str, object]:
    file = tmp_path / "sipbatch.toml"
    file.write_text(toml, encoding="utf-8")
    return read_settings(file)


def test_default_holds_where_nothing_is_said(invoke: Invoke) -> None:
    """Without option, environment and file, an option has its default."""
    assert "rate=5/s\n" in invoke().output


def test_file_beats_default(invoke: Invoke) -> None:
    """`sipbatch.toml` in the current folder is read without being asked for."""
    assert "rate=10/s\n" in invoke(toml='rate = "10/s"').output


def test_environment_beats_file(invoke: Invoke) -> None:
    """`SIPBATCH_RATE` is stronger than the file."""
    assert "rate=20/s\n" in invoke(toml='rate = "10/s"', SIPBATCH_RATE="20/s").output


def test_option_beats_environment(invoke: Invoke) -> None:
    """What is typed is stronger than everything."""
    result = invoke("--rate", "30/s", toml='rate = "10/s"', SIPBATCH_RATE="20/s")
    assert "rate=30/s\n" in result.output


def test_base_url_is_also_read_under_the_vendors_name(invoke: Invoke) -> None:
    """`BLAND_BASE_URL`, which the vendor's tools read, works; ours is stronger."""
    vendors = {"BLAND_BASE_URL": "https://vendor.example"}
    assert "base_url=https://vendor.example\n" in invoke(**vendors).output
    both = invoke(**vendors, SIPBATCH_BASE_URL="https://ours.example")
    assert "base_url=https://ours.example\n" in both.output


def test_address_beside_the_key_is_of_the_environment(tmp_path: Path, invoke: Invoke) -> None:
    """A key in a `.env` goes to the address that stands beside it, not to the settings file's."""
    (tmp_path / ".env").write_text("BLAND_BASE_URL=https://dotenv.example\n", encoding="utf-8")
    assert "base_url=https://dotenv.example\n" in invoke(toml='base_url = "https://toml.example"').output
    assert "base_url=https://env.example\n" in invoke(BLAND_BASE_URL="https://env.example").output


def test_config_names_another_file(tmp_path: Path, invoke: Invoke) -> None:
    """`--config` reads that file in place of the one in the current folder."""
    other = tmp_path / "other.toml"
    other.write_text('rate = "1/s"\nmax-failures = "5%"\n', encoding="utf-8")
    result = invoke("--config", str(other), toml='rate = "10/s"')
    assert "rate=1/s\nmax_failures=5%\n" in result.output


def test_paths_are_taken_from_the_files_folder(tmp_path: Path, invoke: Invoke) -> None:
    """A cron job may start anywhere: a path in the file means the same from everywhere."""
    other = tmp_path / "etc" / "other.toml"
    other.parent.mkdir()
    other.write_text('workspace = "runs"\n', encoding="utf-8")
    result = invoke("--config", str(other))
    assert f"workspace={tmp_path / 'etc' / 'runs'}\n" in result.output


def test_table_is_a_repeated_option(invoke: Invoke) -> None:
    """A `[map]` table says the same as `--map` repeated."""
    result = invoke(toml='[map]\nphone_number = "Main DID"\n')
    assert "mappings=('phone_number=Main DID',)\n" in result.output


def test_what_is_decided_each_time_is_no_setting(invoke: Invoke) -> None:
    """A confirmation cannot be left behind in the environment."""
    assert "yes=False\n" in invoke(SIPBATCH_YES="1").output


def test_unknown_key_is_an_error_that_guesses(tmp_path: Path) -> None:
    """A misspelt setting would silently not hold: it stops the command, and names the right one."""
    with pytest.raises(
        UsageError, match=r'sipbatch\.toml: "max_failure" is no setting\. Did you mean "max_failures"'
    ):
        settings_of(tmp_path, "max_failure = 3")


def test_misspelt_environment_variable_is_an_error_that_guesses() -> None:
    """The same for the environment."""
    with pytest.raises(
        UsageError, match=r"SIPBATCH_MAX_FAILURE, which is no setting\. Did you mean SIPBATCH_MAX_FAILURES"
    ):
        check_environment({"SIPBATCH_MAX_FAILURE": "3"})


def test_others_environment_variables_are_let_be() -> None:
    """A variable that only shares the prefix is somebody else's."""
    check_environment({"SIPBATCH_BACKUP_HOST_OF_OURS": "x", "SIPBATCH_RATE": "5/s", "SIPBATCH_CONFIG": "x"})


@pytest.mark.parametrize("key", ["key", "api_key", "BLAND_API_KEY", "authorization", "token", '"api-key"'])
def test_key_in_the_file_is_refused(tmp_path: Path, key: str) -> None:
    """The API key is never kept in a settings file, and the refusal does not print it."""
    with pytest.raises(UsageError, match="never kept in a settings file") as caught:
        settings_of(tmp_path, f'{key} = "sk-canary"')
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("toml", "wants"),
    [
        ("rate = true", "a text in quotes"),
        ('concurrency = "4"', "a number"),
        ("quiet = 1", "true or false"),
        ("workspace = 3", "a path in quotes"),
        ("map = [1]", "a list of texts"),
        ("[map]\nphone_number = 3", "a list of texts"),
    ],
)
def test_value_of_the_wrong_kind_is_named(tmp_path: Path, toml: str, wants: str) -> None:
    """The message says which key, and what it must be."""
    with pytest.raises(UsageError, match=wants):
        settings_of(tmp_path, toml)


def test_number_may_stand_for_a_text(tmp_path: Path) -> None:
    """`max_failures = 200` needs no quotes."""
    assert settings_of(tmp_path, "max_failures = 200") == {"max_failures": "200"}


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"rate = ", "this is not TOML"), (b'rate = "\xff"', "not UTF-8")],
)
def test_broken_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    """A file that is no TOML stops the command with one sentence."""
    file = tmp_path / "sipbatch.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=rf"sipbatch\.toml: .*{message}"):
        read_settings(file)


def test_missing_file_that_was_named_is_an_error(tmp_path: Path) -> None:
    """Only the default file may be absent."""
    with pytest.raises(UsageError, match="there is no such settings file"):
        read_settings(tmp_path / "absent.toml")


def test_setting_is_called_as_its_option() -> None:
    """`--max-failures` is `max_failures`, whatever the parameter is called inside."""
    assert setting_name(click.Option(["-m", "--max-failures", "limit"])) == "max_failures"
    assert all(name == name.lower() and "-" not in name for name in SETTINGS)


def test_taking_settings_twice_changes_nothing() -> None:
    """Help and completion load a command again; it must not grow."""
    command = make_command()
    before = len(command.params)
    take_settings(command)
    assert len(command.params) == before
