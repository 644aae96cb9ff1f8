"""What was read back: of a request whether it is there as it was sent, of a number what was there before.

The values that the journal keeps; `batch.read_back.verifying` and `batch.read_back.snapshots` make them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from batch.journal.events import Event
from batch.plans import Payload

#: The kinds of events by which the journal knows whether a verification came to its end.
BEGAN, ENDED = "verify_began", "verify_ended"


class Proof(StrEnum):
    """What reading back says of a request, or of one of its blocks."""

    VERIFIED = "verified"  #: read, and all that was sent is there
    DRIFTED = "drifted"  #: read, and something else is there
    MISSING = "missing"  #: read, and there is no such number, or nothing in that direction
    NOT_READABLE = "not_readable"  #: the target does not show it, or not all of it
    UNREAD = "unread"  #: it could not be read
    REPLACED = "replaced"  #: a later run has sent something else: there is nothing left of this to verify

    @property
    def differs(self) -> bool:
        """Whether what is there is surely not what was sent."""
        return self in (Proof.DRIFTED, Proof.MISSING)

    @property
    def needs_a_look(self) -> bool:
        """Whether somebody has to do something: it differs, or nobody knows whether it does."""
        return self.differs or self is Proof.UNREAD


#: What decides for a request of several blocks: the first of these that one of its blocks is.
_WEIGHT = (
    Proof.UNREAD,
    Proof.MISSING,
    Proof.DRIFTED,
    Proof.NOT_READABLE,
    Proof.REPLACED,
    Proof.VERIFIED,
)


def of_blocks(proofs: Iterable[Proof]) -> Proof:
    """What blocks come to together: verified only if each of them is (or was replaced, but not all were)."""
    found = set(proofs)
    if found == {Proof.VERIFIED, Proof.REPLACED}:
        return Proof.VERIFIED
    return next(proof for proof in _WEIGHT if proof in found)


class Drift(NamedTuple):
    """One place where something else is there than was sent, in short words; URLs are masked."""

    path: str  #: from the block on: `codec_config.codecs`
    sent: str
    there: str

    def __str__(self) -> str:
        return f"{self.path}: sent {self.sent}, there is {self.there}"


class Verification(NamedTuple):
    """What reading back said of one request.

    `at` is when it was read (UTC, seconds since the epoch). `blocks` has each block that was sent.
    `message` says why it could not be read, or what of it, or by which run it was replaced. `pass_no` tells
    one verification of a run from the next: times do not, since a clock may be put back.
    """

    seq: int
    at: float
    proof: Proof
    blocks: Mapping[str, Proof]
    drifts: tuple[Drift, ...] = ()
    message: str = ""
    pass_no: int = 1

    @property
    def in_words(self) -> str:
        """What there is to say beyond the word: what differs, what is not shown, why it was not read."""
        parts = [str(drift) for drift in self.drifts]
        for proof, words in ((Proof.NOT_READABLE, "not shown"), (Proof.MISSING, "not there")):
            names = [name for name, found in self.blocks.items() if found is proof]
            if names:
                parts.append(f"{', '.join(names)}: {words}")
        return "; ".join([*parts, *([self.message] if self.message else [])])


class Snapshot(NamedTuple):
    """What was there of one request's number and direction before the run sent anything to it.

    `payload` holds the blocks that the target showed, whichever the request sends; None if it showed none.
    `is_there` is False where the target said that nothing was set up in that direction. `at` is when it was
    read (UTC, seconds since the epoch).
    """

    seq: int
    at: float
    is_there: bool
    payload: Payload | None


def unfinished_since(events: Sequence[Event]) -> float | None:
    """When the verification of a run began that did not come to its end (UTC); None if there is none."""
    for event in reversed(events):
        if event.kind in (BEGAN, ENDED):
            return event.at if event.kind == BEGAN else None
    return None


def passes(events: Sequence[Event]) -> int:
    """How many verifications of a run were begun: the number of the last."""
    return sum(event.kind == BEGAN for event in events)
