"""Environments installed from hashed locks: one a framework and variant, apart from each other and from the toolkit's.

An environment counts only once it carries its stamp, which is written last and names the lock's hash, the Python and
the place: whatever was interrupted, moved or left behind by another lock is removed and made again. The standard
library only, since `containers/bootstrap.py` makes the toolkit's own environment with it.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from toolkit.errors import FAILED, HwprofError

ROOT = Path(__file__).resolve().parents[2]
FALLBACKS = {"torch-cpu": "cuda"}
STAMP = "hwprof-stamp.json"
MISMATCH = re.compile(r"^ +(\S+) from .*\n +Expected \S+ (\S+)\n +Got +(\S+)", re.MULTILINE)
UNREACHED = re.compile(r"connection broken by|Max retries exceeded|Read timed out|ProxyError|CERTIFICATE_VERIFY_FAILED")
CURRENT, STALE, MISSING = "current", "stale", "missing"
NO_WHEEL = re.compile(r"No matching distribution found for (\S+)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker's environment, as it was really installed; `fallback` says in one sentence why it is another variant."""

    python: Path
    framework: str
    variant: str
    lock: Path
    lock_sha256: str
    fallback: str | None


class NoWheelError(HwprofError):
    """pip's indexes hold no wheel that fits a pin; another variant may still do."""


def ensure(framework: str, variant: str, *, say: Callable[[str], None], root: Path = ROOT) -> Worker:
    """The environment of `framework` in `variant` (cpu, cuda), made from its lock where it is not there yet.

    `say` is told in one line what takes long. Where no wheel fits and the variant has a fallback, that one is installed
    and named. Raises HwprofError for an unknown lock, and with pip's own words where the installation fails.
    """
    name = f"{framework}-{variant}"
    lock = find_lock(name, root)
    folder = root / ".venv" / name
    refused = folder.with_name(f"{name}.refused")
    other = FALLBACKS.get(name)
    if other and refused.exists() and refused.read_text(encoding="utf-8") == _circumstances(lock):
        return _fallback(framework, variant, other, say=say, root=root)
    try:
        install(folder, lock, say=say)
    except NoWheelError:
        if not other:
            raise
        refused.write_text(_circumstances(lock), encoding="utf-8")
        return _fallback(framework, variant, other, say=say, root=root)
    return Worker(
        python=folder / "bin" / "python",
        framework=framework,
        variant=variant,
        lock=lock,
        lock_sha256=sha256_of(lock),
        fallback=None,
    )


def install(
    folder: Path,
    lock: Path,
    *,
    say: Callable[[str], None],
    project: Path | None = None,
    family: Sequence[Path] = (),
) -> None:
    """Makes `folder` an environment of `lock`, and of the package at `project` (editable), unless it is one already.

    Each lock of `family` holds all of those before it: an environment of a larger one than `lock` does as well, one of
    a smaller one is added to. Any other is removed first. Waits for another process that does the same. Raises
    HwprofError where it fails.
    """
    family = family or (lock,)
    smaller, enough = family[: family.index(lock)], family[family.index(lock) :]
    if _made_from(folder, enough):
        return
    with _alone(folder, say) as held:
        if _made_from(folder, enough):
            return
        say(f"Installing {folder.name} from {'/'.join(lock.parts[-3:])}{size(lock)}, once …")
        grows = _made_from(folder, smaller)
        (folder / STAMP).unlink(missing_ok=True)
        if not grows:
            _fresh(folder, held)
        options = ("--require-hashes", "--only-binary", ":all:", "--requirement", str(lock))
        _pip(folder, ("install", *options), lock, held)
        if project:
            _pip(folder, ("install", "--no-deps", "--no-build-isolation", "--editable", str(project)), lock, held)
        _write_stamp(folder, lock)


def state(folder: Path, locks: Sequence[Path]) -> str:
    """CURRENT where the environment was made whole from one of `locks` as they are now, else STALE or MISSING."""
    if _made_from(folder, locks):
        return CURRENT
    return STALE if folder.exists() else MISSING


def find_lock(name: str, root: Path) -> Path:
    """The lock of `name` (`torch-cpu`); HwprofError with the known ones where there is none."""
    path = root / "containers" / "locks" / f"{name}.txt"
    if not path.is_file():
        known = sorted(lock.stem for lock in path.parent.glob("*-*.txt"))
        raise HwprofError(f"There is no lock for {name!r}.", remedy=f"Known: {', '.join(known)}.")
    return path


def _fallback(framework: str, variant: str, other: str, *, say: Callable[[str], None], root: Path) -> Worker:
    reason = (
        f"{framework} ({other}) stands in for {framework} ({variant}), which pip's configured indexes do not hold; it "
        f"also runs without a GPU, and for the smaller one add PyTorch's CPU wheel index to pip's configuration."
    )
    say(reason)
    return dataclasses.replace(ensure(framework, other, say=say, root=root), fallback=reason)


