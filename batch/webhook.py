"""Posts how a run ended to a URL: as JSON, signed, over https, in bounded time, and telling nobody the URL.

What is posted is the run's `summary.json` with two fields more. The receiver trusts it by its signature,
`X-Sipbatch-Signature: t=SECONDS,v1=HEX`: HMAC-SHA256 of `SECONDS.BODY` with a secret that both have.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import ssl
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch.errors import UsageError
from batch.json_schema import says, schema_of
from batch.masking import masked
from batch.report.summary import Summary
from batch.version import __version__

if TYPE_CHECKING:
    import httpx

#: Where the secret is looked for: the environment, and a `.env` beside the API key.
SECRET_VARIABLE = "SIPBATCH_WEBHOOK_SECRET"  # noqa: S105 (a name, not a secret)
_LEAST_SECRET = 16

#: How long it may take in all, how long one attempt may, and how often it is tried.
LONGEST_S = 30.0
_ATTEMPT_S = 10.0
_MOST_ATTEMPTS = 4
_FIRST_PAUSE_S = 1.0

#: Answers that may be others a moment later.
_PASSING = frozenset({408, 425, 429})

_MOST_CAUSES = 3

#: A host as a URL writes it, names in other scripts converted; an address of version 6 has colons.
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


@dataclass(frozen=True, slots=True)
class WebhookBody(Summary):
    """How a command that sends ended: its run's summary, in words for a chat, and its exit code."""

    text: str = field(metadata=says("What happened in a few lines for people; chats show this field."))
    exit_code: int = field(metadata=says("The exit code of the command that sent."))


def webhook_schema() -> dict[str, Any]:
    """The JSON Schema of what is posted."""
    return schema_of(WebhookBody, title="what sipbatch posts to a webhook")


def body_of(summary: Summary, exit_code: int) -> bytes:
    """What is posted of a run, in UTF-8."""
    import orjson

    told = {part.name: getattr(summary, part.name) for part in fields(Summary)}
    return orjson.dumps(WebhookBody(**told, text=text_of(summary, exit_code), exit_code=exit_code))


def text_of(summary: Summary, exit_code: int) -> str:
    """What happened, for a chat: the run, the headline, and what explains most of the failures."""
    run = summary.run
    lines = [f"sipbatch run {run.id} {run.state}, exit code {exit_code}. {summary.headline}"]
    if run.message:
        lines.append(run.message)
    lines += [f"{cause.count:,} × {cause.title}" for cause in summary.causes[:_MOST_CAUSES]]
    if len(summary.causes) > _MOST_CAUSES:
        lines.append(f"and {len(summary.causes) - _MOST_CAUSES:,} more causes")
    return masked("\n".join(lines))


def signature(secret: bytes, at: int, body: bytes) -> str:
    """The value of `X-Sipbatch-Signature` for a body that is sent at `at`, in seconds since the epoch."""
    digest = hmac.new(secret, b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """How posting ended: `problem` is empty if it was taken, else it says why not, without the URL."""

    host: str
    attempts: int
    http_status: int | None
    problem: str

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has it."""
        return not self.problem


@dataclass(frozen=True, slots=True, repr=False)
class Webhook:
    """A URL to post to, and the secret that what is posted is signed with; neither is ever shown."""

    url: httpx.URL
    secret: bytes

    def __repr__(self) -> str:
        return f"Webhook({self.host})"

    @property
    def host(self) -> str:
        """The host alone: a webhook's path and query are what opens it."""
        return self.url.host

    async def post(self, body: bytes, *, now: Callable[[], float] = time.time) -> Delivery:
        """Post a body, trying again where that may help, for at most `LONGEST_S` seconds.

        Nothing is followed and nothing read: a redirect is a problem, and an answer's status is all of it.
        """
        import anyio
        import httpx

        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"sipbatch/{__version__}",
            # The same each time, so that a receiver which got it twice can tell.
            "X-Sipbatch-Delivery": str(uuid.uuid4()),
        }
        attempts, status, problem = 0, None, "it did not answer in time"
        with anyio.move_on_after(LONGEST_S):
            # The transport itself, and no client: a client logs URLs, and takes proxies from the environment.
            verify = httpx.create_ssl_context() if self.url.scheme == "https" else True
            async with httpx.AsyncHTTPTransport(verify=verify, trust_env=False) as transport:
                while True:
                    attempts += 1
                    signed = {**headers, "X-Sipbatch-Signature": signature(self.secret, int(now()), body)}
                    status, problem, pause_s = await _attempt(transport, self.url, signed, body)
                    if not problem or pause_s is None or attempts == _MOST_ATTEMPTS:
                        break
                    await anyio.sleep(max(pause_s, _FIRST_PAUSE_S * 2 ** (attempts - 1)))
        return Delivery(self.host, attempts, status, problem)


