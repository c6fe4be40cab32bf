"""The README's picture of a report, anew: `python -m tests.picture`, of a recorded run, in headless Chromium."""

import base64
import tempfile
from pathlib import Path

from selenium.webdriver import Chrome

from tests import recorded
from tests.browser import browser
from tests.report_pages import opened, report

PICTURE = Path(__file__).parents[1] / "docs" / "report.png"
WIDTH = 1200


def main() -> None:
    """Draws the page from its top to the end of the first timeline."""
    with tempfile.TemporaryDirectory() as folder, browser() as driver:
        assert isinstance(driver, Chrome)
        run = next(found for found in recorded.unpack(Path(folder)) if "-tf-" in found.name)
        report(run, "-o", Path(folder) / "report.html")
        opened(driver, Path(folder) / "report.html", width=WIDTH)
        driver.execute_script("scrollTo({top: 0, behavior: 'instant'})")
        height = driver.execute_script(
            "return document.querySelector('#timeline .drawing').getBoundingClientRect().bottom + scrollY"
        )
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
        shown = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        PICTURE.write_bytes(base64.b64decode(shown["data"]))


if __name__ == "__main__":
    main()
