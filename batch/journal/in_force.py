"""What is in force at a number, as far as it is known: of every block what was applied last, and any doubt.

A request changes the blocks that it carries, each as a whole, and leaves the others as they are. So what
is in force is put together from several payloads, whichever runs sent them, and is a payload itself.
Whether the API replaces a block that is sent or merges into it, its documentation does not say: here a
block is what was sent last.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from batch.plans import Payload

#: The names of blocks, sorted.
Blocks = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InForce:
    """The blocks that were applied last, each as it was sent; those in `doubt` may not have been applied."""

    payload: Payload
    doubt: Blocks = ()


def blocks_of(body: bytes) -> Blocks:
    """The names of a body's blocks, sorted."""
    return tuple(sorted(orjson.loads(body)))


def in_force_after(before: InForce | None, sent: Payload, *, is_certain: bool) -> InForce:
    """What is in force once `sent` was applied, or, if that is not certain, may have been."""
    blocks = blocks_of(sent.body)
    doubt = () if is_certain else blocks
    if before is None or before.payload.sha256 == sent.sha256:
        return InForce(sent, doubt)
    known: dict[str, object] = orjson.loads(before.payload.body)
    merged = Payload.of({**known, **orjson.loads(sent.body)})
    still = (block for block in before.doubt if block not in blocks)
    return InForce(merged, tuple(sorted([*doubt, *still])))


def part_of(body: bytes, blocks: Blocks) -> dict[str, object]:
    """Those of a body's blocks that it has, of the ones named."""
    known: dict[str, object] = orjson.loads(body)
    return {block: known[block] for block in blocks if block in known}
