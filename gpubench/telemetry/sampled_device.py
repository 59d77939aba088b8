"""A device with its sampler (none in `boundary` mode), and windows cut from its readings."""

import math
import time
from dataclasses import replace
from typing import Literal, Self

from gpubench.core.findings import finding
from gpubench.telemetry.devices.base import Device, TelemetryError, bounded
from gpubench.telemetry.devices.periods import Periods
from gpubench.telemetry.devices.replay import Recording
from gpubench.telemetry.sampling.sampler import Sampler, Schedule
from gpubench.telemetry.window.window_figures import REACH_S, Readings, TelemetryWindow, WindowOf

ReadingMode = Literal["boundary", "sampled"]

_READ_TIMEOUT_S = 1.0
_MOST_SETTLE_S = 2.0
_LEAST_CLOSE_S = 0.05
_LEAST_IDLE_S = 0.5


class SampledDevice:
    """A device and its readings. In `boundary` mode only `read_now` takes readings.

    `periods`: the device's update periods, if already known.
    """

    def __init__(
        self, device: Device, mode: ReadingMode, schedule: Schedule, *, periods: Periods | None = None
    ) -> None:
        self.device, self.mode = device, mode
        self.sampler = Sampler(device, schedule if periods is None else replace(schedule, probe_periods=False))
        self.sampler.periods = periods or Periods()

    def start(self) -> Self:
        """Starts the sampler's thread in `sampled` mode."""
        if self.mode == "sampled":
            self.sampler.start()
        return self

    @property
    def periods(self) -> Periods:
        return self.sampler.periods

    def read_now(self) -> None:
        """`boundary` mode: one fast and one slow reading, abandoned after a second. Does nothing in `sampled` mode."""
        if self.mode != "boundary":
            return
        try:
            bounded(self.sampler.read_both, _READ_TIMEOUT_S, what=f"the {self.device.kind} driver")
        except TelemetryError as error:
            self.sampler.errors.append(str(error))

    def wait_until_ready(self, timeout_s: float) -> None:
        """Waits until periods are measured and a window may start, at most `timeout_s` seconds.

        It may start after two updates of the counter (two power readings if there is no counter).
        """
        deadline_s = self.sampler.now() + timeout_s
        self.sampler.probed.wait(timeout_s)
        start_s = self.sampler.now()
        self.sampler.wait_past(start_s, max(0.0, deadline_s - start_s))
        margin_s = 2 * (self.periods.counter_s or 0.0)
        self.sampler.wait_past(start_s + margin_s, max(0.0, deadline_s - self.sampler.now()))

    def settle_past(self, end_s: float) -> None:
        """Waits until readings reach two updates of the counter beyond `end_s`: a few tenths of a second, at most two.

        The first shows the energy at the end, the second the power after it.
        """
        if self.mode == "sampled":
            margin_s = min(_MOST_SETTLE_S, 2 * ((self.periods.counter_s or 0.1) + self.sampler.schedule.fast_s))
            wait_s = max(0.0, end_s + margin_s - self.sampler.now()) + 4 * self.sampler.schedule.fast_s
            self.sampler.wait_past(end_s + margin_s, min(wait_s, _MOST_SETTLE_S + 0.5))

    def lost_in(self, end_s: float) -> str | None:
        """Why the device was lost, if that was before the last reading that a window up to `end_s` needs."""
        after_s = self.sampler.lost_after_s
        return self.device.lost if after_s is not None and end_s > after_s else None

    def window(
        self, start_s: float, end_s: float, num_samples: int = 0, *, idle: tuple[float, float] | None = None
    ) -> TelemetryWindow:
        """Figures of [start_s, end_s], once the readings that follow it have arrived; only a reason if the device was
        lost. `idle`: an interval with an idle context, used if it lasts at least 0.5 s.
        """
        self.read_now()
        self.settle_past(end_s)
        lost = self.lost_in(end_s)
        if lost is None:
            return self.summarise(start_s, end_s, num_samples, idle=idle)
        detail, found = {"energy_valid": False, "lost": lost}, finding("GB413", f"The GPU was lost ({lost}).")
        return TelemetryWindow.without_gpu(f"the GPU was lost ({lost})", detail, found)

    def readings(self, start_s: float, end_s: float) -> Readings:
        """A copy of the readings around the window."""
        reach_s = REACH_S + 4 * (self.periods.counter_s or 0.1)
        return Readings(
            fast=self.sampler.fast.cut(start_s - reach_s, end_s + reach_s),
            slow=self.sampler.slow.cut(start_s - reach_s, end_s + reach_s),
            activities=tuple(self.sampler.activities),
            interval_s=self.sampler.schedule.fast_s if self.mode == "sampled" else None,
            periods=self.periods,
            missing=dict(self.device.missing),
            parent_shared=self.device.parent_shared,
            # Another package's device may lack what was added after the first release.
            on_module=getattr(self.device, "on_module", False),
            counter_wrap_j=getattr(self.device, "counter_wrap_j", None),
            scopes=getattr(self.device, "scopes", {}),
        )

    def summarise(
        self, start_s: float, end_s: float, num_samples: int, *, idle: tuple[float, float] | None = None
    ) -> TelemetryWindow:
        """Figures from the available readings, and these readings."""
        idle_w = None
        if idle is not None and idle[1] - idle[0] >= _LEAST_IDLE_S:
            idle_w = WindowOf(self.readings(*idle), *idle, 0).summarise().metrics["mean_power_w"]
        return WindowOf(self.readings(start_s, end_s), start_s, end_s, num_samples).summarise(idle_w)

    def recording(self) -> Recording:
        """Everything read so far. ValueError before the first reading."""
        fast, slow = (history.cut(-math.inf, math.inf) for history in (self.sampler.fast, self.sampler.slow))
        tables = [{"time_s": cut.time_s, "took_s": cut.took_s, **cut.columns} for cut in (fast, slow)]
        return Recording(self.device.name, *tables)

    def close(self, timeout_s: float = 0.9) -> bool:
        """Ends the sampler and frees the device. False if the driver takes longer than `timeout_s` seconds."""
        deadline_s = time.monotonic() + timeout_s
        if not self.sampler.stop(timeout_s):
            return False
        try:
            bounded(
                self.device.close,
                max(_LEAST_CLOSE_S, deadline_s - time.monotonic()),
                what=f"the {self.device.kind} driver",
            )
        except TelemetryError:
            return False
        return True
