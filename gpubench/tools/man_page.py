"""The manual page, made from the command line: every command with its text and options."""

import re
from collections.abc import Iterator
from inspect import cleandoc

import click

from gpubench.cli.lazy_group import fit_kept_lines
from gpubench.cli.main import cli
from gpubench.core.version import __version__

_KEPT = "\b"
"""Click's mark before a preformatted paragraph."""


_EXAMPLE_COLUMNS = 72
"""Columns for preformatted lines: a terminal's 80 minus the margin."""


def man_page() -> str:
    """`gpubench.1` in the man macros of troff."""
    group = cli.make_context("gpubench", [], resilient_parsing=True)
    parts = [
        f'.TH GPUBENCH 1 "" "gpubench {__version__}" "User Commands"',
        ".SH NAME",
        "gpubench \\- measure what training and inference really cost on a CPU or GPU",
        ".SH SYNOPSIS",
        ".B gpubench",
        "[\\fIoptions\\fR] \\fIcommand\\fR [\\fIarguments\\fR]",
        ".SH DESCRIPTION",
        *_prose(cli.help or ""),
        ".SH OPTIONS",
        *_options(cli, group),
        ".SH COMMANDS",
    ]
    for name in cli.list_commands(group):
        command = cli.get_command(group, name)
        assert command is not None
        parts += _command(command, click.Context(command, info_name=name, parent=group))
    parts += [".SH FILES", ".TP", ".I reports/", "Runs are stored here, one folder each."]
    return "\n".join(parts) + "\n"


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield f'.SS "{_escaped(context.command_path)} {_escaped(usage)}"'
    # The text as written, because `help` is fitted to the width of a terminal.
    written = command.callback.__doc__ if command.callback else None
    yield from _prose(written or command.help or "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            sub = command.get_command(context, name)
            assert sub is not None
            yield from _command(sub, click.Context(sub, info_name=name, parent=context))
        return
    yield from _options(command, context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        names, text = parameter.get_help_record(context) or ("", "")
        if not text or (command is not cli and parameter.name in _EVERYWHERE):
            continue
        yield ".TP"
        yield f"\\fB{_escaped(names)}\\fR"
        yield _escaped(" ".join(text.split()))


_EVERYWHERE = ("help", "color", "debug")
"""Options of every command, described once."""


def _prose(text: str) -> Iterator[str]:
    """Paragraphs, with kept lines as examples."""
    for paragraph in re.split(r"\n\s*\n", fit_kept_lines(cleandoc(text), _EXAMPLE_COLUMNS)):
        first, _, rest = paragraph.partition("\n")
        if first.strip() == _KEPT:
            yield from (".PP", ".nf", *map(_escaped, rest.splitlines()), ".fi")
        elif paragraph.strip():
            yield from (".PP", _escaped(" ".join(paragraph.split())))


def _escaped(text: str) -> str:
    """Text escaped for troff: backslashes, hyphens, and lines that start like a request."""
    shown = (
        text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("~", "\\(ti").replace("^", "\\(ha")
    )
    return f"\\&{shown}" if shown.startswith((".", "'")) else shown
