"""Plans made by hand, and targets that do as they are told: for tests of what goes around the engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self

import anyio
import numpy as np

from batch.plans import CellChunk, Payload, Plan, Problem, Reject, SheetPin, plan_digest
from batch.target import Outcome, Verdict

FIRST_NUMBER = 14155550100
ACCEPTED = Outcome(Verdict.ACCEPTED, http_status=200)
NOT_FOUND = Outcome(Verdict.REFUSED, http_status=404, error_code="NOT_FOUND", message="no such number")

Answer = Callable[[int], Awaitable[Outcome]]


def plan_of(count: int, *, rejected: int = 0) -> Plan:
    """So many requests, one a row from row 2 on, and then so many rejected rows."""
    payloads = (Payload.of({"codec_config": {"codecs": ["PCMU"], "transcode": True}}),)
    numbers = np.arange(FIRST_NUMBER, FIRST_NUMBER + count, dtype=np.int64)
    zeros = np.zeros(count, dtype=np.int32)
    directions = np.ones(count, dtype=np.uint8)
    rows = range(2, count + rejected + 2)
    cells = [f"+{number}" for number in numbers.tolist()] + ["lost"] * rejected
    return Plan(
        sheets=(
            SheetPin(
                "numbers.csv",
                "numbers.csv",
                "0" * 64,
                ("phone_number", "direction", "template"),
                0,
                1,
                2,
                count + rejected,
            ),
        ),
        payloads=payloads,
        templates=("codecs",),
        numbers=numbers,
        directions=directions,
        payload_ids=zeros,
        template_ids=zeros,
        sheet_ids=zeros,
        rows=np.arange(2, count + 2, dtype=np.int32),
        duplicate_of=np.full(count, -1, dtype=np.int64),
        note_ids=zeros,
        notes=("",),
        rejects=tuple(
            Reject(0, row, (Problem("phone_number", "this is no number", "number.none"),))
            for row in range(count + 2, count + rejected + 2)
        ),
        warnings=(),
        digest=plan_digest(numbers, directions, zeros, payloads),
        cells=(CellChunk.pack(0, rows, [cells, ["outbound"] * len(rows), ["codecs"] * len(rows)]),),
    )


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
