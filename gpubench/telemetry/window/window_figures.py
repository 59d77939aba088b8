"""The figures of a window, from readings cut to its exact edges."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Self

from gpubench.core.findings import Finding, finding
from gpubench.telemetry.devices.base import Activity, SlowReading
from gpubench.telemetry.devices.periods import Periods
from gpubench.telemetry.sampling.reading_history import Cut
from gpubench.telemetry.window.energy_sources import CARD_GAIN_PCT, EnergyOf
from gpubench.telemetry.window.throttling import CLOCKS_SET_BIT, throttling

REACH_S = 2.0
"""Readings this far outside a window (plus the counter's period) are used to interpolate its edges."""

_CLOCK_MOVED = 0.02
_LEAST_COVERAGE = 0.8
_SENSOR_NOISE = 1.03
"""A peak more than this far below the mean is not believed."""
POWERS = ("power_instant_w", "power_average_w", "power_usage_w")

GPU_METRICS = (
    "energy_j",
    "energy_per_sample_j",
    "samples_per_j",
    "energy_above_idle_j",
    "mean_power_w",
    "peak_power_w",
    "sm_clock_mhz",
    "memory_clock_mhz",
    "temperature_c",
    "throttle_share",
    "utilization",
    "device_memory_used_bytes",
    "process_memory_bytes",
    "sm_activity",
    "tensor_activity",
    "dram_activity",
)
"""Metrics of the GPU, by their names in the metric registry."""

METRICS = (*GPU_METRICS, "cpu_energy_j")


@dataclass(frozen=True)
class Readings:
    """All readings around a window. `interval_s` is None in `boundary` mode (no schedule)."""

    fast: Cut
    slow: Cut
    activities: tuple[Activity, ...] = ()
    interval_s: float | None = 0.05
    periods: Periods = field(default_factory=Periods)
    missing: Mapping[str, str] = field(default_factory=dict)
    parent_shared: bool = False
    on_module: bool = False
    counter_wrap_j: float | None = None
    scopes: Mapping[str, str] = field(default_factory=dict)


@dataclass
class TelemetryWindow:
    """Telemetry of one window. Every metric that is None has its reason in `absent`.

    `detail` is stored in the record unchanged: energy source, validity and uncertainty, throttle time by reason,
    limits, and what is missing. `series` has the readings inside the window (and one before and after it): `<name>`
    with its times in `<fast|slow>_time_s`, seconds of CLOCK_MONOTONIC, NaN for missing readings.
    """

    metrics: dict[str, float | None] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    detail: dict[str, Any] = field(default_factory=dict)
    series: dict[str, list[float]] = field(default_factory=dict)

    def put(self, name: str, value: float | None, why_absent: str) -> None:
        """Stores a metric, with the reason if it is None."""
        self.metrics[name] = value
        if value is None:
            self.absent[name] = why_absent

    @classmethod
    def without_gpu(cls, reason: str, detail: dict[str, Any], *findings: Finding) -> Self:
        """All GPU metrics absent for one reason."""
        return cls(dict.fromkeys(GPU_METRICS), dict.fromkeys(GPU_METRICS, reason), list(findings), detail)


@dataclass
class WindowOf:
    """Summarises the readings of [start_s, end_s], in which `num_samples` samples were processed."""

    readings: Readings
    start_s: float
    end_s: float
    num_samples: int
    out: TelemetryWindow = field(default_factory=TelemetryWindow)

    def summarise(self, idle_w: float | None = None) -> TelemetryWindow:
        """Every GPU metric except those that need the process list. `idle_w` is the power of the idle context."""
        self._energy(idle_w)
        self._clocks()
        self._slow()
        self._throttling()
        self._activity()
        self._coverage()
        if self.readings.parent_shared:
            message = "Power, energy and clocks are those of the whole card, not of the slice."
            self.out.findings.append(finding("GB416", message))
        fast, slow = self.readings.fast, self.readings.slow
        self.out.series = series_of(fast.cut(self.start_s, self.end_s), slow.cut(self.start_s, self.end_s))
        return self.out

    def _why(self, quantity: str) -> str:
        if any(self.start_s <= at_s <= self.end_s for at_s in self.readings.fast.time_s):
            return self.readings.missing.get(quantity, "the driver gave no value")
        return self.readings.missing.get(quantity, "no reading fell into the window")

    def _energy(self, idle_w: float | None) -> None:
        readings = self.readings
        energy = EnergyOf(
            readings.fast,
            self.start_s,
            self.end_s,
            interval_s=readings.interval_s or 0.0,
            periods=readings.periods,
            wrap_j=readings.counter_wrap_j,
            on_module=readings.on_module,
            missing=readings.missing,
        ).result()
        self.out.findings.extend(energy.findings)
        value_j, why = energy.energy_j, energy.reason or ""
        window_s, count = self.end_s - self.start_s, self.num_samples
        put = self.out.put
        put("energy_j", value_j, why)
        put("mean_power_w", None if value_j is None else value_j / window_s, why)
        why_rate = why if value_j is None else "the window holds no samples"
        put("energy_per_sample_j", value_j / count if value_j and count else None, why_rate)
        put("samples_per_j", count / value_j if value_j and count else None, why_rate)
        why_idle = why if value_j is None else "no idle power was measured with the context up"
        above_j = None if value_j is None or idle_w is None else value_j - idle_w * window_s
        put("energy_above_idle_j", above_j, why_idle)
        powers = {name: self.readings.fast.values(name, self.start_s, self.end_s) for name in POWERS}
        source = next((name for name, values in powers.items() if values), None)
        peak_w, why_peak = max(powers[source]) if source else None, self._why("power_instant_w")
        if peak_w is not None and value_j is not None and value_j / window_s > peak_w:
            why_peak = (
                f"the highest reading of {source} is {peak_w:.0f} W, less than the mean: it misses part of the load"
            )
            peak_w = value_j / window_s if value_j / window_s <= _SENSOR_NOISE * peak_w else None
        put("peak_power_w", peak_w, why_peak)
        source_of_energy = (energy.source or "").removesuffix("_unsettled")
        integrated = "counter_j" if source_of_energy.startswith("counter") else f"{source_of_energy}_w"
        shared = readings.parent_shared
        self.out.detail |= {
            "energy_source": energy.source,
            "energy_scope": "parent_shared" if shared else readings.scopes.get(integrated, "device"),
            "energy_valid": energy.valid and not shared,
            "energy_invalid_reason": "the whole card's, shared by its MIG slices" if shared else energy.reason,
            "energy_uncertainty_pct": energy.uncertainty_pct,
            "energy_card_gain_pct": CARD_GAIN_PCT,
            "energy_minimum_window_s": energy.minimum_s,
            **energy.detail,
            "peak_power_source": source and source.removesuffix("_w"),
            "peak_power_scope": source and readings.scopes.get(source, "device"),
            "idle_power_w": idle_w,
        }

    def _clocks(self) -> None:
        clocks = self.readings.fast.values("sm_clock_mhz", self.start_s, self.end_s)
        self.out.put("sm_clock_mhz", fmean(clocks) if clocks else None, self._why("sm_clock_mhz"))
        if not clocks:
            return
        low, high = min(clocks), max(clocks)
        self.out.detail.update(sm_clock_min_mhz=low, sm_clock_max_mhz=high)
        part = len(clocks) // 5
        if part >= 3:
            drift = fmean(clocks[-part:]) / fmean(clocks[:part]) - 1
            self.out.detail["sm_clock_drift"] = drift
            if abs(drift) > _CLOCK_MOVED:
                message = f"The SM clock changed by {drift:+.1%} from the first to the last fifth of the window."
                self.out.findings.append(finding("GB406", message, drift=drift))
        masks = self.readings.fast.values("reasons", self.start_s, self.end_s)
        held = bool(masks) and sum(bool(int(mask) & CLOCKS_SET_BIT) for mask in masks) > len(masks) / 2
        self.out.detail["clocks_held_by_setting"] = held if masks else None
        if high - low > _CLOCK_MOVED * high and not held:
            message = f"The SM clock ran between {low:.0f} and {high:.0f} MHz."
            self.out.findings.append(finding("GB405", message, low_mhz=low, high_mhz=high))

    def _slow(self) -> None:
        """From readings inside the window; if it lies between two slow ticks, from those on both sides."""
        cut, take = self.readings.slow, {"utilization": fmean, "memory_clock_mhz": fmean}
        for name in SlowReading._fields:
            values = cut.values(name, self.start_s, self.end_s)
            values = values or cut.values(name, self.start_s - REACH_S, self.end_s + REACH_S)
            figure = take.get(name, max)(values) if values else None
            if name in {"memory_temperature_c", "memory_total_bytes", "pstate"}:
                self.out.detail["pstate_slowest" if name == "pstate" else name] = figure
            else:
                metric = "device_memory_used_bytes" if name == "memory_used_bytes" else name
                self.out.put(metric, figure, self._why(name))

    def _throttling(self) -> None:
        found = throttling(self.readings.fast, self.start_s, self.end_s)
        self.out.put("throttle_share", found.share, self._why("reasons"))
        self.out.findings.extend(found.findings)
        self.out.detail.update(throttle_share_by_reason=found.by_reason, throttle_source=found.source)

    def _activity(self) -> None:
        """Means of the hardware's counters over the intervals that overlap the window, weighted by the overlap."""
        parts = []
        for activity in self.readings.activities:
            overlap_s = min(activity.end_s, self.end_s) - max(activity.start_s, self.start_s)
            if overlap_s > 0:
                parts.append((overlap_s, activity))
        covered = sum(overlap_s for overlap_s, _ in parts) / (self.end_s - self.start_s)
        why = self.readings.missing.get("activity", "no pair of GPM samples lies in the window")
        for name in ("sm", "tensor", "dram"):
            known = [(overlap_s, getattr(part, name)) for overlap_s, part in parts if getattr(part, name) is not None]
            weight_s = sum(overlap_s for overlap_s, _ in known)
            mean = sum(overlap_s * share for overlap_s, share in known) / weight_s if weight_s else None
            self.out.put(f"{name}_activity", mean if covered >= 0.5 else None, why)

    def _coverage(self) -> None:
        interval_s = self.readings.interval_s
        times = [at_s for at_s in self.readings.fast.time_s if self.start_s <= at_s <= self.end_s]
        self.out.detail["num_readings"] = len(times)
        if interval_s is None:
            return
        edges = [self.start_s, *times, self.end_s]
        gap_s = max(after - before for before, after in itertools.pairwise(edges))
        coverage = min(1.0, len(times) * interval_s / (self.end_s - self.start_s))
        self.out.detail.update(coverage=coverage, longest_gap_s=gap_s)
        if coverage < _LEAST_COVERAGE and self.end_s - self.start_s > 5 * interval_s:
            message = f"Readings cover {coverage:.0%} of the window; the longest gap is {gap_s:.2g} s."
            self.out.findings.append(finding("GB417", message, coverage=coverage, longest_gap_s=gap_s))


def series_of(fast: Cut, slow: Cut) -> dict[str, list[float]]:
    """The readings for the samples file; columns without any value are left out."""
    series: dict[str, list[float]] = {}
    for kind, cut in (("fast", fast), ("slow", slow)):
        present = {name: column for name, column in cut.columns.items() if any(value == value for value in column)}
        if present:
            series |= {f"{kind}_time_s": cut.time_s, f"{kind}_took_s": cut.took_s, **present}
    return series
