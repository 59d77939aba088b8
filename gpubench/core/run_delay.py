"""How long threads waited for a CPU, as the kernel counts it (the second field of schedstat)."""

import os

_NS = 1e-9


def run_delay_s(tasks: str = "/proc/self/task") -> float | None:
    """Seconds all threads of this process have waited on a run queue (second field of schedstat); None without it."""
    total_ns, seen = 0, False
    try:
        for thread in os.listdir(tasks):  # noqa: PTH208 - a Path per thread would cost more than reading the file
            try:
                with open(f"{tasks}/{thread}/schedstat", "rb") as file:  # noqa: PTH123
                    total_ns += int(file.read().split()[1])
                    seen = True
            except (FileNotFoundError, ProcessLookupError):
                continue  # the thread ended
    except (OSError, IndexError, ValueError):
        return None
    return total_ns * _NS if seen else None


def own_delay_s(path: str = "/proc/thread-self/schedstat") -> float | None:
    """Seconds this thread, or the main thread of the process of `path`, was ready to run without a CPU; None if the
    kernel does not say. Takes about 10 us.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - between steps every microsecond counts
            return int(file.read().split()[1]) * _NS
    except (OSError, IndexError, ValueError):
        return None
