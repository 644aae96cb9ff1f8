"""The address of the API: read, checked, and refused where the key would be sent in clear."""

from __future__ import annotations

import ipaddress
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx

from batch.errors import UsageError

#: A host as a URL writes it, names in other scripts converted; an address of version 6 has colons.
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the API is. `url` is the base URL as keys carry it: no default port, no slash at its end."""

    url: str
    host: str
    port: int
    is_https: bool

    @property
    def host_and_port(self) -> str:
        """As messages name it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(base_url: str) -> Address:
    """The address in a base URL.

    `UsageError` if it is none, if it holds what does not belong there (a user, a query), or if it is not
    https and leads out of this machine. No message shows the URL: it may hold a password.
    """
    try:
        url = httpx.URL(base_url.strip())
    except (httpx.InvalidURL, ValueError):
        raise UsageError("The base URL is no URL: it must look like https://api.bland.ai.") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise UsageError("The base URL must begin with https:// and name a host, like https://api.bland.ai.")
    host = url.raw_host.decode("ascii")
    if not (_HOST.fullmatch(host) or ":" in host) or not 0 < (url.port or 443) < 65536:
        raise UsageError("The base URL names no host, or a port that cannot be: check it.")
    if url.userinfo:
        raise UsageError(
            "The base URL holds a user or a password: take it out; the API key is not part of it."
        )
    if url.query or url.fragment:
        raise UsageError("The base URL has a ? or a # in it: end it before that.")
    path = url.path.rstrip("/")
    if "v1" in path.split("/"):
        raise UsageError("The base URL must end before /v1, like https://api.bland.ai.")
    is_https = url.scheme == "https"
    if not is_https and not is_loopback(url.host):
        raise UsageError(
            f"The base URL of {url.host} is not https: the API key would be sent in clear. Use https:// "
            "(http:// is taken for this machine alone, such as http://127.0.0.1:8080)."
        )
    origin = f"{url.scheme}://{url.netloc.decode('ascii')}"
    return Address(f"{origin}{path}", url.host, url.port or (443 if is_https else 80), is_https)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def tls_context(ca_bundle: Path | None) -> ssl.SSLContext:
    """What verifies the server: the CA bundle given, else `SSL_CERT_FILE`, `SSL_CERT_DIR`, or certifi's list.

    `UsageError` if the bundle cannot be used. There is no way to switch verification off.
    """
    try:
        if ca_bundle is None:
            return httpx.create_ssl_context()
        if ca_bundle.is_dir():
            return ssl.create_default_context(capath=ca_bundle)
        return ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        name = f"The CA bundle {ca_bundle}" if ca_bundle else "The CA bundle that SSL_CERT_FILE names"
        raise UsageError(f"{name} cannot be used: {error.strerror or 'it holds no certificate'}.") from None
