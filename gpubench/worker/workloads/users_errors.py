"""Describes an exception of the user's code in one sentence: the error, the line that raised it, and a remedy."""

import re
import sysconfig
import traceback
from pathlib import Path

_NOT_THE_USERS = (
    str(Path(__file__).parents[2]),  # gpubench
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
    "<frozen",
)
_NEEDS_GPU = ("NVIDIA", "CUDA", "cuda")
_LONGEST = 600
_HOLDS_TRACEBACK = re.compile(
    r"Caught \w+ in (?:DataLoader worker|pin memory thread|replica).*|"
    r"The following operation failed in the TorchScript interpreter\."
)
"""How torch begins the message of an exception that it carries over from another process, a thread or its
interpreter. The end of the message says what it was.
"""


def in_one_line(error: BaseException, longest: int = _LONGEST) -> str:
    """`ValueError: too wide`: the line of the message, cut after `longest` characters, that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if len(lines) > 1 and _HOLDS_TRACEBACK.fullmatch(lines[0]):
        return f"{lines[-1][:longest]} ({lines[0].rstrip('.')})"
    return f"{type(error).__name__}: {lines[0][:longest]}"


def raised(error: BaseException) -> str:
    """`ValueError: too wide (net.py, line 7)`: one line, with the innermost line that is in the user's own files."""
    if _HOLDS_TRACEBACK.match(str(error)):
        return in_one_line(error)
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError):
        text, where = error.msg, f"{Path(error.filename or '').name}, line {error.lineno}"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if not frame.filename.startswith(_NOT_THE_USERS)]
        where = f"{Path(own[-1].filename).name}, line {own[-1].lineno}" if own else ""
    kept = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    return f"{type(error).__name__}{': ' if kept else ''}{kept}{f' ({where})' if where else ''}"


def remedy(error: BaseException) -> str:
    """What to do about kinds of errors that have a usual cause; empty for others."""
    if isinstance(error, ModuleNotFoundError):
        return f"Install {error.name} for the Python that runs gpubench, or put its file beside yours."
    if isinstance(error, NotImplementedError) and '"forward"' in str(error):
        return "Give the class a `forward`."
    if isinstance(error, EOFError):
        return 'Put what asks for input below `if __name__ == "__main__":`.'
    if isinstance(error, RuntimeError | AssertionError) and any(word in str(error) for word in _NEEDS_GPU):
        return (
            "gpubench moves the module and its inputs to the device of the case: create them on the CPU, without "
            "`.cuda()` or `device=`."
        )
    return ""
