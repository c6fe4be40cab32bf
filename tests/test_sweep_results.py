"""What a sweep finds, on made-up runs: when a point has repeats enough, its intervals, and which batch is best."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from tests.made_runs import made_run
from tests.test_sweeps import sweep
from toolkit.analyses.sweep_results import Figures, Ran, SweepResults, Withheld, enough, results, status_of
from toolkit.capture.sweeps import COMPLETE, Entry, Limits, Log
from toolkit.commands import sweeping
from toolkit.commands.sweeping import History
from toolkit.reports import sweep as report

LIMITS = Limits(least=3, most=10, width=0.05)
BATCHES = ("framework=torch,tf", "batch=8,32,128", "model=cifar_cnn")
ALL_SHOWN = Withheld(frozenset(), None)
# Of one process to the next, times that differ by some per mille.
NOISE = (1.0, 1.002, 0.998, 1.001, 0.999, 1.003)


def ran(
    time_ms: float, batch: int, *, noise: Sequence[float] = NOISE, joules: bool = False, compiled: str | None = None
) -> list[Ran]:
    """Trusted runs of one point."""
    return [
        Ran(
            f"run{number}",
            Figures(
                trusted=True,
                time_ns=time_ms * 1e6 * factor,
                samples_per_s=batch * 1e3 / time_ms / factor,
                peak_bytes=batch * 2**20,
                images_per_joule=batch / time_ms / factor if joules else None,
                compiled=compiled,
            ),
        )
        for number, factor in enumerate(noise)
    ]


def found(folder: Path, runs: dict[int, list[Ran]], withheld: Withheld = ALL_SHOWN) -> SweepResults:
    """The results of a sweep of three batches in each of two frameworks."""
    made = sweep(folder, *BATCHES, limits=LIMITS)
    every = {point.number: runs.get(point.number, []) for point in made.points}
    statuses = {point.number: status_of(point, [], every[point.number], LIMITS) for point in made.points}
    return results(made, statuses, every, withheld)


def text_of(shown: SweepResults) -> str:
    """The report as it is printed."""
    console = Console(width=160, record=True)
    console.print(report.report(shown))
    return console.export_text()


@pytest.mark.parametrize(
    ("noise", "sufficient"),
    [
        (NOISE[:2], False),
        (NOISE[:5], False),
        (NOISE, True),
        ((1.0, 1.1, 0.9, 1.08, 0.92, 1.02), False),
        ((1.0, 1.1, 0.9, 1.08, 0.92, 1.02, 1.0, 1.1, 0.9, 1.05), True),
    ],
    ids=["under the least", "no 95 % of five", "narrow", "wide", "wide, at the limit"],
)
def test_repeats_are_enough_once_the_interval_is_narrow_or_the_limit_is_reached(
    noise: Sequence[float], *, sufficient: bool
) -> None:
    """The interval is one of 95 %, which fewer than six processes cannot have."""
    assert enough(ran(10, 8, noise=noise), LIMITS) == sufficient


def test_a_run_that_is_not_trusted_is_a_repeat_without_a_figure(tmp_path: Path) -> None:
    """It counts towards the limit, and its time is in no interval."""
    bad = Ran("bad", Figures(trusted=False, time_ns=1.0, samples_per_s=1.0, peak_bytes=1.0, images_per_joule=None))
    shown = found(tmp_path, {1: [*ran(10, 8), bad]})
    assert shown.points[0].untrusted == 1
    assert shown.points[0].repeats == 7
    assert shown.points[0].time_ns
    assert shown.points[0].time_ns.processes == [6]
    assert "point 1: 1 of 7 runs not trusted, left out" in text_of(shown)
    assert enough([bad] * 10, LIMITS)
    assert found(tmp_path, {1: [bad] * 10}).points[0].reason


def test_the_best_batch_by_each_aim(tmp_path: Path) -> None:
    """Most samples a second, shortest step, most images a joule, in each framework for itself."""
    runs = {number: ran(time, batch, joules=number < 4) for number, (time, batch) in enumerate(
        [(10, 8), (20, 32), (100, 128), (5, 8), (40, 32), (200, 128)], 1)}  # fmt: skip
    shown = found(tmp_path, runs)
    assert [(optimum.settings["framework"], optimum.aim, optimum.batch) for optimum in shown.optima] == [
        ("torch", "throughput", 32), ("torch", "latency", 8), ("torch", "energy", 32),
        ("tf", "throughput", 8), ("tf", "latency", 8),
    ]  # fmt: skip
    first = shown.optima[0]
    assert first.figure.estimate == pytest.approx(1600, rel=0.01)
    assert first.figure.low is not None
    assert first.figure.high is not None
    assert first.figure.low < 1600 < first.figure.high
    assert [(rival.batch, rival.worse) for rival in first.rivals] == [(8, True), (128, True)]


def test_a_batch_that_cannot_be_told_from_the_best_is_not_called_worse(tmp_path: Path) -> None:
    """1 % behind lies within the margin; 20 % behind is shown, 20 % behind with two runs is not."""
    shown = found(tmp_path, {1: ran(10, 8), 2: ran(40.4, 32), 3: ran(192, 128)})
    throughput = shown.optima[0]
    assert throughput.batch == 8
    assert [(rival.batch, rival.worse) for rival in throughput.rivals] == [(32, False), (128, True)]
    text = text_of(shown)
    assert "not told from it" in text
    few = found(tmp_path, {1: ran(10, 8), 3: ran(192, 128, noise=NOISE[:2])})
    assert [rival.worse for rival in few.optima[0].rivals] == [False]


def test_one_batch_is_no_choice(tmp_path: Path) -> None:
    """Where the others gave no figure, none is called the best."""
    assert found(tmp_path, {1: ran(10, 8)}).optima == []


def test_what_is_not_verified_has_no_figures(tmp_path: Path) -> None:
    """Neither in the table nor among the best, and the line that says why stands below; the runs are still counted."""
    runs = {number: ran(10, 8) for number in range(1, 7)}
    shown = found(tmp_path, runs, Withheld(frozenset({4, 5, 6}), "Figures left blank. Run `hwprof verify`."))
    assert {optimum.settings["framework"] for optimum in shown.optima} == {"torch"}
    assert [point.time_ns is None for point in shown.points] == [False] * 3 + [True] * 3
    assert [point.repeats for point in shown.points] == [6] * 6
    assert "Figures left blank." in text_of(shown)


def recorded(folder: Path, *settings: str, times_ms: Sequence[float]) -> History:
    """A sweep whose runs are made by hand, six a point, each point's steps as long as told."""
    made = sweep(folder, *settings, limits=LIMITS)
    with Log(made) as log:
        for point, time_ms in zip(made.points, times_ms, strict=True):
            for number, factor in enumerate(NOISE, 1):
                name = f"{point.number}-{number}"
                assert point.spec
                made_run(folder / name, time_ms * factor, framework=point.spec.framework, batch=point.spec.batch)
                log.append(Entry(point=point.number, repeat=number, status=COMPLETE, run=name))
    return History(made)


