"""What a source of telemetry is: what every backend inherits, and the readings they return.

Times are seconds of CLOCK_MONOTONIC (`time.monotonic()`), taken before the call that read the value. What a device
cannot say is None in a reading, with the reason in the device's `missing` under the same name.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

Answer = TypeVar("Answer")

THROTTLE_REASONS = ("power_cap", "sync_boost", "sw_thermal", "hw_thermal", "power_brake")
"""Why a driver holds clocks down, in the order of `FastReading.throttle_s`."""


class FastReading(NamedTuple):
    """What is read on every fast tick.

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
    """What is read once a second.

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
    """A device as CUDA knows it, sent by the worker: what a backend finds its own handle by.

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
    """A source, a device or a call that cannot serve. `code` is NVML's return code where there is one."""

    def __init__(self, message: str, *, code: int | None = None, remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


class Device:
    """One device under observation. A backend's own inherits from it, and replaces what its hardware can tell.

    `kind` is the backend's name, `key` what tells this device from others (its UUID), `missing` why a reading has None,
    by the reading's field; a field that recovers leaves. With `parent_shared`, power, energy and clocks are those of a
    whole card of which this is a slice. With `on_module` the card shares its module with a CPU, and a counter or sensor
    may be the module's; `scopes` names the readings that are known to be. `counter_wrap_j` is the energy at which the
    counter wraps; without it, a counter that goes backwards was reset.

    `read_fast`, `read_slow` and `activity` are called from the sampler's thread and return what could be read: faults
    become None plus an entry in `missing`, and `lost` where the device is gone. `state` and `survey` are slow, are
    never called inside a window, and `state` may raise `TelemetryError`.
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
        """The fault that showed the device gone, for good; None while it is there."""
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
        """Mean activity since the last call, None on the first and where there is none. Units: see `Activity`."""
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
    """What both questions give; None with the reason in `why` for one that raises `TelemetryError`."""
    why: list[str] = []

    def ask(question: Callable[[], Answer]) -> Answer | None:
        try:
            return question()
        except TelemetryError as fault:
            why.append(str(fault))
            return None

    return Survey(ask(processes), ask(used_bytes), "; ".join(why))


class Backend:
    """A source of devices. `available` False means every window is absent, with `reason` (a few words for a table) and
    `remedy` (a sentence).
    """

    kind: str
    available = True
    reason = ""
    remedy = ""

    def survey(self) -> dict[str, Survey]:
        """Every device by its key, before it is known which one will be used."""
        return {}

    def identify(self, device: int | str) -> Identity:
        """What a caller names by number, UUID or address. TelemetryError where that means no device, or several."""
        return Identity(uuid=str(device))

    def open(self, identity: Identity) -> Device:
        """The device that CUDA calls `identity`. TelemetryError where none matches beyond doubt."""
        raise TelemetryError(f"the {self.kind} backend has no {identity.uuid}")

    def close(self) -> None:
        """Lets go of the library. Never raises."""


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

    TelemetryError if there is none after `timeout_s` seconds: the thread is left behind, because nothing can end a
    thread inside a C call.
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
