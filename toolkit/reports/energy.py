"""The energy of a run in a terminal: counter and integral side by side, images for a joule, and the baseline."""

from collections import Counter
from collections.abc import Iterable

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from toolkit.analyses.category_energy import CategoryEnergy
from toolkit.analyses.efficiency import Efficiency
from toolkit.analyses.energy import Energy
from toolkit.analyses.summary import IdlePower, Summary, Throttling
from toolkit.reports.tables import UNKNOWN, milliseconds, percent, table

# Idle GPUs and clocks that someone chose are nothing to look into.
CHOSEN = {"gpu_idle", "applications_clocks_setting", "display_clock_setting"}
SHOWN_REASONS = 3
KINDS = ("run", "stage", "epoch", "training", "phase")


def energy_sections(summary: Summary, pass_name: str) -> Iterable[RenderableType]:
    """Everything of one pass; nothing where no GPU was sampled."""
    mine = [entry for entry in summary.energy if entry.pass_name == pass_name]
    # Single steps stand in summary.json.
    entries = sorted((entry for entry in mine if entry.kind != "step"), key=lambda entry: KINDS.index(entry.kind))
    told = [entry for entry in entries if entry.told]
    if told:
        yield _table(told, pass_name)
    if missing := without_figure([entry for entry in entries if not entry.told]):
        yield Text(missing, "dim")
    yield from map(_efficiency, (entry for entry in summary.efficiency if entry.pass_name == pass_name))
    categories = [entry for entry in summary.category_energy if entry.pass_name == pass_name]
    if categories:
        yield _categories(categories)
    idle = [entry for entry in summary.idle_power if entry.pass_name == pass_name]
    if idle:
        yield Text("Idle before the run, in no figure taken off: " + "; ".join(map(_idle, idle)))
    held = [entry for entry in summary.throttling if entry.pass_name == pass_name and entry.reason not in CHOSEN]
    if held:
        yield Text("Clocks held down: " + "; ".join(map(_throttling, held)), "yellow")


def _table(entries: list[Energy], pass_name: str) -> Table:
    found = table(f"Energy, {pass_name} pass, J", "window", "counter", "±", "integral", "±", "differs", "mostly by")
    for entry in entries:
        integral = (_joules(entry.integral_mj), _joules(entry.integral_bound_mj))
        found.add_row(
            window(entry),
            _joules(entry.counter_mj),
            _joules(entry.counter_bound_mj),
            *integral,
            UNKNOWN if entry.disagreement is None else f"{entry.disagreement:+.1%}",
            entry.metric or UNKNOWN,
        )
    found.note = bounds(entries)
    return found


def _categories(entries: list[CategoryEnergy]) -> Table:
    title = f"Energy while kernels of each category ran, gpu {entries[0].device}, J"
    found = table(title, "category", "time, ms", "energy", "from", "to", "values", "mostly for want of")
    for entry in entries:
        figures = map(_joules, (entry.mj, entry.least_mj, entry.most_mj))
        found.add_row(entry.category, milliseconds(entry.ns), *figures, str(entry.present), entry.reason or "")
    found.note = f"By the windows of {entries[0].metric}; 95 % intervals, in which the sensor's own error is not."
    return found


def window(entry: Energy) -> str:
    """Its device, kind, name and epoch, in words."""
    name = entry.name if entry.kind == entry.name else f"{entry.kind} {entry.name}"
    epoch = "" if entry.epoch is None else f" {entry.epoch}" if entry.kind == "epoch" else f", epoch {entry.epoch}"
    device = entry.device if entry.device.startswith("rapl_") else f"gpu {entry.device}"
    return f"{device} {name}{epoch}"


def bounds(entries: list[Energy]) -> str:
    """What the bounds hold, and what they do not."""
    words = ["± holds what lies between values and at the ends; NVIDIA states no accuracy of the counter"]
    for entry in {entry.metric: entry for entry in entries if entry.metric}.values():
        whose = "this GPU" if entry.sensor_error_is_own else "the worst of the GPUs that were measured"
        words.append(f"{entry.metric}: {entry.sensor}; the sensor itself ±{entry.sensor_error:.1%}, as of {whose}")
    return "; ".join(words) + "."


def without_figure(entries: list[Energy]) -> str | None:
    """How many windows there are no figures of, and the most frequent reasons; None where there are none."""
    reasons = Counter(entry.counter_reason if entry.integral_mj is None else entry.integral_reason for entry in entries)
    common = reasons.most_common(SHOWN_REASONS)
    told = "; ".join(f"{why} ×{n}" for why, n in common)
    return f"{len(entries)} windows without a figure: {told}" if reasons else None


def _efficiency(entry: Efficiency) -> Text:
    where = f"epoch {entry.epoch}, gpu {', '.join(entry.devices)}"
    if entry.step_mj is None:
        return Text(f"No energy of a step, {where}: {entry.reason}", "dim")
    images = "" if entry.images_per_joule is None else f"{entry.images_per_joule:,.2f} images a joule, "
    resolved = f"{entry.resolved_steps} of {entry.steps} steps have a figure of their own"
    return Text.assemble(
        (f"{images}{_joules(entry.step_mj)} J a step", "bold"),
        f", ±{percent(entry.bound)}, by {entry.source}, {where}; {resolved}",
    )


def _idle(entry: IdlePower) -> str:
    watts = [value / 1000 for value in (entry.mean_mw, entry.least_mw, entry.most_mw)]
    return f"gpu {entry.device} {entry.metric} {watts[0]:,.1f} W ({watts[1]:,.1f} to {watts[2]:,.1f})"


def _throttling(entry: Throttling) -> str:
    return f"gpu {entry.device} {entry.reason} {percent(entry.share)} of the time"


def _joules(millijoules: float | None) -> str:
    return UNKNOWN if millijoules is None else f"{millijoules / 1000:,.2f}"
