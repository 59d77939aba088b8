"""How far each case is from the measured ceilings of its device (Williams, Waterman, Patterson 2009)."""

from dataclasses import dataclass, replace
from typing import Literal

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.measured_ceilings import Ceiling, CeilingDevice, ceilings_of, device_of, is_operator
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.analysis.summary.utilization import scaled
from gpubench.core.findings import Validity
from gpubench.core.records import Estimate, Status

Limit = Literal["arithmetic", "memory"]
_NEEDED = {"achieved_flops", "flops_per_sample", "bytes_per_sample"}


@dataclass(frozen=True)
class RooflinePoint:
    """A case on the roofline. `intensity` in FLOP per byte, `achieved` in FLOP/s.

    `of_peak` is the share of the arithmetic ceiling, the MFU. `of_roof` is that of the roof above the point: the lower
    of the arithmetic ceiling and of memory bandwidth times intensity, whichever `limit` names. Above 1, traffic was
    saved: the intensity counts every operator separately, and fused or cached ones move less. `of_launch` is the time
    to launch the step's operators one by one at the measured rate, over the step's time: near 1 the host is the limit,
    above 1 launches were saved (a CUDA graph, fused kernels).
    """

    summary: CaseSummary
    intensity: float
    achieved: Estimate
    of_peak: Estimate | None
    of_roof: Estimate | None
    limit: Limit | None
    of_launch: float | None = None


@dataclass(frozen=True)
class Roofline:
    """One device at one precision. `ridge`: the intensity above which arithmetic is the limit, in FLOP per byte."""

    device: CeilingDevice
    precision: str
    peak: Ceiling | None
    memory: Ceiling | None
    points: tuple[RooflinePoint, ...]

    @property
    def ridge(self) -> float | None:
        if self.peak is None or self.memory is None:
            return None
        return self.peak.value.value / self.memory.value.value


def rooflines(summary: RunSummary) -> tuple[Roofline, ...]:
    """One per device and precision with a case that has FLOPs, bytes and a rate, in the order met."""
    ceilings = ceilings_of(summary.info, summary.cases)
    groups: dict[tuple[CeilingDevice, str], list[CaseSummary]] = {}
    for entry in summary.cases:
        device = device_of(entry, summary.info.environment)
        usable = entry.status is Status.OK and entry.validity is not Validity.INVALID
        if device is not None and usable and entry.metrics.keys() >= _NEEDED:
            groups.setdefault((device, entry.case.precision), []).append(entry)
    found = []
    for (device, precision), entries in groups.items():
        peak, memory = ceilings.peak_flops(entries[0], device), ceilings.get(device, "memory")
        launch = ceilings.get(device, "launch")
        points = (replace(_point(entry, peak, memory), of_launch=launch_share(entry, launch)) for entry in entries)
        found.append(Roofline(device, precision, peak, memory, tuple(points)))
    return tuple(found)


def launch_share(entry: CaseSummary, launch: Ceiling | None) -> float | None:
    """Launches of a step over those the host can do in the step's time.

    None if either is unknown, and on a CPU, which runs operators instead of launching them.
    """
    operators, step_s = entry.metrics.get("operators_per_step"), entry.metrics.get("step_time_s")
    if launch is None or entry.case.device_type == "cpu" or operators is None or step_s is None:
        return None
    return operators.value / launch.value.value / step_s.value


def _point(entry: CaseSummary, peak: Ceiling | None, memory: Ceiling | None) -> RooflinePoint:
    metrics = entry.metrics
    intensity = metrics["flops_per_sample"].value / metrics["bytes_per_sample"].value
    achieved = metrics["achieved_flops"]
    top = None if peak is None else peak.value.value
    slope = None if memory is None else memory.value.value * intensity
    of_peak = None if top is None or is_operator(entry.case) else scaled(achieved, 1 / top, "1")
    if top is None or slope is None:
        return RooflinePoint(entry, intensity, achieved, of_peak, None, None)
    limit: Limit = "memory" if slope < top else "arithmetic"
    return RooflinePoint(entry, intensity, achieved, of_peak, scaled(achieved, 1 / min(top, slope), "1"), limit)
