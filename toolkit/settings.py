"""Settings as people write them: a profile's TOML and overrides to a RunSpec that can be run.

What no run can have is refused, naming the value and the remedy. The standard library only.
"""

import dataclasses
import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import HwprofError
from toolkit.spec import (
    ALLOCATORS,
    ALONE,
    CHANNELS_FIRST,
    CHANNELS_LAST,
    CIFAR10_CLASSES,
    CIFAR10_IMAGE_SIZE,
    CIFAR_CNN,
    COMPILES,
    DATA_PARALLEL,
    FIELDS,
    FRAMEWORKS,
    FRAMEWORKS_SPELT,
    HEAD,
    NATIVE_LOOP,
    PARALLELS,
    PRETRAINED,
    RANDOM,
    RunSpec,
)

# Settings that PyTorch alone has, and what the others do in their place.
PYTORCH_ONLY = {
    "loader_workers": {
        "tf": "TensorFlow loads by tf.data, in threads of its own",
        "jax": "JAX brings no loader: batches are made in the loop's own thread",
    },
    "max_split_size_mb": dict.fromkeys(("tf", "jax"), "BFC has no such limit"),
    "profile_shapes": dict.fromkeys(("tf", "jax"), "its profiler knows no such option"),
}
# PyTorch refuses to keep smaller blocks whole: its large segments are of 20 MiB.
LEAST_SPLIT_MIB = 20
# There are too many settings for one line.
SETTINGS_LISTED = "`hwprof run --help` lists them all."


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