def test_figures_come_from_the_runs(tmp_path: Path) -> None:
    """Step and throughput of a point are the medians of its runs', each read from the run's own folder."""
    found_ = sweeping.results_of(recorded(tmp_path, "model=cifar_cnn", "batch=8,32", times_ms=[10, 30]), force=False)
    first, second = found_.points
    assert first.time_ns
    assert first.time_ns.estimate == pytest.approx(10e6, rel=0.002)
    assert second.samples_per_s
    assert second.samples_per_s.estimate == pytest.approx(32 / 0.030, rel=0.002)
    assert first.peak_bytes
    assert first.peak_bytes.estimate == 500 * 2**20
    assert (first.status, first.repeats, found_.withheld) == (COMPLETE, 6, None)
    assert [(each.aim, each.batch) for each in found_.optima] == [("throughput", 32), ("latency", 8)]


def test_matched_points_of_several_frameworks_need_a_verdict(tmp_path: Path) -> None:
    """Without one those that PyTorch is held to have no figures, and the remedy is named; --force shows them."""
    history = recorded(tmp_path, "model=cifar_cnn", "framework=torch,tf", times_ms=[10, 30])
    found_ = sweeping.results_of(history, force=False)
    assert [point.time_ns is None for point in found_.points] == [False, True]
    assert found_.withheld
    assert "TensorFlow cifar_cnn are not verified" in found_.withheld
    forced = sweeping.results_of(history, force=True)
    assert [point.time_ns is None for point in forced.points] == [False, False]
    assert str(forced.withheld).startswith("Shown by --force.")


def test_a_run_that_is_gone_is_a_repeat_without_a_figure(tmp_path: Path) -> None:
    """What was deleted is neither made again nor guessed."""
    history = recorded(tmp_path, "model=cifar_cnn", "batch=8,32", times_ms=[10, 30])
    for number in range(1, 7):
        shutil.rmtree(tmp_path / f"1-{number}")
    found_ = sweeping.results_of(History(history.sweep), force=False)
    assert [(point.repeats, point.time_ns is None) for point in found_.points] == [(6, True), (6, False)]


def test_every_point_has_its_row(tmp_path: Path) -> None:
    """Complete, unfinished, unsupported and failed ones, the last two with their reason; nothing a terminal obeys."""
    made = sweep(tmp_path, "framework=torch,tf", "compile=eager,inductor", "model=cifar_cnn", limits=LIMITS)
    every = {1: ran(10, 64), 2: [], 3: ran(10, 64)[:2], 4: []}
    entries = {2: [Entry(point=2, repeat=1, status="failed", run="run9", reason="no \x1b[31mg++ [/]")]}
    statuses = {
        point.number: status_of(point, entries.get(point.number, []), every[point.number], LIMITS)
        for point in made.points
    }
    assert [status for status, _ in statuses.values()] == [COMPLETE, "failed", "unfinished", "unsupported"]
    text = text_of(results(made, statuses, every, ALL_SHOWN))
    assert "3 of 4 points done" in text
    for status in ("complete", "failed", "unfinished", "unsupported"):
        assert status in text
    assert r"point 2 failed: no \x1b[31mg++ [/]" in text
    assert "point 4 unsupported: TensorFlow has no compile mode 'inductor'." in text
