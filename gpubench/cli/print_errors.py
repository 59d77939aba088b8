"""Ends a command with one exit status, and prints every error once, as a sentence and a hint."""

import errno
import gc
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import click

from gpubench.cli.console import fitted, terminal_width
from gpubench.cli.streams import discard_stdout
from gpubench.core.errors import ExitStatus, GpubenchError

BROKEN_PIPE = 141
"""128 + SIGPIPE, as a shell reports it; not 0, because the output was not delivered."""

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)

_DEBUG = "gpubench.debug"


def set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    """Callback of `--debug`, which applies to the group and the command."""
    ctx.meta[_DEBUG] = value or ctx.meta.get(_DEBUG, False)


def status_of(command: click.Command, arguments: list[str]) -> int:
    """Runs a command line and returns its exit status. Prints errors, raises none."""
    completion = os.environ.get("_GPUBENCH_COMPLETE")
    if completion:
        from click.shell_completion import shell_complete

        return shell_complete(command, {}, "gpubench", "_GPUBENCH_COMPLETE", completion)
    if sys.stdout is None:
        say("error: stdout is closed, so results cannot be written")
        return ExitStatus.USAGE
    meta: dict[str, Any] = {}
    try:
        status = _invoke(command, arguments, meta)
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
        return BROKEN_PIPE
    except (KeyboardInterrupt, EOFError, click.Abort):
        say("error: interrupted")
        return ExitStatus.INTERRUPTED
    except click.ClickException as error:
        message, context = error.format_message(), getattr(error, "ctx", None)
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            # Help, perhaps in colour, which click strips unless stderr is a terminal.
            click.echo(message, err=True, color=error.ctx.color if error.ctx else None)
        else:
            say(f"error: {message[:1].lower()}{message[1:]}")
            if context is not None:
                say(f"hint: `{context.command_path} --help` shows its usage")
        return ExitStatus.USAGE
    except GpubenchError as error:
        if problems := getattr(error, "problems", ()):
            from gpubench.suite.read.problems import as_text

            # The mistakes of a suite file come as complete text, each with its place.
            say(as_text(problems, _width()))
        else:
            say(f"error: {error}")
        if error.hint:
            say(f"hint: {error.hint}")
        return error.exit_status
    except OSError as error:
        if error.filename is not None or error.errno not in _CANNOT_WRITE:
            return _unexpected(error, debug=_wants_debug(meta))
        discard_stdout()
        say(f"error: the result cannot be written: {(error.strerror or str(error)).lower()}")
        return ExitStatus.USAGE
    except MemoryError:
        say("error: gpubench ran out of memory")
        say("hint: Is it limited, by `ulimit -v` or a control group?")
        return ExitStatus.USAGE
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence on screen, the traceback in a file
        return _unexpected(error, debug=_wants_debug(meta))
    return status


def _wants_debug(meta: dict[str, Any]) -> bool:
    return bool(meta.get(_DEBUG) or os.environ.get("GPUBENCH_DEBUG"))


def _invoke(command: click.Command, arguments: list[str], meta: dict[str, Any]) -> int:
    """Runs the command, which may return a status or call `ctx.exit` or `sys.exit`."""
    # A stored run is millions of objects without cycles; collecting garbage every 700 objects takes half the time.
    usual = gc.get_threshold()
    gc.set_threshold(1_000_000, 20, 100)
    try:
        with command.make_context("gpubench", arguments) as ctx:
            # The error handlers need it after the context has ended.
            meta.update(ctx.meta)
            returned = command.invoke(ctx)
            meta.update(ctx.meta)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or ExitStatus.OK
        say(f"error: {ended.code}")
        return ExitStatus.USAGE
    finally:
        gc.set_threshold(*usual)
    return int(returned) if isinstance(returned, int) else ExitStatus.OK


def _unexpected(error: Exception, *, debug: bool) -> int:
    text = "".join(traceback.format_exception(error))
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" at {Path(last[0].filename).name}:{last[0].lineno}" if last else ""
    say(f"error: gpubench itself failed ({type(error).__name__}{where}): {error}")
    if debug:
        say(text.rstrip())
        return ExitStatus.USAGE
    from gpubench.core.secrets import hide_secrets, mask_text

    header = f"gpubench {' '.join(hide_secrets(sys.argv[1:]))}\nPython {sys.version}\n\n"
    try:
        descriptor, name = tempfile.mkstemp(prefix=time.strftime("gpubench-%Y%m%d-%H%M%S-"), suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(mask_text(header + text))
    except OSError:
        say("hint: this is a bug; --debug shows the traceback")
    else:
        say(f"hint: this is a bug; the traceback is in {name}")
    return ExitStatus.USAGE


def say(text: str) -> None:
    """Prints a message to stderr, with secrets withheld and control characters made visible."""
    from gpubench.core.secrets import mask_text
    from gpubench.report.model.inert_text import inert_lines

    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    shown = fitted(inert_lines(mask_text(text)), sys.stderr).encode(encoding, "backslashreplace").decode(encoding)
    sys.stderr.write(shown + "\n")
    sys.stderr.flush()


def say_warning(problem: Any) -> None:
    """Prints a warning on a suite file, with its line cut to the terminal's width."""
    say(problem.shown(_width()))


def _width() -> int | None:
    return terminal_width(sys.stderr)
