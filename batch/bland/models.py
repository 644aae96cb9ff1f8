"""The pydantic models of Bland's `PATCH /v1/sip/config`: every documented field, type and value.

Source: the vendor's page "Update Advanced Config". What that page leaves open is accepted; what is
rejected beyond the documented types is only what cannot be meant.

They are typed dictionaries, because a field that is left out must stay left out (the API changes only what
it is sent) and null is no value (the page does not say what one does): a checked body is the body given.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Required
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, with_config
from pydantic_core import PydanticCustomError

# pydantic reads typing's own TypedDict from Python 3.12 on, and brings this one until then.
from typing_extensions import TypedDict

from batch.sealing import MASK

Codec = Literal["PCMU", "PCMA", "G.729", "Opus", "G.722"]
Trigger = Literal["unreachable", "auth_failure", "timeout"]
Transport = Literal["tls", "tcp", "udp"]
Failback = Literal["auto", "manual"]
Direction = Literal["inbound", "outbound"]

#: The largest whole number that every JSON reader keeps exactly.
_LARGEST = 2**53 - 1
#: Part of a host name: anything but blanks and ASCII punctuation other than `-` and `_`.
_LABEL = re.compile(r"[^\s!-,/:-@\[-^`{-~]+")


def shown(value: object) -> str:
    """A value as a message may quote it: short, one line, and nothing that may hold a secret."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value) if abs(value) < 1e18 else "a far larger number"
        case str():
            if "://" in value or "@" in value:
                return "a text that is not shown, since it may hold a secret"
            plain = "".join(
                letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in value
            )
            return f'"{plain[:40]}…"' if len(plain) > 40 else f'"{plain}"'
        case list() | tuple():
            return "a list"
        case Mapping():
            return "an object"
        case _:
            return f"a {type(value).__name__}"


def _fault(kind: str, text: str) -> PydanticCustomError:
    # The text goes in as a value: a brace in it is not a placeholder.
    return PydanticCustomError(f"payload.{kind}", "{text}", {"text": text})


def _host(value: str) -> str:
    """Reject what names no host: blanks, URLs, a port or a user in it, a number that is no address."""
    if not value:
        raise _fault("host", "is empty: it must be the name or address of a SIP server")
    if _is_address(value[1:-1] if value.startswith("[") and value.endswith("]") else value):
        return value
    if value.lower().startswith(("sip:", "sips:")) or "/" in value or "@" in value:
        raise _fault("host", "must be a bare name or address, without sip:, a user or a path")
    name, colon, port = value.partition(":")
    if colon and port.isdecimal():
        raise _fault("host", f"{shown(value)} holds a port: write {shown(name)} here, and the port in port")
    labels = value.removesuffix(".").split(".")
    if len(value) > 253 or not value.isprintable() or not all(_LABEL.fullmatch(label) for label in labels):
        raise _fault("host", f"{shown(value)} is neither the name nor the address of a host")
    if labels[-1].isdecimal():
        raise _fault("host", f"{shown(value)} looks like an IP address, and is none")
    return value


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _webhook(value: str) -> str:
    """Reject what is no http(s) URL. The URL may be a secret, so no message quotes it."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not value.isprintable() or " " in value:
        text = "is no http(s) URL: it must look like https://hooks.example.com/alerts"
        raise _fault("webhook", f"{text} (what is there is not shown)")
    if MASK in value:
        text = f"is a URL as reports show it, with {MASK} for what is secret: put the real one there"
        raise _fault("masked_webhook", text)
    return value


def _distinct(codecs: list[str]) -> list[str]:
    twice = sorted({codec for codec in codecs if codecs.count(codec) > 1})
    if twice:
        text = f"names {', '.join(twice)} more than once: a codec has one place in the order"
        raise _fault("duplicate_codec", text)
    return codecs


Host = Annotated[str, AfterValidator(_host), Field(json_schema_extra={"minLength": 1, "maxLength": 253})]
Webhook = Annotated[str, AfterValidator(_webhook), Field(json_schema_extra={"format": "uri"})]
Codecs = Annotated[list[Codec], AfterValidator(_distinct), Field(json_schema_extra={"uniqueItems": True})]
Port = Annotated[int, Field(ge=1, le=65535)]
Priority = Annotated[int, Field(ge=0, le=_LARGEST)]
Amount = Annotated[float, Field(ge=0, le=_LARGEST, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
E164 = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{1,14}$")]


def _tidy(schema: dict[str, Any]) -> None:
    """Titles say nothing to the person whose editor shows this schema."""
    schema.pop("title", None)
    for field in schema.get("properties", {}).values():
        field.pop("title", None)


#: Types as JSON has them: no text for a number, no 1 for true; and no field but the documented ones.
_STRICT = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True, json_schema_extra=_tidy)


@with_config(_STRICT)
class Endpoint(TypedDict, total=False):
    """A SIP server that calls go to when the main one cannot take them."""

    host: Required[Host]
    """Name or address of the SIP server, without scheme and port."""
    port: Port
    """Port of the SIP server; Bland's signalling takes 5061 only."""
    transport: Transport
    """Transport to the SIP server; Bland's signalling takes tls only."""
    priority: Priority
    """Place of the endpoint among the others."""


@with_config(_STRICT)
class FailoverConfig(TypedDict, total=False):
    """Where calls go when the SIP server cannot take them, and when they come back."""

    enabled: bool
    """Whether failover happens at all."""
    endpoints: list[Endpoint]
    """The backup SIP servers."""
    triggers: list[Trigger]
    """What makes calls fail over."""
    failback: Failback
    """Whether calls return by themselves (auto) or when an operator says so (manual)."""


@with_config(_STRICT)
class CodecConfig(TypedDict, total=False):
    """Which audio codecs are offered, in order."""

    codecs: Codecs
    """The codecs offered, the preferred one first, spelled just so."""
    transcode: bool
    """Whether audio is transcoded where the two sides share no codec."""


@with_config(_STRICT)
class Thresholds(TypedDict, total=False):
    """What is bad enough to alert somebody."""

    unreachable_minutes: Amount
    """Minutes without contact."""
    failure_rate_percent: Percent
    """Share of failures, 0 to 100."""
    failure_rate_window_minutes: Amount
    """Minutes over which the share of failures is taken."""
    response_time_ms: Amount
    """Response time in milliseconds."""


@with_config(_STRICT)
class Channels(TypedDict, total=False):
    """How alerts reach somebody."""

    email: bool
    """Whether alerts go out by e-mail."""
    sms: bool
    """Whether alerts go out by SMS."""
    webhook: Webhook
    """The http(s) URL that alerts are posted to."""


@with_config(_STRICT)
class AlertConfig(TypedDict, total=False):
    """Who is told when the trunk is in trouble."""

    enabled: bool
    """Whether alerts are sent at all."""
    thresholds: Thresholds
    """What is bad enough to alert somebody."""
    channels: Channels
    """How alerts reach somebody."""


@with_config(_STRICT)
class ConfigBlocks(TypedDict, total=False):
    """The config blocks; only those that are given change."""

    failover_config: FailoverConfig
    """Where calls go when the SIP server cannot take them."""
    codec_config: CodecConfig
    """Which audio codecs are offered, in order."""
    alert_config: AlertConfig
    """Who is told when the trunk is in trouble."""


@with_config(_STRICT)
class PatchBody(ConfigBlocks, total=False):
    """The whole body of one call: one number, one direction, its blocks."""

    phone_number: Required[E164]
    """The number in E.164 form."""
    direction: Required[Direction]
    """Which side of the number is configured."""
