"""Telemetry for any program, without torch or a gpubench run."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gpubench.core.findings import Finding
from gpubench.telemetry.devices.base import Backend, Identity, TelemetryError
from gpubench.telemetry.devices.open_backend import open_backend
from gpubench.telemetry.devices.replay import Recording
from gpubench.telemetry.sampled_device import SampledDevice
from gpubench.telemetry.sampling.sampler import Schedule
from gpubench.telemetry.window.window_figures import TelemetryWindow

_READY_S = 3.0


@dataclass(frozen=True)
class MonitorWindow:
    """Telemetry of [start_s, end_s]. What could not be measured is None, and `absent` says why under the same name.

    Units: J, W, MHz, bytes, degrees Celsius; shares of 1. `energy_uncertainty_pct` does not include the card's gain
    error (about 5 %): it affects absolute joules, but not ratios on one card. If `energy_valid` is False,
    `energy_invalid_reason` says why: such a value is only an indication.
    """

    start_s: float
    end_s: float
    energy_j: float | None
    energy_source: str | None
    energy_valid: bool
    energy_invalid_reason: str | None
    energy_uncertainty_pct: float | None
    mean_power_w: float | None
    peak_power_w: float | None
    sm_clock_mhz: float | None
    memory_clock_mhz: float | None
    temperature_c: float | None
    utilization: float | None
    device_memory_used_bytes: float | None
    throttle_share: float | None
    throttle_shares: dict[str, float | None] = field(default_factory=dict)
    sm_activity: float | None = None
    tensor_activity: float | None = None
    dram_activity: float | None = None
    findings: tuple[Finding, ...] = ()
    absent: dict[str, str] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s

    def grams_co2(self, grid_g_per_kwh: float) -> float | None:
        """Grams of CO2 for the window's energy, at a grid intensity in g/kWh; None without an energy figure."""
        return None if self.energy_j is None else self.energy_j / 3.6e6 * grid_g_per_kwh


class Monitor:
    """Samples one GPU in a thread of this process while it is open.

        with gpubench.telemetry.Monitor(device=0) as monitor:
            start_s = time.monotonic()
            work()  # synchronise the device before reading the clock
            window = monitor.window(start_s, time.monotonic())
        print(window.energy_j, window.energy_uncertainty_pct, window.energy_valid)

    `device` is CUDA's number (CUDA_VISIBLE_DEVICES applies), a UUID, or a PCI address. Without a driver or a matching
    card nothing is raised: `available` is False, `reason` says why, and every window is absent with that reason.
    Entering takes up to three seconds, while the card's update periods are measured; pass a `Schedule` to change that.
    """

    def __init__(
        self, device: int | str = 0, *, schedule: Schedule | None = None, backend: Backend | None = None
    ) -> None:
        self._device, self._schedule, self._backend = device, schedule or Schedule(), backend
        self._sampled: SampledDevice | None = None
        self.reason = "the monitor is not open"
        self.remedy = ""

    @property
    def available(self) -> bool:
        """Whether the card is being read."""
        return self._sampled is not None

    @property
    def name(self) -> str | None:
        """The card's name, None without one."""
        return self._sampled.device.name if self._sampled else None

    @property
    def uuid(self) -> str | None:
        """The card's UUID, None without one."""
        return self._sampled.device.key if self._sampled else None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def open(self) -> None:
        """Starts sampling, and waits until windows can start: a first update of the counter has been seen."""
        self._backend = self._backend or open_backend(clock=self._schedule.clock)
        self.reason, self.remedy = self._backend.reason, self._backend.remedy
        if not self._backend.available:
            return
        try:
            known = isinstance(self._backend, Backend)  # another package's device need not inherit from it
            identity = self._backend.identify(self._device) if known else Identity(uuid=str(self._device))
            device = self._backend.open(identity)
        except TelemetryError as error:
            self.reason, self.remedy = str(error), error.remedy
            return
        self._sampled = SampledDevice(device, "sampled", self._schedule).start()
        self._sampled.wait_until_ready(_READY_S)

    def window(self, start_s: float, end_s: float, *, idle: tuple[float, float] | None = None) -> MonitorWindow:
        """Telemetry of [start_s, end_s], in CLOCK_MONOTONIC seconds (`time.monotonic()`), both in the past.

        Waits a few tenths of a second for the readings that follow the window (two seconds with a slow counter). `idle`
        is an interval from which to take the idle power. ValueError for a window that is empty or has not ended.
        """
        if not (math.isfinite(start_s) and math.isfinite(end_s) and start_s < end_s):
            raise ValueError(f"a window must end after it starts, got {start_s} to {end_s}")
        if end_s > self._schedule.clock() + 0.001:
            raise ValueError("the window has not ended: give CLOCK_MONOTONIC seconds (time.monotonic()) in the past")
        if self._sampled is None:
            return _window(start_s, end_s, TelemetryWindow.without_gpu(self.reason, {}))
        return _window(start_s, end_s, self._sampled.window(start_s, end_s, idle=idle))

    def recording(self) -> Recording:
        """Everything read so far, for `ReplayBackend`. ValueError before the first reading."""
        if self._sampled is None:
            raise ValueError(f"nothing was recorded: {self.reason}")
        return self._sampled.recording()

    def save(self, path: Path) -> None:
        """Writes `recording()` to a file."""
        self.recording().save(path)

    def close(self) -> None:
        """Ends the sampling thread within a second, even if the driver hangs."""
        sampled, self._sampled = self._sampled, None
        self.reason = "the monitor is closed"
        if (sampled is None or sampled.close(0.4)) and self._backend is not None:
            self._backend.close()


def _window(start_s: float, end_s: float, summary: TelemetryWindow) -> MonitorWindow:
    names, detail = MonitorWindow.__dataclass_fields__, summary.detail
    return MonitorWindow(
        start_s=start_s,
        end_s=end_s,
        energy_source=detail.get("energy_source"),
        energy_valid=bool(detail.get("energy_valid")),
        energy_invalid_reason=detail.get("energy_invalid_reason") or summary.absent.get("energy_j"),
        energy_uncertainty_pct=detail.get("energy_uncertainty_pct"),
        throttle_shares=detail.get("throttle_share_by_reason", {}),
        findings=tuple(summary.findings),
        absent={name: reason for name, reason in summary.absent.items() if name in names},
        detail=detail,
        **{name: value for name, value in summary.metrics.items() if name in names},
    )
