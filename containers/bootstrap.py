"""Makes the environments that make needs: `toolkit`, `dev` (the same with the checkers), `fuzz`, `lock` (the resolver).

Runs before anything is installed, so the standard library only. Run as `python -m containers.bootstrap toolkit`.
"""

import sys

from toolkit.capture import venvs
from toolkit.errors import INTERRUPTED, HwprofError

VENVS = venvs.ROOT / ".venv"
LOCKS = venvs.ROOT / "containers" / "locks"
FAMILY = (LOCKS / "toolkit.txt", LOCKS / "dev.txt")


def make(name: str) -> None:
    """Makes the environment of lock `name` unless it is there. `dev` holds all of `toolkit`: both live in one place."""
    lock = LOCKS / f"{name}.txt"
    if lock in FAMILY:
        venvs.install(VENVS / "toolkit", lock, say=_say, project=venvs.ROOT, family=FAMILY)
    else:
        venvs.install(VENVS / name, lock, say=_say)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main(name: str) -> int:
    """Exit code of making environment `name`; a failure is one line on stderr."""
    try:
        make(name)
    except HwprofError as error:
        _say(f"hwprof: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
