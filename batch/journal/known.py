"""What the journal knows of numbers, beyond any one run: the values that its readers return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from batch.journal.in_force import Blocks
from batch.plans import Int32s, Int64s


@dataclass(frozen=True, slots=True)
class Applied:
    """What is in force at every number of a target, as far as is known; arrays are parallel, sorted by key.

    `keys` are `batch.plans.keys_of`. `payload_ids` say what is in force (see `in_force`): blocks that several
    runs applied make one payload, whose digest is `sha256s[payload_id]`. `doubts[doubt_ids[i]]` are
    the blocks of which the last send may not have been applied. `runs[run_ids[i]]` is the run that changed
    the key last, or may have.
    """

    keys: Int64s
    payload_ids: Int64s
    doubt_ids: Int32s
    run_ids: Int32s
    doubts: tuple[Blocks, ...]
    runs: tuple[str, ...]
    sha256s: Mapping[int, str]

    @property
    def certain(self) -> npt.NDArray[np.bool_]:
        """Where no block is in doubt."""
        is_certain = np.array([not blocks for blocks in self.doubts], dtype=np.bool_)
        found: npt.NDArray[np.bool_] = is_certain[self.doubt_ids]
        return found


class FleetEntry(NamedTuple):
    """One number in one direction: what is in force there, and which request changed it last."""

    number: int
    direction: int
    template: str
    payload_id: int  #: what is in force
    doubt: Blocks  #: the blocks of which the last send may not have been applied
    at: float
    run_id: str
    sheet: str
    row: int


class Touch(NamedTuple):
    """What a run did, or may have done, to one number in one direction, and what became of that."""

    seq: int
    number: int
    direction: int
    sheet_id: int
    row: int
    template: str
    payload_id: int  #: what the run sent
    before_id: int | None  #: what was in force before; None: nothing is known of it
    before_doubt: Blocks
    before_template: str  #: of the request that had changed it last before, empty where there is none
    before_run: str
    now_id: int  #: what is in force now
    now_doubt: Blocks
    now_run: str  #: the run that changed it last
