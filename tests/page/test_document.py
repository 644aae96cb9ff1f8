"""Promises of `batch.page.document`: one small file that tells all and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import re
import stat
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import pytest

from batch.errors import UsageError
from batch.journal.events import Event
from batch.journal.memory import MemoryJournal
from batch.journal.protocol import AttemptRow, Counts, Journal, NewRun, ResultRow
from batch.journal.sqlite import SqliteJournal
from batch.page import document as page
from batch.page import drawing as page_drawing
from batch.page.document import headline
from batch.page.table import MOST_LINES
from batch.plans import CellChunk, Problem, Warned
from batch.report.causes import SANDBOX
from batch.report.summary import CountsPart, Summary, summarise
from batch.reporting import check_report, write_report
from batch.states import RequestState, StopReason
from batch.target import Outcome, Verdict
from tests.page_runs import broken_night, night_run
from tests.report_runs import (
    MIXED,
    NO_KEY,
    START,
    SUCCEEDED,
    Draft,
    Step,
    assert_conserved,
    create,
    mixed_draft,
    mixed_run,
    play,
)

#: What a page that is 10,000 rows long may weigh.
MOST_BYTES = 3_000_000

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "{{7*7}}{% raw %}",
    "\u202egnp.exe",
    '" onmouseover="alert(1)',
    "]]>&lt;&amp;",
    "\x00\x1b[31m",
)


class Parsed(HTMLParser):
    """A page taken apart: its tags with their attributes, its text, and what is in scripts and styles."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._open = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in self.raw:
            self.raw[self._open][-1] += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """What is to be read, in order, with single spaces."""
        return " ".join(" ".join(self.texts).split())

    @property
    def data(self) -> dict[str, Any]:
        """The table of results."""
        table: dict[str, Any] = orjson.loads(self.raw["script"][0])
        return table


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    journal: Journal = (
        MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal.db")
    )
    yield journal
    journal.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "run"


def written(journal: Journal, run_id: str, folder: Path) -> Parsed:
    """The page of a run, written and taken apart."""
    report = write_report(journal, run_id, folder, formats=["html"])
    return Parsed(report.paths[page.NAME])


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, Parsed]:
    """A night with everything in it: its summary and its page."""
    journal = MemoryJournal()
    run_id = night_run(journal, 2_200)
    return summarise(journal, run_id), written(journal, run_id, tmp_path_factory.mktemp("night"))


# --- one file ---------------------------------------------------------------------------------------


def test_it_is_a_file_of_the_report(journal: Journal, folder: Path) -> None:
    """It is named in summary and manifest, only its owner can read it, and `--check` finds a changed byte."""
    run_id = mixed_run(journal)
    report = write_report(journal, run_id, folder, formats=["html"])
    path = report.paths["report.html"]
    assert "report.html" in report.summary.files
    assert "report.html" in orjson.loads((folder / "manifest.json").read_bytes())["files"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert_conserved(journal, run_id, folder)
    path.write_text(path.read_text(encoding="utf-8").replace("succeeded", "Succeeded", 1), encoding="utf-8")
    assert check_report(journal, run_id, folder) == [f"{path}: was changed after it was written"]


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    """Whichever journal, and however often it is written: nothing of the moment of writing is in it."""
    pages = []
    with_sqlite = SqliteJournal(tmp_path / "journal.db")
    for name, journal in (("a", MemoryJournal()), ("b", with_sqlite), ("c", MemoryJournal())):
        run_id = mixed_run(journal)
        write_report(journal, run_id, tmp_path / name, formats=["html"])
        pages.append((tmp_path / name / page.NAME).read_bytes())
    with_sqlite.close()
    assert pages[0] == pages[1] == pages[2]


def test_nothing_is_loaded_from_anywhere(journal: Journal, folder: Path) -> None:
    """No tag names another file but the link to results.csv, and no style or script names an address."""
    parsed = written(journal, night_run(journal, 300), folder)
    loading = {"src", "srcset", "href", "xlink:href", "action", "formaction", "data", "poster", "background"}
    named = {value for _, attributes in parsed.tags for name, value in attributes.items() if name in loading}
    assert {value for value in named if value and not value.startswith("#")} == {"results.csv"}
    assert not {tag for tag, _ in parsed.tags} & {"link", "base", "iframe", "object", "embed", "img", "image"}
    assert not re.search(r"url\(|@import|https?:", parsed.raw["style"][0])
    assert re.findall(r"https?://[^\"]+", parsed.raw["script"][1]) == ["http://www.w3.org/2000/svg"]


def test_only_its_own_style_and_script_may_run(journal: Journal, folder: Path) -> None:
    """The policy allows two digests and nothing else, and they are those of what is in the page."""
    parsed = written(journal, mixed_run(journal), folder)
    policy = next(a["content"] for t, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in (policy or "").split("; "))
    digests = {
        name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in (("style", parsed.raw["style"][0]), ("script", parsed.raw["script"][1]))
    }
    assert rules == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digests['style']}'",
        "script-src": f"'sha256-{digests['script']}'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    attributes = {name for _, attributes in parsed.tags for name in attributes}
    assert not {name for name in attributes if name.startswith("on") or name == "style"}


