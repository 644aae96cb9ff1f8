"""A target in memory that does as it is told: for tests of what goes around the engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self

import anyio.lowlevel

from batch.target import Outcome, Verdict

ACCEPTED = Outcome(Verdict.ACCEPTED, http_status=200)
NOT_FOUND = Outcome(Verdict.REFUSED, http_status=404, error_code="NOT_FOUND", message="no such number")

Answer = Callable[[int], Awaitable[Outcome]]


class ToldTarget:
    """A target in memory: `answer` is asked with the number of the send, from 1."""

    name = "told"

    def __init__(self, answer: Answer | None = None) -> None:
        self.sent: list[str] = []
        self.is_open = False
        self._answer = answer

    async def send(self, number: str, direction: str, payload: bytes) -> Outcome:
        self.sent.append(number)
        nth = len(self.sent)
        return ACCEPTED if self._answer is None else await self._answer(nth)

    async def __aenter__(self) -> Self:
        self.is_open = True
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.is_open = False


def answers(outcome: Outcome, *, to: frozenset[int]) -> Answer:
    """This outcome for these sends, accepted for all others."""

    async def answer(nth: int) -> Outcome:
        await anyio.lowlevel.checkpoint()
        return outcome if nth in to else ACCEPTED

    return answer
