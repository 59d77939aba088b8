"""`gpubench --help`, written without rich, which would take longer than all the rest of the command.

It looks like the help of the commands, which rich-click draws.
"""

import os
import shutil
import sys
from collections.abc import Sequence

import click

_MOST_WIDTH = 100


def write_help(ctx: click.Context, text: str, commands: Sequence[tuple[str, str, str]]) -> str:
    """Usage, text, commands as (panel, name, line), options. Headings are bold if colour is allowed."""
    width = shutil.get_terminal_size((_MOST_WIDTH, 24)).columns
    formatter = click.HelpFormatter(width=min(width, _MOST_WIDTH))
    formatter.write(f"{_heading(ctx, 'Usage:')} {ctx.command_path} [OPTIONS] COMMAND [ARGS]...\n\n")
    for paragraph in text.strip().split("\n\n"):
        # A backspace on its first line keeps the lines of a paragraph as they are (click's convention).
        kept = paragraph.startswith("\b")
        shown = paragraph[2:] if kept else click.wrap_text(" ".join(paragraph.split()), formatter.width)
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
        wrapped = click.wrap_text(line, formatter.width, initial_indent=hang, subsequent_indent=hang)
        formatter.write(f"  {click.style(name, fg='cyan') if _colored(ctx) else name}{wrapped[len(name) + 2 :]}\n")
    formatter.write("\n")


def _heading(ctx: click.Context, text: str) -> str:
    return click.style(text, bold=True) if _colored(ctx) else text


def _colored(ctx: click.Context) -> bool:
    """rich-click prints the text unchanged, so whether colour is wanted is decided here."""
    if ctx.color is not None:
        return ctx.color
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "") in ("dumb", "unknown")
    return sys.stdout.isatty() and not plain
