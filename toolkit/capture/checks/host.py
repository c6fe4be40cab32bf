"""The machine beside its GPUs: Python, disk, shared memory, py-spy's permission, clock."""

import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from toolkit import __version__, clock
from toolkit.capture import containers, venvs
from toolkit.capture.checks.machine import Finding, Machine, ok, problem, warning
from toolkit.capture.runs import check_writable
from toolkit.errors import HwprofError

# A run of the default profile leaves 8 to 15 MB behind; long ones with stacks hundreds.
RUN_BYTES = 32 << 20
ROOMY_BYTES = 1 << 30
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, never written
# 32 images of 224x224 as float32, two of which each of PyTorch's loader processes holds ready there.
LOADER_BYTES = 2 * 32 * 3 * 224 * 224 * 4
LOADERS = 4
READS = 100
# A step is bracketed by two reads, and brackets are trusted to 30 us.
SLOW_READ_NS = 1000


def python(machine: Machine) -> Iterator[Finding]:
    """The toolkit's own Python, and whether its environment is that of the lock."""
    found = f"{platform.python_version()}, hwprof {__version__}"
    home = machine.root / ".venv" / "toolkit"
    locks = [machine.root / "containers" / "locks" / name for name in ("toolkit.txt", "dev.txt")]
    if Path(sys.prefix) == home and venvs.state(home, locks) != venvs.CURRENT:
        yield warning("python", f"{found}, in an environment of another lock", "Any make target makes it anew.")
    else:
        yield ok("python", found)


def runs(machine: Machine) -> Iterator[Finding]:
    """Whether runs can be written, and for how long."""
    try:
        place = check_writable(machine.runs)
        free = shutil.disk_usage(place).free
    except HwprofError as error:
        yield problem("runs", error.problem, error.remedy)
        return
    found = f"{machine.runs}: {size(free)} free"
    if free < RUN_BYTES:
        yield problem("runs", f"{found}; a run takes {size(RUN_BYTES)}", "Free some space, or give another --runs.")
    elif free < ROOMY_BYTES:
        yield warning("runs", f"{found}; long runs take hundreds of MiB", "Free some space, or give another --runs.")
    else:
        yield ok("runs", found)


def shared_memory(_: Machine) -> Iterator[Finding]:
    """Room for the batches that PyTorch's loader processes pass on, which stand in shared memory."""
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError as error:
        yield warning("shm", f"{SHARED_MEMORY}: {error.strerror}", "Keep loader_workers=0, or mount a tmpfs there.")
        return
    fitting = free // LOADER_BYTES
    found = f"{SHARED_MEMORY}: {size(free)} free, for {fitting} loader workers at batch 32 of 224x224"
    if fitting < LOADERS:
        remedy = f"Use LOADER_WORKERS={fitting} or fewer, or `mount -o remount,size=1g {SHARED_MEMORY}`."
        yield warning("shm", found, remedy)
    else:
        yield ok("shm", found)


def pyspy(machine: Machine) -> Iterator[Finding]:
    """Whether py-spy, which runs ask for with pyspy=true, may read a process of the same user: tried for real."""
    yama = containers.YAMA
    scope = f" (ptrace_scope {yama.read_text(encoding='ascii').strip()})" if yama.exists() else ""
    reason = machine.pyspy_refusal
    if reason is None:
        yield ok("py-spy", f"reads a process of this user{scope}")
    elif "permission" in reason.lower():
        # docker hands capabilities to root alone, and its passes are not
        remedy = "For PYSPY=true: `sysctl kernel.yama.ptrace_scope=1`, or RUNTIME=podman, which gives the capability."
        yield warning("py-spy", f"cannot read a process of this user{scope}: {reason}", remedy)
    else:
        yield warning("py-spy", f"does not work: {reason}", "For PYSPY=true: remove .venv/toolkit, and run make again.")


def clocks(machine: Machine) -> Iterator[Finding]:
    """What a clock read costs, and whether the wall clock was set while this looked. NTP is no matter to runs."""
    # the cheapest of several tries: whatever else runs here only adds to it
    cost_ns = min(_read_cost_ns() for _ in range(10))
    after = clock.read_pair()
    steps = clock.MonotonicAxis([machine.pair, after]).steps()
    if steps:
        remedy = "Runs across a step are untrusted: let the clock settle, or stop what sets it."
        yield warning("clock", f"the wall clock was set by {steps[0][1] / 1e6:.1f} ms just now", remedy)
    elif cost_ns > SLOW_READ_NS:
        remedy = "Timings of short steps suffer: see /sys/devices/system/clocksource."
        yield warning("clock", f"a read costs {cost_ns} ns", remedy)
    else:
        yield ok("clock", f"a read costs {cost_ns} ns; the wall clock was not set meanwhile")


def _read_cost_ns() -> int:
    before = clock.read_pair()
    for _ in range(READS):
        clock.read_pair()
    # a pair is ten reads of the monotonic clock and five of the wall clock
    return (clock.read_pair().monotonic_ns - before.monotonic_ns) // (READS * 15)


def size(count: int) -> str:
    """Bytes in the unit that people read them in."""
    return f"{count / 2**30:.1f} GiB" if count >= 1 << 30 else f"{count / 2**20:.0f} MiB"
