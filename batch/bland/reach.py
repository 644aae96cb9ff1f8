"""Finds out whether the API can be reached and takes the key, by one read that changes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass

import anyio
import httpx

from batch.bland.address import Address, read_address, tls_context
from batch.bland.answers import judge
from batch.bland.api import BlandTarget
from batch.bland.credentials import ApiKey, auth_header
from batch.checks import Check, ok, warning, wrong
from batch.errors import CredentialsError, UnreachableError
from batch.target import Advice, Outcome, Verdict

#: What is read: the list of the account's numbers, of which only the beginning is taken.
_PATH = "/v1/sip/numbers"
#: For making the connection, and then for the whole of the answer.
_LONGEST_S = 10.0
_ENOUGH_BYTES = 64_000


@dataclass(frozen=True, slots=True)
class Glimpse:
    """How the API answered one read: what it means, the `Date` it gave, and when it was asked.

    The times are UTC, in seconds since the epoch, by this machine's clock.
    """

    outcome: Outcome
    date: str
    asked_at: float
    answered_at: float


async def glimpse(base_url: str, key: ApiKey | None, scheme: str) -> Glimpse:
    """Connect, and read the account's numbers; `UnreachableError` says why nothing was reached.

    Without a key the API is asked all the same: it refuses, and so shows that it is there.
    """
    address = read_address(base_url)
    nobody = ApiKey("none", source="nowhere")
    await BlandTarget(base_url, nobody, connections=1, connect_timeout_s=_LONGEST_S).probe()
    headers = {"Accept-Encoding": "identity"}
    if key is not None:
        headers["Authorization"] = auth_header(key, scheme)
    verify = tls_context(None) if address.is_https else True
    asked_at = time.time()
    try:
        # One deadline for all of it: httpx's is for each piece, and a server that drips has many.
        with anyio.fail_after(_LONGEST_S):
            async with (
                httpx.AsyncClient(
                    verify=verify, trust_env=False, timeout=_LONGEST_S, headers=headers
                ) as client,
                client.stream("GET", address.url + _PATH) as answer,
            ):
                answered_at = time.time()
                body = await _beginning(answer)
    except TimeoutError:
        raise UnreachableError(
            f"{address.host_and_port} takes the connection, but gives no whole answer within "
            f"{_LONGEST_S:g} s. Check the address."
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnreachableError(
            f"{address.host_and_port} takes the connection, but gives no proper answer "
            f"({type(error).__name__}). Check the address."
        ) from None
    # What was compressed unasked is not unpacked: it may be a bomb. The status says enough.
    is_packed = answer.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")
    is_whole = len(body) < _ENOUGH_BYTES and not is_packed
    redact = key.redact if key is not None else str
    outcome = judge(answer.status_code, answer.headers, body if is_whole else b"{}", redact=redact)
    return Glimpse(outcome, answer.headers.get("date", ""), asked_at, answered_at)


async def _beginning(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) >= _ENOUGH_BYTES:
            break
    return bytes(body)


def check_key(key: ApiKey | CredentialsError, seen: Glimpse | None) -> Check:
    """Whether there is a key, where, and whether the API takes it, as far as it was asked."""
    about = "key"
    if isinstance(key, CredentialsError):
        return wrong(about, str(key), "", exit_code=key.exit_code)
    found = f"found in {key.source}"
    if seen is None:
        return ok(about, f"{found}; the API was not asked whether it takes it")
    outcome = seen.outcome
    if outcome.advice is Advice.CREDENTIALS:
        said = f"{found}, and the API refuses it: {_words(outcome)}"
        if outcome.http_status == 401:
            to_do = f"put the right key into {key.source}; it may have expired, or be another account's"
            return wrong(about, said, to_do, exit_code=CredentialsError.exit_code)
        return warning(about, said, "it may still be allowed to change numbers: try one with --limit 1")
    if outcome.verdict is Verdict.ACCEPTED:
        return ok(about, f"{found}; the API takes it")
    return ok(about, f"{found}; the API did not say whether it takes it")


def check_address(base_url: str, seen: Glimpse | UnreachableError) -> Check:
    """Whether the name resolves, the connection is made, the certificate holds, and the API answers."""
    about, address = "address", read_address(base_url)
    if isinstance(seen, UnreachableError):
        return wrong(about, str(seen), "", exit_code=seen.exit_code)
    reached = f"{address.url} is there{_secured(address)}"
    outcome = seen.outcome
    if outcome.verdict is Verdict.ACCEPTED or outcome.advice is Advice.CREDENTIALS:
        return ok(about, reached)
    if outcome.advice in (Advice.WRONG_ADDRESS, Advice.SUSPICIOUS):
        said = f"{reached}, but does not answer as the API does: {_words(outcome)}"
        return warning(about, said, "check --base-url or BLAND_BASE_URL: it ends before /v1")
    return warning(about, f"{reached}, but answers with {_words(outcome)}", "try again later")


def _secured(address: Address) -> str:
    return ", and its certificate holds" if address.is_https else ""


def _words(outcome: Outcome) -> str:
    status = f"HTTP {outcome.http_status}" if outcome.http_status else ""
    return " ".join(part for part in (status, outcome.error_code, outcome.message) if part)
