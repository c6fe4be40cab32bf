"""One image built from containers/Dockerfile by docker's BuildKit or by podman, and why it failed where it did.

The caller's indexes and certificates reach the build as secrets, which no layer records, and its network is the
caller's own, so that a proxy or an index on this machine answers there too. The standard library only.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from toolkit.capture import pip_settings, venvs
from toolkit.capture.engines import Engine
from toolkit.errors import FAILED, HwprofError

BUILT_IN_UNTIL = 23  # docker clients before this version hold BuildKit themselves, later ones need the buildx plugin
PYTHONS = ("3.11", "3.12", "3.13")
# BuildKit knows these build arguments itself, and records none of them.
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
PREFIX = re.compile(r"^#\d+ (?:\d+\.\d+ )?", re.MULTILINE)
REGISTRY_UNREACHED = re.compile(r"failed to do request|pinging container registry|\bdial tcp\b|/v2/\": ")
NO_SUCH_BASE = re.compile(
    r"manifest unknown|pull access denied|repository does not exist|insufficient_scope|: not found"
)
ENGINE_GONE = re.compile(r"Cannot connect to the Docker daemon|error during connect|unable to connect to Podman", re.I)
NO_PYTHON = re.compile(r"executable file .*not found|no such file or directory|ModuleNotFoundError", re.IGNORECASE)
FULL = re.compile("no space left on device", re.IGNORECASE)
# What an engine says of a step that failed, after the step's own words.
OF_A_STEP = re.compile(r"^-+$|^ > \[|executor failed running|exit code: \d+|exit status \d+|did not complete success")
# With less than this free, python cannot even make an environment, and does not say why.
LEAST_FREE_BYTES = 32 << 20


def kept(root: Path) -> Path:
    """Where the builds' logs lie, and what is known of images that could not be built."""
    return root / ".venv" / "images"


def dockerfile(root: Path) -> Path:
    """The one file that every image is built from."""
    return root / "containers" / "Dockerfile"


class Order(NamedTuple):
    """What is to be built: name, the Dockerfile's arguments, labels; `cache`: parts of earlier builds will do."""

    reference: str
    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    cache: bool


def build(engine: Engine, order: Order, *, show: Callable[[str], None] | None, root: Path) -> None:
    """Builds the image, which the engine holds only once it is whole; HwprofError where that fails."""
    command, variables = builder(engine)
    command += ["--network", "host", "--file", str(dockerfile(root)), "--tag", order.reference]
    command += [] if order.cache else ["--no-cache"]
    command += [word for key, value in order.arguments.items() for word in ("--build-arg", f"{key}={value}")]
    command += [word for key in PROXIES if key in os.environ for word in ("--build-arg", key)]
    command += [word for key, value in order.labels.items() for word in ("--label", f"{key}={value}")]
    with _secrets(pip_settings.read()) as secrets:
        code, output = _follow([*command, *secrets, str(root)], variables, show)
    repository = order.reference.partition(":")[0]
    log = kept(root) / f"{repository}.log"
    # On a full disk the log cannot be kept, and the reason is still to be told.
    with contextlib.suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(output, encoding="utf-8")
    if code:
        what = f"Building the image {repository} failed:"
        if FULL.search(output) or _is_full(engine):
            remedy = "Free some where the engine keeps its images (`docker system df` tells), and try again."
            raise HwprofError(f"{what} the disk is full.", remedy=remedy, exit_code=FAILED)
        raise explain(output, what, log, order.arguments["BASE_IMAGE"])


