"""Telemetry of a run: tracks one device at a time, and cuts windows afterwards."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from gpubench.core.findings import Finding, finding
from gpubench.telemetry.devices import rapl
from gpubench.telemetry.devices.base import Backend, Device, Identity, NullBackend, Survey, TelemetryError
from gpubench.telemetry.devices.nvml.library import LIBRARY_NOT_FOUND, PASSING, Kind, kind_of
from gpubench.telemetry.devices.open_backend import open_backend
from gpubench.telemetry.sampled_device import SampledDevice
from gpubench.telemetry.sampling.launch_surroundings import NOT_SURVEYED, Surroundings
from gpubench.telemetry.sampling.sampler import Schedule
from gpubench.telemetry.window.throttling import REASON_BITS
from gpubench.telemetry.window.window_figures import POWERS, REACH_S, TelemetryWindow

Mode = Literal["off", "boundary", "sampled"]
DeviceLike = Mapping[str, Any] | Identity

_KEEP_S = 60.0
_CLOSE_S = 0.4
_ON_CPU = "the case ran on the CPU"


class Opened(NamedTuple):
    """An opened device: its readings and its surroundings."""

    sampled: SampledDevice
    surroundings: Surroundings


class TelemetrySession:
    """A context manager, open during a run.

    Whatever a driver does, no method raises or takes longer than a few seconds. Without a device, everything but
    `window` returns at once.
    """

    def __init__(self, mode: Mode, backend: Backend, cpu: Device | TelemetryError, schedule: Schedule) -> None:
        self.mode, self.backend, self._schedule = mode, backend, schedule
        self._opened: dict[Identity, Opened | TelemetryError] = {}
        self._current: Identity | None = None
        self._tracked = False
        self._listed: dict[str, Survey] = {}
        self._cpu_reason = str(cpu) if isinstance(cpu, TelemetryError) else ""
        self._cpu: SampledDevice | None = None
        if mode != "off" and not isinstance(cpu, TelemetryError):
            self._cpu = SampledDevice(cpu, mode, schedule, periods=rapl.PERIODS).start()

    @property
    def available(self) -> bool:
        """Whether GPUs can be read."""
        return self.mode != "off" and self.backend.available

    @property
    def reason(self) -> str:
        """Why GPUs cannot be read, in a few words; empty if they can."""
        return "telemetry is off" if self.mode == "off" else self.backend.reason

    @property
    def remedy(self) -> str:
        """What to do about `reason`, as a sentence."""
        return "" if self.mode == "off" else self.backend.remedy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def track(self, device: DeviceLike | None) -> None:
        """Sets the device that the running launch computes on (as the worker names it); None for the CPU.

        The first call for a device opens it and starts its sampler; the samplers of other devices pause. A device that
        could not be opened for a temporary reason is tried again with the next launch.
        """
        self._tracked = True
        self._current = None if device is None else Identity.of(device)
        refused = None if self._current is None else self._opened.get(self._current)
        if self._current is not None and isinstance(refused, TelemetryError) and refused.code in PASSING:
            del self._opened[self._current]
        opened = self._open(self._current)
        for other in self._opened.values():
            if isinstance(other, Opened):
                other.sampled.sampler.pause(other is not opened)

    def _open(self, identity: Identity | None) -> Opened | TelemetryError | None:
        if identity is None or self.mode == "off":
            return None
        if identity not in self._opened:
            try:
                device = self.backend.open(identity)
            except TelemetryError as error:
                self._opened[identity] = error
            else:
                opened = Opened(SampledDevice(device, self.mode, self._schedule).start(), Surroundings(device))
                opened.surroundings.begin(self._listed.get(device.key, NOT_SURVEYED))
                self._opened[identity] = opened
        return self._opened[identity]

    def before_launch(self) -> None:
        """Just before a launch: lists processes and reads limits of the tracked device.

        Before the first launch all cards are read, because it is not known yet which one will be used.
        """
        opened = self._open(self._current)
        if isinstance(opened, Opened):
            opened.sampled.sampler.pause(False)
            opened.surroundings.before()
        elif self.available and not self._tracked:
            try:
                self._listed = self.backend.survey()
            except TelemetryError:
                self._listed = {}  # each card reports it when it is tracked

    def wait_until_ready(self, timeout_s: float) -> None:
        """Waits until a window may start on the tracked device and the CPU, at most `timeout_s` seconds for each."""
        for sampled in self._active():
            sampled.wait_until_ready(timeout_s)

    def phase(self, name: str) -> None:  # noqa: ARG002 - every change of phase is a boundary
        """The launch entered a phase (`measuring`, ...). Only `boundary` mode reads here; `sampled` does nothing."""
        for sampled in self._active():
            sampled.read_now()

    def after_launch(self) -> tuple[Finding, ...]:
        """After a launch's process has ended: processes and limits again. Returns findings that no window has
        returned.
        """
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
        """Telemetry of [start_s, end_s] (CLOCK_MONOTONIC seconds), in which `num_samples` samples were processed.

        `device`: if not the tracked one. `idle`: an interval in which the process had a context but did nothing. Call
        it soon after the window's end: it waits a few tenths of a second for the readings that follow the window (two
        seconds with a slow counter), and then drops readings older than a minute. ValueError for an empty window.
        """
        if not end_s > start_s:
            raise ValueError(f"a window must end after it starts, got {start_s} to {end_s}")
        opened = self._open(self._current if device is None else Identity.of(device))
        if isinstance(opened, Opened):
            window = opened.sampled.window(start_s, end_s, num_samples, idle=idle)
            window.detail = self._detail(opened) | window.detail
            if "lost" not in window.detail:
                self._process_memory(opened, window)
                window.findings.extend(opened.surroundings.new_findings())
                window.detail |= opened.surroundings.detail()
        else:  # the CPU, no driver, or a card that could not be matched
            reason = self.reason or (_ON_CPU if opened is None else str(opened))
            detail = {"mode": self.mode, "available": False, "reason": reason}
            window = TelemetryWindow.without_gpu(reason, detail, *([] if opened is None else [self._refusal(opened)]))
        self._cpu_energy(window, start_s, end_s)
        for sampled in self._active():
            sampled.sampler.forget_before(end_s - _KEEP_S - REACH_S)
        return window

    def state_during(self, window: TelemetryWindow, start_s: float, end_s: float) -> None:
        """Adds the highest SM clock and power in [start_s, end_s], a burst outside the window, to its metrics."""
        opened = self._open(self._current)
        fast = opened.sampled.sampler.fast.cut(start_s, end_s) if isinstance(opened, Opened) else None
        clocks = fast.values("sm_clock_mhz", start_s, end_s) if fast else []
        powers = next((found for name in POWERS if fast and (found := fast.values(name, start_s, end_s))), [])
        why = "no reading fell into the burst"
        window.put("burst_sm_clock_mhz", max(clocks, default=None), why)
        window.put("burst_power_w", max(powers, default=None), why)

    def _refusal(self, why: TelemetryError) -> Finding:
        if not self.backend.available:
            hint = why.remedy or None
            if why.code == LIBRARY_NOT_FOUND:
                hint = "The case ran on CUDA, so the driver is there: its libnvidia-ml.so.1 is not, or refuses "
                hint += "(in a container, add the `utility` driver capability)."
            return finding("GB401", f"No telemetry: {why}.", hint=hint)
        if kind_of(why.code) is Kind.LOST:
            return finding("GB413", f"The GPU is lost ({why}).")
        return finding("GB415", f"No telemetry: {why}.", hint=why.remedy or None)

    def _detail(self, opened: Opened) -> dict[str, Any]:
        sampler, device = opened.sampled.sampler, opened.sampled.device
        return {
            "mode": self.mode,
            "available": True,
            "backend": device.kind,
            "device": {"uuid": device.key, "name": device.name},
            "interval_s": sampler.schedule.fast_s if self.mode == "sampled" else None,
            "num_skipped_ticks": sampler.num_skipped,
            "update_periods_s": opened.sampled.periods.as_dict(),
            "missing": dict(device.missing),
            "faults": device.faults(),
            "sampler_errors": list(sampler.errors),
        }

    def _process_memory(self, opened: Opened, summary: TelemetryWindow) -> None:
        """Device memory in use during the window minus that before the launch, unless other processes used the GPU."""
        used, before = summary.metrics.get("device_memory_used_bytes"), opened.surroundings.memory_before_bytes
        why = "device memory was not read before the launch" if before is None else "device memory was not read"
        if opened.surroundings.others:
            why, before = "other processes were on the GPU", None
        held = None if used is None or before is None else max(0.0, used - before)
        summary.put("process_memory_bytes", held, why)

    def _cpu_energy(self, summary: TelemetryWindow, start_s: float, end_s: float) -> None:
        if self._cpu is None:
            summary.put("cpu_energy_j", None, "telemetry is off" if self.mode == "off" else self._cpu_reason)
            return
        cpu = self._cpu.window(start_s, end_s)
        why = cpu.absent.get("energy_j", "")
        if "GB412" in {found.code for found in cpu.findings}:
            why = "the CPU's energy counter went backwards, or may have wrapped unseen, during the window"
            summary.findings.append(finding("GB412", f"T{why[1:]}."))
        summary.put("cpu_energy_j", cpu.metrics["energy_j"], why)
        summary.detail["cpu_energy_uncertainty_pct"] = cpu.detail["energy_uncertainty_pct"]

    def _active(self) -> list[SampledDevice]:
        opened = self._open(self._current)
        return [*([opened.sampled] if isinstance(opened, Opened) else []), *([self._cpu] if self._cpu else [])]

    def live(self) -> dict[str, Any]:
        """The last readings of the tracked device, for a live view; empty without one.

        Units: shares of 1, bytes, W, degrees Celsius, MHz; `throttle` names the reasons that hold clocks down.
        """
        opened = self._open(self._current)
        if not isinstance(opened, Opened):
            return {}
        fast, slow = opened.sampled.sampler.fast.last(), opened.sampled.sampler.slow.last()
        reasons = int(fast.get("reasons") or 0)
        return {
            "utilization": slow.get("utilization"),
            "memory_used_bytes": slow.get("memory_used_bytes"),
            "memory_total_bytes": slow.get("memory_total_bytes"),
            "power_w": next((fast[name] for name in POWERS if fast.get(name)), None),
            "temperature_c": slow.get("temperature_c"),
            "sm_clock_mhz": fast.get("sm_clock_mhz"),
            "throttle": ", ".join(name.replace("_", " ") for name, bit in REASON_BITS.items() if reasons & bit),
        }

    def close(self) -> None:
        """Ends every sampler within a second; a driver call that never returns is abandoned."""
        sampled = [one.sampled for one in self._opened.values() if isinstance(one, Opened)]
        sampled += [self._cpu] if self._cpu else []
        for one in sampled:
            one.sampler.end()
        deadline_s = time.monotonic() + _CLOSE_S
        ended = [one.close(max(0.0, deadline_s - time.monotonic())) for one in sampled]
        # With a thread stuck inside NVML, the shutdown would hang too; both end with the process.
        if all(ended):
            self.backend.close()


def open_session(
    mode: Mode = "sampled", *, backend: Backend | None = None, schedule: Schedule | None = None
) -> TelemetrySession:
    """Telemetry for a run. Never raises: without a driver the session opens, and says why it has no figures.

    `mode`: `off` reads nothing, `boundary` reads twice per window (no thread), `sampled` reads by `schedule`. `backend`
    replaces NVML (with a replay, or in tests).
    """
    schedule = schedule or Schedule()
    if mode == "off":
        return TelemetrySession(mode, NullBackend("telemetry is off"), TelemetryError("telemetry is off"), schedule)
    cpu: Device | TelemetryError
    try:
        cpu = rapl.open_rapl()
    except TelemetryError as error:
        cpu = error
    return TelemetrySession(mode, backend or open_backend(clock=schedule.clock), cpu, schedule)
