"""The sentence on what the figures of an as-shipped run are of, for every report."""

from toolkit.capture.workloads import ZOO, ZOO_NAMES
from toolkit.spec import CIFAR_CNN, FRAMEWORKS_SPELT, RunSpec


def sentence(spec: RunSpec) -> str:
    """Which zoo's model and whose defaults, and where the differences are told."""
    framework, name = FRAMEWORKS_SPELT[spec.framework], ZOO[spec.framework][spec.model]
    model = "cifar_cnn as hwprof writes it" if name == CIFAR_CNN else f"{ZOO_NAMES[spec.framework]}.{name}"
    return (
        f"as shipped: figures of {model} with {framework}'s own defaults; another framework's {spec.model} is another "
        f"workload, and `hwprof differences {spec.model}` lists what differs"
    )
