"""Power and energy: by counter and by integral, each with its bound; idle before; images a joule; throttling."""

from collections.abc import Iterator

from toolkit.analyses.summary import Summary
from toolkit.errors import printable
from toolkit.own_spec import TIMED
from toolkit.reports.energy import KINDS, bounds, window, without_figure
from toolkit.reports.html.content import Block, Cell, Note, Section, Share, Table, Told, words


def section(summary: Summary, told: Told) -> Section | None:
    """None where no sensor told anything."""
    blocks = [*_blocks(summary, told)]
    return Section("energy", "Power and energy", blocks) if blocks else None


def _blocks(summary: Summary, told: Told) -> Iterator[Block]:
    windows = [(place, one) for place, one in enumerate(summary.energy) if one.kind in KINDS]
    # The unprofiled pass first, and a run before its parts.
    windows.sort(key=lambda each: (each[1].pass_name not in TIMED, each[1].device, KINDS.index(each[1].kind)))
    if shown := [place for place, one in windows if one.told]:
        yield _energies(shown, summary, told)
    if missing := without_figure([one for _, one in windows if not one.told]):
        yield Note(missing)
    if summary.idle_power:
        yield _idle(summary, told)
    if summary.efficiency:
        yield _efficiency(summary, told)
    if summary.category_energy:
        yield _categories(summary, told)
    if summary.throttling:
        yield _throttling(summary, told)


def _energies(shown: list[int], summary: Summary, told: Told) -> Table:
    rows: list[list[Cell]] = []
    for place in shown:
        one = summary.energy[place]
        figures: list[Cell] = [told("ms", "energy", place, "ns")]
        for name in ("counter", "integral"):
            reason = getattr(one, f"{name}_reason")
            figures += [told("joules", "energy", place, f"{name}{end}", why=reason) for end in ("_mj", "_bound_mj")]
        both = "there are not both" if one.disagreement is None else None
        rows.append(
            [
                f"{one.pass_name} pass, {printable(window(one))}",
                *figures,
                told("share", "energy", place, "disagreement", why=both),
            ]
        )
    headers = ["window", "ms", "counter, J", "± bound, J", "integral, J", "± bound, J", "disagreement"]
    return Table("Energy by window", headers, rows, note=bounds([summary.energy[place] for place in shown]))


def _idle(summary: Summary, told: Told) -> Table:
    rows: list[list[Cell]] = [
        [
            f"{one.pass_name} pass, GPU {printable(one.device)}: {words(one.metric)}",
            told("count", "idle_power", place, "readings"),
            *(told("watts", "idle_power", place, name) for name in ("mean_mw", "least_mw", "most_mw")),
        ]
        for place, one in sorted(enumerate(summary.idle_power), key=lambda each: each[1].pass_name not in TIMED)
    ]
    headers = ["sensor", "readings", "mean, W", "least, W", "most, W"]
    return Table("Idle before the worker started, in no figure taken off", headers, rows)


def _efficiency(summary: Summary, told: Told) -> Table:
    rows: list[list[Cell]] = [
        [
            f"{one.pass_name} pass, epoch {one.epoch}",
            told("joules", "efficiency", place, "step_mj", why=one.reason),
            told("number", "efficiency", place, "images_per_joule", why=one.reason),
            told("share", "efficiency", place, "bound", why=one.reason),
        ]
        for place, one in enumerate(summary.efficiency)
    ]
    return Table("Training steps of an epoch, on the GPUs in use", ["of", "J a step", "images/J", "± bound"], rows)


def _categories(summary: Summary, told: Told) -> Table:
    rows: list[list[Cell]] = [
        [
            f"{words(one.category)}, GPU {printable(one.device)}",
            told("ms", "category_energy", place, "ns"),
            *(told("joules", "category_energy", place, name, why=one.reason) for name in ("mj", "least_mj", "most_mj")),
        ]
        for place, one in enumerate(summary.category_energy)
    ]
    title = "Energy by kernel category in the profiled window, with a 95 % interval"
    return Table(title, ["kernel category", "ms", "J", "at least, J", "at most, J"], rows)


def _throttling(summary: Summary, told: Told) -> Table:
    rows: list[list[Cell]] = [
        [f"GPU {printable(one.device)}, {one.pass_name} pass: {words(one.reason)}",
         told("count", "throttling", place, "readings"), Share(one.share)]
        for place, one in enumerate(summary.throttling)
    ]  # fmt: skip
    return Table("Why clocks were held down", ["reason", "readings", "share of readings"], rows)
