"""Reports of several runs: over time beside each other, a processor beside a GPU, and what a sweep shows of both."""

import json
from pathlib import Path

import pytest

from tests.commands import hwprof
from tests.made_runs import made_run
from tests.report_pages import Page, assert_shown, at, report
from tests.report_runs import HOSTILE, whole_run
from tests.test_crossover import flat, infers
from tests.test_sweep_results import LIMITS, ran
from tests.test_sweeps import sweep
from toolkit.analyses.comparable import Side
from toolkit.analyses.crossover import crossover as held
from toolkit.analyses.sweep_results import Ran, SweepResults, Withheld, results, status_of
from toolkit.capture.sweeps import COMPLETE
from toolkit.commands.sides import read
from toolkit.reports import sweep as terminal
from toolkit.reports.html import crossover, page, side_timelines
from toolkit.reports.html import sweep as html
from toolkit.reports.html.content import Chart

pytestmark = pytest.mark.e2e

ALL_SHOWN = Withheld(frozenset(), None)


def the_chart(sides: list[Side]) -> Chart:
    """The one chart of their timelines."""
    (section,) = side_timelines.sections(sides)
    (chart,) = [block for block in section.blocks if isinstance(block, Chart)]
    return chart


def test_runs_stand_over_time_beside_each_other(tmp_path: Path) -> None:
    """A column a side and a row a figure, on one axis of time from each run's first step, with one scale a row."""
    gpu = Side("A", read([whole_run(tmp_path / "gpu")]))
    host = Side("B", read([made_run(tmp_path / f"host{number}", 10.0 + number) for number in range(2)]))
    chart = the_chart([gpu, host])
    assert chart.layout["grid"] | {"xgap": 0, "ygap": 0} == {
        "rows": 4, "columns": 2, "pattern": "independent", "xgap": 0, "ygap": 0,
    }  # fmt: skip
    titles = [each["text"] for each in chart.layout["annotations"]]
    wanted = ("step time on the host, ms", "power, W", "memory, MiB", "utilisation, %")
    assert [title for title in titles if title.startswith("A")] == [f"A: torch cpu · {figure}" for figure in wanted]
    assert titles.count("not told") == 2
    times = [trace for trace in chart.data if "step time" in trace["hovertemplate"]]
    assert [(trace["xaxis"], trace["yaxis"]) for trace in times] == [("x", "y"), ("x2", "y2"), ("x2", "y2")]
    assert [trace["x"][0] for trace in times] == [0, 0, 0]
    assert all(max(trace["y"]) == pytest.approx(own) for trace, own in zip(times, (18, 10, 11), strict=True))
    axes = {name: axis.get("matches") for name, axis in chart.layout.items() if "axis" in name}
    assert {axes[f"xaxis{cell}"] for cell in range(2, 9)} == {"x"}
    assert (axes["yaxis2"], axes["yaxis4"], axes["yaxis8"]) == ("y", "y3", "y7")


def test_one_entry_of_the_legend_hides_all_lines_of_a_run(tmp_path: Path) -> None:
    """Each run is named once, and its lines are one group."""
    chart = the_chart([Side("A", read([whole_run(tmp_path / "one")])), Side("B", read([whole_run(tmp_path / "two")]))])
    assert [trace["name"] for trace in chart.data if trace["showlegend"]] == ["one", "two"]
    assert all(trace["legendgroup"] == trace["name"] for trace in chart.data)
    assert len(chart.data) == len(chart.table.rows) == 8


def test_more_runs_than_can_be_told_apart_are_left_out_and_said(tmp_path: Path) -> None:
    """Four sides of three runs are drawn; the page says which."""
    process = read([made_run(tmp_path / "run")])[0]
    (section,) = side_timelines.sections([Side(str(number), [process] * 4) for number in range(5)])
    assert (
        getattr(section.blocks[0], "text", None) == "Drawn: the first 4 of 5 sides, and of each side its first 3 runs."
    )
    chart = section.blocks[1]
    assert isinstance(chart, Chart)
    assert len(chart.data) == 4 * 3 * 2


def test_what_has_no_place_in_time_has_no_timeline(tmp_path: Path) -> None:
    """Nothing is drawn of nothing."""
    assert side_timelines.sections([Side("A", [])]) == []


def test_inference_on_two_devices_is_held_to_each_other(tmp_path: Path) -> None:
    """Every figure is that of `hwprof crossover --json`; where the GPU overtakes stands first, and is marked."""
    for number in range(3):
        late = 1 + 0.001 * number
        infers(tmp_path / f"cpu{number}", {1: 2 * late, 8: 9 * late, 32: 30 * late}, gpu=False)
        infers(tmp_path / f"gpu{number}", {1: 4 * late, 8: 5 * late}, gpu=True, lacking=HOSTILE)
    sides = [",".join(str(tmp_path / f"{device}{number}") for number in range(3)) for device in ("cpu", "gpu")]
    asked = hwprof("crossover", *sides, "--json")
    assert asked.returncode == 0, asked.stderr
    told = json.loads(asked.stdout)
    report(*sides, "-o", tmp_path / "report.html")
    parsed = Page(tmp_path / "report.html")
    assert len(parsed.figures) > 30
    for figure in parsed.figures:
        assert_shown(figure, at(told, str(figure["data-of"])))
    assert "From batch 8 on the GPU is faster; the crossover lies above 1 (95% interval: batch 8 to 8)." in parsed.words
    assert "batch 32 on the GPU: </script>" in parsed.words
    assert not [tag for tag, _ in parsed.elements if tag in {"img", "iframe"}]
    assert parsed.words.index("From batch 8") < parsed.words.index("latency, ms by batch size")


