"""What a command refuses that Typer lets pass, and what Typer need not load for its help."""

from collections import Counter
from typing import Any

import typer.core

from greenbatch.errors import UsageError

_VALUES = {"str": "TEXT", "int": "N", "float": "NUMBER", "path": "PATH", "Path": "PATH"}
"""What stands for the value of an option in a help text, by its type."""


class Command(typer.core.TyperCommand):
    """Names values in capitals; refuses an option that is given twice and takes one value.

    Typer would write types of Python, and would drop all values but the last.

    Raises:
        UsageError: One is.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        for parameter in self.params:
            if not isinstance(parameter, typer.core.TyperOption):
                vars(parameter)["display_type"] = lambda _: ""  # its name says it
            elif parameter.metavar is None and not parameter.is_flag:
                kind = parameter.bare_type().removeprefix("list[").removesuffix("]")
                parameter.metavar = _VALUES.get(kind)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, and count what was given."""
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for option, times in Counter(given).items():
            if not isinstance(option, typer.core.TyperOption):
                continue
            if times > 1 and not option.multiple and not option.is_flag:
                raise UsageError(
                    f"{option.opts[0]} was given {times} times; give it once, and if it takes "
                    "several values, with commas between them"
                )
        return super().parse_args(ctx, args)


class Group(typer.core.TyperGroup):
    """Several commands: the help of one is printed without loading pydantic."""

    def get_help_option(self, ctx: Any) -> Any:
        """Give --help a default that is a bool; Typer would have pydantic make one of None."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option
