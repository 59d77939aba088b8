"""The distance of each case from the measured ceilings of its device (Williams, Waterman, Patterson 2009)."""

from dataclasses import dataclass
from typing import Literal

from gpubench.analysis.summary.case_figures import scaled
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.measured_ceilings import (
    Ceiling,
    CeilingDevice,
    Ceilings,
    device_of,
    is_operator,
)
from gpubench.analysis.summary.roofs import memory_ceilings, memory_roof
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.records import Estimate

Limit = Literal["arithmetic", "memory"]
_NEEDED = ("achieved_flops", "flops_per_sample", "bytes_per_sample")


@dataclass(frozen=True)
class RooflinePoint:
    """A case on the roofline. `intensity` in FLOP per byte, `achieved` in FLOP/s.

    `of_peak` is the share of the arithmetic ceiling, the MFU. `of_roof` is the share of the roof above the point: the
    lower of the arithmetic ceiling, in the case's power state, and memory bandwidth times intensity (`limit` says
    which; `mix` names the memory ceilings, see `memory_roof`). Above 1, traffic was saved: the intensity counts every
    operator separately, and fused or cached ones move less. `of_launch` is the time to launch the step's operators one
    by one at the measured rate, over the step's time: near 1 the host is the limit; above 1 launches were saved (a CUDA
    graph, fused kernels).
    """

    summary: CaseSummary
    intensity: float
    achieved: Estimate
    of_peak: Estimate | None
    of_roof: Estimate | None
    limit: Limit | None
    mix: str | None = None
    of_launch: float | None = None


@dataclass(frozen=True)
class Roofline:
    """One device at one precision. `memory` is the highest of the measured mixes, `ridge` the intensity above which
    arithmetic is the limit, in FLOP per byte.
    """

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
    """One per device and precision with a case that has FLOPs, bytes and a rate, in order of appearance."""
    ceilings = summary.ceilings
    groups: dict[tuple[CeilingDevice, str], list[CaseSummary]] = {}
    for entry in summary.cases:
        device = device_of(entry, summary.info.environment)
        if device is not None and entry.usable and all(name in entry.metrics for name in _NEEDED):
            groups.setdefault((device, entry.case.precision), []).append(entry)
    found = []
    for (device, precision), entries in groups.items():
        peak, mixes = ceilings.peak_flops(entries[0], device), memory_ceilings(ceilings, device).values()
        memory = max(mixes, key=lambda each: each.value.value, default=None)
        points = (_point(entry, device, peak, ceilings) for entry in entries)
        found.append(Roofline(device, precision, peak, memory, tuple(points)))
    return tuple(found)


def _point(entry: CaseSummary, device: CeilingDevice, peak: Ceiling | None, ceilings: Ceilings) -> RooflinePoint:
    metrics = entry.metrics
    intensity = metrics["flops_per_sample"].value / metrics["bytes_per_sample"].value
    achieved, read_share = metrics["achieved_flops"], metrics.get("bytes_read_share")
    roof = memory_roof(ceilings, device, None if read_share is None else read_share.value)
    top = None if peak is None else peak.value.value
    arithmetic = ceilings.arithmetic_roof(entry, device)
    highest = None if arithmetic is None else arithmetic.value.value
    slope = None if roof is None else roof.bandwidth * intensity
    of_peak = None if top is None or is_operator(entry.case) else scaled(achieved, 1 / top, "1")
    of_roof: Estimate | None = None
    limit: Limit | None = None
    if highest is not None and slope is not None:
        limit = "memory" if slope < highest else "arithmetic"
        of_roof = scaled(achieved, 1 / min(highest, slope), "1")
    of_launch, launch = None, ceilings.get(device, "launch")
    operators, step_s = metrics.get("operators_per_step"), metrics.get("step_time_s")
    if launch and operators and step_s and entry.case.device_type != "cpu":  # which runs operators without launches
        of_launch = operators.value / launch.value.value / step_s.value
    return RooflinePoint(entry, intensity, achieved, of_peak, of_roof, limit, roof and roof.mix, of_launch)