def test_the_script_makes_no_markup_out_of_text() -> None:
    """Nothing in the script could turn a cell into markup or code, whatever the policy."""
    script = files("batch").joinpath("page", "files", "page.js").read_text(encoding="utf-8")
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", script)


# --- what it tells ------------------------------------------------------------------------------------


COUNTS = CountsPart(10, 10, 10, 0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (COUNTS, "All 10 requests succeeded."),
        (replace(COUNTS, rejected=1), "All 10 requests succeeded, and 1 row was rejected."),
        (replace(COUNTS, requests=1, succeeded=1), "The one request succeeded."),
        (replace(COUNTS, requests=12, skipped=2), "All 10 requests succeeded."),
        (replace(COUNTS, succeeded=7, failed=3), "7 of 10 requests succeeded; 3 failed."),
        (
            replace(COUNTS, succeeded=6, failed=3, unknown=1, rejected=2),
            "6 of 10 requests succeeded; 3 failed and 1 may or may not have been applied."
            " 2 rows were rejected.",
        ),
        (
            replace(COUNTS, succeeded=4, failed=1, unknown=2, pending=1, retrying=1, in_flight=1),
            "4 of 10 requests succeeded; 1 failed, 2 may or may not have been applied and 3 are still to be"
            " sent.",
        ),
        (replace(COUNTS, succeeded=9, pending=1), "9 of 10 requests succeeded; 1 is still to be sent."),
        (
            replace(COUNTS, succeeded=0, skipped=10),
            "Nothing had to be sent: every request was a duplicate or unchanged.",
        ),
        (
            replace(COUNTS, requests=0, succeeded=0, rejected=3),
            "Nothing could be sent: 3 rows were rejected.",
        ),
        (replace(COUNTS, requests=0, succeeded=0), "There was nothing to send."),
    ],
)
def test_the_headline_hides_nothing(counts: CountsPart, said: str) -> None:
    """Success is said of all only if it was all; everything else is counted in the same sentence."""
    journal = MemoryJournal()
    summary = summarise(journal, mixed_run(journal))
    assert headline(replace(summary, counts=counts)) == said


def test_every_part_of_a_night_is_told(night: tuple[Summary, Parsed]) -> None:
    """Counts, commands, causes, pauses, outage, canary, rejects and warnings of a run are all in its page."""
    summary, parsed = night
    said = [(cause.title, cause.command) for cause in summary.causes]
    said.append((summary.next_steps[-1].text, summary.next_steps[-1].command))
    assert [pair for pair in said if pair[0] not in parsed.text or pair[1] not in parsed.text] == []
    told = ("Sending began", "Canary passed", "Told to wait", "Outage", "HTTP 502 Bad Gateway", "Completed")
    assert [title for title in told if title not in parsed.text] == []
    assert [
        p.message for p in (*summary.rejects, *summary.warnings) if p.message[1:] not in parsed.text
    ] == []
    by = ("Failures by cause", "Failures by template", "Failures by direction", "Failures by country")
    assert [
        name for name in (*by, "How long answers took", "Sends a second") if name not in parsed.text
    ] == []


