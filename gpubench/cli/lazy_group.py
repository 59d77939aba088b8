"""A group of commands that are imported on use.

`gpubench --help` shows a line per command without importing any. The line comes from the table; a test compares it with
the command's own. A command whose module is missing is neither listed nor found.
"""

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, NamedTuple

import rich_click as click
from rich_click import RichGroup

from gpubench.cli.console import filled

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_MOST_WIDTH = 100
_KEPT = "\b\n"
"""Click's mark before a paragraph whose lines are kept as they are."""


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
    """A group over a table of `LazyCommand`. A command's module defines it as `command`."""

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
        command.help = fit_kept_lines(cleandoc(command.help or ""), _help_width())
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
        """The help from the table, without importing commands."""
        lines = [(entry.panel, entry.name, entry.line) for entry in self.entries.values()]
        return _write_help(ctx, self.help or "", lines)


def add_common_options(command: click.Command, options: Sequence[click.Parameter]) -> None:
    """Gives a command (or each one of a group) the group's `--color` and `--debug`, so that they may come before or
    after it.
    """
    if isinstance(command, click.Group):
        for sub in command.commands.values():
            add_common_options(sub, options)
        return
    known = {name for param in command.params for name in param.opts}
    command.params.extend(
        option for option in options if option.name in ("color", "debug") and not known.intersection(option.opts)
    )


def _help_width() -> int:
    """As in rich: COLUMNS, or the width of the first standard stream that is a terminal."""
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdigit() else 0
    for stream in () if width else (0, 1, 2):
        with suppress(OSError):
            width = os.get_terminal_size(stream).columns
            break
    return min(width or 80, _MOST_WIDTH)


def fit_kept_lines(text: str, width: int) -> str:
    """A help text with its preformatted paragraphs fitted to `width`.

    A long line is broken between its parts (command and explanation are two or more spaces apart), and a long part at
    its spaces.
    """
    paragraphs = []
    for paragraph in text.split("\n\n"):
        lines = paragraph.split("\n")
        if paragraph.startswith(_KEPT):
            lines = [broken for line in lines for broken in (_parted(line, width) if len(line) > width else [line])]
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def _parted(line: str, width: int) -> list[str]:
    indent = line[: len(line) - len(line.lstrip())]
    hang = indent if line.lstrip()[:1].isdigit() else f"{indent}    "
    lines: list[str] = []
    for part in re.split(r" {2,}", line.strip()):
        if lines and hang == indent and len(f"{lines[-1]}    {part}") <= width:
            lines[-1] += f"    {part}"
        else:
            lines += filled(part, width, hang if lines else indent, f"{hang}  ").split("\n")
    return lines


def _write_help(ctx: click.Context, text: str, commands: Sequence[tuple[str, str, str]]) -> str:
    """Usage, text, commands as (panel, name, line) and options, in the style of rich-click's help for commands.

    Written without rich, whose import would take longer than everything else.
    """
    formatter = click.HelpFormatter(width=_help_width())
    formatter.write(f"{_heading(ctx, 'Usage:')} {ctx.command_path} [OPTIONS] COMMAND [ARGS]...\n\n")
    for paragraph in fit_kept_lines(text.strip(), formatter.width).split("\n\n"):
        shown = paragraph[2:] if paragraph.startswith(_KEPT) else filled(" ".join(paragraph.split()), formatter.width)
        formatter.write(shown + "\n\n")
    longest = max((len(name) for _, name, _ in commands), default=0)
    for panel in dict.fromkeys(panel for panel, _, _ in commands):
        formatter.write(f"{_heading(ctx, panel + ':')}\n")
        _write_pairs(ctx, formatter, [(name, line) for where, name, line in commands if where == panel], longest)
    records = (param.get_help_record(ctx) for param in ctx.command.get_params(ctx))
    formatter.write(f"{_heading(ctx, 'Options:')}\n")
    _write_pairs(ctx, formatter, [record for record in records if record is not None], 0)
    return formatter.getvalue().rstrip("\n")


def _write_pairs(
    ctx: click.Context, formatter: click.HelpFormatter, pairs: Sequence[tuple[str, str]], least: int
) -> None:
    size = max(least, *(len(name) for name, _ in pairs))
    for name, line in pairs:
        hang = " " * (size + 4)
        wrapped = filled(line, formatter.width, hang)
        formatter.write(f"  {click.style(name, fg='cyan') if _colored(ctx) else name}{wrapped[len(name) + 2 :]}\n")
    formatter.write("\n")


def _heading(ctx: click.Context, text: str) -> str:
    return click.style(text, bold=True) if _colored(ctx) else text


def _colored(ctx: click.Context) -> bool:
    """Whether to use colour; rich-click prints the text unchanged."""
    if ctx.color is not None:
        return ctx.color
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in ("dumb", "unknown")
    return sys.stdout.isatty() and not plain