def python_of(engine: Engine, base: str) -> str:
    """The version of Python in a base image: one that the locks are for, with what makes environments."""
    code = "import ensurepip, platform, venv; print(platform.python_version())"
    command = [engine.program, "run", "--rm", "--network", "none", "--entrypoint", "python3", base, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise _of_base(done.stderr, f"The base image {base} cannot be used:", base) or _no_python(base, done.stderr)
    version = done.stdout.strip()
    if ".".join(version.split(".")[:2]) not in PYTHONS:
        problem = f"The base image {base} has Python {version}, and the locks are for {', '.join(PYTHONS)}."
        raise HwprofError(problem, remedy="Name another with HWPROF_BASE_IMAGE.")
    return version


def explain(output: str, what: str, log: Path, base: str) -> HwprofError:
    """The one line, and the remedy, for what a build printed, the whole of which lies in `log`."""
    if failure := _of_base(output, what, base):
        return failure
    lines = PREFIX.sub("", output).splitlines()
    words = "\n".join(line for line in lines if not OF_A_STEP.search(line))
    return venvs.explain(words, what, log, where=f"the Python of {base}")


def _of_base(output: str, what: str, base: str) -> HwprofError | None:
    """Where it was the engine, or the base image that it could not get."""
    if ENGINE_GONE.search(output):
        return HwprofError(f"{what} the engine does not answer.", remedy="Start it, and try again.", exit_code=FAILED)
    if REGISTRY_UNREACHED.search(output):
        problem = f"{what} the base image {base} is not on this machine and its registry cannot be reached."
        remedy = "Check the connection, or name a base image that is here with HWPROF_BASE_IMAGE."
        return HwprofError(problem, remedy=remedy, exit_code=FAILED)
    if NO_SUCH_BASE.search(output):
        problem = f"{what} its registry gives no base image {base}."
        return HwprofError(problem, remedy="Correct HWPROF_BASE_IMAGE, or log in there.", exit_code=FAILED)
    return None


def _is_full(engine: Engine) -> bool:
    """Whether the disk of an engine on this machine is; of one elsewhere its own words have to tell."""
    with contextlib.suppress(OSError):
        return bool(engine.data) and shutil.disk_usage(engine.data).free < LEAST_FREE_BYTES
    return False


def _no_python(base: str, output: str) -> HwprofError:
    line = (output.strip().splitlines() or ["it said nothing"])[-1]
    lacks = NO_PYTHON.search(output)
    problem = f"The base image {base} {'has no python3 with venv and ensurepip' if lacks else 'cannot be run'}: {line}."
    return HwprofError(problem, remedy="Name another with HWPROF_BASE_IMAGE.", exit_code=FAILED)


def builder(engine: Engine) -> tuple[list[str], dict[str, str]]:
    """The command that builds, and the variables it needs: podman's own, or that of a docker client with BuildKit."""
    if engine.name == "podman":
        return [engine.program, "build"], {}
    # Where several clients are installed, the first on the path may be one that came without it.
    clients = list(dict.fromkeys([engine.program, *_on_path("docker")]))
    for client in clients:
        if _says(client, "buildx", "version"):
            return [client, "buildx", "build", "--load", "--progress", "plain"], {}
    for client in clients:
        version = re.match(r"Docker version (\d+)\.", _says(client, "--version"))
        if version and int(version[1]) < BUILT_IN_UNTIL:
            return [client, "build", "--progress", "plain"], {"DOCKER_BUILDKIT": "1"}
    problem = f"{engine.name} {engine.version} cannot build images here: its client lacks BuildKit."
    raise HwprofError(problem, remedy="Install docker's buildx plugin, or use runtime=podman or local.")


def _on_path(program: str) -> list[str]:
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return [found for folder in folders if (found := shutil.which(program, path=folder))]


def _says(*command: str) -> str:
    """What a command prints where it succeeds."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout


@contextlib.contextmanager
def _secrets(settings: pip_settings.Settings) -> Iterator[list[str]]:
    """The options that hand pip's settings to a build, as files that only we can read and that go again."""
    with tempfile.TemporaryDirectory(prefix="hwprof-") as folder:
        configuration = Path(folder, "pip.conf")
        configuration.write_text(settings.text(certificates="/run/secrets/certificates"), encoding="utf-8")
        options = ["--secret", f"id=pip,src={configuration}"]
        if settings.certificates:
            bundle = shutil.copy(settings.certificates, folder)
            options += ["--secret", f"id=certificates,src={bundle}"]
        yield options


def _follow(command: list[str], variables: Mapping[str, str], show: Callable[[str], None] | None) -> tuple[int, str]:
    """Runs a build to its end; its exit code and all that it printed, each line shown as it comes."""
    lines = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | variables,
    ) as process:
        try:
            for line in process.stdout or ():
                lines.append(line)
                if show:
                    show(line.rstrip())
        except BaseException:
            # The engine stops a build whose client is gone, and names nothing.
            process.terminate()
            raise
    return process.returncode, "".join(lines)