def test_why_comes_before_when(night: tuple[Summary, Parsed]) -> None:
    """What to do and the causes come right after what happened; the course of the night comes after them."""
    text = night[1].text
    order = (
        "What to do",
        "causes explain",
        "were rejected before",
        "Sends a second",
        "How long answers took",
    )
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_page_and_summary_say_one_rate(night: tuple[Summary, Parsed]) -> None:
    """The page has the same sends a second as summary.json and the terminal."""
    summary, parsed = night
    assert summary.sending.sends_per_s is not None
    assert f"Sends a second {summary.sending.sends_per_s:.3g}" in " ".join(parsed.text.split())


def test_a_run_that_was_over_at_once_has_no_course(journal: Journal, folder: Path) -> None:
    """One bar over time would say nothing; what happened is told all the same."""
    draft = Draft()
    draft.sheet("numbers.csv", "phone_number", "direction", "template")
    for row in range(2, 6):
        draft.row(row, f"+1415555010{row}", "outbound", "voice").request(14155550100 + row)
    run_id = create(journal, draft.plan())
    play(journal, run_id, dict.fromkeys(range(4), SUCCEEDED))
    parsed = written(journal, run_id, folder)
    assert "What happened" in parsed.text
    assert 'aria-label="Sends a second over time' not in (folder / page.NAME).read_text(encoding="utf-8")


def test_counts_of_what_failed_lead_to_their_lines(journal: Journal, folder: Path) -> None:
    """The counts of failed, unknown and rejected are links that choose just those lines of the table."""
    parsed = written(journal, mixed_run(journal), folder)
    text = (folder / page.NAME).read_text(encoding="utf-8")
    found = re.findall(r'<dd><a href="#results\?state=(\d+)">(\d+)</a></dd>', text)
    states = parsed.data["states"]
    assert {states[int(state)]: int(count) for state, count in found} == {
        "failed": 4,
        "unknown": 1,
        "rejected": 2,
    }


def test_a_rehearsal_is_called_one(folder: Path) -> None:
    """Who is handed the page of a run against the embedded sandbox reads that nothing real was changed."""
    journal = MemoryJournal()
    run_id = journal.create_run(mixed_draft().plan(), NewRun(SANDBOX, START - 5, version="1.2.3"))
    play(journal, run_id, MIXED, reason=StopReason.DONE)
    assert "sent to the embedded sandbox: nothing real was changed." in written(journal, run_id, folder).text


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_bars_stand_out_from_the_paper(scheme: int) -> None:
    """Every colour that means something has the contrast of 3 that WCAG 2.2 (1.4.11) asks of graphics."""
    style = files("batch").joinpath("page", "files", "page.css").read_text(encoding="utf-8")
    pairs = dict(re.findall(r"--([a-z]+): light-dark\(([^)]+)\)", style))
    meant = ("succeeded", "failed", "unknown", "skipped", "left", "rejected", "wait", "accent", "control")
    paper, *shown = (luminance(pairs[name].split(",")[scheme].strip()) for name in ("paper", *meant))
    contrasts = [(max(one, paper) + 0.05) / (min(one, paper) + 0.05) for one in shown]
    assert [name for name, contrast in zip(meant, contrasts, strict=True) if contrast < 3] == []


def test_a_run_that_halted_says_why(folder: Path) -> None:
    """The reason stands under the headline, and what is left to do comes first."""
    journal = MemoryJournal()
    parsed = written(journal, broken_night(journal, 1_500), folder)
    assert "The run stopped before its end. 31 of 600 ended requests failed" in parsed.text
    assert parsed.text.index("sipbatch resume") < parsed.text.index("Deal with the")


