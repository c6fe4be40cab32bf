"""How the terminal report shows the ranks of distributed jobs."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.text import Text

from toolkit.analyses.ranks import Job
from toolkit.reports.tables import UNKNOWN, Titled, milliseconds, percent, share, table


def job_sections(jobs: Sequence[Job]) -> Iterable[RenderableType]:
    """A table for each job of which several ranks are there, and who is missing, double or slow in any."""
    for job in jobs:
        if len({rank.rank for rank in job.ranks}) > 1:
            yield _table(job)
            yield from _remarks(job)
        elif job.world_size is not None:
            yield from _incomplete(job)


def _table(job: Job) -> Titled:
    size = "not told" if job.world_size is None else f"{job.world_size}"
    titles = ("rank", "span", "compute", "comm.", "exposed", "hidden", "idle", "waited", "last")
    found = table(f"Ranks, world size {size}, ms", *titles)
    found.note = "comm.: a collective ran; exposed: and nothing computed; hidden: the share of it that was not exposed"
    for rank in job.ranks:
        hidden = None
        if rank.comm_ns:
            hidden = 1 - (rank.exposed_comm_ns or 0) / rank.comm_ns
        times = map(milliseconds, (rank.span_ns, rank.compute_ns, rank.comm_ns, rank.exposed_comm_ns))
        last = UNKNOWN if rank.last_arrivals is None else f"{rank.last_arrivals:,}"
        slow = rank.rank in job.stragglers
        found.add_row(
            str(rank.rank), *times, percent(hidden), milliseconds(rank.idle_ns), milliseconds(rank.waited_ns), last,
            style="yellow" if slow else "",
        )  # fmt: skip
    return found


def _incomplete(job: Job) -> Iterable[Text]:
    if job.missing:
        yield Text(f"Missing of {job.world_size} ranks: {ranges(job.missing)}", "bold red")
    if job.duplicates:
        yield Text(f"Ranks with several traces: {ranges(job.duplicates)}", "bold red")


def _remarks(job: Job) -> Iterable[Text]:
    yield from _incomplete(job)
    if job.not_compared:
        yield Text(f"Who waits for whom is not told: {job.not_compared}", "yellow")
        return
    told = f"{job.compared:,} of {job.collectives:,} collectives that all ranks have in common"
    for rank in job.ranks:
        if rank.rank in job.stragglers:
            held, span = milliseconds(rank.held_up_ns), percent(share(rank.held_up_ns or 0, rank.span_ns or 0))
            yield Text(
                f"Rank {rank.rank} is a straggler: it came last to {rank.last_arrivals:,} collectives, in which the"
                f" others waited {held} ms on average, {span} of its span (of {told}).",
                "bold yellow",
            )
    if not job.stragglers:
        yield Text(f"No straggler: no rank held up the others by 3 % of their span (in {told}).", "dim")
    yield Text("waited: collectives longer than the shortest of the same; last: arrived last, so waited least", "dim")


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in order, each run of neighbours by its first and last."""
    runs = [[number for _, number in run] for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
