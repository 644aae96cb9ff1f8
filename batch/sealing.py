"""Keeps secrets out of what is written: values that come from the environment, and secret parts of URLs."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

import orjson

from batch.errors import CredentialsError

MASK = "***"

#: A value from the environment that is shorter is no secret, and would be found everywhere.
_SHORTEST = 6
_MARK = re.compile(rb"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")

#: Parts of a path that are plainly words or versions; anything else may be what opens the door.
_WORD = re.compile(r"[a-z][a-z._-]{0,23}|v\d{1,2}|\$\{env:\w+\}|")
_URL = re.compile(r"https?://", re.IGNORECASE)


class Seal:
    """Takes values of the environment out of payloads, and puts them in again.

    In a sealed body `${env:NAME}` stands where the value was. What is opened is compared with the digest of
    the body as it was, so that a value which has changed since is never sent.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._known: dict[bytes, bytes] = {}  #: by what stands for it

    def learn(self, environment: Mapping[str, str]) -> None:
        """Seal these values from now on, by their names."""
        for name, value in environment.items():
            if len(value.strip()) >= _SHORTEST:
                self._known[_mark(name)] = _in_json(value)

    def sealed(self, body: bytes) -> bytes:
        """The JSON body without the values; as it is if it has none, or if they could not be put back."""
        if names_in(body):  # it means those letters
            return body
        sealed = body
        for mark, value in self._known.items():
            sealed = sealed.replace(value, mark)
        if sealed == body or not _is_json(sealed):
            return body
        back = _MARK.sub(lambda found: self._known.get(found[0], found[0]), sealed)
        return sealed if back == body else body

    def opened(self, body: bytes, sha256: str) -> bytes:
        """The body as it was when it had this digest; `CredentialsError` names the variables that it needs.

        `ValueError` if it has none and is another body.
        """
        if hashlib.sha256(body).hexdigest() == sha256:
            return body
        names = names_in(body)
        if not names:
            raise ValueError("the content and its digest differ")
        missing = [name for name in names if not self._environ.get(name, "").strip()]
        if missing:
            raise CredentialsError(
                f"A payload of this run needs {_listed(missing)}, which the environment does not have. "
                "Set it as it was when the run was planned, then go on."
            )
        self.learn({name: self._environ[name] for name in names})
        opened = _MARK.sub(lambda found: _in_json(self._environ[found[1].decode()]), body)
        if hashlib.sha256(opened).hexdigest() != sha256:
            raise CredentialsError(
                f"{_listed(names)}, which a payload of this run needs, is not what it was when the run was "
                "planned. Set it as it was then, or plan a new run."
            )
        return opened


def names_in(body: bytes) -> list[str]:
    """The variables that a sealed body needs."""
    return list(dict.fromkeys(name.decode() for name in _MARK.findall(body)))


def _mark(name: str) -> bytes:
    return f"${{env:{name}}}".encode()


def _in_json(value: str) -> bytes:
    return orjson.dumps(value.strip())[1:-1]


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def _listed(names: Iterable[str]) -> str:
    return " and ".join(f"${{env:{name}}}" for name in names)


# --- URLs -------------------------------------------------------------------------------------------


def discreet_url(text: str) -> str:
    """A text that is a URL without what may be secret in it; any other text as it is.

    A user, a query and a fragment are masked, and so is every part of the path that is no plain word: what
    opens a webhook stands in any of them.
    """
    if not _URL.match(text):
        return text
    try:
        parts = urlsplit(text)
        place = parts.netloc.rpartition("@")
    except ValueError:
        return MASK
    path = "/".join(part if _WORD.fullmatch(part) else MASK for part in parts.path.split("/"))
    user = f"{MASK}@" if place[1] else ""
    query = f"?{MASK}" if parts.query else ""
    fragment = f"#{MASK}" if parts.fragment else ""
    return f"{parts.scheme}://{user}{place[2]}{path}{query}{fragment}"


def discreet(value: object) -> object:
    """A JSON value with every URL in it masked."""
    match value:
        case str():
            return discreet_url(value)
        case dict():
            return {name: discreet(part) for name, part in value.items()}
        case list():
            return [discreet(part) for part in value]
        case _:
            return value
