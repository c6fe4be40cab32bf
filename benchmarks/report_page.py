"""The HTML report of a run with a million events: its size, and when a browser first paints it, beside a small run's.

    .venv/toolkit/bin/python -m benchmarks.report_page

Makes a run by hand, one with 400 times its slices beside it, and the reports of both, then opens each in headless
Chromium in turns, as a fresh page, and prints medians of the browser's own first contentful paint.
"""

import statistics
import tempfile
from pathlib import Path

import click
import duckdb
import pyarrow.parquet as pq

from tests.browser import browser
from tests.report_pages import report
from tests.report_runs import whole_run
from toolkit.analyses.summary import summarise
from toolkit.ingest.store import connect
from toolkit.reports.summary_json import encode

EVENTS = 1_000_000
REPEATED = """
    WITH own AS (
        SELECT *, max(ts_ns + dur_ns) OVER () - min(ts_ns) OVER () + 1 AS span_ns FROM read_parquet($table)
    )
    SELECT * EXCLUDE (span_ns, turn) REPLACE (ts_ns + turn * span_ns AS ts_ns)
    FROM own, range($events // (SELECT count(*) FROM own)) turns(turn)
"""
PAINTED = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def grown(folder: Path) -> Path:
    """A run whose slices are repeated, one after the other, until there are EVENTS."""
    whole_run(folder, readings=20_000)
    table, larger = folder / "slices.parquet", folder / "larger.parquet"
    pq.write_table(duckdb.execute(REPEATED, {"table": str(table), "events": EVENTS}).to_arrow_table(), larger)
    larger.replace(table)
    with connect(folder) as connection:
        (folder / "summary.json").write_text(encode(summarise(connection, batch=8)), encoding="utf-8")
    return folder


@click.command
@click.option("--repeats", default=5, show_default=True, help="How often each page is opened.")
def main(repeats: int) -> None:
    """Prints size and first paint of both, and their ratio."""
    with tempfile.TemporaryDirectory() as parent, browser() as driver:
        runs = {"small": whole_run(Path(parent) / "small"), f"{EVENTS:,} events": grown(Path(parent) / "large")}
        painted: dict[str, list[float]] = {name: [] for name in runs}
        for run in runs.values():
            report(run, "-o", Path(parent) / f"{run.name}.html")
        for _ in range(repeats):
            for name, run in runs.items():
                driver.get("about:blank")
                driver.get((Path(parent) / f"{run.name}.html").as_uri())
                while (at_ms := driver.execute_script(PAINTED)) is None:
                    pass
                painted[name].append(at_ms)
        for name, run in runs.items():
            megabytes = (Path(parent) / f"{run.name}.html").stat().st_size / 1e6
            print(f"{name}: {megabytes:.1f} MB, first paint {statistics.median(painted[name]):.0f} ms")
        small, large = (statistics.median(times) for times in painted.values())
        print(f"first paint, ratio {large / small:.2f}")


if __name__ == "__main__":
    main()
