"""What an answer's headers say of the pace: how long to wait, and how fast to go at most.

Sources: RFC 9110 §10.2.3 (`Retry-After`); the IETF drafts on `RateLimit` header fields, in the form of 03
(`RateLimit-Limit`, `-Remaining`, `-Reset`), of 07 (`limit=100, remaining=50, reset=30`) and of 08 and later
(`"default";r=50;t=30`); the `X-RateLimit-*` headers that came before them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")
#: A wait of more digits than anyone means is told as this.
_LONGEST_WAIT_S = 1e10
#: One parameter of a header field: `;w=60`, `, reset=30`.
_PARAMETER = re.compile(r"\b([a-z]+)\s*=\s*\"?([0-9]+(?:\.[0-9]+)?)")
#: A window that is longer than this is a quota: spread evenly it would slow a run that may go fast.
_LONGEST_WINDOW_S = 3600.0
#: What is left of a window says little when the window is nearly over: resets are told in whole seconds.
_SHORTEST_REST_S = 10.0
#: A reset beyond this is a time since the epoch, beyond the second one in milliseconds.
_EPOCH_S, _EPOCH_MS = 1e9, 1e12


def wait_s(fields: Mapping[str, str], now_s: float) -> float | None:
    """Seconds to wait by `Retry-After`, from this answer on; None if it is absent or makes no sense.

    `fields` have lower-case names. A date counts from the answer's own `Date`, so that neither clock has to
    be right; `now_s` (seconds since the epoch) stands in where there is none. A date in the past is 0.
    """
    text = fields.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), _LONGEST_WAIT_S)
    at = _date_s(text)
    return None if at is None else max(0.0, at - _answered_s(fields, now_s))


def rate_per_s(fields: Mapping[str, str], now_s: float) -> float | None:
    """The most requests a second that the rate limit headers allow; None if they say nothing of it.

    `fields` have lower-case names.
    """
    told = {
        name.removeprefix("x-").replace("rate-limit", "ratelimit"): value
        for name, value in fields.items()
        if "ratelimit" in name or "rate-limit" in name
    }
    if not told:
        return None
    rates = [*_by_policy(told.get("ratelimit-policy", "")), *_by_policy(told.get("ratelimit-limit", ""))]
    allowed, left, reset_s = _window(told)
    if reset_s is not None and reset_s > _EPOCH_S:
        since_epoch_s = reset_s / 1000 if reset_s > _EPOCH_MS else reset_s
        reset_s = since_epoch_s - _answered_s(fields, now_s)
    if reset_s is not None and 0 < reset_s <= _LONGEST_WINDOW_S:
        # The rest of a window is at most the window: this is never below the steady rate.
        if allowed:
            rates.append(allowed / reset_s)
        # Told in whole seconds, rounded up, the rest may be a second shorter.
        if left and reset_s >= _SHORTEST_REST_S:
            rates.append(left / (reset_s - 1))
    return min(filter(math.isfinite, rates), default=None)


def _by_policy(text: str) -> Iterator[float]:
    """`100;w=60, 1000;w=3600` or `"burst";q=100;w=60`: a quota and the window that it is for."""
    for item in text.lower().split(","):
        quota_text, *_ = item.strip().split(";")
        parameters = dict(_PARAMETER.findall(item))
        quota = parameters.get("q", quota_text.strip())
        window_s = float(parameters.get("w", "0"))
        counts_requests = "qu=" not in item.replace(" ", "") or '"requests"' in item
        if (
            _SECONDS.fullmatch(quota)
            and float(quota)
            and 0 < window_s <= _LONGEST_WINDOW_S
            and counts_requests
        ):
            yield float(quota) / window_s


def _window(told: Mapping[str, str]) -> tuple[float | None, float | None, float | None]:
    """How many requests the present window allows, how many are left of them, and seconds to its end."""
    # Several policies in one field: the first is the nearest to its limit in the drafts' own examples.
    parameters = dict(_PARAMETER.findall(told.get("ratelimit", "").lower().split(', "')[0]))

    def number(header: str, *names: str) -> float | None:
        for name in names:
            if name in parameters:
                return float(parameters[name])
        text = told.get(f"ratelimit-{header}", "").split(",")[0].split(";")[0].strip()
        return float(text) if _SECONDS.fullmatch(text) else None

    return number("limit", "limit"), number("remaining", "remaining", "r"), number("reset", "reset", "t")


def _answered_s(fields: Mapping[str, str], now_s: float) -> float:
    at = _date_s(fields.get("date", ""))
    return now_s if at is None else at


def _date_s(text: str) -> float | None:
    """An HTTP date, in any of its three forms, as seconds since the epoch."""
    try:
        at = parsedate_to_datetime(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
