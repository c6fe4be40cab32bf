"""What XPlane's names say: which plane is a GPU, which line repeats others, what an event is, where an allocator lives.

The names are those that TensorFlow's and XLA's profilers write (tsl/profiler/utils: xplane_schema, tf_op_utils).
"""

import re

from toolkit.ingest.categories import kernel_category

TASK_ENVIRONMENT = "Task Environment"
METADATA_PLANE = "/host:metadata"

# Lines that profilers and viewers compute from the streams' lines; older TensorFlow wrote them into the trace itself.
DERIVED_LINES = frozenset(
    {
        "Steps", "TensorFlow Name Scope", "TensorFlow Ops", "Framework Name Scope", "Framework Ops", "XLA Modules",
        "XLA Ops", "XLA TraceMe", "Async XLA Ops", "Launch Stats", "Source code", "Source", "Host Offload Ops",
    }
)  # fmt: skip

KINDS = (
    "annotation", "launch", "op", "python", "overhead", "kernel", "memcpy", "memset", "device_annotation", "memory",
)  # fmt: skip
ANNOTATION, LAUNCH, OP, PYTHON, OVERHEAD, KERNEL, MEMCPY, MEMSET, DEVICE_ANNOTATION, MEMORY = range(len(KINDS))
ACTIONS = ("alloc", "free")

_ALLOCATIONS = {"MemoryAllocation": "alloc", "MemoryDeallocation": "free"}
_GPU_PLANE = re.compile(r"/device:GPU:(\d+)\b")
_STREAM_LINE = re.compile(r"Stream #(\d+)")
_API_CALL = re.compile(r"(cu|cuda|hip)[A-Z]\w*")
# An operator within a tf.function is named `scope/op:Type`, one run eagerly `EagerLocalExecute: Type`. A whole function
# run either way is called `__inference_…` and is no operator.
_OP = re.compile(r"[\w.][\w.\\/>-]*:(?!__inference_)[A-Z_]\w*|EagerLocalExecute: (?!__inference_)\w+")
# The profiler's own hooks in thread pools: instants that stand for no work.
_PROFILERS_OWN = "ThreadpoolListener::"
_GPU_ALLOCATOR = re.compile(r"GPU_(\d+)_bfc|gpu_async_(\d+)")
_HOST_ALLOCATOR = re.compile(r"cpu|host", re.IGNORECASE)
_DETAILS = re.compile(r"#[^#]*#(?:::)?")
_XLA_OWN = re.compile(r"(?:XlaModule|Thunk):")
_DETAIL_BYTES = re.compile(r"\bsize:(\d{1,18})\b")

# XLA's own category of an HLO instruction -> ours, by the first word found. What is not here (custom calls run other
# libraries' kernels) goes by the kernel's name.
_HLO_CATEGORIES = (
    (re.compile(r"all-|reduce-scatter|collective|\bsend\b|\brecv\b"), "communication"),
    (re.compile(r"custom"), None),
    (re.compile(r"convolution"), "conv"),
    (re.compile(r"fusion"), "fused"),
    (re.compile(r"\bdot\b|matmul|gemm"), "gemm"),
    (re.compile(r"reduce-window|select-and-scatter"), "pool"),
    (re.compile(r"reduce|sort"), "reduce"),
    (re.compile(r"batch-norm"), "norm"),
    (re.compile(r"elementwise|data formatting|copy|broadcast|pad|slice|concatenate|gather|scatter|rng"), "elementwise"),
)


def gpu_of(plane_name: str) -> str | None:
    """The GPU's number, as text, of a GPU's plane; None for any other plane."""
    found = _GPU_PLANE.match(plane_name)
    return found[1] if found else None


def is_host(plane_name: str) -> bool:
    """Whether the plane holds events of host threads."""
    return plane_name.startswith("/host:") and plane_name != METADATA_PLANE


def is_derived(plane_name: str, line_name: str) -> bool:
    """Whether a line repeats what others of its plane tell."""
    return line_name in DERIVED_LINES and not is_host(plane_name)


def stream_of(line_name: str) -> str | None:
    """The stream's number, as text, of a line `Stream #7(Compute)`; None for any other line."""
    found = _STREAM_LINE.match(line_name)
    return found[1] if found else None


def host_kind(name: str) -> int:
    """What a host event is by its name alone: a position in `KINDS`."""
    if name.startswith("$"):
        return PYTHON
    if name in _ALLOCATIONS:
        return MEMORY
    if name.startswith(_PROFILERS_OWN):
        return OVERHEAD
    if _API_CALL.fullmatch(name):
        return LAUNCH
    return OP if _OP.fullmatch(name) else ANNOTATION


def device_kind(name: str) -> int:
    """What a stream's event is by its name alone: a position in `KINDS`."""
    if name.startswith("Memcpy"):
        return MEMCPY
    return MEMSET if name.startswith("Memset") else KERNEL


def allocation_action(name: str) -> int:
    """What the allocator's event of this name did: a position in `ACTIONS`."""
    return ACTIONS.index(_ALLOCATIONS.get(name, "alloc"))


def launches_kernel(launch_name: str) -> bool:
    """Whether a host call of this name puts a kernel on the device; some writers name such a call as the kernel.

    Copies and sets are left out: those of no bytes run nothing.
    """
    if _API_CALL.fullmatch(launch_name):
        return "kernel" in launch_name.lower().partition("launch")[2]
    return device_kind(launch_name) == KERNEL


def device_category(kind: int, name: str | None, hlo_category: str | None) -> str | None:
    """The category of device work: XLA's by its HLO category where the trace tells one, else by the kernel's name."""
    if kind != KERNEL:
        return KINDS[kind] if kind in {MEMCPY, MEMSET} else None
    found = (category for pattern, category in _HLO_CATEGORIES if pattern.search(hlo_category or ""))
    return next(found, None) or kernel_category(name or "")


def instruction_scope(prefix: str | None, name: str | None, hlo_op: str | None) -> str | None:
    """The framework's name for an XLA instruction, else XLA's own; None for what is none.

    XLA's annotations tell what all names of a module begin with once, as `prefix`.
    """
    return ("/".join(part for part in (prefix, name) if part) or hlo_op) if hlo_op else None


def operator_of(instruction: str | None, *told: str | None) -> str | None:
    """The operator that an event says it is of: the XLA instruction's, else what `tf_op` or an annotation tells.

    TensorFlow's annotations nest, the innermost last, each followed by what it knows of itself (`a/b:MatMul#shape=…#`).
    """
    if instruction:
        return instruction
    for text in filter(None, told):
        parts = (part for piece in _DETAILS.split(text) for part in piece.split("::"))
        operators = [part for part in parts if part and not _XLA_OWN.match(part)]
        if operators:
            return operators[-1].removesuffix(":")
    return None


def allocator_device(allocator: str | None) -> str | None:
    """`cpu` or the GPU's number, as text, of an allocator by its name; None where it does not tell."""
    found = _GPU_ALLOCATOR.fullmatch(allocator or "")
    if found:
        return found[1] or found[2]
    return "cpu" if _HOST_ALLOCATOR.search(allocator or "") else None


def detail_bytes(details: str | None) -> int | None:
    """Bytes that a copy's or set's details tell (`size:655360 dest:2 async:1`); None where they tell none, or 0."""
    found = _DETAIL_BYTES.search(details or "")
    return int(found[1]) or None if found else None
