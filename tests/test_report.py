"""`hwprof report`: one HTML file whose figures are those of summary.json, and in which no name does anything."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import recorded
from tests.commands import hwprof
from tests.made_runs import made_run
from tests.report_pages import Page, assert_shown, at, report
from tests.report_runs import HOSTILE, whole_run
from tests.test_analyses import store
from toolkit.analyses.statistics import Interval
from toolkit.analyses.sweep_results import Optimum, PointResult, Rival, SweepResults
from toolkit.analyses.timeline import timelines
from toolkit.capture.sweeps import COMPLETE
from toolkit.errors import HwprofError
from toolkit.reports.html import charts, page, sweep
from toolkit.reports.html.content import Chart

MOST_BYTES = 6_000_000
NS = 1_000_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder."""
    return whole_run(tmp_path_factory.mktemp("runs") / "a-run")


@pytest.fixture(scope="module")
def made(run: Path) -> Path:
    """Its report."""
    path = run.parent / "report.html"
    report(run, "-o", path)
    return path


@pytest.fixture(scope="module")
def parsed(made: Path) -> Page:
    """What a browser would make of it."""
    return Page(made)


def test_every_figure_equals_summary_json(parsed: Page, run: Path) -> None:
    """Each says where it stands there; its exact value is that one, and its text that one rounded."""
    summary = json.loads((run / "summary.json").read_text())
    figures = parsed.figures
    assert len(figures) > 100
    for figure in figures:
        assert_shown(figure, at(summary, str(figure["data-of"])))


def test_what_matters_stands_there(parsed: Page) -> None:
    """Verdict and trust come first, then findings; every section of the run is there, in the order of the page."""
    found = [attributes["id"] for tag, attributes in parsed.elements if tag == "section"]
    assert found == [
        "verdict", "findings", "ledger", "timeline", "devices", "memory", "energy", "environment", "definitions",
    ]  # fmt: skip
    words = parsed.words
    assert "NOT TRUSTED, for" in words
    assert words.index("NOT TRUSTED") < words.index("Epoch ledger of the time pass")


def test_what_is_unknown_says_why_in_words(parsed: Page) -> None:
    """Not only on hovering: paper and fingers read it below the table."""
    reasons = {str(figure["title"]) for figure in parsed.figures if figure.get("class") == "unknown"}
    notes = " ".join(re.findall(r"– not known: (.*)", parsed.words))
    assert len(reasons) > 3
    assert [reason for reason in reasons if reason not in notes] == []


def test_names_are_data(made: Path, parsed: Page) -> None:
    """No element, script or attribute comes of a hostile name, which stands there to be read all the same."""
    assert "window.harmed=1" in parsed.words
    assert not [tag for tag, _ in parsed.elements if tag in {"img", "iframe", "object", "base", "form"}]
    assert not [name for _, attributes in parsed.elements for name in attributes if name.startswith("on")]
    drawn = sum(tag == "figure" for tag, _ in parsed.elements)
    assert sum(tag == "script" for tag, _ in parsed.elements) == drawn + 2
    assert "\u2028" not in made.read_text(encoding="utf-8")
    assert "\u202e" not in made.read_text(encoding="utf-8")


def test_it_asks_for_nothing(made: Path, parsed: Page) -> None:
    """Its policy forbids every request; links stay on the page; it is no larger than it may be."""
    elements = parsed.elements
    (policy,) = (a["content"] for tag, a in elements if a.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'; ")
    assert "unsafe" not in str(policy)
    asked = [a.get(name) for _, a in elements for name in ("src", "href", "action", "data", "srcset") if name in a]
    assert all(str(each).startswith(("#", "data:,")) for each in asked)
    assert made.stat().st_size <= MOST_BYTES


def test_everything_has_its_name_for_those_who_do_not_see_it(parsed: Page) -> None:
    """Tables have captions and scopes, charts labels and a table beside them, headings go down one level at a time."""
    elements = parsed.elements
    tags = [tag for tag, _ in elements]
    assert tags.count("table") == tags.count("caption") > tags.count("figure") > 5
    assert all("scope" in attributes for tag, attributes in elements if tag == "th")
    drawings = [attributes for _, attributes in elements if attributes.get("class") == "drawing"]
    assert len(drawings) == tags.count("figure") <= tags.count("details")
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in drawings)
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {str(a["href"])[1:] for tag, a in elements if tag == "a"} <= {str(each) for each in ids}


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_in_the_page_ends_no_script(value: Any) -> None:
    """Whatever the texts hold: nothing in it is markup or a line's end to a script, and it reads back the same."""
    text = str(page.embedded(value))
    assert not set("<>&\u2028\u2029\n") & set(text)
    assert json.loads(text) == value


