"""Unpacks a body that came compressed, although that was not asked for, and never more of it than a bound."""

from __future__ import annotations

import zlib

from batch.bland.mishaps import cut_off, too_large, undecodable
from batch.target import Outcome

#: How many compressions may lie on one another before it is malice.
_MOST_ENCODINGS = 2
_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def unpacked(body: bytes, status: int, encodings: str, largest_bytes: int) -> bytes | Outcome:
    """The body without its compression, or the outcome that says why it cannot be had.

    `encodings` is the header field `Content-Encoding`, empty where there is none.
    """
    names = [name for part in encodings.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    if len(names) > _MOST_ENCODINGS:
        return undecodable(status)
    for name in reversed(names):
        if name not in _WBITS:
            return undecodable(status)
        wbits = _WBITS[name]
        if name == "deflate" and body[:1] and body[0] & 0x0F != 8:
            wbits = -15  # without the header that the standard asks for, as some servers send it
        unpacker = zlib.decompressobj(wbits)
        try:
            body = unpacker.decompress(body, largest_bytes + 1)
        except zlib.error:
            return undecodable(status)
        if len(body) > largest_bytes:
            return too_large(status, largest_bytes)
        if not unpacker.eof:
            return cut_off(status)
    return body
