"""The base classes of telemetry backends and devices, and the readings they return.

Times are seconds of CLOCK_MONOTONIC (`time.monotonic()`), taken before the call that read the value. What a device
cannot report is None in a reading, with the reason under the same name in the device's `missing`.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

Answer = TypeVar("Answer")

THROTTLE_REASONS = ("power_cap", "sync_boost", "sw_thermal", "hw_thermal", "power_brake")
"""Why a driver holds clocks down, in the order of `FastReading.throttle_s`."""


class FastReading(NamedTuple):
    """The values read on every fast tick.

    Units: power W, counter J since an arbitrary start, clock MHz, throttle times s since an arbitrary start; `reasons`
    is NVML's bit mask of clocks-event reasons.
    """

    power_instant_w: float | None = None
    power_average_w: float | None = None
    power_usage_w: float | None = None
    counter_j: float | None = None
    sm_clock_mhz: float | None = None
    reasons: int | None = None
    throttle_power_cap_s: float | None = None
    throttle_sync_boost_s: float | None = None
    throttle_sw_thermal_s: float | None = None
    throttle_hw_thermal_s: float | None = None
    throttle_power_brake_s: float | None = None


class SlowReading(NamedTuple):
    """The values read once a second.

    Units: bytes, degrees Celsius, shares of 1, MHz; `pstate` counts from 0, the fastest.
    """

    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    temperature_c: float | None = None
    memory_temperature_c: float | None = None
    utilization: float | None = None
    memory_clock_mhz: float | None = None
    pstate: float | None = None


class Activity(NamedTuple):
    """Means over [start_s, end_s] from the hardware's own counters (GPM, Hopper and newer).

    Units: s of CLOCK_MONOTONIC, shares of 1.
    """

    start_s: float
    end_s: float
    sm: float | None
    tensor: float | None
    dram: float | None


class ProcessUse(NamedTuple):
    """A process with a compute context on the device. Units: bytes (None where the driver does not say)."""

    pid: int
    used_bytes: int | None
    name: str


class Survey(NamedTuple):
    """A device at one moment between launches. Units: bytes; None where the driver does not say."""

    processes: list[ProcessUse] | None
    memory_used_bytes: int | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """A device as CUDA knows it, sent by the worker, from which a backend finds its own handle.

    `uuid` with or without its `GPU-` or `MIG-` prefix, `pci` as domain:bus:device.function, total_bytes in bytes.
    """

    uuid: str | None = None
    name: str | None = None
    pci: str | None = None
    total_bytes: int | None = None

    @classmethod
    def of(cls, device: "Mapping[str, Any] | Identity") -> "Identity":
        """From the worker's mapping; unknown keys are ignored, empty values become None."""
        if isinstance(device, Identity):
            return device
        total = device.get("total_bytes")
        return cls(
            uuid=str(device["uuid"]) if device.get("uuid") else None,
            name=str(device["name"]) if device.get("name") else None,
            pci=str(device["pci"]) if device.get("pci") else None,
            total_bytes=int(total) if total else None,
        )


