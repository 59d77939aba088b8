"""Whether this process may fork, how a child notices that its parent has exited, and the end of orphans."""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def die_with(parent: int) -> None:
    """Asks the kernel to end this process when `parent` ends (Linux), and ends it now if that has already happened."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(BOOT_FAILED)


def adopt_orphans() -> None:
    """Makes this process the parent of everything its children leave running, daemons in other sessions included."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # a kernel before 3.4 refuses, and init takes them


def end_orphans() -> None:
    """Ends every child of this process, and what comes to it from those."""
    tried: set[int] = set()
    while orphans := {pid for pid, parent in _parents() if parent == os.getpid()} - tried:
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError, PermissionError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        tried |= orphans


def _parents(proc: Path = Path("/proc")) -> Iterator[tuple[int, int]]:
    """Every process with its parent; none on a system that does not list them."""
    for stat in proc.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            yield int(stat.parent.name), int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])


CAN_FORK = hasattr(os, "fork") and sys.platform == "linux"
"""macOS has fork, but its frameworks may not be used in a forked child."""


BOOT_FAILED = 70
