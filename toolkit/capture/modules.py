"""How a module of ours becomes a process of its own. The standard library only."""


def words(module: str) -> list[str]:
    """What follows Python on its command line.

    -P: Python's path is without the working folder, where anyone's modules may lie: a run folder is a container's to
    write in, and nothing of it is to run outside as the caller.
    """
    return ["-P", "-m", module]