async def _attempt(
    transport: httpx.AsyncHTTPTransport, url: httpx.URL, headers: Mapping[str, str], body: bytes
) -> tuple[int | None, str, float | None]:
    """One try: the status, the problem, and how long to wait before another, None if that is of no use."""
    import httpx

    request = httpx.Request("POST", url, headers=headers, content=body)
    request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), _ATTEMPT_S)
    try:
        answer = await transport.handle_async_request(request)
        await answer.aclose()
    except httpx.TimeoutException:
        return None, "it did not answer in time", 0.0
    except httpx.ConnectError as error:
        if isinstance(_root(error), ssl.SSLError):
            return None, "its certificate cannot be verified", None
        return None, "it cannot be reached", 0.0
    except httpx.HTTPError:
        return None, "it gave no proper answer", 0.0
    status = answer.status_code
    if 200 <= status < 300:
        return status, "", None
    if 300 <= status < 400:
        return status, f"it answered with a redirect (HTTP {status}): give the URL that it leads to", None
    pause_s = _retry_after_s(answer.headers) if status in _PASSING or status >= 500 else None
    return status, f"it answered with HTTP {status}", pause_s


def _root(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _retry_after_s(headers: httpx.Headers) -> float:
    wait = headers.get("retry-after", "")
    return float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 6 else 0.0


def read_webhook(url: str, environ: Mapping[str, str], *, dotenv: Path = Path(".env")) -> Webhook:
    """The webhook at this URL, with the secret that the environment or a `.env` has.

    `UsageError` if it is no URL that may be posted to, or if there is no secret. No message shows the URL.
    """
    import httpx

    try:
        read = httpx.URL(url.strip())
        host = read.host
    except (httpx.InvalidURL, ValueError):
        raise UsageError(
            "--webhook: this is no URL: it must look like https://chat.example.com/..."
        ) from None
    is_host = _HOST.fullmatch(read.raw_host.decode("ascii")) or ":" in host
    if read.scheme not in {"http", "https"} or not is_host:
        raise UsageError("--webhook: the URL must begin with https:// and name a host.")
    if read.scheme == "http" and not _is_loopback(host):
        raise UsageError(
            f"--webhook: the URL at {host} is not https, so that anybody on the way could read it. Use "
            "https:// (http:// is taken for this machine alone, such as http://127.0.0.1:8080)."
        )
    if read.userinfo:
        raise UsageError("--webhook: the URL holds a user or a password: take them out.")
    return Webhook(read.copy_with(fragment=None), _secret(environ, dotenv))


def _secret(environ: Mapping[str, str], dotenv: Path) -> bytes:
    secret = environ.get(SECRET_VARIABLE, "")
    if not secret and dotenv.is_file():
        from dotenv import dotenv_values

        secret = dotenv_values(dotenv, interpolate=False).get(SECRET_VARIABLE) or ""
    if not secret:
        raise UsageError(
            f"--webhook needs a secret to sign with: set {SECRET_VARIABLE} in the environment or a .env to a "
            "long random text, and give the receiver the same."
        )
    if len(secret) < _LEAST_SECRET:
        raise UsageError(
            f"{SECRET_VARIABLE} is too short to be a secret: take {_LEAST_SECRET} characters or more."
        )
    return secret.encode("utf-8", errors="surrogateescape")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
