"""A click group that knows its commands' names and summaries, and imports a command's module when it is called."""

from importlib import import_module
from typing import Any

import click

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class LazyGroup(click.Group):
    """A group whose `--help` imports none of its commands (all of them together cost 0.1 s)."""

    def __init__(self, name: str, *, commands_by_name: dict[str, tuple[str, str]], **options: Any) -> None:
        """Keep where each command is: name → ("package.module:attribute", one line of help)."""
        super().__init__(name, context_settings=SETTINGS, **options)
        self.commands_by_name = commands_by_name

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order in which help shows them."""
        return list(self.commands_by_name)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import and return a command; None when there is none of this name."""
        if name not in self.commands_by_name:
            return None
        module, _, attribute = self.commands_by_name[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self.commands_by_name.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but a name that is almost right is answered with the right one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib  # 5 ms, only after a mistake

            close = difflib.get_close_matches(args[0], self.commands_by_name, n=1)
            hint = f" Did you mean {close[0]!r}?" if close and "Did you mean" not in error.message else ""
            raise click.UsageError(error.message + hint, ctx) from None
