"""Find the API key, and keep it from being shown: it appears in no message, representation or pickle."""

from __future__ import annotations

import io
import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from dotenv import dotenv_values

from batch.errors import CredentialsError, UsageError

KEY_NAME = "BLAND_API_KEY"
BASE_URL_NAME = "BLAND_BASE_URL"

_MASK = "***"
#: A file larger than this holds something else than a key.
_LARGEST_BYTES = 65_536
_LONGEST_KEY = 4096
#: A key shorter than this is only ever one of a sandbox, and is part of many words.
_SHORTEST_REDACTED = 4


class ApiKey:
    """The secret that opens the account. Only `auth_header` shows it.

    `source` says where it was found, in words for the operator.
    """

    __slots__ = ("_secret", "source")

    def __init__(self, text: str, *, source: str) -> None:
        """Take the key out of what was found; `CredentialsError` if that is no key."""
        self.source = source
        self._secret = _key_in(text, source)

    def redact(self, text: str) -> str:
        """The text without the key, as it is and as a URL writes it."""
        if len(self._secret) < _SHORTEST_REDACTED:
            return text
        return text.replace(self._secret, _MASK).replace(quote(self._secret, safe=""), _MASK)

    def __repr__(self) -> str:
        return f"ApiKey({_MASK}, source={self.source!r})"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, spec: str) -> str:
        return format(_MASK, spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key is not pickled or copied: hand the key itself on")


def auth_header(key: ApiKey, scheme: str = "bearer") -> str:
    """The value of the `Authorization` header: `Bearer` and the key, as documented, or the key (`raw`)."""
    match scheme:
        case "bearer":
            return f"Bearer {key._secret}"
        case "raw":
            return key._secret
        case _:
            raise UsageError(f"there is no auth scheme {scheme!r}: it is bearer or raw.")


def find_key(environ: Mapping[str, str], cwd: Path, key_file: Path | None = None) -> ApiKey:
    """The API key from `BLAND_API_KEY`, else from the key file, else from `.env` in the folder.

    `CredentialsError` if there is none, if what is there is no key, or if others can read the file that it
    stands in.
    """
    if environ.get(KEY_NAME, "").strip():
        return ApiKey(environ[KEY_NAME], source=KEY_NAME)
    if key_file is not None:
        return read_key_file(key_file)
    dotenv = cwd / ".env"
    if found := read_dotenv(dotenv).get(KEY_NAME, "").strip():
        return ApiKey(found, source=str(dotenv))
    raise CredentialsError(
        f"There is no API key. Set {KEY_NAME}, or write the key into a file that only you can read "
        f"(chmod 600 FILE) and name it with --key-file FILE, or write {KEY_NAME}=... into {dotenv}."
    )


def read_key_file(path: Path) -> ApiKey:
    """The key out of a file that holds it and nothing else, and that only its owner can read."""
    try:
        text, status = _read(path)
    except OSError as error:
        raise CredentialsError(f"The key file {path} cannot be read: {error.strerror}.") from None
    _check_private(path, status)
    if not text.strip():
        raise CredentialsError(f"The key file {path} is empty: write the API key into it.")
    return ApiKey(text, source=str(path))


def read_dotenv(path: Path) -> dict[str, str]:
    """What a `.env` file says of the key and of the base URL, and of nothing else; empty if it is not there.

    A file that holds the key and that others can read is refused like a key file: the key opens the whole
    account, and a warning would be read after it was copied.
    """
    try:
        text, status = _read(path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CredentialsError(f"{path} cannot be read: {error.strerror}.") from None
    values = dotenv_values(stream=io.StringIO(text), interpolate=False)
    found = {name: value for name in (KEY_NAME, BASE_URL_NAME) if (value := values.get(name))}
    if KEY_NAME in found:
        _check_private(path, status)
    return found


def _read(path: Path) -> tuple[str, os.stat_result]:
    """The text, and the state of the very file that it was read from."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        raw = file.read(_LARGEST_BYTES + 1)
    if len(raw) > _LARGEST_BYTES:
        raise CredentialsError(f"{path} is far too large to hold an API key: name another file.")
    return raw.decode("utf-8-sig", "replace"), status


def _check_private(path: Path, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise CredentialsError(
            f"{path} holds the API key, and others than you can use it (mode {mode:04o}). "
            f"Run: chmod 600 {shlex.quote(str(path))} (and replace the key if it may have been read)."
        )
    if status.st_uid != os.geteuid():
        raise CredentialsError(
            f"{path} holds the API key, and belongs to another user. "
            f"Run: chown {os.geteuid()} {shlex.quote(str(path))} (or make a copy of your own with mode 0600)."
        )


def _key_in(text: str, source: str) -> str:
    """The key without what surrounds it. No message shows any of it."""
    key = text.strip()
    scheme, _, rest = key.partition(" ")
    if scheme.lower() == "bearer":
        key = rest.strip()
    if not key:
        raise CredentialsError(f"The API key in {source} is empty.")
    if key.startswith(f"{KEY_NAME}="):
        raise CredentialsError(f"{source} must hold the API key alone, without {KEY_NAME}= before it.")
    fault = ""
    if any(letter in key for letter in "\"'`"):
        fault = "has quotes in it: take them away"
    elif any(letter.isspace() for letter in key):
        fault = "has a space or a line break in it: it must be one word, with nothing else beside it"
    elif not key.isascii() or not key.isprintable():
        fault = "has a character in it that no key has, perhaps an invisible one: copy it again"
    elif len(key) > _LONGEST_KEY:
        fault = "is far too long: perhaps something else was copied"
    if fault:
        raise CredentialsError(f"The API key in {source} {fault}. (It is not shown.)")
    return key
