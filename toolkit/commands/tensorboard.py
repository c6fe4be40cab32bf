"""`hwprof tensorboard`."""

from pathlib import Path

import click

from toolkit.analyses import matched
from toolkit.capture import runs
from toolkit.commands import completion
from toolkit.errors import HwprofError, complain
from toolkit.reports import tensorboard


@click.command
@click.argument("chosen", nargs=-1, metavar="[RUN]...", shell_complete=completion.runs)
@click.option(
    "--runs", "runs_folder", type=click.Path(path_type=Path), default="runs", show_default=True, help="Where runs are."
)
@click.option("--port", type=click.IntRange(1, 65535), default=6006, show_default=True, help="Port on 127.0.0.1.")
@click.option("--logdir", type=click.Path(path_type=Path), help="Where to build; by default RUNS/.tensorboard.")
@click.option("--build-only", is_flag=True, help="Build the log directory and do not serve it.")
def command(chosen: tuple[str, ...], runs_folder: Path, port: int, logdir: Path | None, *, build_only: bool) -> None:
    """Show runs in TensorBoard: scalars, and each native trace in its framework's own profiler plugin.

    RUN is a name, a folder or `last`; without one, all runs. TensorBoard listens on 127.0.0.1 only. While it is
    open, building again (--build-only) adds new runs to it. Its PyTorch plugin reads all traces at once when it
    starts: with many or large ones, name the runs to show.

    \b
    Examples:
      hwprof tensorboard
      hwprof tensorboard last --port 6007
    """
    folders = [runs.find(runs_folder, name) for name in chosen] or runs.folders(runs_folder)
    if not folders:
        raise HwprofError(
            f"There are no runs in {runs_folder}.", remedy="Make one: make profile FRAMEWORK=torch MODEL=resnet50."
        )
    logdir = logdir or runs_folder / ".tensorboard"
    tensorboard.build_logdir(folders, logdir)
    if unshown := matched.doubtful(matched.compared(folders)):
        complain(f"Compare no charts of these. {matched.not_the_same(unshown)}")
    click.echo(f"Runs shown: {len(folders)}, from {logdir}", err=True)
    if not build_only:
        tensorboard.serve(logdir, port=port, say=lambda line: click.echo(line, err=True))
