"""Whether this process may fork, how a child notices that its parent has exited, and the output it leaves behind."""

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Asks the kernel to end this process when `parent` ends (Linux), and ends it now if that has already happened."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(BOOT_FAILED)


def flush_output() -> None:
    """Writes out what stdout and stderr still hold. A workload may have replaced, closed or removed either; what it put
    there need not be a stream.
    """
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(Exception):
            if stream is not None:
                stream.flush()


CAN_FORK = hasattr(os, "fork") and sys.platform == "linux"
"""macOS has fork, but its frameworks must not be used in a forked child."""


BOOT_FAILED = 70