def swept(folder: Path, out_of_memory: str = "") -> SweepResults:
    """A sweep of inference on both devices in two frameworks: 1.2 ms a sample, and 9 ms with 0.05 ms a sample."""
    asked = ("task=infer", "device=cpu,cuda", "framework=torch,tf", "batch=1,4,16,64", "model=resnet18")
    made = sweep(folder, *asked, "precision=fp32", limits=LIMITS)
    runs: dict[int, list[Ran]] = {}
    for point in made.points:
        assert point.spec
        slow = 3 if point.spec.framework == "tf" else 1
        on_gpu = point.spec.device == "cuda"
        time_ms = slow * (9 + 0.05 * point.spec.batch) if on_gpu else 1 + 1.2 * point.spec.batch
        unfit = out_of_memory and on_gpu and point.spec.batch == 64
        runs[point.number] = [] if unfit else ran(time_ms, point.spec.batch)
    statuses = {
        number: status_of(made.points[number - 1], [], mine, LIMITS) if mine else ("out_of_memory", out_of_memory)
        for number, mine in runs.items()
    }
    return results(made, statuses, runs, ALL_SHOWN)


def test_a_sweep_over_devices_tells_the_crossover_of_each_group(tmp_path: Path) -> None:
    """From the same processes as its points: in PyTorch from batch 16 on, in TensorFlow from 64."""
    found = swept(tmp_path)
    assert [(one.settings, one.crossover.batch, one.crossover.after) for one in found.crossovers] == [
        ({"framework": "torch"}, 16, 4), ({"framework": "tf"}, 64, 16),
    ]  # fmt: skip
    assert [terminal.crossing(one).plain for one in found.crossovers][1].startswith(
        "Inference, tf: From batch 64 on the GPU is faster; the crossover lies above 16 (9"
    )


def test_a_crossover_of_two_compilers_says_so(tmp_path: Path) -> None:
    """Keras compiles on a GPU and not on a processor: that is not the devices' doing alone."""
    made = sweep(tmp_path, "task=infer", "device=cpu,cuda", "batch=1,4", "model=resnet18", limits=LIMITS)
    runs = {}
    for point in made.points:
        assert point.spec
        mode = "xla" if point.spec.device == "cuda" else "graph"
        runs[point.number] = ran(5.0 if mode == "xla" else 9.0, point.spec.batch, compiled=mode)
    found = results(made, dict.fromkeys(runs, (COMPLETE, None)), runs, ALL_SHOWN)
    (one,) = found.crossovers
    assert one.note == "the devices run different programs: compile mode graph and xla"
    assert "But the devices run different programs" in terminal.crossing(one).plain


def test_a_sweep_without_both_devices_has_no_crossover(tmp_path: Path) -> None:
    """Training, or one device, is held to nothing."""
    made = sweep(tmp_path, "task=infer", "device=cpu", "batch=1,4", "model=resnet18", limits=LIMITS)
    runs = {point.number: ran(5.0, 1) for point in made.points}
    assert results(made, dict.fromkeys(runs, (COMPLETE, None)), runs, ALL_SHOWN).crossovers == []


def test_the_crossover_is_marked_in_the_curves(tmp_path: Path) -> None:
    """A line at the batch, a band for its interval, and its name, in time and throughput; figures stand in a table."""
    found = swept(tmp_path, out_of_memory=HOSTILE)
    charts = [block for section in html.sections(found) for block in section.blocks if isinstance(block, Chart)]
    for chart in charts[:2]:
        lines = [shape for shape in chart.layout["shapes"] if shape["type"] == "line"]
        assert [shape["x0"] for shape in lines] == [16]
        assert [note["text"] for note in chart.layout["annotations"]] == ["torch: GPU from 16"]
        assert chart.note
        assert crossover.MARKED in chart.note
        crosses = [trace for trace in chart.data if trace.get("marker", {}).get("symbol") == "x"]
        assert [(trace["name"], trace["x"]) for trace in crosses] == [("out of memory", [64, 64])]
    assert "shapes" not in charts[2].layout
    (tmp_path / "sweep.html").write_text(page.render("Sweep", "", html.sections(found)), encoding="utf-8")
    assert "From which batch on the GPU is faster" in Page(tmp_path / "sweep.html").words


def test_an_open_interval_is_marked_to_the_largest_batch() -> None:
    """Where the ratios leave its end open."""
    noisy = {8: [1.0, 2.0, 0.5], 64: [1.0, 2.0, 0.5]}
    one = held(flat({1: 1}) | noisy, flat({1: 2}) | {8: [0.9, 1.9, 0.4], 64: [0.9, 1.9, 0.4]}, transfer=True)
    band, line = crossover.marks([("", one)])["shapes"]
    assert (one.high, band["x0"], band["x1"], line["x0"]) == (None, 8, 64, 8)
