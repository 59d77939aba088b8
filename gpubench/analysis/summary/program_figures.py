"""The figures of a program over its runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from gpubench.analysis.summary.launch_estimates import estimate
from gpubench.core.metrics import METRICS, MetricSpec
from gpubench.core.records import Estimate

_OWN = (
    MetricSpec("wall_s", "s", "wall time", "lower", "From the start of the program to its end."),
    MetricSpec("user_s", "s", "user CPU time", "lower", "CPU time of its processes in their code.", "mean"),
    MetricSpec("system_s", "s", "system CPU time", "lower", "CPU time of its processes in the kernel.", "mean"),
    MetricSpec("cpus", "1", "CPUs busy", None, "CPU time over wall time.", "mean"),
    MetricSpec("peak_memory_bytes", "B", "peak memory", "lower", "Largest sum over its processes.", "max"),
    MetricSpec("largest_process_bytes", "B", "largest process", "lower", "Peak of its largest process.", "max"),
    MetricSpec("num_processes", "1", "processes", None, "Processes seen.", "max"),
)
PROGRAM_METRICS = {spec.name: spec for spec in _OWN}
_LEAST_FOR_INTERVAL = 3


class DeviceFigures(NamedTuple):
    """Telemetry of one device over one run. Units as in the metric's name; `detail` as a launch's record has it."""

    name: str
    metrics: Mapping[str, float | None]
    absent: Mapping[str, str]
    detail: Mapping[str, Any]


class ProgramFigures(NamedTuple):
    """One run of a program. `metrics` by name, in seconds and bytes; None with the reason in `absent`."""

    metrics: Mapping[str, float | None]
    absent: Mapping[str, str]
    devices: Mapping[str, DeviceFigures]
    exit_status: int
    left_running: int = 0
    interrupted: bool = False


class ProgramSummary(NamedTuple):
    """Figures over runs by metric; `absent` has the reason for those without one."""

    metrics: dict[str, Estimate]
    absent: dict[str, str]


def summarise_program(runs: Sequence[ProgramFigures]) -> ProgramSummary:
    """Figures of the program itself and of the CPUs."""
    return _summary([run.metrics for run in runs], [run.absent for run in runs])


def summarise_device(runs: Sequence[ProgramFigures], key: str) -> ProgramSummary:
    """Figures of one device."""
    devices = [run.devices[key] for run in runs if key in run.devices]
    return _summary([device.metrics for device in devices], [device.absent for device in devices])


def _summary(metrics: Sequence[Mapping[str, float | None]], absent: Sequence[Mapping[str, str]]) -> ProgramSummary:
    """A metric missing in any run has no figure. No interval from fewer than three runs."""
    found, why = {}, {}
    for name in dict.fromkeys(name for each in metrics for name in each):
        values = [each.get(name) for each in metrics]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            why[name] = next((each[name] for each in absent if name in each), "one of the runs has no value")
            continue
        spec = PROGRAM_METRICS.get(name) or METRICS[name]
        made = estimate(known, spec)
        found[name] = made if made.n >= _LEAST_FOR_INTERVAL else replace(made, low=None, high=None)
    return ProgramSummary(found, why)
