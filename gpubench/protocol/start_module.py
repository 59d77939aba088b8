"""Starts a module of this package as a program, in an interpreter that does not import from the working folder.

A folder `gpubench/` or a file `random.py` where the command was typed must not be imported in place of the real one.
"""

import contextlib
import fcntl
import functools
import os
import pwd
import shutil
import site
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_PREFIX = "gpubench-scratch-"
_NEW_S = 60.0


def command(module: str, *arguments: str, python: str | None = None) -> list[str]:
    """The command line; `python` None is this interpreter."""
    return [python or sys.executable, "-P", "-u", "-m", module, *arguments]


def environment(python: str | None = None, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that such a program needs besides `environ`.

    `PYTHONPATH` if the interpreter would not find this copy of the package: it then starts with a folder that holds
    nothing but the package. `HOME` and `LOGNAME` for a user id without an account, as in many containers: torch and
    others ask for both.
    """
    added = {}
    path = [folder for folder in environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    installed = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    if python is not None or str(_PACKAGE.parent) not in map(os.path.realpath, [*path, *installed]):
        added["PYTHONPATH"] = os.pathsep.join([str(scratch_folder() / "package"), *path])
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        fallback = {"LOGNAME": f"uid{os.getuid()}", "HOME": str(scratch_folder())}
        added |= {name: value for name, value in fallback.items() if not environ.get(name)}
    return added


def scratch_folder() -> Path:
    """A folder for this process alone, removed at its end, or, if it is killed, by the next process that needs one."""
    return Path(_scratch()[0].name)


@functools.cache
def _scratch() -> "tuple[tempfile.TemporaryDirectory[str], int]":
    remove_leftovers()
    folder = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
    lock = os.open(folder.name, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    (Path(folder.name) / "package").mkdir()
    (Path(folder.name) / "package" / _PACKAGE.name).symlink_to(_PACKAGE, target_is_directory=True)
    return folder, lock


def remove_leftovers() -> None:
    """Removes scratch folders of killed processes: those that are not locked and not new."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                status = os.fstat(folder)
                if status.st_uid == os.getuid() and time.time() - status.st_mtime > _NEW_S:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path)
            finally:
                os.close(folder)
