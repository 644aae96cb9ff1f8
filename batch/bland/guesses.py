"""What the sandbox does where nothing published says what the API does, and what changes it."""

from __future__ import annotations

from typing import NamedTuple


class Guess(NamedTuple):
    """One behaviour of the sandbox that the real API may not share."""

    about: str  #: a stable slug
    says: str  #: what the sandbox does
    change: str  #: what makes it do otherwise; empty where nothing does


GUESSES: tuple[Guess, ...] = (
    Guess(
        "success body",
        'A change is answered by {"data": {...}, "errors": null}, the vendor\'s most common form.',
        "--success-form, --fault ok/FORM=P",
    ),
    Guess(
        "failure body",
        "Each status has the failure body that the vendor's other calls use for it.",
        "--failure-form, --fault STATUS/FORM=P",
    ),
    Guess("rate limit", "There is none, unless one is given.", "--limit"),
    Guess(
        "rate limit's reach",
        "It counts changes with a good key, in a sliding window; reads and what is turned away do not count.",
        "",
    ),
    Guess(
        "Retry-After",
        "A 429 or 503 says in how many whole seconds there is room; the vendor's other calls do.",
        "--retry-after",
    ),
    Guess("limit headers", "No header tells the limit before it is reached.", "--limit-headers"),
    Guess("request id", "Every answer has an X-Request-Id, as the vendor's other calls do.", ""),
    Guess("merging", "A block that is sent replaces the one that is there.", "--merge-blocks"),
    Guess("null", "A block, or a field, that is null is refused with 400.", ""),
    Guess("no block", "A call with none of the three blocks is refused with 400.", ""),
    Guess("unknown fields", "A field that is not documented is refused with 400.", ""),
    Guess(
        "ranges",
        "A port outside 1 to 65535, an empty host, a codec twice, a percentage over 100, a negative number "
        "and a webhook that is no http(s) URL are refused with 400; empty lists, any "
        "number of endpoints and equal priorities are taken.",
        "",
    ),
    Guess("transports", "udp, tcp and tls are taken as the transport of an endpoint, on any port.", ""),
    Guess("numbers", "Only E.164 numbers are taken, no extensions; others are refused with 400.", ""),
    Guess(
        "attached numbers",
        "Every number is attached to the account; where a list of them is given, others are NOT_FOUND (404).",
        "--numbers",
    ),
    Guess(
        "idempotency",
        "A header with an idempotency key is ignored: the same change again is applied again.",
        "",
    ),
    Guess(
        "SIP_NOT_ENABLED",
        "It is never answered by itself; its status is not known.",
        "--fault 403:SIP_NOT_ENABLED=P",
    ),
    Guess("reading back", "A read does not show the three blocks; no documented read does.", "--show-blocks"),
    Guess(
        "a read's other fields",
        "sip_endpoint, headers, id, org_id and health are made up; a number that was never configured has "
        "null for both directions.",
        "",
    ),
)


def guesses_text() -> str:
    """All guesses, one a line, for people."""
    return "\n".join(
        f"{guess.about}: {guess.says}" + (f" ({guess.change})" if guess.change else "") for guess in GUESSES
    )
