"""Telemetry of a whole run, as the runner uses it: one device at a time is tracked, windows are cut afterwards."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, Self

from gpubench.core.findings import Finding, finding
from gpubench.telemetry.devices import rapl
from gpubench.telemetry.devices.base import Backend, Device, Identity, Survey, TelemetryError
from gpubench.telemetry.devices.null import NullBackend
from gpubench.telemetry.devices.nvml import codes
from gpubench.telemetry.devices.open_backend import open_backend
from gpubench.telemetry.sampled_device import ReadingMode, SampledDevice
from gpubench.telemetry.sampling.launch_surroundings import NOT_SURVEYED, Surroundings
from gpubench.telemetry.sampling.sampler import Schedule
from gpubench.telemetry.window.telemetry_window import GPU_METRICS, TelemetryWindow, all_absent
from gpubench.telemetry.window.throttling import REASON_BITS
from gpubench.telemetry.window.window_figures import REACH_S, WindowSummary, series_of

Mode = Literal["off", "boundary", "sampled"]
DeviceLike = Mapping[str, Any] | Identity

_KEEP_S = 60.0
_CLOSE_S = 0.4
_ON_CPU = "the case ran on the CPU"


class Opened:
    """A device found for an identity: its readings and its surroundings."""

    def __init__(self, device: Device, mode: ReadingMode, schedule: Schedule) -> None:
        self.device = device
        self.monitored = SampledDevice(device, mode, schedule).start()
        self.surroundings = Surroundings(device)


class TelemetrySession:
    """A context manager held open for a run. No method raises for anything a driver does, and none takes longer than a
    few seconds; everything but `window` returns at once where there is no device.
    """

    def __init__(self, mode: Mode, backend: Backend, cpu: Device | TelemetryError, schedule: Schedule) -> None:
        self.mode = mode
        self.backend = backend
        self._schedule = schedule
        self._opened: dict[Identity, Opened | TelemetryError] = {}
        self._current: Identity | None = None
        self._tracked = False
        self._listed: dict[str, Survey] = {}
        self._cpu_reason = str(cpu) if isinstance(cpu, TelemetryError) else ""
        self._cpu = None if isinstance(cpu, TelemetryError) or mode == "off" else self._watch_cpu(cpu)

    def _watch_cpu(self, device: Device) -> SampledDevice:
        assert self.mode != "off"
        return SampledDevice(device, self.mode, self._schedule, periods=rapl.PERIODS).start()

    @property
    def available(self) -> bool:
        """Whether GPUs can be read at all."""
        return self.mode != "off" and self.backend.available

    @property
    def reason(self) -> str:
        """Why not, in a few words; empty where they can."""
        return "telemetry is off" if self.mode == "off" else self.backend.reason

    @property
    def remedy(self) -> str:
        """What to do about `reason`, a sentence."""
        return "" if self.mode == "off" else self.backend.remedy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def track(self, device: DeviceLike | None) -> None:
        """The device that the running launch computes on (as the worker names it); None for the CPU.

        The first call for a device opens it and starts its sampler; the samplers of other devices pause.
        """
        self._tracked = True
        self._current = None if device is None else Identity.of(device)
        self._forget_passing_refusal(self._current)
        opened = self._open(self._current)
        for other in self._opened.values():
            if isinstance(other, Opened):
                other.monitored.pause(other is not opened)

    def _forget_passing_refusal(self, identity: Identity | None) -> None:
        """A device that could not be opened for a passing reason is tried again with the next launch."""
        refused = None if identity is None else self._opened.get(identity)
        if identity is not None and isinstance(refused, TelemetryError) and refused.code in codes.PASSING:
            del self._opened[identity]

    def _open(self, identity: Identity | None) -> Opened | TelemetryError | None:
        if identity is None or self.mode == "off":
            return None
        known = self._opened.get(identity)
        if known is None:
            known = self._opened[identity] = self._try_to_open(identity)
        return known

    def _try_to_open(self, identity: Identity) -> Opened | TelemetryError:
        assert self.mode != "off"
        try:
            opened = Opened(self.backend.open(identity), self.mode, self._schedule)
        except TelemetryError as error:
            return error
        opened.surroundings.begin(self._listed.get(opened.device.key, NOT_SURVEYED))
        return opened

    def before_launch(self) -> None:
        """Just before a launch starts: lists processes and reads limits of the device tracked so far (of every card
        before the first launch, when nobody knows yet which one it will use).
        """
        opened = self._open(self._current)
        if isinstance(opened, Opened):
            opened.monitored.pause(False)
            opened.surroundings.before()
        elif self.available and not self._tracked:
            self._survey()

    def _survey(self) -> None:
        try:
            self._listed = self.backend.survey()
        except TelemetryError:
            # Every card will say so itself when it is tracked.
            self._listed = {}

    def phase(self, name: str) -> None:  # noqa: ARG002 - every change of phase is a boundary
        """The launch entered a phase (`measuring`, ...). Only `boundary` mode reads here; `sampled` does nothing."""
        for monitored in self._monitored():
            monitored.read_now()

    def after_launch(self) -> tuple[Finding, ...]:
        """After a launch's process is gone: processes and limits again. Returns findings that no window has had yet."""
        opened = self._open(self._current)
        if not isinstance(opened, Opened):
            return ()
        opened.surroundings.after()
        return opened.surroundings.new_findings()

    def window(
        self,
        start_s: float,
        end_s: float,
        num_samples: int,
        *,
        device: DeviceLike | None = None,
        idle: tuple[float, float] | None = None,
    ) -> TelemetryWindow:
        """Telemetry of [start_s, end_s] (CLOCK_MONOTONIC seconds), in which `num_samples` samples were worked on.

        `device` where it is not the tracked one; `idle` is an interval in which the process held its context and did
        nothing. Call it soon after the window's end: it waits a few tenths of a second for the readings that follow the
        window (two seconds with a slow counter), and then drops those of more than a minute ago. ValueError if the
        window does not last.
        """
        if not end_s > start_s:
            raise ValueError(f"a window must last: it goes from {start_s} to {end_s}")
        identity = self._current if device is None else Identity.of(device)
        opened = self._open(identity)
        summary, series = self._gpu(opened, start_s, end_s, num_samples, idle)
        self._cpu_energy(summary, start_s, end_s)
        self._forget(end_s)
        return TelemetryWindow(summary.metrics, summary.absent, tuple(summary.findings), summary.detail, series)

    def _gpu(
        self,
        opened: Opened | TelemetryError | None,
        start_s: float,
        end_s: float,
        num_samples: int,
        idle: tuple[float, float] | None,
    ) -> tuple[WindowSummary, dict[str, list[float]]]:
        if not isinstance(opened, Opened):
            return self._absent(opened), {}
        monitored = opened.monitored
        monitored.read_now()
        monitored.settle_past(end_s)
        lost = monitored.lost_in(end_s)
        if lost is not None:
            return self._lost(opened, lost), {}
        summary, readings = monitored.summarise(start_s, end_s, num_samples, idle=idle)
        self._process_memory(opened, summary)
        summary.findings.extend(opened.surroundings.new_findings())
        summary.detail = self._detail(opened) | summary.detail | opened.surroundings.detail()
        return summary, series_of(readings.fast.cut(start_s, end_s), readings.slow.cut(start_s, end_s))

    def _absent(self, why: TelemetryError | None) -> WindowSummary:
        """No device: the CPU, no driver, or one that could not be matched."""
        reason = self.reason or (_ON_CPU if why is None else str(why))
        metrics, absent = all_absent(reason, GPU_METRICS)
        detail = {"mode": self.mode, "available": False, "reason": reason}
        return WindowSummary(metrics, absent, detail, [] if why is None else [self._refusal(why)])

    def _refusal(self, why: TelemetryError) -> Finding:
        if not self.backend.available:
            hint = "The case ran on CUDA, so the driver is there: its libnvidia-ml.so.1 is not, or refuses (in a container, "
            hint += "add the `utility` driver capability)." if why.code == codes.LIBRARY_NOT_FOUND else ""
            return finding("GB401", f"No telemetry: {why}.", hint=hint if why.code == 12 else why.remedy or None)
        if codes.kind_of(why.code) is codes.Kind.LOST:
            return finding("GB413", f"The GPU is lost ({why}).")
        return finding("GB415", f"No telemetry: {why}.", hint=why.remedy or None)

    def _lost(self, opened: Opened, lost: str) -> WindowSummary:
        metrics, absent = all_absent(f"the GPU was lost ({lost})", GPU_METRICS)
        detail = self._detail(opened) | {"energy_valid": False, "lost": lost}
        return WindowSummary(metrics, absent, detail, [finding("GB413", f"The GPU was lost ({lost}).")])

    def _detail(self, opened: Opened) -> dict[str, Any]:
        sampler, device = opened.monitored.sampler, opened.device
        return {
            "mode": self.mode,
            "available": True,
            "backend": device.kind,
            "device": {"uuid": device.key, "name": device.name},
            "interval_s": sampler.schedule.fast_s if self.mode == "sampled" else None,
            "num_skipped_ticks": sampler.num_skipped,
            "update_periods_s": opened.monitored.periods.as_dict(),
            "missing": dict(device.missing),
            "faults": device.faults(),
            "sampler_errors": list(sampler.errors),
        }

    def _process_memory(self, opened: Opened, summary: WindowSummary) -> None:
        """Device memory in use during the window above what it was before the launch, where nobody else was there."""
        used, before = summary.metrics.get("device_memory_used_bytes"), opened.surroundings.memory_before_bytes
        others = opened.surroundings.others
        why = "device memory was not read before the launch" if before is None else "device memory was not read"
        if others:
            why, before = "other processes were on the GPU", None
        held = None if used is None or before is None else max(0.0, used - before)
        summary.put("process_memory_bytes", held, why)

    def _cpu_energy(self, summary: WindowSummary, start_s: float, end_s: float) -> None:
        if self._cpu is None:
            summary.put("cpu_energy_j", None, "telemetry is off" if self.mode == "off" else self._cpu_reason)
            return
        self._cpu.read_now()
        self._cpu.settle_past(end_s)
        cpu, _ = self._cpu.summarise(start_s, end_s, 0)
        summary.put("cpu_energy_j", cpu.metrics["energy_j"], cpu.absent.get("energy_j", ""))
        summary.detail["cpu_energy_uncertainty_pct"] = cpu.detail["energy_uncertainty_pct"]

    def _forget(self, end_s: float) -> None:
        for monitored in self._monitored():
            monitored.sampler.forget_before(end_s - _KEEP_S - REACH_S)

    def _monitored(self) -> list[SampledDevice]:
        opened = self._open(self._current)
        return [*([opened.monitored] if isinstance(opened, Opened) else []), *([self._cpu] if self._cpu else [])]

    def live(self) -> dict[str, Any]:
        """The last readings of the tracked device, for a live view; empty where there is none.

        Units: shares of 1, bytes, W, degrees Celsius, MHz; `throttle` names the reasons that hold clocks down.
        """
        opened = self._open(self._current)
        if not isinstance(opened, Opened):
            return {}
        fast, slow = opened.monitored.sampler.fast.last(), opened.monitored.sampler.slow.last()
        reasons = int(fast.get("reasons") or 0)
        power_w = next(
            (fast[name] for name in ("power_instant_w", "power_average_w", "power_usage_w") if fast.get(name)), None
        )
        return {
            "utilization": slow.get("utilization"),
            "memory_used_bytes": slow.get("memory_used_bytes"),
            "memory_total_bytes": slow.get("memory_total_bytes"),
            "power_w": power_w,
            "temperature_c": slow.get("temperature_c"),
            "sm_clock_mhz": fast.get("sm_clock_mhz"),
            "throttle": ", ".join(name.replace("_", " ") for name, bit in REASON_BITS.items() if reasons & bit),
        }

    def close(self) -> None:
        """Ends every sampler within a second; a driver call that never returns is left behind."""
        monitored = [one.monitored for one in self._opened.values() if isinstance(one, Opened)]
        if self._cpu is not None:
            monitored.append(self._cpu)
        for one in monitored:
            one.end()
        deadline_s = time.monotonic() + _CLOSE_S
        ended = [one.close(max(0.0, deadline_s - time.monotonic())) for one in monitored]
        # A thread inside NVML would make the shutdown hang too; the process's end takes both.
        if all(ended):
            self.backend.close()


def open_session(
    mode: Mode = "sampled", *, backend: Backend | None = None, schedule: Schedule | None = None
) -> TelemetrySession:
    """Telemetry for a run. Never raises: without a driver the session is there, and says why it has nothing.

    `mode`: `off` reads nothing, `boundary` reads twice per window (no thread), `sampled` reads by `schedule`.
    `backend` replaces NVML (a replay, a test's).
    """
    schedule = schedule or Schedule()
    if mode == "off":
        return TelemetrySession(mode, NullBackend("telemetry is off"), TelemetryError("telemetry is off"), schedule)
    return TelemetrySession(mode, backend or open_backend(clock=schedule.clock), _cpu(), schedule)


def _cpu() -> Device | TelemetryError:
    try:
        return rapl.open_rapl()
    except TelemetryError as error:
        return error
