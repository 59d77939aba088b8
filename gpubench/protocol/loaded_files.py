"""The files that a workload came from: code that is neither installed nor part of this package, and the data beside it.

Data is what the workload opens for reading in its own process, or names in the command of a program that it starts,
below the folder of its suite, outside the timed steps.
"""

import hashlib
import os
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = str(Path(__file__).resolve().parents[1])
MOST_DATA_FILES = 200
_MOST_HASHED_BYTES = 64 * 2**20
_CACHES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TORCH_EXTENSIONS_DIR")
"""Compilers leave modules here under a new name each time."""
_GENERATED = "_remote_module_"
"""Begins the names of modules that torch.distributed writes into a new temporary folder in each process."""


def loaded_files(scratch: str | None = None) -> dict[str, str]:
    """Digests by path, without files below `scratch`, the folder of this launch."""
    installed = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    standard = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders = (_PACKAGE, *standard, *installed, *_scratch_folders(scratch))
    outside = tuple(f"{folder}{os.sep}" for folder in folders if folder)
    outside += tuple(f"{os.path.realpath(folder)}{os.sep}" for folder in outside)
    files = {}
    for name, path in module_files():
        if name.startswith(_GENERATED) or path.startswith(outside) or os.path.realpath(path).startswith(outside):
            continue
        try:
            files[path] = file_digest(Path(path))
        except OSError:
            continue  # generated, and removed by now
    return dict(sorted(files.items()))


def imported_names(files: Collection[str], beside: Collection[str]) -> tuple[str, ...]:
    """Modules and packages that this process imported from other files, without the standard library, gpubench, and
    names in `beside`: a new file of such a name beside the suite would hide them.
    """
    names = {name.partition(".")[0] for name, path in module_files() if path not in files}
    return tuple(
        sorted(names.difference(sys.stdlib_module_names, beside, ("__main__", "__mp_main__", Path(_PACKAGE).name)))
    )


class OpenedFiles:
    """Files below `folders` that this process opens for reading while `wanted` says so; a new one ends the last."""

    listening: "OpenedFiles | None" = None
    """Python keeps an audit hook to the end of the process and calls it for many events, so there is one for all."""

    def __init__(self, folders: Iterable[str], wanted: Callable[[], bool]) -> None:
        self._folders = tuple(f"{os.path.realpath(folder)}{os.sep}" for folder in folders)
        self._wanted = wanted
        self._read: set[str] = set()
        self._written: set[str] = set()
        if self._folders:
            if OpenedFiles.listening is None:
                sys.addaudithook(_tell_listener)
            OpenedFiles.listening = self

    def heard(self, arguments: tuple[Any, ...]) -> None:
        """A file is opened, with the arguments of Python's `open` event."""
        if self._wanted() and len(self._read) <= MOST_DATA_FILES:
            path, _, flags = arguments
            if isinstance(path, str | bytes) and isinstance(flags, int):
                path = os.path.realpath(os.fsdecode(path))
                if path.startswith(self._folders):
                    (self._read if flags & os.O_ACCMODE == os.O_RDONLY else self._written).add(path)

    def started(self, arguments: tuple[Any, ...]) -> None:
        """A program is started, with the arguments of Python's `subprocess.Popen` event: it reads the files that its
        command names.
        """
        if not self._wanted():
            return
        _, command, folder, _ = arguments
        words = [command] if isinstance(command, str | bytes | os.PathLike) else command
        for word in map(os.fsdecode, words):
            for each in {word, *word.split()}:
                path = Path(os.fsdecode(folder or ""), each)
                with suppress(OSError, ValueError):  # too long for a path, or with a NUL
                    if path.is_file():
                        self.heard((str(path), None, os.O_RDONLY))

    def digests(self, scratch: str | None = None) -> dict[str, str]:
        """Digests of regular files that were read and not written; none if there are more than `MOST_DATA_FILES`, which
        is a data set.
        """
        if len(self._read) > MOST_DATA_FILES:
            return {}
        outside = tuple(f"{os.path.realpath(folder)}{os.sep}" for folder in _scratch_folders(scratch))
        found = {}
        for path in sorted(self._read - self._written):
            if not path.startswith(outside) and "__pycache__" not in path and Path(path).is_file():
                try:
                    found[path] = file_digest(Path(path))
                except OSError:
                    continue  # removed meanwhile
        return found


def _scratch_folders(scratch: str | None) -> list[str]:
    return [folder for folder in (scratch, *map(os.environ.get, _CACHES)) if folder]


def _tell_listener(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("open", "subprocess.Popen") and (listening := OpenedFiles.listening) is not None:
        (listening.heard if event == "open" else listening.started)(arguments)


def module_files() -> list[tuple[str, str]]:
    """Name and file of every module that this process has loaded from one, by name."""
    files = [(name, getattr(module, "__file__", None)) for name, module in sorted(sys.modules.items())]
    # Torch has modules that only claim to be files. Every launch looks through thousands, too many for a `Path` each.
    return [(name, path) for name, path in files if isinstance(path, str) and os.path.isabs(path)]  # noqa: PTH117


def file_digest(path: Path) -> str:
    """Sixteen hex digits of the file's SHA-256, or for a large file of its size and time. OSError if it cannot be
    read.
    """
    facts = path.stat()
    large = facts.st_size > _MOST_HASHED_BYTES
    content = f"{facts.st_size} {facts.st_mtime_ns}".encode() if large else path.read_bytes()
    return hashlib.sha256(content).hexdigest()[:16]


@cache
def package_digest() -> str:
    """Sixteen hex digits over the names and contents of gpubench's own modules."""
    found = hashlib.sha256()
    for path in sorted(Path(_PACKAGE).rglob("*.py")):
        found.update(f"{path.relative_to(_PACKAGE)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def joint_digest(files: dict[str, str]) -> str | None:
    """One digest for all of them, whatever folder they are in; None for no files."""
    if not files:
        return None
    text = "\n".join(sorted(f"{Path(path).name} {digest}" for path, digest in files.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
