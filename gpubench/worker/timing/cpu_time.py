"""CPU time of the process, and its waits for a CPU."""

import resource
import time
from typing import NamedTuple

from gpubench.core.cpus import run_delay_s
from gpubench.core.findings import Finding, finding
from gpubench.core.units import format_percent

MAX_RATIO = 1.05
"""Ratio of wanted to received CPU time above which other programs took part of the measurement."""

MAX_KERNEL_SHARE = 0.1
LEAST_FAULTS = 256
"""Page faults of a step that fetches a megabyte from the system (pages of 4 kB)."""

_LEAST_SHARE_OF_WALL = 0.01
_NS = 1e-9


class CpuTime(NamedTuple):
    """Seconds. `process_s`: CPU time of all threads; `main_s`: of this thread; `delayed_s`: time that threads were
    ready to run but no CPU was free (None if the kernel does not say); `kernel_s`: the kernel's part of `process_s`;
    `page_faults`: pages of memory handed out. A reading, or the difference of two.
    """

    process_s: float
    main_s: float
    delayed_s: float | None
    kernel_s: float = 0.0
    page_faults: int = 0

    @classmethod
    def now(cls) -> "CpuTime":
        """A reading. Costs some 20 us per thread, so it is for the edges of a block, not for steps."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        times_s = time.process_time_ns() * _NS, time.thread_time_ns() * _NS
        return cls(*times_s, run_delay_s(), used.ru_stime, used.ru_minflt)

    def __sub__(self, earlier: "CpuTime") -> "CpuTime":
        both = self.delayed_s is not None and earlier.delayed_s is not None
        # A thread that ended in between is missing in the later sum.
        delayed_s = max(0.0, self.delayed_s - earlier.delayed_s) if both else None  # type: ignore[operator]
        return CpuTime(
            self.process_s - earlier.process_s,
            self.main_s - earlier.main_s,
            delayed_s,
            self.kernel_s - earlier.kernel_s,
            self.page_faults - earlier.page_faults,
        )

    def plus(self, other: "CpuTime") -> "CpuTime":
        both = self.delayed_s is not None and other.delayed_s is not None
        delayed_s = self.delayed_s + other.delayed_s if both else None  # type: ignore[operator]
        return CpuTime(
            self.process_s + other.process_s,
            self.main_s + other.main_s,
            delayed_s,
            self.kernel_s + other.kernel_s,
            self.page_faults + other.page_faults,
        )


def preempted(cpu: CpuTime, wall_s: float, input_wait_s: float = 0.0) -> Finding | None:
    """GB205 if the process had no CPU for more than 5 % of the time it wanted one.

    The kernel's own count of waiting for a CPU tells pre-emption from a workload that sleeps. Without it, wall time
    (minus waits for input) over the main thread's CPU time is used.
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


def fetches_memory(cpu: CpuTime, num_steps: int) -> Finding | None:
    """GB213 if the kernel took at least 10 % of the CPU time, and each step fetched at least a megabyte.

    glibc's allocator returns the free end of its heap to the system; what lies there differs between processes.
    """
    faults = cpu.page_faults / num_steps if num_steps else 0.0
    if cpu.process_s <= 0 or faults < LEAST_FAULTS or cpu.kernel_s / cpu.process_s < MAX_KERNEL_SHARE:
        return None
    share = cpu.kernel_s / cpu.process_s
    return finding(
        "GB213",
        f"The kernel took {format_percent(share)} of the CPU time, with {faults:.0f} page faults a step.",
        kernel_share=share,
        page_faults_per_step=faults,
    )
