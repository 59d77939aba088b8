"""CPUs: how many this process may use, and how long threads waited for one, as the kernel counts it in schedstat."""

import os

_NS = 1e-9


def usable_cpus() -> int | None:
    """Hardware threads this process may run on (its affinity mask); None if the system does not say."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count()


def own_delay_s(path: str = "/proc/thread-self/schedstat") -> float | None:
    """Seconds this thread, or the main thread of the process of `path`, was ready to run without a CPU; None if the
    kernel does not say. Takes about 10 us.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - between steps every microsecond counts
            return int(file.read().split()[1]) * _NS
    except (OSError, IndexError, ValueError):
        return None


def run_delay_s(tasks: str = "/proc/self/task") -> float | None:
    """Seconds all threads of this process were ready to run without a CPU; None if the kernel does not say."""
    try:
        threads = os.listdir(tasks)  # noqa: PTH208 - a Path per thread would cost more than reading the file
    except OSError:
        return None
    delays_s = [own_delay_s(f"{tasks}/{thread}/schedstat") for thread in threads]
    known = [delay_s for delay_s in delays_s if delay_s is not None]  # of threads that have not ended meanwhile
    return sum(known) if known else None
