"""Memory that a step frees stays with the process, so that the next step need not fetch it from the kernel again."""

import ctypes
import os
import re
from functools import cache

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4

KEPT = "kept"

_OF_GLIBC = re.compile("MALLOC_[A-Z_]+_")


@cache
def keep_freed_memory() -> str:
    """Has glibc's allocator return nothing to the kernel, in this process and its children. Says what becomes of freed
    memory from now on: `kept`, or what decides instead. Done once; called again, it says the same.

    By default glibc gives the free end of its heap back, and maps large blocks anew each time. Whether a step pays for
    that depends on what happens to lie at the end of the heap: two processes of one case then differ by a third.
    Variables for the allocator (`MALLOC_TRIM_THRESHOLD_` and its like, `GLIBC_TUNABLES`) have their way.

    Source: mallopt(3), M_TRIM_THRESHOLD and M_MMAP_MAX.
    """
    asked = [name for name in sorted(os.environ) if name == "GLIBC_TUNABLES" or _OF_GLIBC.fullmatch(name)]
    if asked:
        return f"left to {' and '.join(asked)}"
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not (mallopt(_M_TRIM_THRESHOLD, -1) and mallopt(_M_MMAP_MAX, 0)):
        return "left to the C library"
    return KEPT
