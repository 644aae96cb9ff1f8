"""Where the API key comes from, and that it is never shown."""

from __future__ import annotations

import copy
import os
import pickle
import traceback
from pathlib import Path

import pytest

from batch.bland.credentials import ApiKey, auth_header, find_key, read_dotenv, read_key_file
from batch.errors import CredentialsError, UsageError

CANARY = "canary-4f9d2c71e0b8"


def written(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    """A file with this content and mode."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def test_environment_comes_before_the_key_file_and_that_before_dotenv(tmp_path: Path) -> None:
    """Three places, one order."""
    written(tmp_path / ".env", "BLAND_API_KEY=from-dotenv")
    key_file = written(tmp_path / "key", "from-file")
    environ = {"BLAND_API_KEY": "from-environment"}
    assert auth_header(find_key(environ, tmp_path, key_file), "raw") == "from-environment"
    assert auth_header(find_key({}, tmp_path, key_file), "raw") == "from-file"
    assert auth_header(find_key({}, tmp_path), "raw") == "from-dotenv"
    assert auth_header(find_key({"BLAND_API_KEY": "  "}, tmp_path), "raw") == "from-dotenv"


def test_without_a_key_every_way_to_give_one_is_told(tmp_path: Path) -> None:
    """The error is the instruction."""
    with pytest.raises(CredentialsError, match=r"BLAND_API_KEY.*chmod 600.*--key-file.*\.env") as caught:
        find_key({}, tmp_path)
    assert caught.value.exit_code == 77


@pytest.mark.parametrize(
    "text",
    [CANARY, f"  {CANARY}\r\n", f"Bearer {CANARY}", f"bearer   {CANARY}\n", f"\ufeff{CANARY}\n"],
)
def test_what_surrounds_the_key_is_taken_off(tmp_path: Path, text: str) -> None:
    """Line breaks, a byte order mark and a copied `Bearer` are no part of the key."""
    key = read_key_file(written(tmp_path / "key", text))
    assert auth_header(key) == f"Bearer {CANARY}"
    assert auth_header(key, "raw") == CANARY


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'"{CANARY}"', "quotes"),
        (f"{CANARY} and more", "space"),
        (f"{CANARY}\n{CANARY}", "line break"),
        (f"{CANARY}\u200b", "invisible"),
        (f"{CANARY}é", "character"),
        (f"{CANARY}\x00", "character"),
        (CANARY * 300, "too long"),
        (f"BLAND_API_KEY={CANARY}", "alone"),
        ("Bearer ", "empty"),
        ("\n", "empty"),
        ("x" * 70_000, "too large"),
    ],
)
def test_what_is_no_key_is_refused_without_being_shown(tmp_path: Path, text: str, said: str) -> None:
    """The message says what is wrong and where, and nothing of what is there."""
    path = written(tmp_path / "key", text)
    with pytest.raises(CredentialsError, match=said) as caught:
        read_key_file(path)
    assert str(path) in str(caught.value)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
@pytest.mark.parametrize("name", ["key", ".env"])
def test_file_that_others_can_use_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, mode: int, name: str
) -> None:
    """A key file and a .env are treated alike: the key opens the whole account."""
    path = written(tmp_path / name, f"BLAND_API_KEY={CANARY}" if name == ".env" else CANARY, mode)
    with pytest.raises(CredentialsError, match=f"chmod 600 {path}"):
        find_key({}, tmp_path, path if name == "key" else None)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_file_of_its_owner_alone_is_taken(tmp_path: Path, mode: int) -> None:
    """Readable by the owner is enough."""
    assert read_key_file(written(tmp_path / "key", CANARY, mode)).source == str(tmp_path / "key")


def test_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns the file could put another key into it."""
    path = written(tmp_path / "key", CANARY)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(CredentialsError, match="another user"):
        read_key_file(path)


def test_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file and a folder are told apart by the system's words."""
    with pytest.raises(CredentialsError, match="No such file"):
        find_key({}, tmp_path, tmp_path / "missing")
    with pytest.raises(CredentialsError, match="Is a directory"):
        find_key({}, tmp_path, tmp_path)


def test_dotenv_gives_its_two_names_and_nothing_else(tmp_path: Path) -> None:
    """Other programs' settings in the file are none of this one's, and nothing in it is expanded."""
    text = f"export BLAND_API_KEY='{CANARY}'\nBLAND_BASE_URL=http://127.0.0.1:1/${{HOME}}\nOTHER=x\n"
    found = read_dotenv(written(tmp_path / ".env", text))
    assert found == {"BLAND_API_KEY": CANARY, "BLAND_BASE_URL": "http://127.0.0.1:1/${HOME}"}


def test_dotenv_without_a_key_may_be_read_by_all(tmp_path: Path) -> None:
    """A .env of another program is no reason to stop."""
    assert read_dotenv(written(tmp_path / ".env", "OTHER=x\n", 0o644)) == {}
    assert read_dotenv(tmp_path / "missing") == {}


def test_key_is_masked_however_it_is_shown() -> None:
    """No representation, format, copy or pickle lets it out."""
    key = ApiKey(CANARY, source="BLAND_API_KEY")
    shown = f"{key} {key!r} {key!s:>30} {key:>30} {[key]}" + "%s %r".__mod__((key, key))
    assert CANARY not in shown
    assert "BLAND_API_KEY" in repr(key)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(key)
    with pytest.raises(TypeError):
        vars(key)


def test_key_is_redacted_as_it_is_and_as_urls_write_it() -> None:
    """Wherever a server echoes it, it is taken out."""
    key = ApiKey("a/b+c=canary", source="test")
    assert key.redact("x a/b+c=canary y a%2Fb%2Bc%3Dcanary z") == "x *** y *** z"


def test_scheme_that_does_not_exist_is_a_usage_error() -> None:
    """A setting with a typo sends no key at all."""
    with pytest.raises(UsageError, match="bearer or raw"):
        auth_header(ApiKey(CANARY, source="test"), "Basic")
