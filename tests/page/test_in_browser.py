"""Promises of the page in a real Chromium: it works by mouse and keyboard, loads nothing, and can be read.

Skipped where no Chromium and driver are installed; `make test-browser` installs them where it can.
"""

from __future__ import annotations

import base64
import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batch.journal.memory import MemoryJournal
from batch.reporting import write_report
from tests.page.test_document import HOSTILE, Long, hostile_run
from tests.page_runs import night_run

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="no Chromium and chromedriver on the PATH: `make test-browser` installs them where it can",
    ),
]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)

DESK, PHONE = (1280, 900), (390, 844)

#: Each text that can be seen, with the least contrast that WCAG 2.2 (1.4.3) asks of it and what it has.
CONTRASTS = """
const parse = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
const luminance = (rgb) => {
  const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = rgb.map((c) => linear(c / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const [r, g, b, a = 1] = parse(getComputedStyle(at).backgroundColor);
    if (a > 0.5) return [r, g, b];
  }
  return [255, 255, 255];
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !element.checkVisibility({ opacityProperty: true })) continue;
  if (["SCRIPT", "STYLE", "title", "OPTION"].includes(element.tagName)) continue;
  const style = getComputedStyle(element);
  const ink = luminance(parse(element instanceof SVGElement ? style.fill : style.color).slice(0, 3));
  const paper = luminance(behind(element));
  const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  const size = parseFloat(style.fontSize);
  const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
  const text = walker.currentNode.textContent.trim().slice(0, 40);
  if (!element.closest(":disabled")) found.push([text, least, ratio]);
}
return found;
"""


@dataclass
class Browser:
    """A Chromium that looks at one page at a time, and remembers what it asked the network for."""

    driver: Chrome

    def open(
        self, path: Path, *, size: tuple[int, int] = DESK, scheme: str = "light", media: str = ""
    ) -> None:
        """Load the page anew, as one who has a screen of this size and likes this scheme sees it."""
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        self.driver.get("about:blank")
        self.driver.get(path.as_uri())

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element("css selector", selector)

    def texts(self, selector: str) -> list[str]:
        """What is to be read in each of these, seen or not."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", selector
        )
        return found

    def choose(self, field: str, words: str) -> None:
        """Take the option of a select that begins with these words."""
        from selenium.webdriver.support.ui import Select

        select = Select(self.find(f"#{field}"))
        select.select_by_visible_text(next(o.text for o in select.options if o.text.startswith(words)))

    def search(self, words: str, *, lines: int) -> None:
        """Type into the search field, and wait until so many lines are found."""
        field = self.find("#search")
        field.clear()
        field.send_keys(words)
        self.wait_for(lambda: self.found() == lines)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 10, poll_frequency=0.05).until(lambda _: condition())

    def found(self) -> int:
        """How many lines fit what was chosen."""
        words = self.texts("#found")[0].split()
        return 0 if words[:2] == ["No", "line"] else int(words[4].replace(",", ""))

    def column(self, name: str) -> list[str]:
        """The first line of each cell of a column, as far as they are shown."""
        return [text.strip() for text in self.texts(f"#table tbody td.c-{name} > :first-child")]

    @property
    def complaints(self) -> list[str]:
        """What the console says since the page was opened."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]

    @property
    def requests(self) -> set[str]:
        """What was asked for since the page was opened, from wherever."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return {
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        }


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(str(DRIVER)))
    yield Browser(driver)
    driver.quit()


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a night with everything in it; results.csv is beside it."""
    journal = MemoryJournal()
    folder = tmp_path_factory.mktemp("night")
    return write_report(journal, night_run(journal, 2_200), folder, formats=["html"]).paths["report.html"]


