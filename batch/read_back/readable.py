"""What a target offers that can be read back: what it shows of one number, and all that are attached to it.

A read changes nothing. What it shows may be less than what is there: an API need not show what it was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from batch.plans import Int64s, UInt8s
from batch.target import Outcome

#: The blocks that a target shows of one direction, by name, as it writes them.
Blocks = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a target shows of one number.

    `sides` has the blocks that are shown by direction, and None where nothing is set up in a direction. A
    direction that is left out is one that the target says nothing of.
    """

    sides: Mapping[str, Blocks | None]


@dataclass(frozen=True, slots=True)
class AttachedNumbers:
    """The numbers of an account; arrays are parallel, one element a number, sorted by number.

    `numbers` are E.164 digits as in `batch.plans.Plan`. Bit 0 of an element of `directions` stands for
    inbound, bit 1 for outbound. `others` counts what is listed and is no E.164 number. `is_whole` is False if
    the list says that there is more than it shows.
    """

    numbers: Int64s
    directions: UInt8s
    others: int = 0
    is_whole: bool = True

    @classmethod
    def of(cls, found: Mapping[int, int], *, others: int = 0, is_whole: bool = True) -> AttachedNumbers:
        """The list out of the bits of directions by number."""
        numbers = np.array(sorted(found), dtype=np.int64)
        directions = np.array([found[number] for number in numbers.tolist()], dtype=np.uint8)
        return cls(numbers, directions, others, is_whole)


@runtime_checkable
class Readable(Protocol):
    """A target that can be read; entered and left as a `batch.target.Target`."""

    async def read_number(self, number: str) -> tuple[Outcome, Shown | None]:
        """What is there of one number (E.164 with its `+`), in both directions; never raises.

        A number that the target does not know is shown with nothing in either direction, and its outcome is
        refused. Nothing is shown if there was no answer, or none that can be understood; an accepted outcome
        with nothing shown says that the target does not show configurations. On cancellation as
        `batch.target.Target.send`.
        """
        ...

    async def read_numbers(self) -> tuple[Outcome, AttachedNumbers | None]:
        """All numbers of the account; None if they could not be read, or the answer is no such list."""
        ...