def test_labels_of_charts_are_data() -> None:
    """Plotly takes some HTML in them, which a name must not be."""
    assert charts.label("<a href='http://x/'>&") == "&lt;a href='http://x/'&gt;&amp;"
    assert len(charts.label("x" * 500)) < 60


def test_a_long_run_is_thinned_and_says_so(tmp_path: Path) -> None:
    """Of 20,000 steps and readings few hundreds are drawn; the extremes are, and the spans cover what they did."""
    steps = range(20_000)
    mark = {"pass_name": "time", "name": "train", "complete": True, "epoch": 1, "dur_ns": NS}
    marks = [mark | {"id": 0, "kind": "epoch", "ts_ns": 0, "dur_ns": len(steps) * NS, "parent": None}]
    marks += [
        mark | {"id": at + 1, "kind": "step", "step": at, "ts_ns": at * NS, "parent": 0}
        | ({"dur_ns": NS - 1} if at != 7_777 else {})
        for at in steps
    ]  # fmt: skip
    sample = {"pass_name": "time", "source": "nvml", "device": "0", "metric": "power", "unit": "mW"}
    counters = [sample | {"ts_ns": at * NS, "value": 5.0 if at == 4_321 else 100.0 + at % 3} for at in steps]
    with store(tmp_path, marks=marks, counters=counters) as connection:
        (found,) = timelines(connection, ["time"])
    (series,) = found.readings
    assert (series.readings, found.steps[0].steps) == (20_000, 20_000)
    assert 200 <= len(series.points) <= 402
    assert 200 <= len(found.steps) <= 402
    assert min(point.value for point in series.points) == 5
    assert max(step.host_ns for step in found.steps) == NS
    assert [step.ts_ns for step in found.steps] == sorted(step.ts_ns for step in found.steps)
    parts = [span for span in found.spans if span.lane == "part"]
    assert len(parts) <= 400
    assert (parts[0].start_ns, parts[0].spans > 400) == (0, True)
    assert all(one.end_ns == other.start_ns for one, other in pairwise(parts))


@pytest.mark.e2e
def test_a_thinned_page_says_what_it_draws(tmp_path: Path) -> None:
    """Beside the chart, with both numbers."""
    report(whole_run(tmp_path / "run", readings=2_000), "-o", tmp_path / "report.html")
    assert re.search(r"drawn: \d{3} of 2,000 readings of GPU 0 power", Page(tmp_path / "report.html").words)


@pytest.mark.e2e
def test_how_a_run_failed_comes_first(tmp_path: Path) -> None:
    """A run that did not end well says so, with its reason as data, before anything else."""
    report(whole_run(tmp_path / "run", status="failed"), "-o", tmp_path / "report.html")
    words = Page(tmp_path / "report.html").words
    assert words.index("failed: </script>") < words.index("NOT TRUSTED")


