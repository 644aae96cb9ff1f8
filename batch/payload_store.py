"""Payloads by content while a plan is made, packed once they are many: rows may all be distinct."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from batch.plans import Int32s, Int64s, Payload

#: How many payloads are packed together; a plan of no more than this holds them as they are.
SEGMENT = 4096

#: How many distinct contents are recognised at once; one that comes back after so many others is
#: stored a second time, and merged at the end.
RECOGNISED = 65_536

_Digests = npt.NDArray[np.bytes_]


class PackedPayloads(Sequence[Payload]):
    """Payloads in compressed segments: read in order, each segment is unpacked once."""

    def __init__(self, segments: Sequence[bytes], digests: _Digests, picks: Int64s) -> None:
        self._segments = tuple(segments)
        self._digests = digests
        self._picks = picks
        self._open: tuple[int, list[bytes]] = (-1, [])

    def __len__(self) -> int:
        return len(self._picks)

    @overload
    def __getitem__(self, index: int) -> Payload: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Payload, ...]: ...

    def __getitem__(self, index: int | slice) -> Payload | tuple[Payload, ...]:
        if isinstance(index, slice):
            return tuple(self._payload(at) for at in self._picks[index].tolist())
        return self._payload(int(self._picks[index]))

    def __iter__(self) -> Iterator[Payload]:
        return map(self._payload, self._picks.tolist())

    def _payload(self, at: int) -> Payload:
        segment, place = divmod(at, SEGMENT)
        number, bodies = self._open
        if number != segment:
            bodies = zlib.decompress(self._segments[segment]).split(b"\n")
            self._open = (segment, bodies)
        # NumPy takes zeros off the end of bytes.
        digest = bytes(self._digests[at]).ljust(32, b"\0")
        return Payload(bodies[place], digest.hex())


class PayloadStore:
    """Takes payloads in, each content once, and gives out those that a plan uses."""

    def __init__(self) -> None:
        self._count = 0
        self._digests = bytearray()
        self._segments: list[bytes] = []
        self._tail: list[Payload] = []
        self._recognised: dict[bytes, int] = {}
        self._forgot = False

    def id_of(self, payload: Payload) -> int:
        """The number under which this content is stored."""
        digest = bytes.fromhex(payload.sha256)
        known = self._recognised.get(digest)
        if known is not None:
            return known
        if len(self._recognised) >= RECOGNISED:
            self._recognised.clear()
            self._forgot = True
        if len(self._tail) == SEGMENT:
            self._pack()
        at = self._count
        self._count += 1
        self._recognised[digest] = at
        self._digests += digest
        self._tail.append(payload)
        return at

    def merged(self, ids: Int32s) -> Int32s:
        """The same ids, one for each content: to be asked for once everything is stored."""
        if not self._forgot:
            return ids
        _, first, which = np.unique(self._all_digests(), return_index=True, return_inverse=True)
        return first[which][ids].astype(np.int32)

    def taken(self, ids: Int32s) -> tuple[Sequence[Payload], Int32s]:
        """The payloads with these ids, in the order in which they first occur, and the ids by that order."""
        places, distinct = pd.factorize(ids)
        order: Int32s = places.astype(np.int32, copy=False)
        if not self._segments:
            return tuple(self._tail[at] for at in distinct.tolist()), order
        self._pack()
        return PackedPayloads(self._segments, self._all_digests(), distinct.astype(np.int64)), order

    def _all_digests(self) -> _Digests:
        return np.frombuffer(self._digests, dtype="S32")

    def _pack(self) -> None:
        # A body is JSON, and has no line break but the escaped ones.
        self._segments.append(zlib.compress(b"\n".join(payload.body for payload in self._tail), 1))
        self._tail = []
