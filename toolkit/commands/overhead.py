"""`hwprof overhead`."""

import random
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from toolkit.analyses.overhead import Overhead, costs, step_ns
from toolkit.capture import launch, runtime
from toolkit.capture.profiler_options import GPU, NOT_APART, OFF, OPTIONS, TAKEN, settings_of
from toolkit.capture.runs import COMPLETE
from toolkit.commands.console import console
from toolkit.errors import INTERRUPTED, HwprofError
from toolkit.reports import overhead as report
from toolkit.settings import known, resolve
from toolkit.spec import FRAMEWORKS, RunSpec

PROFILES = launch.ROOT / "profiles"


class _Asked(NamedTuple):
    """What every process of one framework is to run, and how often."""

    framework: str
    model: str
    settings: tuple[str, ...]
    options: tuple[str, ...]
    steps: int
    repeats: int


@click.command
@click.option("--framework", "frameworks", default="torch", show_default=True, metavar="NAME,NAME", help="In which.")
@click.option("--model", default="resnet50", show_default=True, help="Which model is trained.")
@click.option(
    "--options", default=",".join(OPTIONS), show_default=True, metavar="NAME,NAME", help="Which to measure, beside off."
)
@click.option("--steps", default=20, show_default=True, type=click.IntRange(3), help="Training steps of a process.")
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(1), help="Processes for each option.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the workload.")
@click.option("--order-seed", default=0, show_default=True, help="Of the order of processes.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object a framework.")
def command(  # noqa: PLR0913 - one parameter an option of the command line
    *, frameworks: str, model: str, options: str, steps: int, repeats: int,
    settings: tuple[str, ...], order_seed: int, as_json: bool,
) -> None:  # fmt: skip
    """Measure what hwprof's own options cost: the step time with each over that with none, with intervals.

    Each is the real training loop in fresh processes, in random interleaved order: off (neither profiler nor samplers),
    each sampler alone, the native profiler plain, with shapes, memory or stacks, as `hwprof run` uses it by default,
    and that with py-spy. What a framework does not have is named with the reason. No run is kept.

    \b
    Examples:
      hwprof overhead
      hwprof overhead --framework torch,tf,jax --model cifar_cnn --repeats 10 --set device=cpu
    """
    chosen = tuple(dict.fromkeys((OFF, *(known(name.strip(), OPTIONS, "option") for name in options.split(",")))))
    check_settings(settings)
    names = [known(name.strip(), FRAMEWORKS, "framework") for name in frameworks.split(",")]
    order = random.Random(order_seed)  # noqa: S311 - an order, no secret
    asked = [_Asked(name, model, settings, chosen, steps, repeats) for name in dict.fromkeys(names)]
    measures = [_Measure(one) for one in asked]
    each = [(measure, option) for measure in measures for option in measure.plans]
    # every option once before any comes again, so that a machine that drifts, or an interrupt, favours none
    turns = [turn for _ in range(repeats) for turn in order.sample(each, len(each))]
    done = _run(turns)
    found = [measure.result() for measure in measures]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    else:
        console().print(report.report(found))
    if done < len(turns):
        raise HwprofError(
            f"Interrupted after {done} of {len(turns)} processes.",
            remedy="What was measured stands above.",
            exit_code=INTERRUPTED,
        )


def check_settings(settings: Sequence[str]) -> None:
    """HwprofError where a setting is one that the options make, or that they would measure something else by."""
    for setting in settings:
        name = setting.partition("=")[0]
        if name in TAKEN or name == "steps":
            raise HwprofError(
                f"hwprof overhead sets {name} itself.", remedy="Leave it out; see hwprof overhead --help."
            )


def _run(turns: "Sequence[tuple[_Measure, str]]") -> int:
    """Each in its turn; how many were, where someone interrupts."""
    for number, (measure, option) in enumerate(turns):
        try:
            _say(f"{number + 1} of {len(turns)}: {measure.take(option)}")
        except KeyboardInterrupt:
            return number
    return len(turns)


class _Measure:
    """One framework's plans, and what was measured by them."""

    def __init__(self, asked: _Asked) -> None:
        self._asked = asked
        self.plans: dict[str, launch.Plan] = {}
        self._reasons: dict[str, str] = {}
        self._measured: defaultdict[str, list[float]] = defaultdict(list)
        for option in asked.options:
            if reason := NOT_APART.get((asked.framework, option)):
                self._reasons[option] = reason
            else:
                self._plan(option)

    def _plan(self, option: str) -> None:
        """What cannot be run is a result, but for `off`, without which there is nothing to hold the others to."""
        given = [f"framework={self._asked.framework}", f"model={self._asked.model}", "validation_steps=1"]
        given += [*self._asked.settings, *settings_of(OPTIONS[option], steps=self._asked.steps)]
        try:
            spec = resolve(None, given, profiles=PROFILES)
        except HwprofError as error:
            if option == OFF:
                raise
            self._reasons[option] = error.problem
            return
        plan = launch.plan(spec, runs=Path(tempfile.gettempdir()), say=_say if option == OFF else _quiet)
        if option == GPU and not plan.wish.presence.gpus:
            self._reasons[option] = f"no GPU: {plan.wish.presence.reason}"
        else:
            self.plans[option] = plan

    def take(self, option: str) -> str:
        """Runs one process, and says what came of it; one that fails ends its option, which keeps the reason."""
        what = f"{self._asked.framework} {option}"
        if option in self._reasons:
            return f"{what}: left out, for it failed before"
        ns, reason = _process(self.plans[option])
        if ns is None:
            self._reasons[option] = reason or "too few steps were recorded"
            return f"{what}: {self._reasons[option]}"
        self._measured[option].append(ns)
        return f"{what}: {ns / 1e6:,.2f} ms a step"

    def result(self) -> Overhead:
        """What was measured so far."""
        off, asked = self.plans[OFF], self._asked
        spec: RunSpec = off.spec
        over = {option: OPTIONS[option].over for option in asked.options}
        return Overhead(
            framework=asked.framework,
            model=asked.model,
            mode=spec.mode,
            batch=spec.batch,
            device=off.wish.device,
            runtime=runtime.record(off.runtime, off.wish)["name"],
            steps=asked.steps,
            repeats=asked.repeats,
            options=costs(over, self._measured, self._reasons, off=OFF),
        )


def _process(plan: launch.Plan) -> tuple[float | None, str | None]:
    """A step's time in one fresh process, ns; else why there is none. Nothing of it stays."""
    with tempfile.TemporaryDirectory(prefix="hwprof-overhead-") as runs:
        folder = launch.create_folder(Path(runs), plan)
        outcome = launch.run_passes(folder, plan, say=_quiet)
        if outcome.exit_code == INTERRUPTED:
            raise KeyboardInterrupt
        if outcome != COMPLETE:
            return None, outcome.reason
        return step_ns(folder / "raw" / plan.spec.passes[0], device=plan.wish.device), None


def _say(line: str) -> None:
    click.echo(line, err=True)


def _quiet(_: str) -> None:
    """What was said once."""
