"""Makes the pictures of README and docs, out of real runs against the embedded sandbox.

    make pictures              (or some of them: python docs/pictures/make_pictures.py terminal page)

Everything in them is made up: numbers with 555-01xx, hosts under example.com. It needs tmux for the terminal,
LibreOffice and pdftoppm for the workbook, and Chromium for the page; `make pictures` says how to get them.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from openpyxl import load_workbook
from openpyxl.worksheet.properties import PageSetupProperties
from PIL import Image, ImageChops
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SIPBATCH = f"{shlex.quote(sys.executable)} -m batch"

#: No picture is larger than this, so that a page with several of them still opens at once.
MOST_BYTES = 300_000

#: The fonts of a reader's own machine: one that is loaded from elsewhere is none where that is barred.
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"


# --- a real terminal --------------------------------------------------------------------------------


class Terminal:
    """A shell in a tmux of its own, in a folder with the samples, as an operator sees it."""

    def __init__(self, folder: Path, *, columns: int, rows: int) -> None:
        self.columns = columns
        self._socket = f"sipbatch-pictures-{os.getpid()}"
        # The shell's own files would bring a prompt with names of this machine.
        shell = "env -i " + " ".join(
            f"{name}={shlex.quote(value)}"
            for name, value in {
                "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(folder),
                "TERM": "xterm-256color",
                "LANG": "C.UTF-8",
                "PS1": "$ ",
            }.items()
        )
        size = ("-x", str(columns), "-y", str(rows))
        self._tmux("-f", os.devnull, "new-session", "-d", *size, "-c", str(folder), f"{shell} bash --norc -i")
        self.wait_for(r"^\$")

    def type(self, text: str) -> None:
        """Type a line."""
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def press(self, key: str) -> None:
        """Press a key, such as C-c."""
        self._tmux("send-keys", key)

    def screen(self) -> list[str]:
        """What is to be seen, line by line, without the blank ones below."""
        shown = self._tmux("capture-pane", "-p")
        return shown.rstrip().splitlines()

    def wait_for(self, pattern: str, *, longest_s: float = 60.0) -> list[str]:
        """Wait until this is to be seen, and return all that is."""
        for _ in range(int(longest_s * 20)):
            screen = self.screen()
            if re.search(pattern, "\n".join(screen), re.MULTILINE):
                return screen
            time.sleep(0.05)
        raise SystemExit(f"The terminal never showed {pattern}:\n" + "\n".join(self.screen()))

    def close(self) -> None:
        """End the shell and what runs in it."""
        self._tmux("kill-server")

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._socket, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout


def svg(screen: list[str], *, columns: int, title: str) -> str:
    """A terminal with these lines as an SVG that needs nothing from elsewhere."""
    console = Console(
        record=True, width=columns, file=io.StringIO(), force_terminal=True, legacy_windows=False
    )
    for line in screen:
        text = Text(line, no_wrap=True, overflow="crop")
        if line.startswith("$ "):
            text.stylize("bold green", 0, 1)
            text.stylize("bold", 2)
        console.print(text, soft_wrap=True)
    made = console.export_svg(title=title, theme=MONOKAI, unique_id="sipbatch")
    made = re.sub(r"@font-face \{.*?\}\s*", "", made, flags=re.DOTALL)
    return re.sub(r"font-family: [^;]+;", f"font-family: {FONTS};", made)


@contextmanager
def desk() -> Iterator[Path]:
    """A folder with the samples and the command in it; nothing in it says where it is."""
    with tempfile.TemporaryDirectory(prefix="sipbatch-pictures-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        for name in ("templates", "sample_csvs"):
            shutil.copytree(ROOT / name, folder / name)
        (folder / "bin").mkdir()
        command = folder / "bin" / "sipbatch"
        command.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {SIPBATCH} "$@"\n')
        command.chmod(0o755)
        yield folder


@contextmanager
def terminal(folder: Path, *, columns: int, rows: int) -> Iterator[Terminal]:
    """A terminal in the folder, for as long as the block lasts."""
    opened = Terminal(folder, columns=columns, rows=rows)
    try:
        yield opened
    finally:
        opened.close()


def terminal_picture() -> None:
    """A run with a canary, from the command to the report and what to do about what failed."""
    with desk() as folder, terminal(folder, columns=116, rows=60) as shown:
        shown.type(
            "sipbatch run sample_csvs/carrier_migration.csv --sandbox --sandbox-fault 404=0.02 --canary 20 "
            "--rate 50/s"
        )
        shown.wait_for(r"about 7 s\? \[y/N\]")
        shown.type("y")
        shown.wait_for(r"Go on with .* \[y/N\]")
        shown.type("y")
        screen = shown.wait_for(r"What to do next:[\s\S]*^\$$")
    write("terminal.svg", svg(screen[:-1], columns=shown.columns, title="sipbatch").encode())


def watch_picture() -> None:
    """`status --watch` from another terminal, while a run waits for an API that asked it to."""
    with desk() as folder, terminal(folder, columns=100, rows=24) as shown:
        trouble = "--sandbox-fault 404=0.02 --sandbox-limit 30/s"
        shown.type(
            f"sipbatch run {sheet(folder)} --yes --quiet --rate 40/s --sandbox {trouble} 2>/dev/null & clear"
        )
        shown.wait_for(r"^\$")
        wait_until(lambda: (folder / "sipbatch-runs" / "journal.db").exists())
        shown.type("clear; sipbatch status --watch 0.5")
        screen = shown.wait_for(r"[3-9][0-9]%[\s\S]*waiting.*: the API asked to wait[\s\S]*failed so far")
        shown.press("C-c")
        shown.type("kill %1; wait")
        shown.wait_for(r"wait\n[\s\S]*^\$$")
    lines = ["$ sipbatch status --watch 0.5", *(line for line in screen if not line.startswith("$"))]
    write("watch.svg", svg(lines, columns=shown.columns, title="another terminal").encode())


# --- the workbook and the page ----------------------------------------------------------------------


def sheet(folder: Path, name: str = "night.csv", *, rows: int = 1200) -> str:
    """A sheet of made-up numbers in several countries: a night's work."""
    areas = [
        *((f"1{area}555", "us", 100) for area in (206, 212, 303, 312, 404, 415, 512, 617, 702, 808)),
        ("442079460", "uk", 100),
        ("3319900", "fr", 100),
    ]
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["phone_number", "template", "site", "backup_host", "customer"])
        lines = [
            (f"+{prefix}{number:0{len('14155550100') - len(prefix)}d}", site)
            for prefix, site, count in areas
            for number in range(100, 100 + count)
        ]
        for nth, (number, site) in enumerate(lines[:rows]):
            template = "carrier-migration+codecs" if nth % 4 == 0 else "carrier-migration"
            host = f"backup.{site}.sip.example.com"
            writer.writerow([number, template, site, host, f"customer {nth // 40 + 1}"])
    return name


