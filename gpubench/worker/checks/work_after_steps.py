"""Whether work goes on after the last step: what other threads or processes still do was not timed."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gpubench.core.findings import Finding, finding
from gpubench.core.process_tree import descendants
from gpubench.core.units import format_seconds

LEAST_S = 0.5
"""OpenMP's threads spin for up to 0.2 s after their last work."""

LEAST_SHARE = 0.1
"""Share of the measured time."""

MOST_STEPS = 32
STEPS_PER_PROCESS = 4
"""Steps more for each loader process: it may have that many batches in progress when the steps end."""

_LOOK_S = 0.05
_BUSY_SHARE = 0.3
_NS = 1e-9


def work_after_steps(
    measured_s: float,
    step_s: float,
    *,
    read: Callable[[Sequence[int]], float | None] | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Finding | None:
    """GB315 if other threads of this process, or its child processes, stay busy for half a second, a tenth of
    `measured_s` or 32 steps of `step_s`, whichever is longest. Takes 50 ms if they are idle.
    """
    if os.environ.get("OMP_WAIT_POLICY", "").lower() == "active" or os.environ.get("KMP_BLOCKTIME") == "infinite":
        return None  # OpenMP's threads then wait by working
    read, processes, waited_s = read or busy_s, descendants(), 0.0
    most_steps = MOST_STEPS + STEPS_PER_PROCESS * len(processes)
    limit_s, before = max(LEAST_S, LEAST_SHARE * measured_s, most_steps * step_s), read(processes)
    while before is not None and waited_s < limit_s:
        pause(_LOOK_S)
        after = read(processes)
        if after is None or after - before < _BUSY_SHARE * _LOOK_S:
            return None
        waited_s, before = waited_s + _LOOK_S, after
    if before is None:
        return None
    message = f"Other threads or processes still worked {format_seconds(waited_s)} after the last step."
    return finding("GB315", message, waited_s=waited_s, measured_s=measured_s)


def busy_s(processes: Sequence[int] = ()) -> float | None:
    """Seconds for which all other threads of this process, and those of `processes`, ran or waited for a CPU. None if
    the kernel does not tell.
    """
    own = Path(f"/proc/self/task/{os.getpid()}")
    if not (own / "schedstat").exists():
        return None
    threads = [each for each in own.parent.glob("[0-9]*") if each != own]
    for pid in processes:
        threads += Path(f"/proc/{pid}/task").glob("[0-9]*")
    total_ns = 0
    for thread in threads:
        with contextlib.suppress(OSError, IndexError, ValueError):  # it has ended
            ran_ns, waited_ns = (thread / "schedstat").read_text().split()[:2]
            total_ns += int(ran_ns) + int(waited_ns)
    return total_ns * _NS
