"""The frozen RunSpec: a profile's TOML and overrides in, JSON out and back.

Every field is one flat name, the same in a profile, in `--set name=value`, and upper-cased on make's command line.
The standard library only: the worker reads it inside the framework's environment.
"""

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.errors import HwprofError

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
# Settings that PyTorch alone has, and what the others do in their place.
PYTORCH_ONLY = {
    "loader_workers": {
        "tf": "TensorFlow loads by tf.data, in threads of its own",
        "jax": "JAX brings no loader: batches are made in the loop's own thread",
    },
    "max_split_size_mb": dict.fromkeys(("tf", "jax"), "BFC has no such limit"),
    "profile_shapes": dict.fromkeys(("tf", "jax"), "its profiler knows no such option"),
}
# How each framework's GPU allocator can get its memory, beside `auto`, its own way.
ALLOCATORS = {
    "torch": ("expandable_segments", "cuda_malloc_async"),
    "tf": ("growth", "cuda_malloc_async"),
    "jax": ("growth", "preallocate"),
}
# PyTorch refuses to keep smaller blocks whole: its large segments are of 20 MiB.
LEAST_SPLIT_MIB = 20
CIFAR10_IMAGE_SIZE = 32
# There are too many settings for one line.
SETTINGS_LISTED = "`hwprof run --help` lists them all."
CIFAR10_CLASSES = 10


