"""Python interpreters by path or name, and where their packages are."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gpubench.core.errors import UsageError
from gpubench.store.atomic_files import expand_home

_ASK = """\
import json, os, site, sys
names = ("site-packages", "dist-packages")
folders = [path for path in sys.path if os.path.basename(path) in names and os.path.isdir(path)]
print(json.dumps({"version": sys.version.split()[0], "prefix": sys.prefix, "folders": folders}))
"""
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Interpreter:
    """`folders` are where its packages are installed, in the order of its path."""

    python: str
    version: str
    prefix: str
    folders: tuple[str, ...]


def find_python(text: str, folder: Path | None = None) -> str:
    """The program that `text` names: a path, the folder of an environment, or a name on PATH. UsageError if none.

    A relative path starts at `folder`. Links are not followed: the interpreter of a virtual environment is a link, and
    works by its location.
    """
    path = (folder or Path()) / expand_home(text)
    if path.is_dir():
        inside = path / "bin" / "python"
        if not inside.exists():
            raise UsageError(
                f"there is no bin/python in the folder {text}", hint="Name an interpreter: python=PATH/bin/python."
            )
        path = inside
    if path.exists():
        return str(path.absolute())
    found = None if len(Path(text).parts) > 1 else shutil.which(text)
    if found is None:
        raise UsageError(
            f"there is no interpreter {text}",
            hint="Give `python` the path of an interpreter or of a virtual environment.",
        )
    return found


def ask(python: str | None = None) -> Interpreter:
    """Version and folders of an interpreter, by default this one. UsageError if it does not run."""
    program = python or sys.executable
    try:
        done = subprocess.run([program, "-c", _ASK], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
        told = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise UsageError(f"{program} does not run as a Python interpreter: {error}") from error
    return Interpreter(program, told["version"], told["prefix"], tuple(told["folders"]))
