"""How many threads a contest or a training on the CPU may use while other programs run.

With as many threads as CPUs, a step waits for whichever thread lost its CPU, which the main thread's waiting time does
not show: twins of one arm then differ by tens of per cent. With a CPU to spare they differ by half a per cent.
"""

import math
import os
import time
from collections.abc import Sequence

from gpubench.core.cpus import usable_cpus
from gpubench.core.records import Record
from gpubench.machine.host_facts import HostCpuTime, cpu_time
from gpubench.suite.model.case import Case

PREEMPTED = "GB205"
BUSY_SHARE = 0.2
"""Share of a contest's launches; if more waited for a CPU, the machine is busy."""

LOOK_S = 0.5


def leaves_threads_open(case: Case) -> bool:
    """Whether the number of CPU threads may follow what is free: it runs on the CPU and asks for no number."""
    return case.device_type == "cpu" and case.cpu_threads is None


def threads_beside_others(records: Sequence[Record]) -> int | None:
    """Threads for a contest of cases with these launches: as many as CPUs are free. None: torch's own number.

    Call it while no worker measures. Observes the machine for half a second if the launches show that it is busy.
    """
    waited = sum(any(entry.code == PREEMPTED for entry in record.findings) for record in records)
    if not records or waited <= BUSY_SHARE * len(records):
        return None
    before = cpu_time()
    time.sleep(LOOK_S)
    return free_cpus(before, cpu_time(), usable_cpus() or 1)


def with_threads(case: Case, threads: int | None) -> Case:
    return case if threads is None else Case.model_validate({**case.settings, "cpu_threads": threads})


def free_cpus(before: HostCpuTime | None, after: HostCpuTime | None, usable: int) -> int:
    """Whole CPUs idle between two readings: at least one, at most one less than there are."""
    most = max(1, usable - 1)
    if before is None or after is None or after.total <= before.total:
        return most
    taken = (after.busy - before.busy + after.stolen - before.stolen) / (after.total - before.total)
    machine = os.cpu_count() or usable
    return max(1, min(most, math.floor(machine * (1 - taken) + 0.25)))
