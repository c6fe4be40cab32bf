"""The container engines: which answers, what it is, whether it can build images and pass GPUs on."""

import shutil
from collections.abc import Iterator

from toolkit.capture import containers, engines, image_build
from toolkit.capture.checks.machine import Finding, Machine, ok, warning
from toolkit.errors import HwprofError

# Part of NVIDIA's container toolkit: what docker calls for --gpus.
RUNTIME_HOOK = "nvidia-container-runtime-hook"


def engines_there(machine: Machine) -> Iterator[Finding]:
    """Each engine. One that is missing is no matter where another works; without any, runs use local environments."""
    for name, answer in machine.answers.items():
        if isinstance(answer, engines.Engine):
            yield _works(answer)
            if machine.visible.gpus:
                yield _passes_gpus(answer)
        elif answer == engines.NOT_INSTALLED and machine.engines:
            yield ok(name, f"{answer}, nor needed beside {machine.engines[0].name}")
        else:
            yield warning(name, f"{answer} (RUNTIME=auto goes without)", engines.remedy({name: answer}))


def _works(engine: engines.Engine) -> Finding:
    found = f"{engine.version}, {'rootless' if engine.rootless else 'as root'}, cgroup v{engine.cgroup_version}"
    found += ", CDI" if engine.cdi else ", no CDI"
    try:
        image_build.builder(engine)
    except HwprofError as error:
        return warning(engine.name, f"{found}; {error.problem}", error.remedy)
    missing = sorted(set(engines.CONTROLLERS.values()) - engine.controllers)
    if missing:
        remedy = "Runs go without these limits; to have them, delegate these controllers to the engine."
        return warning(engine.name, f"{found}; cannot limit {', '.join(missing)}", remedy)
    return ok(engine.name, f"{found}, {'BuildKit' if engine.name == 'docker' else 'buildah'}")


def _passes_gpus(engine: engines.Engine) -> Finding:
    name = f"{engine.name} gpus"
    try:
        options = containers.gpu_options(engine)
    except HwprofError as error:
        return warning(name, error.problem, error.remedy)
    if options[0] == "--gpus" and shutil.which(RUNTIME_HOOK) is None:
        return warning(
            name, f"{RUNTIME_HOOK}, which passes them on, is not installed", "Install NVIDIA's container toolkit."
        )
    return ok(name, f"passed on by {' '.join(options)}")
