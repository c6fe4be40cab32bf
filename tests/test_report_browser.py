"""Reports in a real browser: that they work there, ask for nothing, and anyone can read them anywhere."""

import base64
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser import browser, needs_browser
from tests.made_runs import made_run
from tests.report_pages import PATIENCE_S, at, opened, report
from tests.report_runs import HOSTILE, whole_run
from tests.test_report_sides import swept
from toolkit.reports.html import page, sweep

pytestmark = [pytest.mark.e2e, needs_browser]

PAGES = ("run", "sides", "sweep")
# WCAG 2.2, 1.4.3 and 1.4.11: of text, of large text (24 px, or 18.66 px and bold), of what a chart draws.
TEXT, LARGE, DRAWN = 4.5, 3.0, 3.0
# What A4 leaves between the margins that Chromium prints with, in CSS pixels.
PAPER_WIDTH = 717
SCRIPTS = Path(__file__).with_name("report_contrast.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of each kind, each with hostile names, and the run that the first is of."""
    made = tmp_path_factory.mktemp("reports")
    report(whole_run(made / "a-run"), "-o", made / "run.html")
    others = [made_run(made / f"b{number}", 20 + 0.1 * number) for number in range(3)]
    report(made / "a-run", ",".join(map(str, others)), "--force", "-o", made / "sides.html")
    found = swept(made, out_of_memory=HOSTILE)
    (made / "sweep.html").write_text(page.render(HOSTILE, HOSTILE, sweep.sections(found)), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chrome]:
    """One browser for the module."""
    with browser() as driver:
        assert isinstance(driver, Chrome)
        yield driver


@pytest.mark.parametrize("name", PAGES)
def test_no_error_no_request_and_no_name_does_anything(name: str, folder: Path, chromium: Chrome) -> None:
    """The console stays empty, nothing is asked for, and what is markup in a name is text."""
    opened(chromium, folder / f"{name}.html")
    assert chromium.execute_script("return window.harmed") is None
    asked = chromium.execute_script("return performance.getEntriesByType('resource').map(each => each.name)")
    assert asked == []
    harm = "main img, iframe, .drawing a, .drawing image, .legend a, .legend img"
    assert chromium.find_elements(By.CSS_SELECTOR, harm) == []
    assert chromium.get_log("browser") == []


def test_the_figures_shown_equal_summary_json(folder: Path, chromium: Chrome) -> None:
    """As the browser has them, to the last digit."""
    opened(chromium, folder / "run.html")
    summary = json.loads((folder / "a-run" / "summary.json").read_text())
    shown = chromium.execute_script(
        "return [...document.querySelectorAll('data[data-of]')].map(each => [each.dataset.of, each.value])"
    )
    assert len(shown) > 80
    assert all(json.loads(value) == at(summary, pointer) for pointer, value in shown)


def test_pointing_and_pressing_work(folder: Path, chromium: Chrome) -> None:
    """Hovering tells a figure; a legend's button hides what it names; a table opens; keys do, too."""
    opened(chromium, folder / "run.html")
    bar = chromium.find_element(By.CSS_SELECTOR, "#ledger .bars .point path")
    chromium.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", bar)
    ActionChains(chromium).move_to_element(bar).perform()
    hovered = "return document.querySelector('#ledger .hoverlayer').textContent"
    WebDriverWait(chromium, PATIENCE_S).until(lambda _: "ms" in chromium.execute_script(hovered))

    count = "return document.querySelectorAll('#ledger figure:first-of-type .bars .point').length"
    before = chromium.execute_script(count)
    button = chromium.find_element(By.CSS_SELECTOR, "#ledger .legend button")
    button.send_keys(Keys.SPACE)
    WebDriverWait(chromium, PATIENCE_S).until(lambda _: chromium.execute_script(count) < before)
    assert button.get_attribute("aria-pressed") == "false"

    chromium.find_element(By.CSS_SELECTOR, "#ledger figure summary").send_keys(Keys.ENTER)
    assert chromium.find_element(By.CSS_SELECTOR, "#ledger figure details table").is_displayed()


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_shows_it(name: str, folder: Path, chromium: Chrome) -> None:
    """At 390 px nothing is wider than the screen, and charts keep half of it for what they draw, long names or not."""
    opened(chromium, folder / f"{name}.html", width=390)
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= 390
    plots = chromium.execute_script(
        "return [...document.querySelectorAll('.drawing')].map("
        "each => Math.max(...[...each.querySelectorAll('.cartesianlayer .bg, .bglayer .bg, .plotbg')].map("
        "part => part.getBoundingClientRect().width), each._fullLayout._size.w))"
    )
    assert min(plots) >= 390 / 2, plots
    heights = "return [...document.querySelectorAll('button')].map(each => each.getBoundingClientRect().height)"
    assert min(chromium.execute_script(heights)) >= 24


@pytest.mark.parametrize("name", PAGES)
def test_it_prints_whole(name: str, folder: Path, chromium: Chrome) -> None:
    """On paper charts are drawn for its width in the light theme, buttons that do nothing there are gone."""
    opened(chromium, folder / f"{name}.html", dark=True)
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    chromium.execute_script("dispatchEvent(new Event('beforeprint'))")
    drawn = chromium.execute_script(
        "return [...document.querySelectorAll('.drawing .main-svg')].map(each => each.getBoundingClientRect().width)"
    )
    assert drawn
    assert max(drawn) <= PAPER_WIDTH
    assert not chromium.find_element(By.TAG_NAME, "nav").is_displayed()
    assert unreadable(chromium) == []
    printed = chromium.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "paperWidth": 8.27})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")
    chromium.execute_script("dispatchEvent(new Event('afterprint'))")


