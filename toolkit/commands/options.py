"""Options that several commands have, and what commands ask of theirs."""

import secrets
from collections.abc import Collection
from functools import partial

import click
from click.core import ParameterSource

from toolkit.capture import sweeps
from toolkit.errors import HwprofError

SEEDS = 2**32

order_seed = click.option(
    "--order-seed",
    type=click.IntRange(0, SEEDS - 1),
    default=partial(secrets.randbelow, SEEDS),
    help="Of the order of runs; by default drawn and recorded.",
)
max_minutes = click.option(
    "--max-minutes", type=float, metavar="N", help="Begin no run after so long; --resume goes on."
)


class Repeats(click.ParamType[tuple[int, int]]):
    """LEAST..MOST, or one number, as both."""

    name = "repeats"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Least and most; HwprofError where it is neither."""
        return sweeps.repeats_of(value) if isinstance(value, str) else value


def check_given(heeded: Collection[str], why: str) -> None:
    """Raises HwprofError, naming them, where the command line gives parameters that would be ignored."""
    context = click.get_current_context()
    given = [
        parameter for parameter in context.command.params
        if context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        and parameter.name not in heeded
    ]  # fmt: skip
    if given:
        named = (each.opts[0] if isinstance(each, click.Option) else each.human_readable_name for each in given)
        raise HwprofError(f"{why}.", remedy=f"Leave {', '.join(named)} out.")
