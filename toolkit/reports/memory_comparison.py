"""The terminal report on why two runs differ in memory."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.text import Text

from toolkit.analyses.memory_comparison import MEANINGS, MemoryComparison
from toolkit.errors import printable
from toolkit.reports.tables import bar, mebibytes, share, table


def report(found: MemoryComparison) -> RenderableType:
    """Both runs by their parts, what each part is, and what would reduce it."""
    return Group(*_sections(found))


def _sections(found: MemoryComparison) -> Iterable[RenderableType]:
    if found.forced:
        yield Text(found.forced, "bold red")
    for letter, name, allocator in zip("AB", found.runs, found.allocators, strict=True):
        yield Text.assemble((f"{letter} ", "bold"), printable(f"{name} · {allocator}"))
    where = "host" if found.device == "cpu" else f"gpu {found.device}"
    rows = table(f"Memory {found.whole}, {where}, {found.pass_name} pass, MiB", "part", "A", "B", "B - A", "share")
    moved = sum(abs(part.difference_bytes) for part in found.parts)
    for part in found.parts:
        figures = (mebibytes(part.a_bytes), mebibytes(part.b_bytes), _signed(part.difference_bytes))
        rows.add_row(part.name, *figures, bar(share(abs(part.difference_bytes), moved)))
    rows.add_section()
    whole = (mebibytes(found.a_bytes), mebibytes(found.b_bytes), _signed(found.difference_bytes))
    rows.add_row(found.whole, *whole, "", style="bold")
    told = [name for name in MEANINGS if any(name in part.name for part in found.parts)]
    rows.note = "\n".join([*(f"{name}: {MEANINGS[name]}" for name in told), "share: of all that differs, up or down"])
    yield rows
    if found.peak_difference_bytes is not None:
        yield Text(f"In use at the most: B - A = {_signed(found.peak_difference_bytes)} MiB")
    for advice in found.advice:
        figure = f"{mebibytes(advice.figure_bytes)} MiB more {advice.part}"
        yield Text.assemble((f"{advice.run.upper()} has {figure}: ", "bold"), printable(advice.text))
    if not found.advice:
        yield Text("No setting is known to reduce a part that differs by enough to tell.", "dim")
    for note in found.notes:
        yield Text(printable(note), "dim")


def _signed(count: int) -> str:
    """With its sign; nothing has none."""
    if count == 0:
        return mebibytes(0)
    shown = mebibytes(abs(count))
    return f"{'+' if count > 0 else '-'}{shown}"
