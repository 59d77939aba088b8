"""The processes below this one and their memory, from /proc; none on a system without it."""

import contextlib
import ctypes
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_PR_SET_CHILD_SUBREAPER = 36
PROC = Path("/proc")


class Listed(NamedTuple):
    """A process, its parent, and its state as proc(5) writes it (`Z`: it has ended and nothing has read its status)."""

    pid: int
    parent: int
    state: str


def processes(proc: Path = PROC) -> Iterator[Listed]:
    """Every process of the system."""
    for stat in proc.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            yield Listed(int(stat.parent.name), int(parent), state)


def descendants() -> list[int]:
    """The running processes below this one, parents before their children."""
    children: dict[int, list[int]] = defaultdict(list)
    for listed in processes():
        if listed.state not in ("Z", "X"):
            children[listed.parent].append(listed.pid)
    found = list(children[os.getpid()])
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def size_of(folder: Path, name: str, file: str = "status") -> int | None:
    """A size in bytes from a file in a process's /proc folder (`VmRSS`, `VmPeak`, ...). None if it is not there or may
    not be read.
    """
    try:
        lines = (folder / file).read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def adopt_orphans() -> None:
    """Makes this process the parent of everything its children leave running, daemons in other sessions included."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # a kernel before 3.4 refuses, and init takes them


def end_orphans() -> None:
    """Kills every child of this process, and the orphans that it adopts by that."""
    tried: set[int] = set()
    while orphans := {each.pid for each in processes() if each.parent == os.getpid()} - tried:
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError, PermissionError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        tried |= orphans
