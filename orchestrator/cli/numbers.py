"""Numbers on the command line, within bounds; what is none is refused in the same words everywhere."""

import math
import re
from typing import Any

import click


class Number(click.ParamType):
    """A number of an option or an argument."""

    name = "number"

    def __init__(
        self, low: int, high: int | None = None, *, kind: type[int] | type[float] = int, or_none: bool = False
    ) -> None:
        """Keep the bounds, both included (`high` None: there is none), and whether the word `none` is taken too."""
        self.low, self.high, self.kind, self.or_none = low, high, kind, or_none

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float | str:
        """Return the number, or "none". Raises click.UsageError."""
        text = str(value).strip()
        if self.or_none and text.lower() == "none":
            return "none"
        try:
            number = self.kind(text)
        except ValueError:
            number = math.nan
        if not self.low <= number <= (math.inf if self.high is None else self.high) or number == math.inf:
            raise self.refusal(text, param, ctx)
        return number

    def refusal(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> click.UsageError:
        """Return what is said of a text that is no such number: which one is meant, what it takes, what came."""
        label = "It" if param is None else param.human_readable_name
        if isinstance(param, click.Option):
            label = max(param.opts, key=len)
        what = "a whole number" if self.kind is int else "a number"
        bounds = f"from {self.low:,}" + ("" if self.high is None else f" to {self.high:,}")
        return click.UsageError(f"{label} is {what} {bounds}{' or none' if self.or_none else ''}, not {text!r}.", ctx)


class NumberCommand(click.Command):
    """A command with a number among its arguments: one below zero is taken for that, not for an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does. Raises click.UsageError."""
        try:
            return super().parse_args(ctx, list(args))
        except click.NoSuchOption as error:
            below = next((word for word in args if re.fullmatch(r"-\d[\d.]*", word)), "")
            if not below.startswith(error.option_name):
                raise
            argument, number = next((param, param.type) for param in self.params if isinstance(param.type, Number))
            raise number.refusal(below, argument, ctx) from None
