"""Tracers, profilers and debuggers in this process, which change every time that is measured in it."""

import sys
import tracemalloc
from pathlib import Path

_TOOL_IDS = range(6)


def instruments(*, traced: bool = True, status: Path = Path("/proc/self/status")) -> list[str]:
    """Their names; `traced=False` leaves out the functions set by `sys.settrace` and `sys.setprofile`."""
    found = []
    for kind, hook in (("trace", sys.gettrace()), ("profile", sys.getprofile())) if traced else ():
        if hook is not None:
            found.append(f"a {kind} function of {getattr(hook, '__module__', None) or type(hook).__module__}")
    monitoring = getattr(sys, "monitoring", None)  # since Python 3.12
    if monitoring is not None:
        found += [f"{name} (sys.monitoring)" for name in map(monitoring.get_tool, _TOOL_IDS) if name]
    if tracemalloc.is_tracing():
        found.append("tracemalloc")
    if sys.flags.dev_mode:
        found.append("Python's development mode")
    tracer = _tracer(status)
    if tracer:
        found.append(f"a debugger (process {tracer})")
    torch = sys.modules.get("torch")
    if torch is not None and torch.is_anomaly_enabled():
        found.append("torch's anomaly detection")
    if torch is not None and torch.autograd._profiler_enabled():  # noqa: SLF001 - there is no public one
        found.append("torch.profiler")
    return found


def _tracer(status: Path) -> int:
    """The process that traces this one (gdb, strace); 0 if there is none or the system does not say."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("TracerPid:")), 0)