def test_refused_credentials(journal: Journal, folder: Path) -> None:
    """A run that was stopped at its first answer has a page too, and says what stopped it."""
    run_id = create(journal, mixed_draft().plan())
    refused: dict[int, tuple[Step, ...]] = {0: ((RequestState.PENDING, NO_KEY),)}
    play(journal, run_id, refused, reason=StopReason.CREDENTIALS, message="the API refused the credentials")
    assert "The API refused the credentials." in written(journal, run_id, folder).text


@pytest.mark.parametrize("begins", [False, True])
def test_a_run_without_answers(journal: Journal, folder: Path, *, begins: bool) -> None:
    """A run that was only planned, or that is under way and has no answer yet, has a page without figures."""
    run_id = create(journal, mixed_draft().plan())
    if begins:
        journal.begin(run_id, START)
    parsed = written(journal, run_id, folder)
    assert ("Under way since" in parsed.text, "not started" in parsed.text) == (begins, not begins)
    assert "0 of 10 requests succeeded; 10 are still to be sent." in parsed.text
    assert len(parsed.data["rows"]["state"]) == 13


def test_a_run_of_rejects_alone(journal: Journal, folder: Path) -> None:
    """A sheet of which nothing could be sent has a page that shows its rows."""
    draft = Draft()
    draft.sheet("numbers.csv", "phone_number", "direction", "template")
    draft.row(2, "nonsense", "", "voice").reject(Problem("phone_number", "no number", "number.not_a_number"))
    run_id = create(journal, draft.plan())
    parsed = written(journal, run_id, folder)
    assert "Nothing could be sent: 1 row was rejected." in parsed.text
    assert parsed.data["rows"]["number"] == ["nonsense"]


# --- the table ----------------------------------------------------------------------------------------


def test_the_table_has_every_line(journal: Journal, folder: Path) -> None:
    """Each request and each reject is in it, in the order of the sheets, in its state, with its cells."""
    parsed = written(journal, mixed_run(journal), folder)
    data = parsed.data
    rows = data["rows"]
    states = [data["states"][state] for state in rows["state"]]
    assert Counter(states) == Counter(succeeded=5, failed=4, unknown=1, skipped=1, rejected=2)
    places = [(data["sheets"][sheet], row) for sheet, row in zip(rows["sheet"], rows["row"], strict=True)]
    assert places[:3] == [("numbers.csv", 2), ("numbers.csv", 3), ("numbers.csv", 3)]
    assert places[-1] == ("book.xlsx#Main", 5)
    customer = data["columns"].index("customer")
    assert data["texts"][rows["own"][customer][0]] == "Möller & Söhne"
    assert data["texts"][rows["note"][0]] == 'was "(415) 555-0100", taken for +14155550100 of the region US'
    assert "all of results.csv" in parsed.text


def test_causes_of_lines_add_up(night: tuple[Summary, Parsed]) -> None:
    """Every failure is under exactly one cause, as many as the cause counts; a reject is under its kinds."""
    summary, parsed = night
    data = parsed.data
    names = [*data["causes"], *data["problems"]]
    found = Counter(names[cause] for causes in data["rows"]["cause"] for cause in causes)
    expected = {cause.title: cause.count for cause in summary.causes}
    assert found == expected | {problem.kind: problem.count for problem in summary.rejects}


def test_at_ten_thousand_rows_it_stays_small(folder: Path) -> None:
    """10,000 rows of many columns, each failed with a message and an id of its own, weigh at most 3 MB."""
    journal = Long(MOST_LINES, is_failing=True)
    parsed = written(journal, journal.run_id, folder)
    assert len(parsed.data["rows"]["state"]) == MOST_LINES
    assert (folder / page.NAME).stat().st_size <= MOST_BYTES


def test_whatever_is_in_it_it_stays_small(folder: Path) -> None:
    """Not even texts that take six bytes a character make it larger: they are cut, and it says so."""
    journal = Long(MOST_LINES, is_failing=True, text="<" * 300)
    parsed = written(journal, journal.run_id, folder)
    assert (folder / page.NAME).stat().st_size <= MOST_BYTES
    assert "Messages are cut at" in parsed.text or "that did not succeed" in parsed.text


