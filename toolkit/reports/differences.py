"""What differs between two workloads, as a table for the terminal."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.text import Text

from toolkit.analyses.differences import Comparison, Difference, Equal, Value
from toolkit.errors import printable
from toolkit.reports.tables import UNKNOWN, shown, table
from toolkit.spec import AS_SHIPPED, FRAMEWORKS_SPELT

LEGEND = (
    "Read off what runs: layers, optimizer, flags and loader as they are, initial values by their own statistics. "
    "layers: how many of those that both have differ in this way. A momentum is the weight of the new batch; an "
    "epsilon in effect is what a first step shows. FLOPs: of convolutions and matrix products, two a product."
)
JAX = "JAX ships no models of its own: as shipped it runs Keras's, on Keras's JAX backend."
THOUSANDS = 10_000


def report(comparisons: Iterable[Comparison]) -> RenderableType:
    """Each comparison, and what the words mean."""
    comparisons = list(comparisons)
    parts = [part for comparison in comparisons for part in _sections(comparison)]
    shipped = {(each.framework_a, each.mode_a) for each in comparisons} | {
        (each.framework_b, each.mode_b) for each in comparisons
    }
    if ("jax", AS_SHIPPED) in shipped:
        parts.append(Text(JAX))
    return Group(*parts, Text(LEGEND, "dim"))


def _sections(comparison: Comparison) -> Iterable[RenderableType]:
    names = FRAMEWORKS_SPELT.get(comparison.framework_a, "?"), FRAMEWORKS_SPELT.get(comparison.framework_b, "?")
    sides = [
        f"{name} {printable(model)} {printable(mode)}"
        for name, model, mode in zip(
            names, (comparison.model_a, comparison.model_b), (comparison.mode_a, comparison.mode_b), strict=True
        )
    ]
    heads = names if names[0] != names[1] else ("first", "second")
    made = table(
        f"{sides[0]} and {sides[1]}: {len(comparison.differences)} differences", "what", *heads, "layers", "such as"
    )
    for column in made.columns[1:]:
        column.justify = "left"
    for difference in comparison.differences:
        made.add_row(
            f"{shown(difference.part)}: {shown(difference.what)}",
            _value(difference.a),
            _value(difference.b),
            "" if difference.layers is None else f"{difference.layers} of {difference.of}",
            _where(difference),
        )
    yield made if comparison.differences else Text(made.heading, "bold")
    yield Text(printable(f"The same in both: {_equal(comparison.equal)}.") + "\n", "dim")


def _where(difference: Difference) -> str:
    if not difference.where:
        return ""
    names = [shown(name) for name in difference.where[0] if name is not None]
    return " | ".join(dict.fromkeys(names))


def _value(value: Value) -> str:
    match value:
        case None:
            return UNKNOWN
        case bool():
            return "yes" if value else "no"
        case int() if value >= THOUSANDS:
            return f"{value:,}"
        case _:
            return shown(str(value))


def _equal(equal: Iterable[Equal]) -> str:
    """Part by part: `optimizer: beta 1, beta 2; batch norm (53): scale, shift`."""
    parts: dict[str, list[str]] = {}
    for each in equal:
        number = "" if each.layers is None else f" ({each.layers})"
        parts.setdefault(f"{each.part}{number}", []).append(each.what)
    return "; ".join(f"{part}: {', '.join(names)}" for part, names in parts.items())
