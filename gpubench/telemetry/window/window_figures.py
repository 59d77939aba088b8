"""The figures of a window, from readings cut to its exact edges."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from gpubench.core.findings import Finding, finding
from gpubench.telemetry.devices.base import Activity
from gpubench.telemetry.devices.periods import Periods
from gpubench.telemetry.sampling.reading_history import Cut
from gpubench.telemetry.window.energy_sources import CARD_GAIN_PCT, EnergyOf
from gpubench.telemetry.window.throttling import CLOCKS_SET_BIT, throttling

REACH_S = 2.0
"""Readings this far outside a window (plus its counter's period) are used to interpolate its edges."""

_CLOCK_MOVED = 0.02
_LEAST_COVERAGE = 0.8
POWERS = ("power_instant_w", "power_average_w", "power_usage_w")


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


@dataclass
class WindowSummary:
    """Figures of a window by metric name, reasons of the absent ones, and the record's detail."""

    metrics: dict[str, float | None] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def put(self, name: str, value: float | None, why_absent: str) -> None:
        """Stores a metric, with the reason if it is None."""
        self.metrics[name] = value
        if value is None:
            self.absent[name] = why_absent


class WindowOf:
    """Summarises the readings of [start_s, end_s], in which `num_samples` samples were processed."""

    def __init__(self, readings: Readings, start_s: float, end_s: float, num_samples: int) -> None:
        self._readings = readings
        self._start_s = start_s
        self._end_s = end_s
        self._num_samples = num_samples
        self._out = WindowSummary()

    def summarise(self, idle_w: float | None = None) -> WindowSummary:
        """Every GPU metric except those that need the process list. `idle_w` is the power of the idle context."""
        self._energy(idle_w)
        self._clocks()
        self._slow()
        self._throttling()
        self._activity()
        self._coverage()
        if self._readings.parent_shared:
            message = "Power, energy and clocks are those of the whole card, not of the slice."
            self._out.findings.append(finding("GB416", message))
        return self._out

    def _why(self, quantity: str) -> str:
        return self._readings.missing.get(quantity, "no reading fell into the window")

    def _energy(self, idle_w: float | None) -> None:
        energy = EnergyOf(
            self._readings.fast,
            self._start_s,
            self._end_s,
            interval_s=self._readings.interval_s or 0.0,
            periods=self._readings.periods,
        ).result()
        self._out.findings.extend(energy.findings)
        value_j, why = energy.energy_j, energy.reason or ""
        window_s, count = self._end_s - self._start_s, self._num_samples
        put = self._out.put
        put("energy_j", value_j, why)
        put("mean_power_w", None if value_j is None else value_j / window_s, why)
        why_rate = why if value_j is None else "the window holds no samples"
        put("energy_per_sample_j", value_j / count if value_j and count else None, why_rate)
        put("samples_per_j", count / value_j if value_j and count else None, why_rate)
        why_idle = why if value_j is None else "no idle power was measured with the context up"
        above_j = None if value_j is None or idle_w is None else value_j - idle_w * window_s
        put("energy_above_idle_j", above_j, why_idle)
        powers = {name: self._readings.fast.values(name, self._start_s, self._end_s) for name in POWERS}
        source = next((name for name, values in powers.items() if values), None)
        put("peak_power_w", max(powers[source]) if source else None, self._why("power_instant_w"))
        shared = self._readings.parent_shared
        self._out.detail |= {
            "energy_source": energy.source,
            "energy_scope": "parent_shared" if shared else "device",
            "energy_valid": energy.valid and not shared,
            "energy_invalid_reason": "the whole card's, shared by its MIG slices" if shared else energy.reason,
            "energy_uncertainty_pct": energy.uncertainty_pct,
            "energy_card_gain_pct": CARD_GAIN_PCT,
            "energy_minimum_window_s": energy.minimum_s,
            **energy.detail,
            "peak_power_source": source and source.removesuffix("_w"),
            "idle_power_w": idle_w,
        }

    def _clocks(self) -> None:
        clocks = self._readings.fast.values("sm_clock_mhz", self._start_s, self._end_s)
        self._out.put("sm_clock_mhz", fmean(clocks) if clocks else None, self._why("sm_clock_mhz"))
        if not clocks:
            return
        low, high = min(clocks), max(clocks)
        self._out.detail.update(sm_clock_min_mhz=low, sm_clock_max_mhz=high)
        part = len(clocks) // 5
        if part >= 3:
            drift = fmean(clocks[-part:]) / fmean(clocks[:part]) - 1
            self._out.detail["sm_clock_drift"] = drift
            if abs(drift) > _CLOCK_MOVED:
                message = f"The SM clock changed by {drift:+.1%} from the first to the last fifth of the window."
                self._out.findings.append(finding("GB406", message, drift=drift))
        masks = self._readings.fast.values("reasons", self._start_s, self._end_s)
        held = bool(masks) and sum(bool(int(mask) & CLOCKS_SET_BIT) for mask in masks) > len(masks) / 2
        self._out.detail["clocks_held_by_setting"] = held if masks else None
        if high - low > _CLOCK_MOVED * high and not held:
            message = f"The SM clock ran between {low:.0f} and {high:.0f} MHz."
            self._out.findings.append(finding("GB405", message, low_mhz=low, high_mhz=high))

    def _slow(self) -> None:
        put = self._out.put
        for name, metric, take in (
            ("memory_used_bytes", "device_memory_used_bytes", max),
            ("temperature_c", "temperature_c", max),
            ("utilization", "utilization", fmean),
            ("memory_clock_mhz", "memory_clock_mhz", fmean),
        ):
            values = self._near(name)
            put(metric, take(values) if values else None, self._why(name))
        for name, key in (
            ("memory_temperature_c", "memory_temperature_c"),
            ("memory_total_bytes", "memory_total_bytes"),
            ("pstate", "pstate_slowest"),
        ):
            values = self._near(name)
            self._out.detail[key] = max(values) if values else None

    def _near(self, name: str) -> list[float]:
        """Readings inside the window; for a window between two slow ticks, those on both sides of it."""
        cut = self._readings.slow
        return cut.values(name, self._start_s, self._end_s) or cut.values(
            name, self._start_s - REACH_S, self._end_s + REACH_S
        )

    def _throttling(self) -> None:
        found = throttling(self._readings.fast, self._start_s, self._end_s)
        self._out.put("throttle_share", found.share, self._why("reasons"))
        self._out.findings.extend(found.findings)
        self._out.detail.update(throttle_share_by_reason=found.by_reason, throttle_source=found.source)

    def _activity(self) -> None:
        """Means of the hardware's counters over the intervals that overlap the window, weighted by the overlap."""
        parts = []
        for activity in self._readings.activities:
            overlap_s = min(activity.end_s, self._end_s) - max(activity.start_s, self._start_s)
            if overlap_s > 0:
                parts.append((overlap_s, activity))
        covered = sum(overlap_s for overlap_s, _ in parts) / (self._end_s - self._start_s)
        why = self._readings.missing.get("activity", "no pair of GPM samples lies in the window")
        for name in ("sm", "tensor", "dram"):
            known = [(overlap_s, getattr(part, name)) for overlap_s, part in parts if getattr(part, name) is not None]
            weight_s = sum(overlap_s for overlap_s, _ in known)
            mean = sum(overlap_s * share for overlap_s, share in known) / weight_s if weight_s else None
            self._out.put(f"{name}_activity", mean if covered >= 0.5 else None, why)

    def _coverage(self) -> None:
        interval_s = self._readings.interval_s
        times = [at_s for at_s in self._readings.fast.time_s if self._start_s <= at_s <= self._end_s]
        self._out.detail["num_readings"] = len(times)
        if interval_s is None:
            return
        edges = [self._start_s, *times, self._end_s]
        gap_s = max(after - before for before, after in itertools.pairwise(edges))
        coverage = min(1.0, len(times) * interval_s / (self._end_s - self._start_s))
        self._out.detail.update(coverage=coverage, longest_gap_s=gap_s)
        if coverage < _LEAST_COVERAGE and self._end_s - self._start_s > 5 * interval_s:
            message = f"Readings cover {coverage:.0%} of the window; the longest gap is {gap_s:.2g} s."
            self._out.findings.append(finding("GB417", message, coverage=coverage, longest_gap_s=gap_s))


def series_of(fast: Cut, slow: Cut) -> dict[str, list[float]]:
    """The readings for the samples file; columns without any value are left out."""
    series: dict[str, list[float]] = {}
    for kind, cut in (("fast", fast), ("slow", slow)):
        present = {name: column for name, column in cut.columns.items() if any(value == value for value in column)}
        if present:
            series |= {f"{kind}_time_s": cut.time_s, f"{kind}_took_s": cut.took_s, **present}
    return series
