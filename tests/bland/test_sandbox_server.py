"""The sandbox as a server inside another program: where it listens, how it ends, TLS."""

from __future__ import annotations

import asyncio
import gc
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from batch.bland.sandbox import SandboxOptions, serve
from batch.errors import UsageError
from tests.bland.sandbox_client import CODECS, KEY, sandboxed

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# --- the embedded server ----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com", "::", ""])
async def test_it_listens_on_this_machine_only(host: str) -> None:
    """Any address but a loopback one is refused before anything listens."""
    with pytest.raises(UsageError, match="listens on this machine only"):
        async with serve(SandboxOptions(host=host)):
            pass


async def test_a_taken_port_is_said() -> None:
    """A port that something else holds is an error that names it and says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port}.*Choose another port"):
            async with serve(SandboxOptions(port=port)):
                pass


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": "fast"},
        {"latency": "soon"},
        {"latency": "9ms..1ms"},
        {"latency": "lognormal:5ms,x"},
        {"faults": {"teapot": 0.1}},
        {"faults": {"503": 1.5}},
        {"faults": {"503": 0.6, "hang": 0.6}},
        {"script": {KEY: ["+applied"]}},
        {"key": " "},
        {"success_form": "yaml"},
        {"show_blocks": "all"},
        {"retry_after": "1\r\nX: y"},
        {"retry_after": "date+soon"},
        {"numbers": ["4150000000"]},
    ],
)
async def test_wrong_options_are_refused_before_it_listens(wrong: dict[str, Any]) -> None:
    """A wrong option is a usage error that quotes it."""
    with pytest.raises(UsageError):
        async with serve(SandboxOptions(**wrong)):
            pass


async def test_it_can_go_offline_and_come_back() -> None:
    """Offline it refuses connections; back on the same port it knows what it had."""
    async with sandboxed() as client:
        await client.patch()
        await client.sandbox.go_offline()
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.patch()
        base_url = client.sandbox.base_url
        await client.sandbox.listen()
        assert client.sandbox.base_url == base_url
        assert (await client.patch()).status == 200
        assert client.sandbox.applied_of(*KEY) == 2


async def test_closing_waits_for_nobody() -> None:
    """Left while requests hang, drip and wait for a latency, it is gone at once and leaves nothing behind."""
    tasks = []
    script = {
        (f"+1415000000{n}", "outbound"): [fault]
        for n, fault in enumerate(("hang", "drip", "endless_headers"))
    }
    async with aiohttp.ClientSession(headers={"Authorization": "k"}) as session:
        async with serve(SandboxOptions(script=script, latency="0ms", drip_s=30)) as sandbox:
            for number, direction in script:
                body = {"phone_number": number, "direction": direction, **CODECS}
                tasks.append(
                    asyncio.create_task(session.patch(sandbox.base_url + "/v1/sip/config", json=body))
                )
            await sandbox.until_received(len(script))
            sandbox.change({"latency": "60s"})
            tasks.append(asyncio.create_task(session.get(sandbox.base_url + "/v1/sip/numbers")))
            started = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started < 5
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(ended, aiohttp.ClientError)
    gc.collect()  # what was not closed would warn here


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key in one file."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    new = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=me"
    words = [*new.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(words, check=True, capture_output=True)
    certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
    return certificate


async def test_it_serves_https_with_a_certificate_of_ones_own(certificate: Path) -> None:
    """With `tls` the base URL is https, and a client that does not trust the certificate gets nowhere."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    async with sandboxed(tls=server) as client:
        assert client.sandbox.base_url.startswith("https://127.0.0.1:")
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await client.patch()
        assert client.sandbox.received == 0
        heard = await client.patch(ssl=ssl.create_default_context(cafile=str(certificate)))
        assert heard.status == 200
