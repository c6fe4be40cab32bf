"""The one error type: raised wherever a person can do something about it, caught once, in `commands/cli.py`."""

import sys

BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130


class HwprofError(Exception):
    """One clear line: what is wrong, naming the value, then what to do about it.

    `exit_code` is BAD_INPUT where the caller asked for something impossible, FAILED where a sound request did not
    succeed, INTERRUPTED where a person stopped it.
    """

    def __init__(self, problem: str, *, remedy: str, exit_code: int = BAD_INPUT) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy
        self.exit_code = exit_code


def printable(text: str) -> str:
    """The text on one line, with everything escaped that a terminal might obey: names of files come from strangers."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def complain(problem: object) -> None:
    """One line on stderr."""
    sys.stderr.write(f"hwprof: {printable(str(problem))}\n")
