"""What reading back found in a run, counted as it goes by in sheet order."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from batch.journal.protocol import ResultRow, RunRecord
from batch.journal.verification import Drift, Proof, Verification
from batch.json_schema import says
from batch.plans import DIRECTIONS
from batch.report.lines import printable
from batch.states import RequestState
from batch.timestamps import utc

#: What differs in ever new places must not fill the memory: what is beyond these is not told apart.
_MOST_PLACES = 1_000


@dataclass(frozen=True, slots=True)
class DriftPart:
    """One place in which something else is there than was sent, with the first request as the example."""

    path: str = field(metadata=says("The place, from the block on, such as codec_config.transcode."))
    count: int = field(metadata=says("How many requests differ there."))
    sheet: str = field(metadata=says("The example's sheet."))
    row: int = field(metadata=says("The example's row, as the spreadsheet counts."))
    phone_number: str = field(metadata=says("The example's number, E.164."))
    direction: str = field(metadata=says("The example's direction: inbound or outbound."))
    sent: str = field(metadata=says("What was sent there, as JSON; URLs are masked."))
    there: str = field(metadata=says("What is there, likewise, or nothing."))


@dataclass(frozen=True, slots=True)
class VerificationPart:
    """What reading back found: requests = verified + drifted + missing + not_readable + unread + replaced."""

    requests: int = field(metadata=says("Requests that were looked at; 0 if the run was not verified."))
    is_finished: bool = field(metadata=says("False if a verification was begun and did not come to its end."))
    verified: int = field(metadata=says("Read back, and all that was sent is there."))
    drifted: int = field(metadata=says("Read back, and something else is there."))
    missing: int = field(metadata=says("Read back, and the number or its direction is not there."))
    not_readable: int = field(metadata=says("The API does not show what was sent, or not all of it."))
    unread: int = field(metadata=says("They could not be read back."))
    replaced: int = field(metadata=says("A later run sent something else; there is nothing to verify."))
    unknown_verified: int = field(
        metadata=says("How many of those verified are unknown: they were applied after all.")
    )
    first_read_at: str | None = field(metadata=says("When the first was read (UTC, ISO 8601)."))
    last_read_at: str | None = field(metadata=says("When the last was read."))
    not_shown: dict[str, int] = field(metadata=says("How many requests have each block that is not shown."))
    drifts: tuple[DriftPart, ...] = field(metadata=says("The places that differ, most requests first."))

    @property
    def needs_a_look(self) -> bool:
        """Whether something differs, or nobody knows whether it does."""
        return any(getattr(self, proof.value) for proof in Proof if proof.needs_a_look)


class ProofTally:
    """Counts verifications; its memory does not grow with them."""

    def __init__(self) -> None:
        self._counts: Counter[Proof] = Counter()
        self._unknown_verified = 0
        self._first_at: float | None = None
        self._last_at: float | None = None
        self._not_shown: Counter[str] = Counter()
        self._places: Counter[str] = Counter()
        self._examples: dict[str, tuple[ResultRow, Drift]] = {}

    def add(self, result: ResultRow, found: Verification) -> None:
        """Count what was found of one request."""
        self._counts[found.proof] += 1
        if found.proof is not Proof.REPLACED:
            self._first_at = found.at if self._first_at is None else min(self._first_at, found.at)
            self._last_at = found.at if self._last_at is None else max(self._last_at, found.at)
        if found.proof is Proof.VERIFIED:
            self._unknown_verified += result.state is RequestState.UNKNOWN
            return
        for name, proof in found.blocks.items():
            self._not_shown[name] += proof is Proof.NOT_READABLE
        for drift in found.drifts:
            if drift.path in self._examples or len(self._examples) < _MOST_PLACES:
                self._places[drift.path] += 1
                self._examples.setdefault(drift.path, (result, drift))

    def part(self, run: RunRecord, *, is_finished: bool) -> VerificationPart:
        """What it comes to."""
        counts = {proof.value: self._counts[proof] for proof in Proof}
        return VerificationPart(
            requests=self._counts.total(),
            is_finished=is_finished,
            **counts,
            unknown_verified=self._unknown_verified,
            first_read_at=None if self._first_at is None else utc(self._first_at),
            last_read_at=None if self._last_at is None else utc(self._last_at),
            not_shown={name: count for name, count in self._not_shown.most_common() if count},
            drifts=tuple(self._drift(path, count, run) for path, count in self._places.most_common()),
        )

    def _drift(self, path: str, count: int, run: RunRecord) -> DriftPart:
        result, drift = self._examples[path]
        return DriftPart(
            path=path,
            count=count,
            sheet=run.sheets[result.sheet_id].name,
            row=result.row,
            phone_number=f"+{result.number}",
            direction=DIRECTIONS[result.direction],
            sent=printable(drift.sent),
            there=printable(drift.there),
        )
