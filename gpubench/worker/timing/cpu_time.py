"""What the process got of the CPU, and what it had to wait for."""

import os
import time
from typing import NamedTuple

from gpubench.core.findings import Finding, finding
from gpubench.core.units import format_percent

MAX_RATIO = 1.05
"""Wanted over got: above it, other programs took part of the measurement."""

_LEAST_SHARE_OF_WALL = 0.01
_NS = 1e-9


class CpuTime(NamedTuple):
    """Seconds. `process_s`: CPU time of all threads; `main_s`: of this thread; `delayed_s`: time that threads were
    ready to run and no CPU was free (None where the kernel does not say); a reading, or the difference of two.
    """

    process_s: float
    main_s: float
    delayed_s: float | None

    @classmethod
    def now(cls) -> "CpuTime":
        """Costs some 20 us a thread: for the edges of a block, not for steps."""
        return cls(time.process_time_ns() * _NS, time.thread_time_ns() * _NS, run_delay_s())

    def __sub__(self, earlier: "CpuTime") -> "CpuTime":
        both = self.delayed_s is not None and earlier.delayed_s is not None
        # A thread that ended in between took its part of the sum with it.
        delayed_s = max(0.0, self.delayed_s - earlier.delayed_s) if both else None  # type: ignore[operator]
        return CpuTime(self.process_s - earlier.process_s, self.main_s - earlier.main_s, delayed_s)

    def plus(self, other: "CpuTime") -> "CpuTime":
        both = self.delayed_s is not None and other.delayed_s is not None
        delayed_s = self.delayed_s + other.delayed_s if both else None  # type: ignore[operator]
        return CpuTime(self.process_s + other.process_s, self.main_s + other.main_s, delayed_s)


def run_delay_s(tasks: str = "/proc/self/task") -> float | None:
    """Seconds all threads of this process have waited on a run queue (second field of schedstat); None without it."""
    total_ns, seen = 0, False
    try:
        for thread in os.listdir(tasks):  # noqa: PTH208 - a Path per thread would cost more than the reading
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
    """Seconds this thread was ready to run without a CPU; None where the kernel does not say. Takes about 10 us."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - between steps every microsecond counts
            return int(file.read().split()[1]) * _NS
    except (OSError, IndexError, ValueError):
        return None


def preempted(cpu: CpuTime, wall_s: float, input_wait_s: float = 0.0) -> Finding | None:
    """GB205 where the process wanted the CPU and did not get it for more than 5 % of the time it wanted it.

    The kernel's own count of waiting for a CPU tells pre-emption from a workload that sleeps. Without it, wall time
    over the main thread's CPU time has to do, less the time it waited for its input.
    """
    if cpu.delayed_s is not None:
        wanted_s, got_s = cpu.process_s + cpu.delayed_s, cpu.process_s
        if cpu.delayed_s < _LEAST_SHARE_OF_WALL * wall_s:
            return None
    else:
        wanted_s, got_s = wall_s - input_wait_s, cpu.main_s
    if got_s <= 0 or wanted_s / got_s <= MAX_RATIO:
        return None
    waited = 1 - got_s / wanted_s
    return finding(
        "GB205",
        f"The process waited for a CPU {format_percent(waited)} of the time it wanted one.",
        ratio=wanted_s / got_s,
        waited_s=wanted_s - got_s,
        wall_s=wall_s,
        source="wall clock" if cpu.delayed_s is None else "schedstat",
    )