#: What goes wrong in the night that workbook and page tell of.
TROUBLE = (
    "--sandbox-seed 5 --sandbox-latency 30ms..120ms --sandbox-limit 50/s --sandbox-fault 404=0.012 "
    "--sandbox-fault 503=0.003 --sandbox-fault 400=0.004 --sandbox-fault 500=0.01"
)


@contextmanager
def night() -> Iterator[Path]:
    """The folder of a report on a night in which a few things went wrong."""
    with desk() as folder:
        name = sheet(folder)
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write("+141,carrier-migration,us,backup.us.sip.example.com,customer 31\n")
            file.write("1.41556E+10,carrier-migration,us,backup.us.sip.example.com,customer 31\n")
        run = f"bin/sipbatch run {name} --yes --skip-rejects --quiet --sandbox --rate 60/s {TROUBLE}"
        ended = subprocess.run(shlex.split(run), cwd=folder, capture_output=True, text=True)
        if ended.returncode != 3:
            raise SystemExit(f"The night did not go as it should:\n{ended.stderr}")
        formats = ("--format", "xlsx", "--format", "html", "--output", "report", "--quiet")
        subprocess.run(["bin/sipbatch", "report", *formats], cwd=folder, check=True)
        yield folder / "report"


def workbook_pictures() -> None:
    """The summary and the results, as LibreOffice shows them."""
    with night() as report:
        book = load_workbook(report / "results.xlsx")
        for worksheet in book:
            # Printed as wide as it is: on paper it would be cut into hundreds of pages.
            worksheet.page_setup.orientation = "landscape"
            worksheet.page_setup.fitToWidth, worksheet.page_setup.fitToHeight = 1, 0
            worksheet.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
        book["Summary"].print_area = "A1:F40"
        book["Results"].print_area = "A1:K31"
        book.save(report / "wide.xlsx")
        pages = printed(report / "wide.xlsx")
        write("workbook-summary.png", png(cropped(pages[0]), width=1600))
        write("workbook-results.png", png(cropped(pages[1]), width=1300))