def unreadable(driver: Chrome) -> list[Any]:
    """Texts whose contrast with what is behind them is under what WCAG's level AA asks for, each with its ratio."""
    found: list[Any] = driver.execute_script(f"{SCRIPTS}; return unreadable(arguments[0], arguments[1])", TEXT, LARGE)
    return found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_every_text_has_contrast_enough(name: str, folder: Path, chromium: Chrome, *, dark: bool) -> None:
    """As the browser computes colours: 4.5 to 1, of large text 3 to 1, in charts too, and of what is switched off."""
    opened(chromium, folder / f"{name}.html", dark=dark)
    chromium.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    chromium.execute_script("document.querySelectorAll('.legend button:first-child').forEach(each => each.click())")
    assert unreadable(chromium) == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_what_charts_draw_has_contrast_enough(name: str, folder: Path, chromium: Chrome, *, dark: bool) -> None:
    """Bars, lines and points stand out from the ground by 3 to 1."""
    opened(chromium, folder / f"{name}.html", dark=dark)
    assert chromium.execute_script(f"{SCRIPTS}; return faint(arguments[0])", DRAWN) == []


@pytest.mark.parametrize("name", PAGES)
def test_the_tab_key_reaches_everything_and_shows_where_it_is(name: str, folder: Path, chromium: Chrome) -> None:
    """In the page's order, the skip link first; every place that has the focus is outlined."""
    opened(chromium, folder / f"{name}.html")
    chromium.execute_script("scrollTo(0, 0)")
    reachable = chromium.execute_script(f"{SCRIPTS}; return number()")
    places, outlined = [], []
    for _ in range(reachable):
        ActionChains(chromium).send_keys(Keys.TAB).perform()
        place, outline = chromium.execute_script(f"{SCRIPTS}; return focused()")
        places.append(place)
        outlined.append(outline)
    assert places == list(range(reachable))
    assert all(outlined)
    first = chromium.find_element(By.CSS_SELECTOR, ".skip")
    assert first.get_attribute("data-place") == "0"
    first.send_keys(Keys.ENTER)
    assert chromium.current_url.endswith("#main")


@pytest.mark.parametrize("name", PAGES)
def test_a_screen_reader_finds_its_way(name: str, folder: Path, chromium: Chrome) -> None:
    """In the browser's own tree: landmarks, headings in order, and a name for every chart, table, button and link."""
    opened(chromium, folder / f"{name}.html")
    nodes = chromium.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    told = [
        (node["role"]["value"], node.get("name", {}).get("value", ""), node) for node in nodes if not node["ignored"]
    ]
    roles = [role for role, *_ in told]
    for landmark in ("banner", "navigation", "main", "contentinfo"):
        assert roles.count(landmark) == 1, landmark
    levels = [level(node) for role, _, node in told if role == "heading"]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    unnamed = [role for role, name, _ in told if role in {"image", "table", "button", "link", "region"} and not name]
    assert unnamed == []
    charts = chromium.find_elements(By.CSS_SELECTOR, "figure.chart")
    assert roles.count("image") == len(charts) > 1
    assert all(chart.find_elements(By.CSS_SELECTOR, "details table") for chart in charts)


def level(node: dict[str, Any]) -> int:
    """Of a heading."""
    return next(int(each["value"]["value"]) for each in node["properties"] if each["name"] == "level")
