"""Servers of raw bytes for commands that run as processes: each in a thread of its own."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from tests.bland.wires import Play, Server, serving

TRUSTED = Path(__file__).parent.parent / "bland" / "fixtures" / "self_signed.pem"
SOMEBODY_ELSE = Path(__file__).parent / "fixtures" / "somebody_else.pem"


def tls_of(certificate: Path) -> ssl.SSLContext:
    """A server's context with a certificate that signs itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@contextmanager
def wired(play: Play, *, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve until the block is left, beside the test."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving(play, tls=tls)) as server,
    ):
        yield server
