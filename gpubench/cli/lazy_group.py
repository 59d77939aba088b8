"""A group of commands that are imported when they are used.

`gpubench --help` shows a line per command without importing any: the line is in the table, and a test compares it with
the command's own. A command without its module is neither listed nor found.
"""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import rich_click as click
from rich_click import RichGroup

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class LazyCommand(NamedTuple):
    """A command: its name (also that of its module in `gpubench.cli.commands`), its panel in the help, and its line."""

    name: str
    panel: str
    line: str

    @property
    def module(self) -> str:
        return f"gpubench.cli.commands.{self.name}"

    @property
    def present(self) -> bool:
        return find_spec(self.module) is not None


class LazyGroup(RichGroup):
    """A group over a table of `LazyCommand`. A command's module offers it as `command`."""

    def __init__(self, *args: Any, entries: Sequence[LazyCommand] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entries = {entry.name: entry for entry in entries if entry.present}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = import_module(entry.module).command
        add_common_options(command, self.params)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.entries:
            from gpubench.core.did_you_mean import near

            meant = near(args[0], self.entries)
            raise click.UsageError(f"there is no command {args[0]!r}" + (f" ({meant})" if meant else ""), ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Names from the table; options only after a dash."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [
            CompletionItem(entry.name, help=entry.line)
            for entry in self.entries.values()
            if entry.name.startswith(incomplete)
        ]

    def get_help(self, ctx: click.Context) -> str:
        """From the table; no command is imported."""
        from gpubench.cli.screens.root_help import write_help

        lines = [(entry.panel, entry.name, entry.line) for entry in self.entries.values()]
        return write_help(ctx, self.help or "", lines)


def add_common_options(command: click.Command, options: Sequence[click.Parameter]) -> None:
    """Give a command (or each one of a group) the group's `--color` and `--debug`, to be written before or after it."""
    if isinstance(command, click.Group):
        for sub in command.commands.values():
            add_common_options(sub, options)
        return
    known = {name for param in command.params for name in param.opts}
    command.params.extend(
        option for option in options if option.name in ("color", "debug") and not known.intersection(option.opts)
    )
