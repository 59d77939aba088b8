"""How many CPUs this process may use."""

import os


def usable_cpus() -> int | None:
    """Hardware threads this process may run on (its affinity mask); None if the system does not say."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count()
