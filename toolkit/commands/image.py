"""`hwprof image`."""

import click

from toolkit.capture import engines, images
from toolkit.settings import known

RUNTIMES = ("auto", *engines.NAMES)


@click.command()
@click.argument("names", nargs=-1, metavar="[FRAMEWORK-VARIANT]...")
@click.option("--runtime", default="auto", show_default=True, help="Which engine builds: " + ", ".join(RUNTIMES) + ".")
@click.option("--progress", is_flag=True, help="Show what the builds print.")
def command(names: tuple[str, ...], runtime: str, *, progress: bool) -> None:
    """Build the images that runs in containers need, where they are not there yet: those named, or all.

    Prints the name of each. HWPROF_BASE_IMAGE names another base image than the pinned one.

    \b
    Examples:
      hwprof image torch-cpu
      hwprof image --runtime podman tf-cpu tf-cuda
    """
    recipes = {str(recipe): recipe for recipe in images.recipes()}
    wanted = [known(name, recipes, "image") for name in names] or list(recipes)
    engine = engines.find(known(runtime, RUNTIMES, "runtime"))
    _say(f"Images of {engine}.")
    for name in wanted:
        image = images.ensure(engine, recipes[name], say=_say, show=_say if progress else None)
        click.echo(image.reference)


def _say(line: str) -> None:
    click.echo(line, err=True)