def _option(default: Any, doc: str, *, choices: tuple[str, ...] = (), least: float | None = None) -> Any:
    return field(default=default, metadata={"doc": doc, "choices": choices, "least": least})


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What runs: one framework, one model, one task. Built by `resolve`, which refuses what cannot be run."""

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


def resolve(profile: Path | None, overrides: Iterable[str], *, profiles: Path) -> RunSpec:
    """The spec of a profile file (by default the one of the model's name in `profiles`) with `name=value` overrides.

    Raises HwprofError for an unknown name or a value that its field refuses.
    """
    given = dict(split(item) for item in overrides)
    path = profile or profiles / f"{known(given.get('model', 'resnet50'), model_names(profiles), 'model')}.toml"
    values = read_profile(path) | {name: parse(name, text) for name, text in given.items()}
    return check(RunSpec(**values))


def model_names(profiles: Path) -> list[str]:
    """Names of the models that `profiles` holds a TOML for."""
    return sorted(path.stem for path in profiles.glob("*.toml"))


def known(name: str, valid: Iterable[str], what: str, listed: str | None = None) -> str:
    """`name`, if it is one of `valid`; else raises HwprofError naming the nearest, and where all are `listed`."""
    valid = list(valid)
    if name in valid:
        return name
    near = difflib.get_close_matches(name.lower(), valid, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise HwprofError(f"Unknown {what} {name!r}.", remedy=hint + (listed or f"Known: {', '.join(valid)}."))


def parse(name: str, text: str) -> Any:
    """The value of field `name` written as text, as on a command line; HwprofError where no run can have it."""
    item = FIELDS[known(name, FIELDS, "setting", SETTINGS_LISTED)]
    if isinstance(item.default, tuple):
        cast = type(item.default[0])
        value: Any = tuple(_cast(name, one.strip(), cast) for one in text.split(",") if one.strip())
    else:
        value = _cast(name, text, type(item.default))
    _check_field(name, value, item)
    return value


def shown(value: object) -> str:
    """A field's value as it is written on a command line."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def check(spec: RunSpec) -> RunSpec:
    """`spec` with its loop settled, if every value is possible; else raises HwprofError naming value and remedy."""
    for name, item in FIELDS.items():
        _check_field(name, getattr(spec, name), item)
    if spec.framework == "torch" and spec.loop == "fit":
        raise HwprofError("PyTorch has no loop 'fit'.", remedy="Use loop=custom, or framework=tf or jax.")
    _check_pytorch_only(spec)
    _check_allocator(spec)
    _check_start(spec)
    _check_parallel(spec)
    check_device(spec, spec.device)
    if spec.dataset == "cifar10" and (spec.image_size, spec.classes) != (CIFAR10_IMAGE_SIZE, CIFAR10_CLASSES):
        raise HwprofError(
            f"CIFAR-10 has 10 classes of 32×32 images, not {spec.classes} of {spec.image_size}×{spec.image_size}.",
            remedy="Leave image_size and classes out, or use dataset=synthetic.",
        )
    if spec.dataset == "synthetic" and spec.steps == 0:
        raise HwprofError("Synthetic data has no end, so steps=0 never ends.", remedy="Give steps=N.")
    for name in ("passes", "samplers", "infer_batches"):
        values = getattr(spec, name)
        if len(set(values)) < len(values):
            raise HwprofError(f"{name}={shown(values)} says one thing twice.", remedy="Say each once.")
    if spec.task == "infer" and not (spec.infer_repeats and spec.infer_batches):
        raise HwprofError("task=infer without requests does nothing.", remedy="Give infer_repeats and infer_batches.")
    if spec.pyspy and "host" not in spec.samplers:
        raise HwprofError("pyspy=true needs the host's sampler, which starts it.", remedy="Leave samplers out.")
    if not spec.passes:
        raise HwprofError("passes is empty.", remedy="Give passes=time, passes=profile or passes=time,profile.")
    return _settled(spec)


def _check_pytorch_only(spec: RunSpec) -> None:
    for name, instead in PYTORCH_ONLY.items():
        value = getattr(spec, name)
        if spec.framework in instead and value != FIELDS[name].default:
            raise HwprofError(
                f"{name}={shown(value)} does nothing in {FRAMEWORKS_SPELT[spec.framework]}: {instead[spec.framework]}.",
                remedy=f"Leave {name} out, or use framework=torch.",
            )


def _check_start(spec: RunSpec) -> None:
    """HwprofError where no such weights are published, or nothing would be trained."""
    if spec.weights == PRETRAINED and spec.model == CIFAR_CNN:
        raise HwprofError(
            f"There are no pretrained weights of {CIFAR_CNN}: no zoo has it.",
            remedy="Use weights=random, or another model.",
        )
    if spec.weights_dir and spec.weights == RANDOM:
        raise HwprofError(
            f"weights_dir={spec.weights_dir} does nothing with weights=random.",
            remedy="Leave it out, or give weights=pretrained.",
        )
    if spec.trainable == HEAD and spec.task == "infer":
        raise HwprofError("trainable=head does nothing with task=infer, which trains nothing.", remedy="Leave it out.")


def _check_parallel(spec: RunSpec) -> None:
    """HwprofError where the framework has no such way, or a batch cannot be shared so."""
    if spec.parallel == ALONE:
        if spec.replicas > 1:
            raise HwprofError(
                f"replicas={spec.replicas} does nothing without parallel.",
                remedy="Give parallel=ddp or data_parallel (torch) or mirrored (tf), or leave replicas out.",
            )
        return
    _check_parallel_offered(spec)
    if spec.replicas == 1:
        raise HwprofError(
            f"parallel={spec.parallel} of one replica is none.",
            remedy="Give replicas=2 or more, or leave parallel out.",
        )
    if spec.task == "infer":
        raise HwprofError(
            f"parallel={spec.parallel} does nothing with task=infer: requests go to one replica.",
            remedy="Leave parallel out.",
        )
    if spec.batch % spec.replicas:
        raise HwprofError(
            f"batch={spec.batch} is no whole number of parts for replicas={spec.replicas}.",
            remedy=f"Give a multiple of {spec.replicas}: batch is what all replicas together take in a step.",
        )
    if spec.compile in ("inductor", "xla"):
        raise HwprofError(
            f"compile={spec.compile} is not built for parallel={spec.parallel}.", remedy="Leave one of them out."
        )


def _check_parallel_offered(spec: RunSpec) -> None:
    if spec.parallel in PARALLELS[spec.framework]:
        return
    if not PARALLELS[spec.framework]:
        raise HwprofError(
            f"parallel={spec.parallel} is not built for JAX, which shards arrays inside one program instead.",
            remedy="Leave parallel out, or use framework=torch or tf.",
        )
    own = " or ".join(PARALLELS[spec.framework])
    (other,) = (name for name in FRAMEWORKS if spec.parallel in PARALLELS[name])
    raise HwprofError(
        f"{FRAMEWORKS_SPELT[spec.framework]} has no parallel={spec.parallel}.",
        remedy=f"Use parallel={own}, or framework={other}.",
    )


def check_device(spec: RunSpec, device: str) -> None:
    """HwprofError where a setting of GPUs is to hold on `device`, and that is a CPU."""
    if spec.parallel == DATA_PARALLEL and device == "cpu":
        raise HwprofError(
            "parallel=data_parallel does nothing on device=cpu: torch.nn.DataParallel copies the model to GPUs alone.",
            remedy="Use parallel=ddp, whose replicas are processes, or GPUs.",
        )
    names = [name for name in ("allocator", "max_split_size_mb") if getattr(spec, name) != FIELDS[name].default]
    if names and device == "cpu":
        given = ", ".join(f"{name}={getattr(spec, name)}" for name in names)
        raise HwprofError(
            f"{given} does nothing on device=cpu: it is how a GPU's memory is got.",
            remedy=f"Leave {' and '.join(names)} out, or use a GPU.",
        )


def _check_offered(spec: RunSpec, setting: str, what: str, offered: Mapping[str, Sequence[str]]) -> None:
    """HwprofError where the setting is neither auto nor what its framework has, as `offered` tells of each."""
    value, own = getattr(spec, setting), offered[spec.framework]
    if value not in ("auto", *own):
        others = [name for name in FRAMEWORKS if value in offered[name]]
        raise HwprofError(
            f"{FRAMEWORKS_SPELT[spec.framework]} has no {what} {value!r}.",
            remedy=f"Use {setting}={' or '.join(['auto', *own])}, or framework={' or '.join(others)}.",
        )


def _check_allocator(spec: RunSpec) -> None:
    _check_offered(spec, "allocator", "allocator policy", ALLOCATORS)
    if not spec.max_split_size_mb:
        return
    if spec.max_split_size_mb < LEAST_SPLIT_MIB:
        raise HwprofError(
            f"max_split_size_mb={spec.max_split_size_mb} is less than PyTorch takes.",
            remedy=f"Give {LEAST_SPLIT_MIB} or more.",
        )
    if spec.allocator == "cuda_malloc_async":
        raise HwprofError(
            "max_split_size_mb does nothing under allocator=cuda_malloc_async, which splits no blocks of PyTorch's.",
            remedy="Leave one of them out.",
        )


def _settled(spec: RunSpec) -> RunSpec:
    """`spec` with what `auto` stands for, as far as the framework is not to choose itself."""
    loop = NATIVE_LOOP[spec.framework] if spec.loop == "auto" else spec.loop
    native: dict[str, Any] = {"compile": COMPILES[spec.framework][0]} if spec.matched or loop != "fit" else {}
    # Keras's choice beside a GPU would be XLA, which compiles for one device.
    native |= {"compile": COMPILES[spec.framework][0]} if spec.parallel != ALONE else {}
    native |= {"precision": "fp32", "layout": CHANNELS_LAST} if spec.matched else {}
    settled = {name: value for name, value in native.items() if getattr(spec, name) == "auto"}
    return _check_framework(dataclasses.replace(spec, loop=loop, **settled))


def _check_framework(spec: RunSpec) -> RunSpec:
    """`spec`, if its framework can do what it asks."""
    _check_offered(spec, "compile", "compile mode", COMPILES)
    if spec.layout == CHANNELS_FIRST and spec.framework != "torch":
        raise HwprofError(
            f"{FRAMEWORKS_SPELT[spec.framework]}'s models are built with their channels last.",
            remedy="Leave layout out, or use framework=torch.",
        )
    return spec


def split(item: str) -> tuple[str, str]:
    """Name and text of `name=value`."""
    name, equals, value = item.partition("=")
    if not equals:
        raise HwprofError(f"{item!r} is no setting.", remedy="Write name=value, such as batch=8.")
    return name, value


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """What a TOML file holds; HwprofError naming `what` it was to be where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise HwprofError(f"Cannot read the {what} {path}: {error}.", remedy="Give a TOML file.") from error


def read_profile(path: Path) -> dict[str, Any]:
    """The settings that a profile file has; HwprofError where it cannot be read, or one is none."""
    return {name: from_toml(path, name, value) for name, value in read_toml(path, "profile").items()}


def from_toml(path: Path, name: str, value: Any) -> Any:
    """The value of field `name` as the file `path` has it; HwprofError where it is of another type."""
    default: Any = FIELDS[known(name, FIELDS, f"key in {path}:", SETTINGS_LISTED)].default
    example = default
    if isinstance(default, tuple):
        if isinstance(value, list) and all(type(one) is type(default[0]) for one in value):
            return tuple(value)
        kind, example = f"list of {type(default[0]).__name__}", list(default)
    elif isinstance(default, float) and type(value) is int:
        return float(value)
    elif type(value) is type(default):
        return value
    else:
        kind = type(default).__name__
    raise HwprofError(f"{path}: {name} = {value!r} is no {kind}.", remedy=f"Write it as {kind}: {example!r}.")


def _cast(name: str, text: str, kind: type) -> Any:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    try:
        return words[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise HwprofError(f"{name}={text!r} is not {wanted}.", remedy=f"{name}: {_doc(name)}.") from None


def _check_field(name: str, value: Any, item: dataclasses.Field[Any]) -> None:
    values = value if isinstance(value, tuple) else (value,)
    for one in values:
        if item.metadata["choices"]:
            known(one, item.metadata["choices"], name)
        least = item.metadata["least"]
        # `not >=` so that NaN is refused too
        if least is not None and not (least <= one < float("inf")):
            raise HwprofError(f"{name}={one} is out of range.", remedy=f"{name} is at least {least}: {_doc(name)}.")


def _doc(name: str) -> str:
    return str(FIELDS[name].metadata["doc"])
