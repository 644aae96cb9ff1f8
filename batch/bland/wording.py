"""Make one short, harmless line of what a server says: no control characters, no secrets."""

from __future__ import annotations

import re
from html import unescape

#: How long a message in the report may be, in characters.
LONGEST = 300
#: What stands where something was that may be a secret.
MASK = "***"

#: A URL beyond its host, and a user in it: the paths and queries of webhooks are secrets.
_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{1,15}://)(?:[^\s/@\"'<>]*@)?([^\s/?#\"'<>@]+)[/?#][^\s\"'<>]*")
_USER = re.compile(r"(?i)\b(sips?:|[a-z][a-z0-9+.-]{1,15}://)[^\s/@\"'<>]+@")
_SCHEME = re.compile(r"(?i)\b(bearer|basic)\s+[^\s\"',;]{6,}")
_NAMED = re.compile(
    r"(?i)\b((?:api[-_ ]?)?key|token|secret|password|authorization)(\"?\s*[:=]\s*\"?)[^\s\"',;]{4,}"
)
_QUOTED = re.compile(r"(?i)\b(api[-_ ]?key|token|secret|password)(\s+[\"'`])[^\s\"'`]{4,}")
_PREFIXED = re.compile(r"\b(?:sk|pk|rk|org|key|tok|api)[-_](?=[A-Za-z0-9_-]*[0-9])[A-Za-z0-9_-]{12,}")
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*")
_LONG = re.compile(r"(?<![A-Za-z0-9_+-])(?=[A-Za-z_+-]*[0-9])(?=[0-9_+-]*[A-Za-z])[A-Za-z0-9_+-]{32,}=*")
_UUID = re.compile(r"(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TITLE = re.compile(r"(?is)<(title|h1)\b[^>]{0,200}>(.{0,400}?)</\1")


def one_line(text: str, longest: int = LONGEST) -> str:
    """The text as one line of at most `longest` characters, with what looks like a secret masked."""
    # What is cut off here would not be shown; a megabyte need not be searched.
    plain = "".join(letter if letter.isprintable() else " " for letter in text[: longest * 20])
    line = mask(" ".join(plain.split()))
    return line if len(line) <= longest else line[: longest - 1] + "…"


def mask(text: str) -> str:
    """The text with URLs cut to their host, and with what looks like a key or a token replaced."""
    text = _URL.sub(rf"\1\2/{MASK}", text)
    text = _USER.sub(rf"\1{MASK}@", text)
    text = _SCHEME.sub(rf"\1 {MASK}", text)
    text = _NAMED.sub(rf"\1\2{MASK}", text)
    text = _QUOTED.sub(rf"\1\2{MASK}", text)
    text = _PREFIXED.sub(MASK, text)
    text = _JWT.sub(MASK, text)
    return _LONG.sub(lambda found: found[0] if _UUID.fullmatch(found[0]) else MASK, text)


def looks_like_html(text: str) -> bool:
    """Whether a body is a page for people."""
    start = text[:1000].lstrip("\ufeff \t\r\n").lower()
    return start.startswith(("<!doctype", "<html", "<head", "<body", "<!--", "<?xml", "<h1", "<center"))


def title_of(page: str) -> str:
    """The title or first heading of an HTML page; empty if it has none."""
    found = _TITLE.search(page[:20_000])
    return one_line(unescape(re.sub(r"<[^>]*>", " ", found[2])), 100) if found else ""