def printed(book: Path) -> list[Image.Image]:
    """The pages of a workbook."""
    profile = f"-env:UserInstallation=file://{book.parent / 'profile'}"
    office = [
        "soffice",
        profile,
        "--headless",
        "--convert-to",
        "pdf",
        "--outdir",
        str(book.parent),
        str(book),
    ]
    subprocess.run(office, check=True, capture_output=True, timeout=180)
    pdf = book.with_suffix(".pdf")
    subprocess.run(["pdftoppm", "-r", "220", "-png", str(pdf), str(book.parent / "page")], check=True)
    return [Image.open(path) for path in sorted(book.parent.glob("page-*.png"))]


def page_picture() -> None:
    """The upper part of the page, as Chromium shows it."""
    with night() as report:
        shot = report / "page.png"
        browser = next(filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
        options = ["--headless=new", "--disable-gpu", "--hide-scrollbars", "--window-size=1180,1390"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        address = (report / "report.html").as_uri()
        command = [
            browser,
            *options,
            f"--user-data-dir={report / 'profile'}",
            f"--screenshot={shot}",
            address,
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=180)
        write("page.png", png(Image.open(shot), width=1180))


def cropped(picture: Image.Image, *, margin: int = 20) -> Image.Image:
    """The picture without the white around it."""
    white = Image.new("RGB", picture.size, "white")
    box = ImageChops.difference(picture.convert("RGB"), white).getbbox()
    assert box is not None
    left, top, right, bottom = box
    return picture.crop((left - margin, top - margin, right + margin, bottom + margin))


def png(picture: Image.Image, *, width: int) -> bytes:
    """A small PNG of this width, in as few colours as do."""
    height = round(picture.height * width / picture.width)
    scaled = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    scaled.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        buffer, "PNG", optimize=True
    )
    return buffer.getvalue()


# --- the script -------------------------------------------------------------------------------------


def wait_until(is_so: Callable[[], bool], *, longest_s: float = 60.0) -> None:
    """Wait until something is so."""
    for _ in range(int(longest_s * 20)):
        if is_so():
            return
        time.sleep(0.05)
    raise SystemExit("It never came to what the picture shows.")


def write(name: str, content: bytes) -> None:
    """Keep a picture, if it is small enough."""
    if len(content) > MOST_BYTES:
        raise SystemExit(f"{name} would have {len(content):,} bytes; {MOST_BYTES:,} are enough.")
    (HERE / name).write_bytes(content)
    sys.stdout.write(f"{name}: {len(content):,} bytes\n")


PICTURES = {
    "terminal": terminal_picture,
    "watch": watch_picture,
    "workbook": workbook_pictures,
    "page": page_picture,
}


def main() -> None:
    """Make those that are named, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(PICTURES)}; all if left out")
    names = parser.parse_args().names
    for name in names:
        if name not in PICTURES:
            parser.error(f"there is no picture {name}")
    for name in names or PICTURES:
        PICTURES[name]()


if __name__ == "__main__":
    main()
