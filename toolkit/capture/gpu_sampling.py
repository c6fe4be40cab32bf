"""The GPUs' sampler, a process of its own: `python -m toolkit.capture.gpu_sampling FOLDER HZ DEVICE`.

Before there is a worker it finds how often the power sensors have a new value, while the GPUs idle: that is their
baseline. Then it says `ready`, and once the worker's pid is on standard input it polls them at half that period, all
else HZ times a second, until another line comes or that closes, and a little longer: a sensor tells of a moment after
it. Writes gpu.jsonl.
"""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from toolkit.capture import orders
from toolkit.capture.pacing import next_due, told_to_stop, wait_until
from toolkit.capture.record import Appender, recording
from toolkit.capture.samplers.gpu import GpuSampler
from toolkit.capture.samplers.update_period import watch
from toolkit.clock import NS_PER_S

# Polled where the period is not found, and no less often where it seems longer than the 100 ms of most sensors: a GPU
# at rest may draw the same for several of them. No more often than LEAST_POLL_NS in any case.
USUAL_POLL_NS = 47_000_000
LEAST_POLL_NS = 5_000_000
SLOW_EVERY_S = 1.0
# Buffers of the driver hold seconds.
BUFFERS_EVERY_NS = NS_PER_S // 2
# Averages over a second end a second later.
LINGER_NS = 1_200_000_000


def main(folder: Path, hz: int, device: str) -> None:
    """Samples the GPUs from before the worker's start to after its end; ends at once where there are none."""
    with Appender(folder / "gpu.jsonl") as record:
        sampler = GpuSampler(record, used=device == "cuda")
        poll_ns = find_poll(sampler, record, wait_until, time.monotonic_ns) if sampler.devices else 0
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        if not sampler.devices or not orders.first():
            return
        stopped = threading.Event()
        slow = threading.Thread(target=_sample_slowly, args=(sampler, stopped), daemon=True)
        slow.start()
        try:
            sample(sampler, record, (poll_ns, NS_PER_S // hz), Timing(time.monotonic_ns, wait_until, told_to_stop))
        finally:
            stopped.set()
            # It may be in the middle of a reading, which the record is to take.
            slow.join()


def find_poll(sampler: GpuSampler, record: Appender, wait: Callable[[int], None], now_ns: Callable[[], int]) -> int:
    """Records each sensor's update period; half the shortest of power, in nanoseconds."""
    sampler.usual()
    found = watch(lambda seen: sampler.power(seen.see), wait, now_ns)
    periods = found.periods_ns()
    for (device, metric), period in periods.items():
        record.write("sensor", device, metric, period, found.reads[device, metric])
    shortest = min((period for (_, metric), period in periods.items() if period and metric != "energy"), default=None)
    # A little more often than twice, so that polls wander over the sensor's period, and its moments can be told.
    return USUAL_POLL_NS if shortest is None else min(max(shortest * 15 // 32, LEAST_POLL_NS), USUAL_POLL_NS)


class Timing(NamedTuple):
    """The clock, a wait until a moment of it, and one that answers whether it is time to stop."""

    now_ns: Callable[[], int]
    wait: Callable[[int], None]
    told_to_stop: Callable[[int], bool]


def sample(sampler: GpuSampler, record: Appender, periods_ns: tuple[int, int], timing: Timing) -> None:
    """Until told to stop: power and all else on fixed grids, so that a slow reading shifts none after it.

    What is no oftener than power goes with the last poll before it is due: to be woken costs more than most readings.
    """
    poll_ns, usual_ns = periods_ns
    tasks: list[tuple[int, Callable[[], None]]] = [
        (poll_ns, sampler.power), (usual_ns, sampler.usual),
        (BUFFERS_EVERY_NS, sampler.buffers), (NS_PER_S, record.clock),
    ]  # fmt: skip
    due = [timing.now_ns()] * len(tasks)
    end: int | None = None
    while end is None or timing.now_ns() < end:
        for number, (period_ns, task) in enumerate(tasks):
            now = timing.now_ns()
            if due[number] <= now or (number and period_ns >= poll_ns and due[number] < due[0]):
                task()
                due[number] = next_due(due[number], period_ns, now)
        if end is not None:
            timing.wait(min(due))
        elif timing.told_to_stop(min(due)):
            end = timing.now_ns() + LINGER_NS
    sampler.buffers()


def _sample_slowly(sampler: GpuSampler, stopped: threading.Event) -> None:
    while not stopped.wait(SLOW_EVERY_S):
        sampler.slow()


if __name__ == "__main__":
    sys.exit(recording(lambda: main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
