"""Verifies a run: reads back every number that it changed, and compares what is there with what was sent.

What is found is recorded in the journal as it comes, so that the report shows it, and that a verification
which was interrupted goes on where it stopped. Nothing is called verified that was not read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import orjson

from batch.journal.events import Event
from batch.journal.known import Touch
from batch.journal.protocol import EVERYTHING, Journal, Shard, merged
from batch.journal.verification import BEGAN, ENDED, Proof, Verification, of_blocks, passes, unfinished_since
from batch.plans import DIRECTIONS
from batch.read_back.comparing import compare
from batch.read_back.readable import Readable, Shown
from batch.read_back.rounds import Reader, Reading
from batch.states import EXIT_SOME_FAILED, RequestState, StopReason
from batch.target import Outcome, Verdict

#: How many parsed payloads are kept at hand.
_AT_HAND = 2_000

_WORTH_READING = (RequestState.SUCCEEDED, RequestState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Verified:
    """How a verification ended: why, and how many requests are what, those of an earlier part included.

    `left` is how many numbers were not read, since it stopped before its end.
    """

    reason: StopReason
    message: str
    counts: Mapping[Proof, int]
    left: int = 0

    @property
    def exit_code(self) -> int:
        """0 if nothing differs and nothing was left unread; else 3, or that of what stopped it."""
        if self.reason is not StopReason.DONE:
            return self.reason.exit_code
        is_well = not any(count for proof, count in self.counts.items() if proof.needs_a_look)
        return 0 if is_well else EXIT_SOME_FAILED


async def verify(
    journal: Journal,
    run_id: str,
    target: Readable,
    reader: Reader,
    *,
    shards: Sequence[Shard] = EVERYTHING,
    is_anew: bool = False,
) -> Verified:
    """Read back what a run sent, and record what is there.

    Read are the numbers of all requests in `shards` that succeeded or are unknown, each number once for both
    directions. A verification that did not come to its end goes on, unless `is_anew`: what it found well is
    not read again. One that is given all shards has an end. The target is entered and left by the caller, who
    has the workspace to himself; nothing may be in flight. Raises `JournalError` if the journal cannot be
    written, `CredentialsError` if a secret of a payload is not at hand.
    """
    began_at = reader.clock.utc()
    spans = merged(shards)

    def begin() -> _Subjects:
        journal.settle()
        if is_anew or unfinished_since(journal.events(run_id)) is None:
            journal.exchange(run_id, events=[Event(began_at, BEGAN, {})])
        pass_no = passes(journal.events(run_id))
        subjects = _Subjects(journal, _touches(journal, run_id, spans, pass_no), pass_no)
        journal.record_verified(run_id, subjects.replaced(reader.clock.utc()))
        return subjects

    subjects = await reader.run_blocking(begin)

    async def read(which: int) -> tuple[Outcome, Shown | None]:
        return await target.read_number(f"+{subjects.numbers[which]}")

    async def take(found: list[Reading[Shown]]) -> None:
        await reader.run_blocking(lambda: journal.record_verified(run_id, subjects.all_of(found)))

    ending = await reader.read(read, take, len(subjects.numbers), doing="reading back")

    def end() -> Counter[Proof]:
        found = (one for one in journal.verifications(run_id) if one.pass_no == subjects.pass_no)
        counts = Counter(one.proof for one in found if _is_in(one.seq, spans))
        if shards == EVERYTHING and ending.reason is StopReason.DONE:
            detail = {proof.value: counts[proof] for proof in Proof if counts[proof]}
            journal.exchange(run_id, events=[Event(reader.clock.utc(), ENDED, detail)])
        return counts

    return Verified(ending.reason, ending.message, await reader.run_blocking(end), ending.left)


def _is_in(seq: int, spans: Sequence[Shard]) -> bool:
    at = bisect_right(spans, seq, key=lambda span: span.first) - 1
    return at >= 0 and seq < spans[at].end


def _touches(journal: Journal, run_id: str, spans: Sequence[Shard], pass_no: int) -> Iterator[Touch]:
    """What the run did to numbers, of the requests that are left to verify."""
    rows = journal.results(run_id)
    seqs = {row.seq for row in rows if row.state in _WORTH_READING and _is_in(row.seq, spans)}
    for one in journal.verifications(run_id):
        if one.pass_no == pass_no and not one.proof.needs_a_look:
            seqs.discard(one.seq)
    return (touch for touch in journal.touches(run_id) if touch.seq in seqs)


class _Body(NamedTuple):
    """A payload as it was sent, and as the journal keeps it."""

    blocks: dict[str, object]
    kept: dict[str, object]


class _Subjects:
    """The requests to verify, by number: a number is read once for all of its requests.

    Those of `numbers[i]` are the elements `_starts[i]` up to `_starts[i + 1]` of the columns, which are all
    that grows with the run.
    """

    def __init__(self, journal: Journal, touches: Iterator[Touch], pass_no: int) -> None:
        self.pass_no = pass_no
        self._journal = journal
        self._at_hand: dict[int, _Body] = {}
        self._since: dict[tuple[int, int], frozenset[str]] = {}
        self._replaced: list[tuple[int, int, int]] = []
        runs: dict[str, int] = {}
        rows = []
        for touch in touches:
            run_id = runs.setdefault(touch.now_run, len(runs))
            blocks = self._body(touch.payload_id).blocks
            if len(self._replaced_of(touch.payload_id, touch.now_id)) == len(blocks):
                self._replaced.append((touch.seq, touch.payload_id, run_id))
            else:
                rows.append(
                    (touch.number, touch.seq, touch.direction, touch.payload_id, touch.now_id, run_id)
                )
        self._runs = tuple(runs)
        columns = np.array(sorted(rows), dtype=np.int64).reshape(-1, 6).T
        self.numbers, starts = np.unique(columns[0], return_index=True)
        self._starts = np.append(starts, len(rows))
        self._seqs, self._directions, self._payload_ids, self._now_ids, self._run_ids = columns[1:]

    def replaced(self, at: float) -> list[Verification]:
        """Those of which later runs left nothing: there is nothing to read."""
        return [
            Verification(
                seq,
                at,
                Proof.REPLACED,
                dict.fromkeys(self._body(payload_id).blocks, Proof.REPLACED),
                (),
                f"sent anew by run {self._runs[run_id]}",
                self.pass_no,
            )
            for seq, payload_id, run_id in self._replaced
        ]

    def all_of(self, found: list[Reading[Shown]]) -> list[Verification]:
        """One for each request of each number that was read."""
        return [
            self._one(at, reading)._replace(pass_no=self.pass_no)
            for reading in found
            for at in range(int(self._starts[reading.which]), int(self._starts[reading.which + 1]))
        ]

    def _one(self, at: int, reading: Reading[Shown]) -> Verification:
        payload_id, now_id = int(self._payload_ids[at]), int(self._now_ids[at])
        sent, kept = self._body(payload_id)
        replaced = self._replaced_of(payload_id, now_id)
        told = verification_of(
            int(self._seqs[at]),
            reading,
            DIRECTIONS[self._directions[at]],
            {name: block for name, block in sent.items() if name not in replaced},
            kept=kept,
        )
        if not replaced:
            return told
        by = f"{', '.join(sorted(replaced))}: sent anew by run {self._runs[self._run_ids[at]]}"
        blocks = {name: told.blocks.get(name, Proof.REPLACED) for name in sent}
        return told._replace(blocks=blocks, message=f"{told.message}; {by}" if told.message else by)

    def _replaced_of(self, payload_id: int, now_id: int) -> frozenset[str]:
        """The blocks of a payload of which something else is in force since."""
        if payload_id == now_id:
            return frozenset()
        change = (payload_id, now_id)
        if change not in self._since:
            if len(self._since) >= _AT_HAND:
                self._since.clear()
            now = self._body(now_id).blocks
            sent = self._body(payload_id).blocks
            self._since[change] = frozenset(n for n, block in sent.items() if now.get(n, block) != block)
        return self._since[change]

    def _body(self, payload_id: int) -> _Body:
        body = self._at_hand.get(payload_id)
        if body is None:
            if len(self._at_hand) >= _AT_HAND:
                self._at_hand.clear()
            sent, kept = self._journal.payload(payload_id), self._journal.kept(payload_id)
            body = self._at_hand[payload_id] = _Body(orjson.loads(sent), orjson.loads(kept))
        return body


def verification_of(
    seq: int,
    reading: Reading[Shown],
    direction: str,
    sent: Mapping[str, object],
    *,
    kept: Mapping[str, object] | None = None,
) -> Verification:
    """What reading back a number says of one request that sent these blocks in this direction.

    `kept` is as in `batch.read_back.comparing.compare`.
    """

    def of_all(proof: Proof, message: str = "") -> Verification:
        blocks = dict.fromkeys(sent, proof)
        return Verification(seq, reading.at, proof, blocks, (), message)

    outcome, shown = reading.outcome, reading.value
    if shown is None:
        if outcome.verdict is Verdict.ACCEPTED:
            return of_all(Proof.NOT_READABLE)
        return of_all(Proof.UNREAD, _why_not(outcome))
    if direction not in shown.sides:
        return of_all(Proof.NOT_READABLE)
    side = shown.sides[direction]
    if side is None:
        return of_all(Proof.MISSING)
    compared = compare(sent, side, kept=kept)
    message = f"{', '.join(compared.hidden)}: shown only masked" if compared.hidden else ""
    proof = of_blocks(compared.blocks.values())
    return Verification(seq, reading.at, proof, compared.blocks, compared.drifts, message)


def _why_not(outcome: Outcome) -> str:
    status = f"HTTP {outcome.http_status}" if outcome.http_status else ""
    said = " ".join(part for part in (status, outcome.error_code, outcome.message) if part)
    return f"could not be read: {said}"
