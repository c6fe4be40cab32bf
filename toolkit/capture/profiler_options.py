"""What `hwprof overhead` measures: each of hwprof's own options as settings of a run, and what it is held to.

Each is one pass of training in a fresh process: `off` has neither profiler nor samplers.
"""

from typing import NamedTuple

from toolkit.spec import SAMPLERS

OFF = "off"
GPU = "gpu sampler"


class Option(NamedTuple):
    """Settings of a pass, `time` or `profile`, and the option whose cost is taken off to leave its own."""

    pass_name: str
    over: str
    settings: dict[str, str]


_PLAIN = {"profile_memory": "false", "profile_shapes": "false", "profile_stacks": "false", "samplers": ""}
_DEFAULT = {"profile_memory": "true", "profile_shapes": "false", "profile_stacks": "false"}
_BOTH = {"samplers": ",".join(SAMPLERS)}

OPTIONS = {
    OFF: Option("time", OFF, {"samplers": ""}),
    "host sampler": Option("time", OFF, {"samplers": "host"}),
    GPU: Option("time", OFF, {"samplers": "gpu"}),
    "profiler": Option("profile", OFF, _PLAIN),
    "shapes": Option("profile", "profiler", _PLAIN | {"profile_shapes": "true"}),
    "memory": Option("profile", "profiler", _PLAIN | {"profile_memory": "true"}),
    "stacks": Option("profile", "profiler", _PLAIN | {"profile_stacks": "true"}),
    "default": Option("profile", OFF, _DEFAULT | _BOTH),
    "py-spy": Option("profile", "default", _DEFAULT | _BOTH | {"pyspy": "true"}),
}
# Settings that the options make, or that would measure something else.
TAKEN = frozenset(
    {"framework", "model", "task", "passes", "epochs", "infer_repeats", "profile_steps", "pyspy"}
    | {name for option in OPTIONS.values() for name in option.settings}
)
# Options whose setting is there in a framework, and changes nothing in a step.
NOT_APART = {
    ("tf", "memory"): "TensorFlow's profiler always records it",
    ("jax", "memory"): "JAX's is taken once, at the window's end, outside its steps",
}


def settings_of(option: Option, *, steps: int) -> list[str]:
    """The settings as `name=value`: one epoch of `steps`, all of them under the profiler where there is one."""
    fixed = {"passes": option.pass_name, "epochs": "1", "steps": str(steps), "profile_steps": str(steps)}
    return [f"{name}={value}" for name, value in (fixed | {"infer_repeats": "0"} | option.settings).items()]