def test_beyond_that_it_holds_what_did_not_succeed(folder: Path) -> None:
    """A longer run's table has its failures alone, and the page links to results.csv for the others."""
    journal = Long(MOST_LINES + 1)
    parsed = written(journal, journal.run_id, folder)
    data = parsed.data
    assert {data["states"][state] for state in data["rows"]["state"]} == {"failed"}
    failed = journal.counts(journal.run_id).failed
    assert len(data["rows"]["state"]) == failed
    assert f"{failed:,} lines: all that did not succeed, of 10,001 in results.csv" in parsed.text


def test_memory_does_not_grow_with_rows(folder: Path) -> None:
    """Lines that are not in the table cost a few bytes each, where a line as such is thousands."""

    def peak(rows: int) -> int:
        journal = Long(rows)
        tracemalloc.start()
        try:
            write_report(journal, journal.run_id, folder, formats=["html"], has_charts=False)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(500)  # what is loaded and cached at the first time is not counted
    assert peak(14_000) - peak(11_000) < 3_000 * 300


class Long(MemoryJournal):
    """A journal of as many rows as one likes, which it makes up as it is asked; each 50th has failed."""

    def __init__(
        self, rows: int, *, is_failing: bool = False, text: str = "a message that says much"
    ) -> None:
        super().__init__()
        self._rows = rows
        self._text = text
        self._every = 1 if is_failing else 50
        draft = Draft()
        draft.sheet("numbers.csv", "phone_number", "direction", "template", "customer", "site", "note")
        draft.row(2, *[""] * 6).request(14155500000)
        plan = draft.plan()
        self.run_id = create(self, replace(plan, sheets=(replace(plan.sheets[0], row_count=rows),)))
        play(self, self.run_id, {0: SUCCEEDED})

    def results(self, run_id: str) -> Iterator[ResultRow]:
        (first,) = super().results(run_id)
        for seq in range(self._rows):
            at = START + seq / 50
            row = first._replace(
                seq=seq, row=seq + 2, number=14155500000 + seq, first_sent_at=at, last_sent_at=at
            )
            if seq % self._every:
                yield row
                continue
            yield row._replace(
                state=RequestState.FAILED,
                http_status=404,
                error_code="NOT_FOUND",
                error=f"{seq} {self._text}",
                request_id=f"req_{seq:032x}",
            )

    def attempts(self, run_id: str) -> Iterator[AttemptRow]:
        (first,) = super().attempts(run_id)
        return (first._replace(seq=seq, sent_at=START + seq / 50) for seq in range(self._rows))

    def cells(self, run_id: str) -> Iterator[CellChunk]:
        for start in range(2, self._rows + 2, 500):
            rows = range(start, min(start + 500, self._rows + 2))
            own = [f"{row} {self._text}" for row in rows]
            yield CellChunk.pack(0, rows, [["text"] * len(rows)] * 3 + [own] * 3)

    def counts(self, run_id: str) -> Counts:
        failed = len(range(0, self._rows, self._every))
        return replace(super().counts(run_id), succeeded=self._rows - failed, failed=failed)


# --- hostile content ------------------------------------------------------------------------------------


