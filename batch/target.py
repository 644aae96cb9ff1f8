"""What requests are sent to: the seam between the engine and the world.

The HTTP API, the embedded sandbox, a dry run and the simulation are targets. After a target nobody
knows of HTTP libraries or of the API's bodies: everyone speaks of verdicts.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Protocol


class Verdict(StrEnum):
    """What one attempt's outcome says of the request that was sent."""

    ACCEPTED = "accepted"  #: applied: the answer says so and carries no error
    REFUSED = "refused"  #: not applied, and sending the same again would end the same way
    TRANSIENT = "transient"  #: not applied, for a reason that passes
    AMBIGUOUS = "ambiguous"  #: it may have been applied: no answer, or none that can be understood


class Advice(StrEnum):
    """What an outcome says of the requests that come after it."""

    GO_ON = "go_on"  #: nothing: it concerns its own request alone
    THROTTLED = "throttled"  #: too fast or overloaded (429, 503): everyone waits
    CREDENTIALS = "credentials"  #: 401, 402, 403: nothing more may be sent with this key
    UNREACHABLE = "unreachable"  #: no connection was made, so nothing was sent
    UNTRUSTED = "untrusted"  #: TLS verification failed: never retried, never sent in clear
    WRONG_ADDRESS = "wrong_address"  #: 404, 410, a redirect: perhaps the address or account is wrong
    SUSPICIOUS = "suspicious"  #: answered, but not by the API (an HTML page with 200)


class Outcome(NamedTuple):
    """How one attempt ended. Everything but the verdict is for the report and the pacer.

    `message` is the server's own words or ours, one line, at most 300 characters, without secrets.
    `retry_after_s` is the wait that the server asked for, in seconds from the answer (negative and
    unreadable ones are None). `rate_per_s` is the most that the server's `RateLimit` headers allow.
    """

    verdict: Verdict
    advice: Advice = Advice.GO_ON
    http_status: int | None = None
    error_code: str = ""
    message: str = ""
    request_id: str = ""
    retry_after_s: float | None = None
    rate_per_s: float | None = None


class Target(Protocol):
    """Where requests go. Entered before the first send, left after the last."""

    @property
    def name(self) -> str:
        """The identity that keys carry: the base URL, or `sandbox` for the embedded one."""
        ...

    async def send(self, number: str, direction: str, payload: bytes) -> Outcome:
        """Send one request and say how it ended; never raises for a failed send.

        `number` is E.164 with its `+`, `direction` is `inbound` or `outbound`, `payload` is the
        JSON object of the config blocks, without number and direction. The caller bounds the time:
        on cancellation the target drops the connection and re-raises.
        """
        ...

    async def __aenter__(self) -> Target: ...

    async def __aexit__(self, *exc_info: object) -> None: ...
