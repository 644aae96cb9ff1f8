"""The way to the API and back: one request out, one answer in. The seam below the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, Self

from batch.target import Outcome

#: How often a server may say that it is about to answer, before it is malice.
MOST_INTERIM = 100


class Answer(NamedTuple):
    """An answer whose head was read: `fields` have lower-case names, those that came twice are joined.

    `flaw` says why the body could not be read, where it could not; `body` is empty then. A body is unpacked.
    """

    status: int
    fields: Mapping[str, str]
    body: bytes
    flaw: Outcome | None = None


class UnansweredError(Exception):
    """No head of an answer came; the outcome says whether anything was sent."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.error_code)
        self.outcome = outcome


class Transport(Protocol):
    """Carries requests over connections that it keeps; entered before the first, left after the last.

    One that is cancelled drops its connection, so that the far end sees it, and none is ever sent twice.
    """

    async def exchange(self, method: str, path: str, body: bytes, *, largest_bytes: int) -> Answer:
        """Send one request and read its answer, of whose body at most so much.

        `path` begins with a slash and is encoded; it is put behind the base URL's own.
        Raises `UnansweredError` if no answer came.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc_info: object) -> None: ...
