"""What follows from the locks and is kept in files: the README's table of pins, and docker-bake.hcl.

`python -m containers.derived` writes both, as `make lock` does; `python -m containers.derived variables` prints what
docker-bake.hcl cannot know, for the shell that calls bake. The standard library only.
"""

import json
import os
import shlex
import sys
from pathlib import Path

from toolkit.capture import images, venvs

README = Path(__file__).with_name("README.md")
BAKE = Path(__file__).with_name("docker-bake.hcl")
START, END = "<!-- pins: written by `make lock` -->\n", "<!-- end of pins -->\n"
COLUMNS = {
    "framework": "hwprof.framework_version",
    "CUDA": "hwprof.cuda",
    "cuDNN": "hwprof.cudnn",
    "NCCL": "hwprof.nccl",
    "CUPTI": "hwprof.cupti",
}
VARIABLES = {"org.opencontainers.image.revision": "REVISION", "hwprof.sources": "SOURCES"}
HEAD = """\
# Written by `make lock` from the locks, for those who build for a registry or all at once; `make images` needs no bake.
# REVISION and SOURCES, which complete names and labels, are printed by `python -m containers.derived variables`.

variable "REVISION" {
  default = null
}

variable "SOURCES" {
  default = "unnamed"
}
"""


def bake() -> str:
    """docker-bake.hcl: a target for every image, with the names and labels that images.py gives them."""
    recipes = images.recipes()
    every = ", ".join(f'"{recipe}"' for recipe in recipes)
    return "\n".join([HEAD, f'group "default" {{\n  targets = [{every}]\n}}\n', *map(_target, recipes)])


def _target(recipe: images.Recipe) -> str:
    labels = images.labels(recipe, python=images.python_named(images.base_image()))
    values = {key: json.dumps(value) for key, value in labels.items()} | VARIABLES
    lines = [f"    {json.dumps(key)} = {values[key]}" for key in sorted(values)]
    return f"""\
target "{recipe}" {{
  dockerfile = "containers/Dockerfile"
  args = {{ FRAMEWORK = "{recipe.framework}", VARIANT = "{recipe.variant}" }}
  tags = ["{images.tag_of_lock(recipe)}-${{SOURCES}}"]
  labels = {{
{chr(10).join(lines)}
  }}
}}
"""


def table() -> str:
    """The README's table of what each image pins, and the base image below it."""
    lines = ["| image | " + " | ".join(COLUMNS) + " | packages | size | lock |", "|---" * (len(COLUMNS) + 4) + "|"]
    for recipe in images.recipes():
        stated = images.stated(recipe.lock)
        cells = [f"`{recipe}`", *(stated.get(label, "") for label in COLUMNS.values())]
        cells += [str(len({package for package, _ in images.pins(recipe.lock)}))]
        cells += [venvs.size(recipe.lock).removeprefix("; "), f"`{images.tag_of_lock(recipe).partition(':')[2]}`"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Base image: `{images.base_image()}`.", ""])


def readme() -> str:
    """The README with its table as the locks are now."""
    head, _, rest = README.read_text(encoding="utf-8").partition(START)
    return f"{head}{START}\n{table()}\n{END}{rest.partition(END)[2]}"


def variables() -> str:
    """Shell lines that export what the names of the images end in, and the revision."""
    known = {"SOURCES": images.sources_hash(), "REVISION": images.revision()}
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in known.items() if value)


if __name__ == "__main__":
    # What is written here is of the base image that is pinned, whatever someone builds on.
    os.environ.pop(images.BASE_VARIABLE, None)
    if sys.argv[1:] == ["variables"]:
        sys.stdout.write(variables())
    else:
        BAKE.write_text(bake(), encoding="utf-8")
        README.write_text(readme(), encoding="utf-8")