class TelemetryError(Exception):
    """A source, device or call failed. `code` is NVML's return code if there is one."""

    def __init__(self, message: str, *, code: int | None = None, remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


class Device:
    """One device under observation. A backend's device overrides what its hardware can report.

    `kind` is the backend's name, `key` a unique id (its UUID). `missing` says by field why a reading has None; a field
    that recovers is removed. With `parent_shared`, power, energy and clocks are those of the whole card of which this
    is a slice. With `on_module` the card shares its module with a CPU, and a counter or sensor may cover the whole
    module; `scopes` names the readings known to do so. `counter_wrap_j` is the energy at which the counter wraps;
    without it, a counter that goes backwards was reset.

    `read_fast`, `read_slow` and `activity` are called from the sampler's thread and return what could be read: faults
    become None plus an entry in `missing`, and `lost` if the device is gone. `state` and `survey` are slow and never
    called inside a window; `state` may raise `TelemetryError`.
    """

    kind: str
    key: str
    name: str
    parent_shared = False
    on_module = False
    counter_wrap_j: float | None = None

    def __init__(self) -> None:
        self.missing: dict[str, str] = {}
        self.scopes: dict[str, str] = {}

    @property
    def lost(self) -> str | None:
        """The fault that showed that the device is gone for good; None while it is there."""
        return None

    def read_fast(self) -> FastReading:
        """Power, energy counter, SM clock, throttle times and reasons. Units: see `FastReading`."""
        return self.read_power()

    def read_power(self) -> FastReading:
        """Only counter and powers, as cheaply as possible: for measuring update periods. Units: see `FastReading`."""
        return FastReading()

    def read_slow(self) -> SlowReading:
        """Memory, temperatures, utilization, memory clock, P-state. Units: see `SlowReading`."""
        return SlowReading()

    def activity(self) -> Activity | None:
        """Mean activity since the last call; None on the first call, or without counters. Units: see `Activity`."""
        return None

    def state(self) -> dict[str, Any]:
        """Limits, link, ECC, persistence. Units: in each key's name."""
        return {}

    def survey(self) -> Survey:
        """Processes with a compute context and memory in use. Milliseconds. Units: see `Survey`."""
        return Survey([], None)

    def faults(self) -> dict[str, int]:
        """Failed calls so far, by call and code. Units: counts."""
        return {}

    def close(self) -> None:
        """Frees what the device holds. Never raises."""


def surveyed(processes: Callable[[], list[ProcessUse]], used_bytes: Callable[[], int]) -> Survey:
    """Both answers; None, with the reason in `why`, for one that raises `TelemetryError`."""
    why: list[str] = []

    def ask(question: Callable[[], Answer]) -> Answer | None:
        try:
            return question()
        except TelemetryError as fault:
            why.append(str(fault))
            return None

    return Survey(ask(processes), ask(used_bytes), "; ".join(why))


class Backend:
    """A source of devices. If `available` is False every window is absent, with `reason` (a few words for a table) and
    `remedy` (a sentence).
    """

    kind: str
    available = True
    reason = ""
    remedy = ""

    def survey(self) -> dict[str, Survey]:
        """All devices by key, for when it is not known yet which one will be used."""
        return {}

    def identify(self, device: int | str) -> Identity:
        """The device that a caller names by number, UUID or address. TelemetryError if that is none, or several."""
        return Identity(uuid=str(device))

    def open(self, identity: Identity) -> Device:
        """The device that CUDA calls `identity`. TelemetryError if none matches for certain."""
        raise TelemetryError(f"the {self.kind} backend has no {identity.uuid}")

    def close(self) -> None:
        """Releases the library. Never raises."""


class NullBackend(Backend):
    """The backend of a machine without telemetry: the same code runs, and every window says why it is empty."""

    kind = "null"
    available = False

    def __init__(self, reason: str, remedy: str = "", *, code: int | None = None) -> None:
        self.reason, self.remedy, self.code = reason, remedy, code

    def open(self, identity: Identity) -> Device:  # noqa: ARG002 - as the base class has it
        """Always raises `TelemetryError` with the reason."""
        raise TelemetryError(self.reason, code=self.code, remedy=self.remedy)


def bounded(call: Callable[[], Answer], timeout_s: float, *, what: str) -> Answer:
    """The answer of `call`, run in a daemon thread; its exceptions are raised here.

    TelemetryError if there is none after `timeout_s` seconds. The thread is then left behind: nothing can end a thread
    inside a C call.
    """
    answer: list[Answer] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answer.append(call())
        except BaseException as error:  # noqa: BLE001 - handed to the caller, who raises it
            errors.append(error)

    thread = threading.Thread(target=run, name=f"gpubench {what}", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if errors:
        raise errors[0]
    if not answer:
        raise TelemetryError(
            f"{what} did not answer within {timeout_s:g} s",
            remedy="The driver hangs: look at `dmesg` (NVIDIA's: Xid messages); a reset or reboot is usually needed.",
        )
    return answer[0]
