"""What happened to a run as a whole, beside what happened to its requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: The kind of event that says at which rate a search has settled, as `rate_per_s`.
FOUND_RATE = "rate_found"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a run as a whole: a pause, a changed rate, a breaker, a signal."""

    at: float
    kind: str
    detail: Mapping[str, object]
