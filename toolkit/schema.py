"""The store's tables, declared once, as data. docs/schema.md is generated from here.

One Parquet file a table. Times are int64 nanoseconds of CLOCK_REALTIME (`_ns`). NULL means unknown, never 0; the reason
stands in `unavailable` or in `warnings`.
"""

from typing import NamedTuple

VERSION = 1
HISTORY = {1: "first version"}


class Column(NamedTuple):
    """A column: its DuckDB type and what it holds."""

    name: str
    type: str
    doc: str


TRACE = Column(
    "trace", "INTEGER", "which trace of the store: `traces.trace`; NULL where the record is not from a trace"
)
PASS = Column(
    "pass_name",
    "VARCHAR",
    "`time` or `profile`: the worker process, or `loop`: a person's own; NULL for a trace that hwprof did not make",
)
TS = Column("ts_ns", "BIGINT", "start, ns of CLOCK_REALTIME (of the trace's own clock where it has no epoch)")
DUR = Column("dur_ns", "BIGINT", "duration, ns; NULL where the source gives none")

TABLES: dict[str, tuple[Column, ...]] = {
    "traces": (
        Column("trace", "INTEGER", "number of the trace within this store, from 0"),
        PASS,
        Column("path", "VARCHAR", "the file, relative to the run folder where it lies inside"),
        Column(
            "format",
            "VARCHAR",
            "kineto, xplane, torch_memory_snapshot, pyspy_chrometrace, speedscope, jax_memory_profile, nvidia_smi_csv",
        ),
        Column("rank", "INTEGER", "rank in a distributed job; NULL where the trace does not tell"),
        Column("world_size", "INTEGER", "ranks in the job; NULL where the trace does not tell"),
        Column("events", "BIGINT", "events read"),
        Column("gpus", "INTEGER", "GPUs that the trace says its process could use; NULL where it does not tell"),
        Column("gpu_model", "VARCHAR", "what they are, each model once; NULL where the trace does not tell"),
    ),
    "warnings": (
        TRACE,
        PASS,
        Column("code", "VARCHAR", "what kind: dropped_events, unmatched_launch, clock_violation, no_kernels, …"),
        Column("count", "BIGINT", "how many events it concerns"),
        Column("message", "VARCHAR", "one sentence for people"),
        Column("untrusted", "BOOLEAN", "whether it makes the trace untrusted"),
    ),
    "slices": (
        TRACE,
        PASS,
        TS,
        DUR,
        Column("kind", "VARCHAR", "kernel memcpy memset launch sync op annotation device_annotation python overhead"),
        Column("name", "VARCHAR", "as the trace gives it"),
        Column(
            "category", "VARCHAR", "device work: gemm conv norm …, by categories.toml; ops: forward backward optimizer"
        ),
        Column("device", "VARCHAR", "the number that the trace gives, as text; NULL on the host"),
        Column("stream", "VARCHAR", "the device's queue, as text; NULL on the host"),
        Column("thread", "VARCHAR", "process/thread on the host, as text; NULL on a device"),
        Column("correlation", "BIGINT", "joins device work to the launch that asked for it"),
        Column("external_id", "BIGINT", "joins a launch to the operator that asked for it"),
        Column("bytes", "BIGINT", "bytes that a copy or set moved"),
        Column("epoch", "INTEGER", "from the marks, by the start (for device work: of its launch); NULL outside"),
        Column("step", "INTEGER", "from the marks, likewise"),
        Column("phase", "VARCHAR", "from the marks, likewise"),
        Column("step_num", "BIGINT", "on an annotation that marks a step: the number that the framework gave it"),
        Column("op", "VARCHAR", "operator, with its scope, that the event itself says it is of; NULL where not told"),
        Column("module", "VARCHAR", "compiled module that the event itself says it is of; NULL where not told"),
        Column("flops", "BIGINT", "of a matrix product or convolution, by the shapes that its event tells; else NULL"),
        Column("accessed_bytes", "BIGINT", "of its operands and results, each once; NULL where flops is, or not told"),
        Column("precision", "VARCHAR", "of its operands: fp64 fp32 bf16 fp16; NULL where flops is, or not told"),
    ),
    "lines": (
        TRACE,
        Column("plane", "VARCHAR", "XPlane plane name"),
        Column("line", "VARCHAR", "XPlane line: id:name"),
        Column("derived", "BOOLEAN", "made from other lines, so not counted again"),
        Column("events", "BIGINT", "events on the line"),
        Column("sum_ps", "BIGINT", "sum of durations, picoseconds"),
        Column("busy_ps", "BIGINT", "union of durations, picoseconds"),
        Column("first_ps", "BIGINT", "start of the first event after the profile's start, picoseconds"),
        Column("last_ps", "BIGINT", "end of the last event after the profile's start, picoseconds"),
    ),
    "counters": (
        PASS,
        TS,
        Column("source", "VARCHAR", "nvml, host, the framework or the trace"),
        Column("device", "VARCHAR", "GPU index as text, `0.mig1` for an instance of one; NULL for the host"),
        Column("metric", "VARCHAR", "power, memory_used, cpu_percent, …"),
        Column("value", "DOUBLE", "the reading"),
        Column("unit", "VARCHAR", "mW, B, %, MHz, degC, mJ, …"),
        Column("told_ns", "BIGINT", "the driver's own time of the value, ns of CLOCK_REALTIME; NULL where it has none"),
    ),
    "gpus": (
        PASS,
        Column("device", "VARCHAR", "GPU index as text"),
        Column("name", "VARCHAR", "as the driver names it"),
        Column("uuid", "VARCHAR", "as the driver tells"),
        Column("architecture", "VARCHAR", "hopper, ampere, …; NULL where not told"),
        Column("driver", "VARCHAR", "its version"),
        Column("mig", "BOOLEAN", "split into instances, which share its power and energy; NULL where not told"),
        Column("used", "BOOLEAN", "the run was given it, by device and CUDA_VISIBLE_DEVICES"),
        Column("power_limit_mw", "BIGINT", "power that it is held to, at the start; NULL where not told"),
    ),
    "sensors": (
        PASS,
        Column("device", "VARCHAR", "GPU index as text"),
        Column("metric", "VARCHAR", "power_instant, power_average, power or energy"),
        Column("update_ns", "BIGINT", "from one new value to the next, as found before the run; NULL: too few changed"),
        Column("reads", "BIGINT", "readings that it was found by"),
    ),
    "unavailable": (
        PASS,
        Column("source", "VARCHAR", "nvml, host, pyspy, the framework"),
        Column("device", "VARCHAR", "GPU index as text; NULL where it concerns them all"),
        Column("metric", "VARCHAR", "what could not be had"),
        Column("reason", "VARCHAR", "why, in the vendor's or the system's own words"),
        Column("ts_ns", "BIGINT", "since when, ns of CLOCK_REALTIME, where it had been told before; else NULL"),
    ),
    "allocations": (
        TRACE,
        PASS,
        TS,
        Column("device", "VARCHAR", "the number that the trace gives, as text; `cpu` on the host"),
        Column("allocator", "VARCHAR", "as the trace names it"),
        Column(
            "action",
            "VARCHAR",
            "alloc free; in snapshots also segment_alloc segment_free segment_map segment_unmap, which change what is "
            "reserved, and oom, a request that failed",
        ),
        Column("bytes", "BIGINT", "size of the block or segment, positive; in snapshots, what was asked for"),
        Column("address", "BIGINT", "address of the block or segment; NULL for oom"),
        Column(
            "in_use_bytes", "BIGINT", "in use after it; counted from the profiler's start where that is all there is"
        ),
        Column("reserved_bytes", "BIGINT", "reserved by the allocator after it; NULL where not told"),
        Column("op", "VARCHAR", "operator that asked for it, where told"),
        Column("fragmentation", "DOUBLE", "free bytes outside the largest free block over free bytes, as BFC tells"),
        Column("thread", "VARCHAR", "process/thread that asked for it, as text; NULL where not told"),
        Column("frame", "VARCHAR", "Python function (file:line) that asked for it, the user's own where told"),
        Column("requested_bytes", "BIGINT", "what was asked for of the block; NULL where not told"),
        Column("available_bytes", "BIGINT", "what the allocator may still give after it; NULL where not told"),
        Column("peak_in_use_bytes", "BIGINT", "most in use since the process began, as the allocator tells"),
        Column("region", "VARCHAR", "what kind of memory the operator wanted, as TensorFlow tells"),
        Column("shape", "VARCHAR", "shape of the tensor, as TensorFlow tells"),
    ),
    "segments": (
        TRACE,
        PASS,
        Column("device", "VARCHAR", "number of the GPU, as text"),
        Column("address", "BIGINT", "address of the segment, which the allocator got from the driver as one piece"),
        Column("stream", "VARCHAR", "the stream that it was got for, as text"),
        Column("type", "VARCHAR", "pool: large or small"),
        Column("total_bytes", "BIGINT", "size: what is reserved"),
        Column("allocated_bytes", "BIGINT", "in blocks that tensors use"),
        Column("active_bytes", "BIGINT", "allocated, or freed but still awaited by a stream"),
        Column("requested_bytes", "BIGINT", "what was asked for of the active bytes; NULL where not told"),
        Column("is_expandable", "BOOLEAN", "a mapped range of an expandable segment; NULL where not told"),
        Column("blocks", "INTEGER", "blocks that it is split into"),
        Column("largest_free_bytes", "BIGINT", "its largest inactive block; 0 where all are active"),
    ),
    "blocks": (
        TRACE,
        PASS,
        Column("device", "VARCHAR", "number of the GPU, as text"),
        Column(
            "address", "BIGINT", "address of a block that was active when the snapshot was taken; NULL where not told"
        ),
        Column("bytes", "BIGINT", "its size in its segment"),
        Column("requested_bytes", "BIGINT", "what was asked for; NULL where not told"),
        Column("frame", "VARCHAR", "Python function (file:line) that asked for it, the user's own where told"),
        Column("count", "BIGINT", "blocks that the row stands for, as JAX counts them; NULL for one"),
    ),
    "marks": (
        PASS,
        Column("id", "BIGINT", "number within the pass"),
        Column("parent", "BIGINT", "the mark around it; NULL for the run"),
        Column("kind", "VARCHAR", "run stage epoch step phase sync request resident_request"),
        Column("name", "VARCHAR", "which stage or phase: data_wait, host_to_device, compile, compute, validation, …"),
        Column("epoch", "INTEGER", "from 1; NULL outside"),
        Column("step", "INTEGER", "from 1 within its epoch or loop; NULL outside"),
        TS,
        DUR,
        Column("complete", "BOOLEAN", "false where the worker ended inside; it is then closed at the last record"),
    ),
    "scalars": (
        PASS,
        TS,
        Column("epoch", "INTEGER", "from 1; 0 before training"),
        Column("name", "VARCHAR", "train_loss, validation_loss, validation_accuracy, …"),
        Column("value", "DOUBLE", "losses are means over samples"),
    ),
    "stacks": (
        TRACE,
        PASS,
        Column("ts_ns", "BIGINT", "start, ns since py-spy's launch; NULL for all occurrences of a stack together"),
        Column("dur_ns", "BIGINT", "from the first sample with the frame to one without it, or the samples' sum; ns"),
        Column("self_ns", "BIGINT", "duration less that of the frames called from it; NULL where one of them has none"),
        Column("samples", "BIGINT", "samples that hold this stack; NULL where the file tells durations only"),
        Column("thread", "VARCHAR", "process/thread, or the thread as the sampler names it"),
        Column("depth", "INTEGER", "0 is the outermost frame"),
        Column("frame", "VARCHAR", "function (file:line)"),
        Column("recursive", "BOOLEAN", "the same frame is open further out, so that its duration counts there"),
    ),
    "clocks": (
        PASS,
        Column("source", "VARCHAR", "worker or samplers: who read the pair"),
        Column("realtime_ns", "BIGINT", "CLOCK_REALTIME"),
        Column("monotonic_ns", "BIGINT", "CLOCK_MONOTONIC at the same moment"),
    ),
}
