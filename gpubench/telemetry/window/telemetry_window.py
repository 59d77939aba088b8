"""The telemetry of one measured window, as the runner gets it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gpubench.core.findings import Finding

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

CPU_METRICS = ("cpu_energy_j",)
METRICS = GPU_METRICS + CPU_METRICS


@dataclass(frozen=True)
class TelemetryWindow:
    """Telemetry of one window. Every name of `METRICS` is in `metrics`; each None has its reason in `absent`.

    `detail` is stored in the record unchanged: energy source, validity and uncertainty, throttle time by reason,
    limits, what was missing. `series` has the readings inside the window (and one before and after it): `<name>` with
    its times in `<fast|slow>_time_s`, seconds of CLOCK_MONOTONIC, NaN for missing readings.
    """

    metrics: dict[str, float | None]
    absent: dict[str, str]
    findings: tuple[Finding, ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)
    series: dict[str, list[float]] = field(default_factory=dict)


def all_absent(reason: str, names: Iterable[str] = METRICS) -> tuple[dict[str, float | None], dict[str, str]]:
    """(metrics, absent) with one reason for every name."""
    names = tuple(names)
    return dict.fromkeys(names), dict.fromkeys(names, reason)
