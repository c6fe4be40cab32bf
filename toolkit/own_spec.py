"""What is known of a training loop that a person wrote, JSON out and back; and either kind of spec read back.

It shares with RunSpec what hwprof settles itself, under the same names. Of all else it holds what the person told, and
nothing where they told nothing. The standard library only: it is written inside the framework's environment.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from toolkit.spec import PASSES, SAMPLERS, RunSpec, from_json

# The mode of such runs, and their one pass.
OWN = "own"
LOOP = "loop"
# The unprofiled pass of every other run.
TIME = "time"
ALL_PASSES = (*PASSES, LOOP)
# A run has one of these: what its times are of. In an own loop the profiler's window is left out of them.
TIMED = (TIME, LOOP)

Setting = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class OwnSpec:
    """A person's own loop: `model` is what they call it, `batch` the samples in a step where they said so.

    `settings` are theirs, of any names. The native profiler records `profile_steps` steps from the `profile_from`th on.
    """

    framework: str
    model: str
    mode: str = OWN
    task: str = "train"
    device: str
    batch: int | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    passes: tuple[str, ...] = (LOOP,)
    profile_from: int = 4
    profile_steps: int = 10
    profile_memory: bool = True
    profile_shapes: bool = False
    profile_stacks: bool = False
    samplers: tuple[str, ...] = SAMPLERS
    sample_hz: int = 10
    pyspy: bool = False

    def as_json(self) -> str:
        """JSON that `read` reads back to an equal spec."""
        return json.dumps(dataclasses.asdict(self), indent=1)


Spec = RunSpec | OwnSpec


def read(text: str) -> Spec:
    """The spec that either kind's `as_json` wrote. Raises ValueError or TypeError for anything else."""
    values = json.loads(text)
    if not isinstance(values, dict) or values.get("mode") != OWN:
        return from_json(text)
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return OwnSpec(**(values | lists))


def timed_pass(spec: Spec) -> str:
    """The pass of a run whose times are its times, where it has one."""
    return LOOP if isinstance(spec, OwnSpec) else TIME


def told(spec: Spec) -> dict[str, Any]:
    """Every setting of a run by its name; those that a person told of their own loop under the names they gave them."""
    values = dataclasses.asdict(spec)
    return values | values.pop("settings", {}) if isinstance(spec, OwnSpec) else values
