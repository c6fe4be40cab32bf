"""The frozen RunSpec, and what each framework offers: JSON out and back.

Every field is one flat name, the same in a profile, in `--set name=value`, and upper-cased on make's command line.
`settings` reads those, and refuses what cannot be run. The standard library only: the worker reads it inside the
framework's environment.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

FRAMEWORKS = ("torch", "tf", "jax")
FRAMEWORKS_SPELT = {"torch": "PyTorch", "tf": "TensorFlow", "jax": "JAX"}
RUNTIMES = ("auto", "docker", "podman", "local")
DEVICES = ("auto", "cpu", "cuda")
TASKS = ("train", "infer")
LOOPS = ("auto", "custom", "fit")
DATASETS = ("synthetic", "cifar10")
OPTIMIZERS = ("adam", "sgd")
PASSES = ("time", "profile")
SAMPLERS = ("host", "gpu")
RANDOM, PRETRAINED = "random", "pretrained"
# No zoo has it, and so nobody publishes weights of it.
CIFAR_CNN = "cifar_cnn"
HEAD = "head"
ALONE, DATA_PARALLEL, DDP, MIRRORED = "none", "data_parallel", "ddp", "mirrored"
# How each framework trains on several replicas at once, beside `none`.
PARALLELS = {"torch": (DATA_PARALLEL, DDP), "tf": (MIRRORED,), "jax": ()}
MATCHED = "matched"
AS_SHIPPED = "as-shipped"
MODES = (MATCHED, AS_SHIPPED)
PRECISIONS = ("auto", "fp64", "fp32", "tf32", "bf16")
CHANNELS_LAST = "channels_last"
CHANNELS_FIRST = "channels_first"
NORMALISATIONS = ("none", "cifar10", "imagenet")
NATIVE_LOOP = {"torch": "custom", "tf": "fit", "jax": "custom"}
# How each framework can run a model; the first is what a matched run takes where nothing is said.
COMPILES = {"torch": ("eager", "inductor"), "tf": ("graph", "eager", "xla"), "jax": ("xla", "eager")}
# How each framework's GPU allocator can get its memory, beside `auto`, its own way.
ALLOCATORS = {
    "torch": ("expandable_segments", "cuda_malloc_async"),
    "tf": ("growth", "cuda_malloc_async"),
    "jax": ("growth", "preallocate"),
}
CIFAR10_IMAGE_SIZE = 32
CIFAR10_CLASSES = 10


def _option(default: Any, doc: str, *, choices: tuple[str, ...] = (), least: float | None = None) -> Any:
    return field(default=default, metadata={"doc": doc, "choices": choices, "least": least})


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What runs: one framework, one model, one task. Built by `settings.resolve`, which refuses what cannot be run."""

    framework: str = _option("torch", "which framework runs it", choices=FRAMEWORKS)
    model: str = _option("resnet50", "which model")
    mode: str = _option(
        MATCHED, "matched: the same model, weights and settings everywhere; as-shipped: each zoo's own", choices=MODES
    )
    task: str = _option("train", "train (with validation, then inference) or inference alone", choices=TASKS)
    runtime: str = _option("auto", "auto: docker, else podman, else the local environment", choices=RUNTIMES)
    device: str = _option("auto", "auto takes a GPU where one answers, and says so", choices=DEVICES)
    loop: str = _option("auto", "custom (hand-written loop) or fit (Keras); auto is the native one", choices=LOOPS)
    compile: str = _option(
        "auto",
        "how the framework runs the model; auto: eager (torch), graph (tf), xla (jax), as-shipped fit: Keras's choice",
        choices=("auto", "eager", "graph", "xla", "inductor"),
    )
    precision: str = _option(
        "auto",
        "of the arithmetic; tf32: NVIDIA GPUs from Ampere on; bf16: weights stay float32; auto: fp32, or as-shipped "
        "what the framework takes",
        choices=PRECISIONS,
    )
    layout: str = _option(
        "auto",
        "of images in memory; auto: channels_last, or as-shipped what the framework takes",
        choices=("auto", CHANNELS_LAST, CHANNELS_FIRST),
    )
    dataset: str = _option("synthetic", "synthetic tensors from the seed, or CIFAR-10", choices=DATASETS)
    data_dir: str = _option("", "folder that holds or receives the dataset; empty: the data cache")
    weights: str = _option(
        RANDOM,
        "of the start; pretrained: on ImageNet, from the framework's zoo, or matched from torchvision; auto: those, or "
        "random where they cannot be had",
        choices=(RANDOM, PRETRAINED, "auto"),
    )
    weights_dir: str = _option("", "folder that holds the file of pretrained weights; empty: the data cache")
    trainable: str = _option("all", "what training changes: all weights, or the last layer's", choices=("all", HEAD))
    image_size: int = _option(32, "height and width of the input, pixels", least=8)
    classes: int = _option(10, "number of classes", least=2)
    normalise: str = _option(
        "none", "none: pixels 0 to 1; cifar10, imagenet: by that set's mean and deviation", choices=NORMALISATIONS
    )
    batch: int = _option(32, "samples in a training step, of all replicas together", least=1)
    epochs: int = _option(2, "epochs of training", least=1)
    steps: int = _option(10, "training steps in an epoch; 0: the whole training set", least=0)
    validation_steps: int = _option(2, "validation batches after each epoch; 0: the whole test set", least=0)
    warmup_steps: int = _option(2, "training steps before the first epoch, outside every figure of it", least=0)
    optimizer: str = _option("adam", "the framework's own, at its own other defaults", choices=OPTIMIZERS)
    learning_rate: float = _option(0.001, "constant over the run", least=0.0)
    momentum: float = _option(0.9, "of sgd", least=0.0)
    parallel: str = _option(
        ALONE,
        "how replicas train together; data_parallel (torch, GPUs), ddp: a process each (torch), mirrored (tf)",
        choices=(ALONE, DATA_PARALLEL, DDP, MIRRORED),
    )
    replicas: int = _option(1, "copies of the model that share a batch, each on a GPU or a part of the CPU", least=1)
    checkpoint: bool = _option(default=False, doc="write a checkpoint after each epoch, timed, then removed")
    infer_batches: tuple[int, ...] = _option((1, 8, 32), "batch sizes of inference, comma-separated", least=1)
    infer_repeats: int = _option(
        10, "timed requests at each batch size, after two untimed ones; 0: no inference", least=0
    )
    allocator: str = _option(
        "auto",
        "how the GPU's memory is got; auto: the framework's own way (tf and jax take it beforehand, torch as it goes)",
        choices=("auto", "growth", "preallocate", "expandable_segments", "cuda_malloc_async"),
    )
    max_split_size_mb: int = _option(0, "larger free blocks are kept whole, MiB; 0: all may be split (torch)", least=0)
    loader_workers: int = _option(0, "processes that load data beside the worker (torch)", least=0)
    threads: int = _option(0, "processor threads of the framework; 0: its own choice", least=0)
    seed: int = _option(0, "of data, order and initial weights", least=0)
    passes: tuple[str, ...] = _option(PASSES, "time: unprofiled; profile: under the native profiler", choices=PASSES)
    profile_steps: int = _option(20, "training steps under the profiler, from the first of epoch 1", least=1)
    profile_memory: bool = _option(
        default=True,
        doc="record allocator events in the trace (torch; tf always does); jax: what is alive at the window's end",
    )
    profile_shapes: bool = _option(default=False, doc="record operator input shapes in the trace (torch)")
    profile_stacks: bool = _option(default=False, doc="record Python stacks in the trace")
    samplers: tuple[str, ...] = _option(
        SAMPLERS,
        "what samples beside the worker: host (processor, memory), gpu (NVML); empty: nothing",
        choices=SAMPLERS,
    )
    sample_hz: int = _option(10, "readings a second of host and GPU beside the worker", least=1)
    pyspy: bool = _option(default=False, doc="attach py-spy to the worker of the profile pass")
    timeout_s: int = _option(3600, "a pass that takes longer is ended and recorded as such", least=1)
    limit_memory_mib: int = _option(0, "memory of a container; 0: nine tenths of the machine's", least=0)
    limit_shm_mib: int = _option(0, "shared memory in it, for loader_workers; 0: half of that", least=0)
    limit_processors: int = _option(0, "processors of a container; 0: all that hwprof itself may use", least=0)
    limit_processes: int = _option(4096, "processes and threads of a container", least=1)

    @property
    def matched(self) -> bool:
        """Whether the run is to compute what the other frameworks' matched runs compute."""
        return self.mode == MATCHED

    def as_json(self) -> str:
        """JSON that `from_json` reads back to an equal spec."""
        return json.dumps(dataclasses.asdict(self), indent=1)


FIELDS: dict[str, dataclasses.Field[Any]] = {item.name: item for item in dataclasses.fields(RunSpec)}


def from_json(text: str) -> RunSpec:
    """The spec that `as_json` wrote."""
    values = json.loads(text)
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return RunSpec(**(values | lists))