def hostile_run(journal: Journal, text: str) -> str:
    """A run in which everything that comes from elsewhere is this text."""
    draft = Draft()
    draft.sheet(text, "phone_number", "direction", "template", text)
    outcomes: dict[int, tuple[Step, ...]] = {}
    for index in range(4):
        row = index + 2
        draft.row(row, text, text, text, text).request(14155550100 + index, template=f"{text}{index % 2}")
        outcome = Outcome(
            Verdict.REFUSED,
            http_status=400,
            error_code=f"{text}{index % 2}",
            message=f"{text} {index}",
            request_id=text,
        )
        outcomes[index] = ((RequestState.FAILED, outcome),)
    draft.row(7, text, text, text, text).reject(Problem(text, f"{text}: no", text))
    draft.warnings.append(Warned(text, 1, 0, 2, text, text))
    run_id = create(journal, draft.plan())
    play(journal, run_id, outcomes, reason=None)
    said = {"message": text, "rate": text, "reason": text}
    kinds = ("began", "outage", "outage_over", "template_quarantined", "stopped", text)
    journal.exchange(run_id, events=[Event(START + 70 + at, kind, said) for at, kind in enumerate(kinds)])
    journal.end(run_id, StopReason.SAFETY, START + 90)
    return run_id


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Parsed:
    journal = MemoryJournal()
    return written(journal, hostile_run(journal, "harmless"), tmp_path_factory.mktemp("harmless"))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(folder: Path, harmless: Parsed, text: str) -> None:
    """Whatever a cell, a name or an answer says, the page has the tags that it has for harmless text."""
    journal = MemoryJournal()
    hostile = written(journal, hostile_run(journal, text), folder)
    assert _kinds(hostile) <= _kinds(harmless)
    assert len(hostile.raw["script"]) == 2
    assert hostile.raw["script"][1] == harmless.raw["script"][1]


def _kinds(parsed: Parsed) -> set[tuple[str, tuple[str, ...]]]:
    """The kinds of tags in a page, by their names and the names of their attributes."""
    return {(tag, tuple(sorted(attributes))) for tag, attributes in parsed.tags}


@pytest.mark.parametrize("text", HOSTILE[:3])
def test_hostile_text_can_be_read(folder: Path, text: str) -> None:
    """The text itself is there, as text, and comes out of the table's data as it went in."""
    journal = MemoryJournal()
    parsed = written(journal, hostile_run(journal, text), folder)
    assert text in parsed.text
    data = parsed.data
    assert data["columns"] == [text]
    assert data["texts"][data["rows"]["own"][0][0]] == text
    assert data["texts"][data["rows"]["error"][0]] == f"{text} 0"


def test_what_cannot_be_seen_is_written_out(folder: Path) -> None:
    """Characters that turn the direction of text around, or end a line, are shown and not obeyed."""
    journal = MemoryJournal()
    run_id = hostile_run(journal, "\u202egnp.exe\x1b\u2028")
    page_text = write_report(journal, run_id, folder, formats=["html"]).paths[page.NAME].read_text("utf-8")
    assert not set(page_text) & set("\u202e\x1b\u2028")
    assert r"\u202egnp.exe\x1b\u2028" in page_text


# --- without what is optional -----------------------------------------------------------------------------


def test_without_the_charts_library_tables_stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page has the same figures as open tables, and one line that says how to have charts."""
    journal = MemoryJournal()
    run_id = night_run(journal, 300)
    drawn = written(journal, run_id, folder / "drawn")
    monkeypatch.setattr(page_drawing, "is_available", lambda: False)
    bare = written(journal, run_id, folder / "bare")
    assert "svg" not in {tag for tag, _ in bare.tags}
    assert page_drawing.NOT_DRAWN in bare.text
    assert page_drawing.NOT_DRAWN not in drawn.text
    tags = Counter(tag for tag, _ in bare.tags)
    assert tags["figure"] == Counter(tag for tag, _ in drawn.tags)["figure"]
    assert tags["details"] == 0
    assert bare.raw["script"] == drawn.raw["script"]
    assert check_report(journal, run_id, folder / "bare") == []


def test_a_page_is_checked_as_it_was_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without charts is found whole where charts can be drawn; the reverse says what is missing."""
    journal = MemoryJournal()
    run_id = mixed_run(journal)
    write_report(journal, run_id, folder / "bare", formats=["html"], has_charts=False)
    assert check_report(journal, run_id, folder / "bare") == []
    write_report(journal, run_id, folder / "drawn", formats=["html"])
    monkeypatch.setattr(page_drawing, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"sipbatch\[page\]"):
        check_report(journal, run_id, folder / "drawn")


def test_a_report_without_a_page_loads_nothing_of_it() -> None:
    """Whoever writes no page does not wait for the libraries that make it."""
    code = (
        "import sys, batch.reporting;"
        "print(sorted({'jinja2', 'markupsafe', 'vl_convert', 'phonenumbers'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
