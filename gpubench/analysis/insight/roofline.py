"""How far each case is from what its device was measured to be able to do (Williams, Waterman, Patterson 2009)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.measured_ceilings import (
    Ceiling,
    CeilingDevice,
    Ceilings,
    ceilings_of,
    device_of,
    is_operator,
)
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.analysis.summary.utilization import scaled
from gpubench.core.findings import Validity
from gpubench.core.records import Estimate, Status

Limit = Literal["arithmetic", "memory"]


@dataclass(frozen=True)
class RooflinePoint:
    """A case on the roofline. `intensity` in FLOP per byte, `achieved` in FLOP/s.

    `of_peak` is the share of the arithmetic ceiling, the MFU. `of_roof` is that of the roof above the point: the lower
    of the arithmetic ceiling and of memory bandwidth times intensity, whichever `limit` names. Above 1 it says that
    traffic was saved: the intensity counts every operator on its own, and fused ones, or those whose input is still in
    a cache, move less. `of_launch` is the time that launching the step's operators one by one takes at the measured
    rate, over the step's time: near 1 the host is the limit, above 1 launches were saved (a CUDA graph, fused kernels).
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
    """One device at one precision. `ridge` is the intensity from which on arithmetic is the limit, in FLOP per byte."""

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
    """One per device and precision of which a case has FLOPs, bytes and a rate, in the order met."""
    ceilings = ceilings_of(summary.info, summary.cases)
    groups: dict[tuple[CeilingDevice, str], list[CaseSummary]] = {}
    for entry in summary.cases:
        device = device_of(entry, summary.info.environment)
        if device is not None and _has_point(entry):
            groups.setdefault((device, entry.case.precision), []).append(entry)
    return tuple(_roofline(device, precision, found, ceilings) for (device, precision), found in groups.items())


def _has_point(entry: CaseSummary) -> bool:
    usable = entry.status is Status.OK and entry.validity is not Validity.INVALID
    return usable and all(name in entry.metrics for name in ("achieved_flops", "flops_per_sample", "bytes_per_sample"))


def _roofline(device: CeilingDevice, precision: str, entries: Sequence[CaseSummary], ceilings: Ceilings) -> Roofline:
    peak = ceilings.peak_flops(entries[0], device)
    memory, launch = ceilings.get(device, "memory"), ceilings.get(device, "launch")
    points = tuple(replace(_point(entry, peak, memory), of_launch=launch_share(entry, launch)) for entry in entries)
    return Roofline(device, precision, peak, memory, points)


def launch_share(entry: CaseSummary, launch: Ceiling | None) -> float | None:
    """Launches of a step over what the device's host can launch in its time; None where either is unknown, and on a
    CPU, where an operator is not launched but done.
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
