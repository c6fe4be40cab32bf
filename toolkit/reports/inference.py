"""How the terminal report shows inference: latency by batch size, with the transfer and without."""

from collections.abc import Iterable, Sequence

from rich.table import Table

from toolkit.analyses.summary import Latency
from toolkit.reports.tables import milliseconds, table

COLUMNS = ("batch", "p50", "p90", "p99", "worst", "samples/s", "requests")
# From so many requests on, one in a hundred is one.
ENOUGH = 100


def inference_tables(entries: Sequence[Latency]) -> Iterable[Table]:
    """Of one pass's entries: host memory to host memory, then what stays on the device."""
    pass_name = entries[0].pass_name
    whole = table(f"Inference, host memory to host memory, {pass_name} pass, ms", *COLUMNS)
    resident = table(f"Inference without transfer: input and answer stay on the device, {pass_name} pass, ms", *COLUMNS)
    for entry in entries:
        latencies = map(milliseconds, (entry.p50_ns, entry.p90_ns, entry.p99_ns, entry.worst_ns))
        whole.add_row(str(entry.batch), *latencies, f"{entry.samples_per_s:,.0f}", str(entry.requests))
        if entry.resident_samples_per_s is not None:
            figures = (entry.resident_p50_ns, entry.resident_p90_ns, entry.resident_p99_ns, entry.resident_worst_ns)
            rate, count = f"{entry.resident_samples_per_s:,.0f}", str(entry.resident_requests)
            resident.add_row(str(entry.batch), *map(milliseconds, figures), rate, count)
    if any(entry.requests < ENOUGH for entry in entries):
        whole.note = (
            f"p99 of under {ENOUGH} requests is the longest, or next to it; infer_repeats={ENOUGH} asks for more"
        )
    yield whole
    if resident.row_count:
        yield resident
