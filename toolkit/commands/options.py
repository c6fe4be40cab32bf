"""What several commands ask of their options."""

from collections.abc import Collection

import click
from click.core import ParameterSource

from toolkit.errors import HwprofError


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
