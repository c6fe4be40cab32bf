"""The click group. Each command is imported on use, so that `hwprof --help` answers at once."""

import difflib
import importlib
import io
import signal
import sys
from typing import Any

import click

from toolkit import __version__
from toolkit.capture import ending
from toolkit.errors import FAILED, INTERRUPTED, HwprofError, complain

# Name -> what `hwprof --help` says of it; the command is `toolkit.commands.<name>:command`.
COMMANDS = {
    "run": "Run a workload under samplers and its framework's profiler, and report.",
    "sweep": "Measure every combination of settings, and name the best batch.",
    "study": "Run a published comparison again, and say of each claim what came of it.",
    "verify": "Show that a matched model is the same in every framework.",
    "differences": "List what differs between a model of two frameworks, or two runs.",
    "analyze": "Analyse traces that any profiler run left.",
    "compare": "Hold repeats of runs, or sweeps, to each other; a gate for pull requests.",
    "export": "Write runs or traces for Perfetto, speedscope, or as Parquet.",
    "query": "Answer a question in SQL about runs or traces.",
    "crossover": "Hold inference on a processor to a GPU: from which batch on is it faster?",
    "list": "List the runs.",
    "show": "Show the report of a run.",
    "report": "Write a report as one HTML file that opens offline.",
    "tensorboard": "Serve runs in TensorBoard, on loopback.",
    "overhead": "Measure what each option of the profilers and samplers costs.",
    "doctor": "Look at this machine: what works here, and what to do about the rest.",
    "image": "Build the images that runs in containers need.",
}
MODULES = {"list": "list_runs"}


class LazyGroup(click.Group):
    """Knows its commands by name and imports the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names; raises HwprofError naming the nearest where it names none."""
        if args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0].lower(), COMMANDS, n=1, cutoff=0.4)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise HwprofError(f"There is no command {args[0]!r}.", remedy=f"{hint}See: hwprof --help.")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"toolkit.commands.{MODULES.get(cmd_name, cmd_name)}").command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hwprof")
def cli() -> None:
    """Run the same workload in several deep-learning frameworks, and see where time, memory and energy went.

    \b
    Examples:
      hwprof run --set framework=torch --set model=resnet50
      hwprof list
      hwprof show RUN

    Exit codes: 0 success, 1 a run failed, 2 bad input, 130 interrupted.
    """


def main() -> None:
    """The console script: one clear line for every error, and its exit code."""
    # Where a terminal or a pipe cannot take a character, a question mark does; names may hold any.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(_main())


def _main() -> Any:
    try:
        # A kill and a closed terminal clean up as Ctrl-C does, which Python itself turns into an exception.
        with ending.interruptible(signal.SIGTERM, signal.SIGHUP):
            return cli.main(prog_name="hwprof", standalone_mode=False) or 0
    except HwprofError as error:
        complain(error)
        return error.exit_code
    except click.ClickException as error:
        named = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "hwprof"
        complain(f"{error.format_message()} See: {named} --help.")
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("hwprof: interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does. Python would complain again when it flushes at exit.
        sys.stderr.close()
        return 0
    except OSError as error:
        # Of a path that someone named, as a rule: what a command does with its own files has words of its own.
        place = f"{error.filename}: " if error.filename is not None else ""
        complain(f"{place}{error.strerror or error}. See that it is there, and that you may use it.")
        return FAILED