def _circumstances(lock: Path) -> str:
    """What the answer "no wheel fits" depends on: lock, Python and pip's configuration, hashed as it may hold keys."""
    command = [sys.executable, "-I", "-m", "pip", "config", "list"]
    configured = subprocess.run(command, capture_output=True, check=False).stdout
    return f"{sha256_of(lock)} {_python()} {hashlib.sha256(configured).hexdigest()}\n"


def sha256_of(path: Path) -> str:
    """The hash that names a lock wherever it is recorded."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _stamp(folder: Path, lock: Path) -> dict[str, str]:
    return {"lock": lock.name, "lock_sha256": sha256_of(lock), "python": _python(), "folder": str(folder.absolute())}


def _made_from(folder: Path, locks: Sequence[Path]) -> bool:
    try:
        stamp = json.loads((folder / STAMP).read_bytes())
    except (OSError, ValueError):
        return False
    # A Python that was removed leaves a dangling link.
    return (folder / "bin" / "python").exists() and any(stamp == _stamp(folder, lock) for lock in locks)


def _write_stamp(folder: Path, lock: Path) -> None:
    partial = folder / f"{STAMP}.partial"
    partial.write_text(json.dumps(_stamp(folder, lock)), encoding="utf-8")
    partial.replace(folder / STAMP)


def size(lock: Path) -> str:
    """What the lock's own first line says of its size."""
    first = lock.read_text(encoding="utf-8").partition("\n")[0]
    return first.replace("# size:", ";") if first.startswith("# size:") else ""


@contextlib.contextmanager
def _alone(folder: Path, say: Callable[[str], None]) -> Iterator[int]:
    """Holds the folder's file lock, and gives its descriptor: a pip that outlives us keeps the lock through it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        held = os.open(folder.with_name(f".{folder.name}.lock"), os.O_CREAT | os.O_RDWR, 0o666)
    except OSError as error:
        problem = f"Cannot make the environment {folder}: {error.strerror}."
        raise HwprofError(problem, remedy="Make its parent folder writable.", exit_code=FAILED) from error
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another process is installing {folder.name}; waiting for it.")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield held
    finally:
        os.close(held)


def _fresh(folder: Path, held: int) -> None:
    """An empty environment of the Python that runs this, with pip."""
    try:
        if folder.exists():
            shutil.rmtree(folder)
        venv.EnvBuilder(symlinks=True).create(folder)
    except OSError as error:
        problem = f"Cannot make the environment {folder}: {error}."
        raise HwprofError(problem, remedy="Check the disk, or remove the folder.", exit_code=FAILED) from error
    done = _python_m(folder, ("ensurepip", "--upgrade", "--default-pip"), held)
    if done.returncode:
        problem = f"Python {_python()} cannot make an environment with pip: {_last_line(done.stdout)}"
        raise HwprofError(problem, remedy="Install its venv package (Debian: python3-venv).", exit_code=FAILED)


def _python_m(folder: Path, arguments: Sequence[str], held: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "bin" / "python", "-I", "-m", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=(held,),
        check=False,
    )


def _pip(folder: Path, arguments: Sequence[str], lock: Path, held: int) -> None:
    quiet = ("--quiet", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")
    done = _python_m(folder, ("pip", arguments[0], *quiet, *arguments[1:]), held)
    if done.returncode:
        log = folder.with_name(f"{folder.name}.log")
        # On a full disk the log cannot be kept, and the reason is still to be told.
        with contextlib.suppress(OSError):
            log.write_text(done.stdout, encoding="utf-8")
        what = f"Installing {folder.name} from {lock.name} failed:"
        raise explain(done.stdout, what, log, where=f"Python {_python()} on this machine")


def explain(output: str, what: str, log: Path, *, where: str) -> HwprofError:
    """The one line, and the remedy, for pip's output, the whole of which lies in `log`; `where` is what it ran on."""
    if "No space left on device" in output:
        return HwprofError(f"{what} the disk is full.", remedy="Free some space and try again.", exit_code=FAILED)
    if found := MISMATCH.search(output):
        requirement, expected, got = found.groups()
        problem = f"{what} {requirement} has the sha256 {got} and the lock says {expected}."
        remedy = "The download is not what was locked: check pip's indexes, and do not install it by other means."
        return HwprofError(problem, remedy=remedy, exit_code=FAILED)
    if UNREACHED.search(output):
        remedy = f"Check the connection and `pip config list`, then try again; pip's words are in {log}."
        return HwprofError(f"{what} pip could not reach its index.", remedy=remedy, exit_code=FAILED)
    if missing := NO_WHEEL.search(output):
        problem = f"{what} pip's indexes hold no wheel of {missing[1]} for {where}."
        remedy = "Use another Python (3.11 to 3.13), or add an index that has it to pip's configuration."
        return NoWheelError(problem, remedy=remedy, exit_code=FAILED)
    return HwprofError(f"{what} {_last_line(output)}", remedy=f"pip's words are in {log}.", exit_code=FAILED)


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it said nothing."])[-1]
