"""Runs the harnesses: `python -m tests.fuzz MINUTES [IMPORTER…]`, all of them unless some are named.

Each runs in a process of its own for its share of the time. An input that breaks an importer, takes too long or too
much memory goes to .fuzz/crashes/IMPORTER/, and the exit code is 1. One that took too long counts only where it does
so by the processor's time as well: a busy machine slows any.
"""

import importlib
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

IMPORTERS = ("kineto", "xplane", "torch_snapshot", "pyspy", "speedscope", "jax_memory", "nvidia_smi")
REPO = Path(__file__).parents[2]
FOLDER = REPO / ".fuzz"
# A crash ends its process; the next one goes on from the corpus.
MOST_CRASHES = 5
LEAST_S = 5
# Python with the importers' libraries takes some 300 MB of it.
SLOW_S = 20
LIMITS = [f"-timeout={SLOW_S}", "-rss_limit_mb=1000", "-max_len=100000", "-detect_leaks=0"]
# Where files live in memory, as Linux has it: each input is written to one.
MEMORY = [Path(os.sep, "dev", "shm")]
_EXECUTED = re.compile(r"stat::number_of_executed_units: (\d+)")


def fuzz(name: str, seconds: int) -> None:
    """Fuzzes one importer in this process, which libFuzzer then ends."""
    # Only make fuzz's environment has it, and what is imported in the block below is instrumented.
    atheris = importlib.import_module("atheris")

    with atheris.instrument_imports(include=["toolkit.ingest"]):
        common = importlib.import_module("tests.fuzz.harness")
        harness = importlib.import_module(f"tests.fuzz.fuzz_{name}").HARNESS
    corpus, crashes = FOLDER / "corpus" / name, FOLDER / "crashes" / name
    for folder in (corpus, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(harness.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    memory = next((place for place in MEMORY if os.access(place, os.W_OK)), None)
    scratch = Path(tempfile.mkdtemp(dir=memory))

    def one_input(data: bytes) -> None:
        common.check(harness, data, scratch, common.UnwrittenStore)

    def mutated(data: bytes, size: int, seed: int) -> bytes:
        random = Random(seed)  # noqa: S311 - no secret: libFuzzer repeats a mutation by its seed
        changed = harness.mutated(data, random) if random.random() < 0.5 else atheris.Mutate(data, size)
        return bytes(changed[:size])

    options = [*LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={crashes}/", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one_input, custom_mutator=mutated)
    atheris.Fuzz()


def again(name: str, path: Path) -> None:
    """Gives one input to its importer; the kernel ends this process where that takes SLOW_S of the processor's time."""
    common = importlib.import_module("tests.fuzz.harness")
    harness = importlib.import_module(f"tests.fuzz.fuzz_{name}").HARNESS
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + SLOW_S,) * 2)
    with tempfile.TemporaryDirectory() as folder:
        common.check(harness, path.read_bytes(), Path(folder), common.UnwrittenStore)


def only_slowed(name: str) -> bool:
    """Whether an importer's process ended for nothing but inputs that are fast by themselves; they are removed."""
    crashes, fast = FOLDER / "crashes" / name, 0
    for path in crashes.glob("timeout-*"):
        command = [sys.executable, "-m", "tests.fuzz", "--again", name, str(path)]
        if subprocess.run(command, cwd=REPO, capture_output=True, check=False).returncode == 0:
            path.unlink()
            fast += 1
    return fast > 0 and not any(crashes.iterdir())


def run(name: str, seconds: int) -> tuple[int, int]:
    """Executions and crashes of one importer within this time, in processes of their own."""
    executed = crashes = 0
    log = FOLDER / f"{name}.log"
    FOLDER.mkdir(exist_ok=True)
    for _ in range(MOST_CRASHES):
        command = [sys.executable, "-m", "tests.fuzz", "--one", name, str(seconds)]
        with log.open("w") as out:
            ended = subprocess.run(command, cwd=REPO, stdout=out, stderr=out, check=False).returncode
        told = _EXECUTED.findall(log.read_text(errors="replace"))
        executed += int(told[-1]) if told else 0
        if ended == 0:
            break
        crashes += not only_slowed(name)
    return executed, crashes


def main(words: list[str]) -> int:
    """Exit code of a run over all importers, or over those named."""
    if words[0] == "--one":
        fuzz(words[1], int(words[2]))
        return 0
    if words[0] == "--again":
        again(words[1], Path(words[2]))
        return 0
    if not re.fullmatch(r"\d+(\.\d+)?", words[0]):
        sys.stderr.write(f"MINUTES={words[0]} is no number. Give minutes, as in: make fuzz MINUTES=10\n")
        return 2
    names = words[1:] or IMPORTERS
    seconds = max(int(float(words[0]) * 60 / len(names)), LEAST_S)
    found = 0
    for name in names:
        executed, crashes = run(name, seconds)
        found += crashes
        told = (
            f"{crashes} crashes, see {FOLDER.name}/crashes/{name}/ and {FOLDER.name}/{name}.log" if crashes else "none"
        )
        sys.stdout.write(f"{name}: {executed:,} inputs in {seconds} s; findings: {told}\n")
        sys.stdout.flush()
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