@pytest.fixture(scope="module")
def lines(night: Path) -> list[dict[str, str]]:
    """The lines of results.csv beside it."""
    with night.with_name("results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- it loads nothing, and complains of nothing -------------------------------------------------------


def test_nothing_is_loaded_and_nothing_complains(browser: Browser, night: Path) -> None:
    """Opening the page asks for the page alone, and the console stays empty."""
    browser.open(night)
    assert browser.texts("h1")[0].startswith("2,0")
    assert browser.requests <= {night.as_uri(), "about:blank"}
    assert browser.complaints == []


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_runs_nothing(browser: Browser, tmp_path: Path, text: str) -> None:
    """Whatever cells and answers hold, nothing runs, nothing is asked for, and the table shows it as text."""
    journal = MemoryJournal()
    report = write_report(journal, hostile_run(journal, text), tmp_path, formats=["html"])
    path = report.paths["report.html"]
    browser.open(path)
    for number in range(4):
        browser.find(f"#table tbody tr:nth-child({2 * number + 1}) button").click()
    assert (
        browser.run(
            "return document.querySelectorAll('img, iframe, object, body script ~ script ~ script').length"
        )
        == 0
    )
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    assert f"{shown} 0" in browser.texts("#table .more dd")
    assert browser.requests <= {path.as_uri(), "about:blank"}
    assert browser.complaints == []


def test_it_can_be_read_without_scripts(browser: Browser, night: Path) -> None:
    """Where scripts are off, all but the table is there, and it says where the results are."""
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(night)
        assert browser.find("noscript p").is_displayed()
        assert browser.find("h1").is_displayed()
        assert browser.find(".chart.wide").is_displayed()
        assert not browser.find("#filters").is_displayed()
        assert not browser.find("#theme").is_displayed()
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


# --- the table ----------------------------------------------------------------------------------------


def test_the_table_shows_a_page_of_lines(browser: Browser, night: Path, lines: list[dict[str, str]]) -> None:
    """Lines come in the sheet's order, some at a time, and all of them can be turned to."""
    browser.open(night)
    assert browser.found() == len(lines)
    assert browser.column("number") == [line["phone_number"] for line in lines[:50]]
    browser.choose("size", "250")
    assert browser.column("place") == [line["result_row"] for line in lines[:250]]
    assert not browser.find("#previous").is_enabled()
    for _ in range(len(lines) // 250):
        browser.find("#following").click()
    assert browser.column("place")[-1] == lines[-1]["result_row"]
    assert not browser.find("#following").is_enabled()


@pytest.mark.parametrize(
    ("field", "words", "column", "value"),
    [
        ("by-state", "failed", "result_state", "failed"),
        ("by-state", "rejected", "result_state", "rejected"),
        ("by-template", "failover-apac", "template", "failover-apac"),
        ("by-direction", "inbound", "direction", "inbound"),
        ("by-cause", "NOT_FOUND", "result_error_code", "NOT_FOUND"),
        ("by-cause", "rejected: number.lost", "result_error_code", "number.lost_digits"),
    ],
)
def test_each_filter_shows_its_lines_alone(
    browser: Browser,
    night: Path,
    lines: list[dict[str, str]],
    field: str,
    words: str,
    column: str,
    value: str,
) -> None:
    """A filter leaves exactly the lines that results.csv has for it, in the same order."""
    browser.open(night)
    browser.choose(field, words)
    expected = [line for line in lines if line[column] == value]
    assert browser.found() == len(expected)
    assert browser.column("place") == [line["result_row"] for line in expected[:50]]


def test_filters_and_search_work_together(browser: Browser, night: Path, lines: list[dict[str, str]]) -> None:
    """Country, state and a word from a column of the sheet narrow each other; Clear shows all again."""
    browser.open(night)
    browser.choose("by-country", "+1")
    browser.choose("by-state", "did not succeed")
    named = [
        line
        for line in lines
        if line["result_state"] in ("failed", "unknown") and line["phone_number"].startswith("+1")
    ]
    assert browser.found() == len(named)
    both = [line for line in named if line["customer"] == "Café Zoë"]
    browser.search("café zoë", lines=len(both))
    assert browser.column("number") == [line["phone_number"] for line in both]
    browser.find("#filters button[type=reset]").click()
    browser.wait_for(lambda: browser.found() == len(lines))


def test_a_number_is_found_as_people_write_it(browser: Browser, night: Path) -> None:
    """Spaces, brackets and dashes in a number that is searched for do not count."""
    browser.open(night)
    browser.search("(415) 555-0003", lines=1)
    assert browser.column("number") == ["+14155550003"]
    browser.search("no such thing", lines=0)
    assert browser.texts("#found") == ["No line fits."]


@pytest.mark.parametrize(("header", "column"), [("Took", "took"), ("Number", "number"), ("Sends", "sends")])
def test_a_header_sorts_up_and_down(browser: Browser, night: Path, header: str, column: str) -> None:
    """The first click sorts upward, the second downward, and what has no value comes last either way."""
    browser.open(night)
    browser.choose("by-cause", "NOT_FOUND")
    browser.choose("size", "250")
    button = next(
        b for b in browser.driver.find_elements("css selector", "#table th button") if b.text == header
    )
    expected = sorted(browser.column(column), key=_amount)
    button.click()
    assert browser.column(column) == expected
    assert browser.find(f"#table th.c-{column}").get_attribute("aria-sort") == "ascending"
    button.click()
    assert [_amount(cell) for cell in browser.column(column)] == [_amount(cell) for cell in expected[::-1]]
    assert browser.find(f"#table th.c-{column}").get_attribute("aria-sort") == "descending"


def _amount(cell: str) -> float:
    """A number, a count or a time as a column shows it."""
    amount, _, unit = cell.partition(" ")
    return float(amount) * (1000 if unit == "s" else 1)


def test_a_line_opens_by_keyboard(browser: Browser, night: Path, lines: list[dict[str, str]]) -> None:
    """Enter on a line shows everything that is known of it, and Enter again closes it."""
    from selenium.webdriver.common.keys import Keys

    browser.open(night)
    browser.choose("by-state", "failed")
    button = browser.find("#table tbody button")
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-expanded") == "true"
    first = next(line for line in lines if line["result_state"] == "failed")
    told = dict(zip(browser.texts(".more dt"), browser.texts(".more dd"), strict=True))
    assert told["Message"] == first["result_error"]
    assert told["What to do"] == first["result_next_action"]
    assert told["Request id"] == first["result_request_id"]
    assert told["customer"] == first["customer"]
    assert told["Last sent"] == first["result_last_sent_at"].replace("T", " ").replace("Z", " UTC")
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-expanded") == "false"
    assert browser.texts(".more") == []


def test_a_cause_leads_to_its_lines(browser: Browser, night: Path) -> None:
    """The link under each cause shows as many lines as the cause counts, whatever was chosen before."""
    browser.open(night)
    browser.choose("by-state", "succeeded")
    counts = [int(text.replace(",", "")) for text in browser.texts(".causes .count")]
    found = []
    for link in browser.driver.find_elements("css selector", ".causes .filter a"):
        browser.run("arguments[0].click()", link)
        browser.wait_for(lambda: browser.run("return document.activeElement.id") == "results")
        found.append(browser.found())
        browser.run("document.activeElement.blur()")
    assert found == counts


def test_a_link_with_filters_opens_so(browser: Browser, night: Path, tmp_path: Path) -> None:
    """An address with filters in it shows those lines at once."""
    browser.open(night)
    browser.driver.get("about:blank")
    browser.driver.get(f"{night.as_uri()}#results?search=site-003&direction=1")
    assert browser.find("#search").get_attribute("value") == "site-003"
    assert 0 < browser.found() <= 40


def test_a_link_with_a_filter_that_nothing_has_shows_all(browser: Browser, night: Path) -> None:
    """A choice that no line has is none: the field says so, and is not left blank."""
    browser.open(night)
    browser.driver.get("about:blank")
    browser.driver.get(f"{night.as_uri()}#results?state=77")
    assert browser.find("#by-state").get_attribute("value") == ""
    assert browser.run("return document.querySelector('#by-state').selectedIndex") == 0


def test_ten_thousand_lines_are_shown_a_few_at_a_time(browser: Browser, tmp_path: Path) -> None:
    """However many lines there are, the browser lays out one page of them, and finds any one of them."""
    journal = Long(10_000)
    report = write_report(journal, journal.run_id, tmp_path, formats=["html"])
    browser.open(report.paths["report.html"])
    assert browser.found() == 10_000
    assert browser.run("return document.querySelectorAll('#table tbody tr').length") == 50
    browser.search("14155509999", lines=1)
    assert browser.column("place") == ["10001"]
    assert browser.complaints == []


def test_bars_say_what_they_are(browser: Browser, night: Path) -> None:
    """Pointing at a bar of a chart shows its name and its number."""
    browser.open(night)
    titles = browser.texts("svg.chart.wide path title")
    assert any("accepted" in title for title in titles)
    assert any("told to wait" in title for title in titles)
    assert any(title.startswith("succeeded: ") for title in titles)


# --- looks ------------------------------------------------------------------------------------------------


def paper(browser: Browser) -> str:
    return str(browser.run("return getComputedStyle(document.body).backgroundColor"))


def test_light_and_dark_follow_the_system_and_the_switch(browser: Browser, night: Path) -> None:
    """The page begins as the system is; the switch changes it either way, charts included, and back."""
    bar = "return getComputedStyle(document.querySelector('svg.chart path[fill*=succeeded]')).fill"
    browser.open(night)
    light, light_bar = paper(browser), browser.run(bar)
    browser.open(night, scheme="dark")
    dark, dark_bar = paper(browser), browser.run(bar)
    assert (light, light == dark, light_bar == dark_bar) == ("rgb(255, 255, 255)", False, False)
    found = []
    for choice in ("light", "dark", ""):
        browser.find(f"#theme input[value='{choice}']").click()
        found.append((paper(browser), browser.run(bar)))
    assert found == [(light, light_bar), (dark, dark_bar), (dark, dark_bar)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE])
def test_all_text_has_contrast(browser: Browser, night: Path, scheme: str, size: tuple[int, int]) -> None:
    """Every text that can be seen stands out from what is behind it as WCAG asks for."""
    browser.open(night, scheme=scheme, size=size)
    browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    browser.run("document.querySelector('#table tbody button').click()")
    contrasts = browser.run(CONTRASTS)
    assert len(contrasts) > 300
    assert [found for found in contrasts if found[2] < found[1]] == []


def test_a_phone_needs_no_scrolling_sideways(browser: Browser, night: Path) -> None:
    """At the width of a phone nothing sticks out, the chart over time is the narrow one, lines are blocks."""
    browser.open(night, size=PHONE)
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE[0]
    sticking_out = browser.run(
        "return [...document.querySelectorAll('main *')].filter((e) => e.checkVisibility()"
        " && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll')"
        " && !(e instanceof SVGElement)).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert sticking_out == []
    assert not browser.find(".chart.wide").is_displayed()
    assert browser.find(".chart.narrow").is_displayed()
    browser.find("#sort").send_keys("took")
    assert browser.run("return getComputedStyle(document.querySelector('#table tbody tr')).display") == "grid"


def test_all_controls_are_large_enough(browser: Browser, night: Path) -> None:
    """Fingers find every control: at least 24 pixels high, as WCAG 2.2 (2.5.8) asks for."""
    browser.open(night, size=PHONE)
    small = browser.run(
        "return [...document.querySelectorAll('button, select, input[type=search], summary')]"
        ".filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 24)"
        ".map((e) => e.outerHTML.slice(0, 80))"
    )
    assert small == []


def test_the_keyboard_begins_with_the_way_to_the_results(browser: Browser, night: Path) -> None:
    """The first Tab shows a link that skips to the results, and it takes the focus there."""
    from selenium.webdriver.common.keys import Keys

    browser.open(night)
    browser.find("body").send_keys(Keys.TAB)
    link = browser.driver.switch_to.active_element
    assert link.text == "Skip to the results"
    assert link.rect["x"] >= 0
    link.send_keys(Keys.ENTER)
    browser.wait_for(lambda: browser.run("return document.activeElement.id") == "results")


def test_names_of_fields_and_pictures_are_there(browser: Browser, night: Path) -> None:
    """Every field has a label, every chart and table a name, and no id is given twice."""
    browser.open(night)
    assert (
        browser.run(
            "return [...document.querySelectorAll('select, input')].filter((e) => !e.labels.length).length"
        )
        == 0
    )
    assert browser.run("return [...document.querySelectorAll('svg.chart:not([aria-label])')].length") == 0
    ids = browser.run("return [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    levels = [
        int(tag[1])
        for tag in browser.run("return [...document.querySelectorAll('h1, h2, h3')].map((e) => e.tagName)")
    ]
    assert levels[0] == 1
    assert max(after - before for before, after in pairwise(levels)) <= 1


def test_print_is_light_and_without_controls(browser: Browser, night: Path) -> None:
    """On paper, also from a dark screen, there is black on white, no control, and it comes to few pages."""
    browser.open(night, scheme="dark", media="print")
    assert paper(browser) == "rgb(255, 255, 255)"
    shown = [
        s
        for s in ("#filters", "#pages", "#theme", ".command button", "nav")
        if browser.find(s).is_displayed()
    ]
    assert shown == []
    browser.open(night)
    pdf = base64.b64decode(
        browser.driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    )
    assert pdf.startswith(b"%PDF")
    assert 3 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page/") + pdf.count(b"/Type /Page ") <= 12
