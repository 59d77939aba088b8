"""Consoles: results on stdout, progress on stderr. Neither interprets markup, emoji codes or numbers.

Colour: `--color` first, then NO_COLOR and TERM as rich reads them. Lines are redrawn only on a terminal that is not
dumb, outside CI. A pipe has no width: tables are written in full, unless COLUMNS is set.
"""

import codecs
import os
import sys
import textwrap
from functools import cache
from typing import IO, TYPE_CHECKING, Any, Literal

import rich_click as click
from click.core import ParameterSource

if TYPE_CHECKING:
    from rich.console import Console

ColorChoice = Literal["auto", "always", "never"]

_COLOR = "gpubench.color"
_PROSE_WIDTH = 100
UNLIMITED = 10_000
"""The width of a table without a limit."""

_ASCII = {
    "\u202f": " ",
    "\u00a0": " ",
    "±": "+-",
    "×": "x",
    "·": "-",
    "━": "=",
    "─": "-",
    "→": "->",
    "…": "...",
    "µ": "u",
    "²": "2",
    "≥": ">=",
    "≤": "<=",
    "╸": "-",
}


def set_color(ctx: click.Context, param: click.Parameter, value: ColorChoice) -> None:
    """Callback of `--color`: stored in the context's shared `meta`. The command's option overrides the group's."""
    given = ctx.get_parameter_source(param.name or "")
    if _COLOR not in ctx.meta or given is not ParameterSource.DEFAULT:
        ctx.meta[_COLOR] = value
        ctx.color = {"auto": ctx.color, "always": True, "never": False}[value]
        if value == "never" and isinstance(ctx, click.RichContext):
            ctx.help_config.color_system = None


def color_choice() -> ColorChoice:
    ctx = click.get_current_context(silent=True)
    choice: ColorChoice = "auto" if ctx is None else ctx.meta.get(_COLOR, "auto")
    return choice


def result_console() -> "Console":
    return make_console(sys.stdout, color_choice())


def progress_console() -> "Console":
    return make_console(sys.stderr, color_choice())


def make_console(file: IO[str], color: ColorChoice = "auto", *, width: int | None = None) -> "Console":
    """A console on `file` that prints text unchanged; characters that its encoding lacks are spelled in ASCII."""
    encoding = (getattr(file, "encoding", None) or "utf-8").lower().replace("-", "")
    reconfigure = getattr(file, "reconfigure", None)
    if reconfigure is not None and encoding != "utf8":
        reconfigure(errors="gpubench_ascii")
    options: dict[str, Any] = {}
    if color == "always":
        options = {"force_terminal": True, "color_system": "256", "no_color": False}
    elif color == "never":
        options = {"color_system": None, "no_color": True}
    elif not file.isatty():
        # rich reads FORCE_COLOR and the like from the environment.
        options = {"color_system": "auto"}
    return _console_class()(
        file=file,
        highlight=False,
        emoji=False,
        markup=False,
        width=width or _width(file),
        legacy_windows=False,
        **options,
    )


@cache
def _console_class() -> "type[Console]":
    from rich.console import Console

    class PipeConsole(Console):
        """rich would exit with status 1 if the reader of a pipe is gone, which means a failed gate here."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return PipeConsole


def table_width(file: IO[str], *, wide: bool = False) -> int:
    """Width of a table in characters."""
    limited = not wide and (file.isatty() or os.environ.get("COLUMNS", "").isdigit())
    return _width(file) if limited else UNLIMITED


def prose_width(file: IO[str]) -> int:
    """Width of a line of text in characters, limited to what is easy to read."""
    return min(_width(file), _PROSE_WIDTH)


def filled(text: str, width: int, first: str = "", rest: str | None = None) -> str:
    """Wraps text at spaces only: never inside a word, an option or a path."""
    return textwrap.fill(
        text,
        width,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def terminal_width(file: IO[str]) -> int | None:
    """The width of a terminal; None if `file` is not one."""
    return _width(file) if file.isatty() else None


def fitted(text: str, file: IO[str]) -> str:
    """The text, with long lines wrapped at spaces if `file` is a terminal.

    Quoted lines of a file and the carets below them stay whole.
    """
    width = terminal_width(file)
    if width is None:
        return text
    return "\n".join(
        line
        if len(line) <= width or " | " in line[:12]
        else filled(line, width, "", f"{' ' * (len(line) - len(line.lstrip()))}  ")
        for line in text.split("\n")
    )


def redraws(file: IO[str]) -> bool:
    """Whether lines may be redrawn: on a terminal that is not dumb, and not in CI."""
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return file.isatty() and not dumb and not os.environ.get("CI")


def _width(file: IO[str]) -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) > 0:
        return int(columns)
    if file.isatty():
        try:
            return os.get_terminal_size(file.fileno()).columns or 80
        except OSError:
            return 80
    return _PROSE_WIDTH


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    spelled = (_ASCII.get(char) or char.encode("ascii", "backslashreplace").decode() for char in lacking)
    return "".join(spelled), error.end


codecs.register_error("gpubench_ascii", _spelled)
