"""What a report's file holds, as a browser would take it; and its figures held to what they are of."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from click.testing import CliRunner
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from toolkit.commands.report import command

PATIENCE_S = 30


class Page(HTMLParser):
    """What a browser would make of it: elements, and each figure with where it stands and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.figures: list[dict[str, str | None]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element; a figure where it says what it is of."""
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        if "data-of" in dict(attrs):
            self.figures.append(dict(attrs) | {"text": ""})

    def handle_endtag(self, tag: str) -> None:
        """Its end."""
        self._open = self._open[: len(self._open) - 1]

    def handle_data(self, data: str) -> None:
        """Text outside of scripts and styles."""
        if self._open[-1:] == ["data"]:
            self.figures[-1]["text"] = data
        if not {"script", "style"} & {*self._open[-1:]}:
            self.words += data


def report(*arguments: str | Path) -> None:
    """Runs the command, its error raised."""
    CliRunner().invoke(command, [str(each) for each in arguments], catch_exceptions=False, standalone_mode=False)


def at(summary: Any, pointer: str) -> Any:
    """What stands at a JSON pointer."""
    for step in pointer.split("/")[1:]:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        summary = summary[int(name)] if isinstance(summary, list) else summary[name]
    return summary


def assert_shown(figure: dict[str, str | None], value: Any) -> None:
    """The figure is the value exactly, its text the value rounded, and what is unknown says why."""
    if value is None:
        assert "unknown" in str(figure["class"])
        assert figure["title"]
        return
    assert json.loads(str(figure["value"])) == value
    text = str(figure["text"])
    number = re.search(r"-?[\d,]+(?:\.(\d+))?", text)
    assert number
    shown, places = float(number[0].replace(",", "")), len(number[1] or "")
    scales = (1, 1e3, 1e6, 1e9, 1e12, 2**20, 0.01)
    near = any(abs(shown - value / scale) <= 0.5000001 * 10**-places for scale in scales)
    assert near or text.startswith("<"), (figure, value)


def opened(driver: Chrome, path: Path, *, width: int = 1600, dark: bool = False) -> None:
    """The page at that width in that theme, with every chart drawn."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme], "media": ""})
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 700}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    driver.get(path.as_uri())
    for figure in driver.find_elements(By.CSS_SELECTOR, "figure.chart"):
        driver.execute_script("arguments[0].scrollIntoView({behavior: 'instant'})", figure)
        WebDriverWait(driver, PATIENCE_S).until(lambda _, figure=figure: figure.get_attribute("data-drawn"))