def test_the_file_is_whole_or_not_there(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default it is RUN.html here; where it cannot be written, one line says so and nothing is left."""
    monkeypatch.chdir(tmp_path)
    report(run)
    assert [path.name for path in tmp_path.iterdir()] == ["a-run.html"]
    with pytest.raises(HwprofError, match="cannot be written"):
        report(run, "-o", tmp_path / "no" / "such" / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["a-run.html"]


def test_the_command_says_where_it_is(run: Path, tmp_path: Path) -> None:
    """As a person runs it."""
    done = hwprof("report", run, "-o", tmp_path / "report.html")
    assert (done.returncode, done.stdout) == (0, "")
    assert re.fullmatch(rf"Written: {tmp_path}/report.html \(\d\.\d MB\)\n", done.stderr)


@pytest.mark.e2e
def test_recorded_runs_are_reported(tmp_path: Path) -> None:
    """Of every framework, with all figures as summary.json has them."""
    folders = recorded.unpack(tmp_path)
    if not folders:
        pytest.skip("there are no recorded runs")
    for folder in folders:
        report(folder.name, "--runs", tmp_path, "-o", tmp_path / "report.html")
        summary = json.loads((folder / "summary.json").read_text())
        for figure in Page(tmp_path / "report.html").figures:
            assert_shown(figure, at(summary, str(figure["data-of"])))


@pytest.mark.e2e
def test_several_runs_are_compared_differences_first(tmp_path: Path) -> None:
    """Every figure is that of `hwprof compare --json`; what is shown to differ comes before what is not."""
    for place in range(3):
        made_run(tmp_path / f"a{place}", [10 + 0.1 * place + 0.01 * (step % 5) for step in range(30)])
        made_run(tmp_path / f"b{place}", [20 + 0.1 * place + 0.01 * (step % 5) for step in range(30)])
    sides = [",".join(str(tmp_path / f"{side}{place}") for place in range(3)) for side in "ab"]
    compared = hwprof("compare", *sides, "--json")
    assert compared.returncode == 0, compared.stderr
    told = json.loads(compared.stdout)
    report(*sides, "-o", tmp_path / "report.html")
    parsed = Page(tmp_path / "report.html")
    assert len(parsed.figures) > 30
    for figure in parsed.figures:
        assert_shown(figure, at(told, str(figure["data-of"])))
    assert "B beside A: step time is higher, which is worse." in parsed.words
    verdicts = [one["effect"] for one in told["pairs"][0]["ratios"]]
    assert None in verdicts
    assert parsed.words.index("which is worse") < parsed.words.index("no difference shown")


def test_a_sweep_has_curves_and_what_ran_out_of_memory(tmp_path: Path) -> None:
    """Every figure is that of the sweep's results; a point out of memory is a cross with its reason beside it."""
    points = [
        result(1, 8, COMPLETE, samples_per_s=interval(100, 90, 110)),
        result(2, 32, COMPLETE, samples_per_s=interval(250, None, None)),
        result(3, 128, "out_of_memory", reason=HOSTILE),
    ]
    found = SweepResults(
        sweep=HOSTILE, created="", host=HOSTILE, seed=1, least_repeats=2, most_repeats=2, width=0.05, margin=0.03,
        axes={"batch": ["8", "32", "128"]}, points=points, withheld=None,
        optima=[Optimum(settings={}, aim="throughput", batch=32, figure=interval(250, None, None), rivals=[
            Rival(batch=8, ratio=interval(0.4, 0.3, 0.5), worse=True)])],
        crossovers=[],
    )  # fmt: skip
    (tmp_path / "sweep.html").write_text(page.render(HOSTILE, HOSTILE, sweep.sections(found)), encoding="utf-8")
    parsed, told = Page(tmp_path / "sweep.html"), msgspec.to_builtins(found)
    assert len(parsed.figures) == 14
    for figure in parsed.figures:
        assert_shown(figure, at(told, str(figure["data-of"])))
    (curve,) = [block for section in sweep.sections(found) for block in section.blocks if isinstance(block, Chart)]
    crosses = [trace for trace in curve.data if trace.get("marker", {}).get("symbol") == "x"]
    assert [(trace["name"], trace["x"]) for trace in crosses] == [("out of memory", [128])]
    assert [len(trace["x"]) for trace in curve.data if "fill" in trace] == [2]
    assert "point 3 out of memory: </script>" in parsed.words
    assert not [tag for tag, _ in parsed.elements if tag in {"img", "iframe"}]


def interval(estimate: float, low: float | None, high: float | None) -> Interval:
    """Over two processes."""
    return Interval(estimate=estimate, low=low, high=high, level=low and 0.9, processes=[2])


def result(number: int, batch: int, status: str, **more: Any) -> PointResult:
    """A point of a sweep over batches."""
    nothing = dict.fromkeys(("reason", "time_ns", "samples_per_s", "peak_bytes", "images_per_joule"))
    return PointResult(
        point=number, settings={"batch": str(batch)}, mode="matched", batch=batch, status=status, repeats=2,
        untrusted=0, runs=[], **(nothing | more),
    )  # fmt: skip
