"""The pictures in README and docs: there, small, described, and silent about the machine that made them."""

from __future__ import annotations

import re
import socket
import struct
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

#: So large a picture is read as soon as its page is.
MOST_BYTES = 300_000


def shown() -> list[tuple[Path, str, str]]:
    """Every picture that a page shows: the page, the words for it, and where it is."""
    return [
        (page, alt, place)
        for page in PAGES
        for alt, place in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    ]


def test_every_picture_is_there_and_described() -> None:
    """Whoever does not see it is told what it shows."""
    assert shown()
    for page, alt, place in shown():
        assert (page.parent / place).is_file(), f"{page.name}: {place}"
        assert len(alt) > 60, f"{page.name}: {place}"


def test_every_picture_is_shown() -> None:
    """None is kept for nothing: terminal, workbook and page are all there."""
    kept = {path.resolve() for path in PICTURES.iterdir() if path.suffix in (".svg", ".png")}
    assert kept == {(page.parent / place).resolve() for page, _, place in shown()}


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.[sp][vn]g")), ids=lambda path: path.name)
def test_pictures_are_small(path: Path) -> None:
    """A page with all of them opens at once, also over a phone."""
    assert 2_000 < path.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.svg")), ids=lambda path: path.name)
def test_terminal_tells_nothing_of_the_machine(path: Path) -> None:
    """No path of it, no name of it, and nothing that is loaded from elsewhere."""
    text = path.read_text(encoding="utf-8")
    words = re.sub(r"<[^>]+>", " ", text).replace("&#160;", " ")
    assert "sipbatch" in words
    assert re.findall(r"(?:^|\s)/[a-z][\w/-]+", words) == []
    assert socket.gethostname() not in words
    assert re.findall(r"url\((?!#)|@import|<image|href=", text) == []


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.png")), ids=lambda path: path.name)
def test_pictures_have_nothing_but_the_picture(path: Path) -> None:
    """No comment, time or name of a program is in the file: only what is to be seen."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    at, kinds = 8, set()
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kinds.add(content[at + 4 : at + 8])
        at += length + 12
    assert kinds <= {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"}
