"""One NVIDIA card under observation."""

import re
import time
from collections.abc import Callable
from typing import Any

from gpubench.telemetry.devices.base import Activity, Device, FastReading, SlowReading, Survey
from gpubench.telemetry.devices.nvml import card_facts, readers
from gpubench.telemetry.devices.nvml.card_facts import survey_of
from gpubench.telemetry.devices.nvml.gpm import Gpm
from gpubench.telemetry.devices.nvml.library import Library
from gpubench.telemetry.devices.nvml.locate import MatchedCard
from gpubench.telemetry.devices.nvml.readers import Notes, Reader

_MEMORY_V2 = 0x02000028
_MOST_WATTS = 20_000
_SUPERCHIP = re.compile(r"\b(GH|GB)\d+|Grace")
"""GPUs that share a module with a Grace CPU: GH200's energy counter covers the module (ml-energy/zeus#172)."""

_CALLS: dict[str, tuple[tuple[Any, ...], ...]] = {
    "counter_j": (("nvmlDeviceGetTotalEnergyConsumption",),),
    "power_usage_w": (("nvmlDeviceGetPowerUsage",),),
    "sm_clock_mhz": (("nvmlDeviceGetClockInfo", 1),),
    "memory_clock_mhz": (("nvmlDeviceGetClockInfo", 2),),
    "reasons": (("nvmlDeviceGetCurrentClocksEventReasons",), ("nvmlDeviceGetCurrentClocksThrottleReasons",)),
    "temperature_c": (("nvmlDeviceGetTemperature", 0), ("nvmlDeviceGetTemperatureV", 0)),
    "utilization": (("nvmlDeviceGetUtilizationRates",),),
    "pstate": (("nvmlDeviceGetPerformanceState",),),
    "memory_used_bytes": (("nvmlDeviceGetMemoryInfo", _MEMORY_V2), ("nvmlDeviceGetMemoryInfo",)),
}
"""The calls that may give each quantity, with their arguments after the handle (clock 1: SM, 2: memory; sensor 0)."""


class NvmlDevice(Device):
    """NVML's view of one card. For a MIG slice, power and clocks are the whole card's and memory is the slice's."""

    kind = "nvml"
    counter_wrap_j = 2**32 / 1000  # some drivers count millijoules in 32 bits

    def __init__(self, library: Library, found: MatchedCard, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.key, self.name, self.how = found.uuid, found.name, found.how
        self.parent_shared = found.parent_shared
        self.on_module = bool(_SUPERCHIP.search(found.name))
        self._library, self._handle, self._memory_handle = library, found.handle, found.memory_handle
        self.notes = Notes()
        self.missing, self.scopes = self.notes.missing, self.notes.scopes
        fast = (readers.POWER_INSTANT, readers.POWER_AVERAGE, readers.COUNTER, *readers.THROTTLE)
        self._fields = readers.Fields(library, found.handle, self.notes, fast)
        self._memory_temperature = readers.Fields(library, found.handle, self.notes, (readers.MEMORY_TEMPERATURE,))
        self._given: set[str] = set()
        self._gpm = Gpm(library, found.handle, self.notes, clock)
        self._gpm.off = found.parent_shared
        handles = {"memory_used_bytes": found.memory_handle}
        self._readers = {
            quantity: Reader(quantity, library, handles.get(quantity, found.handle), self.notes, calls)
            for quantity, calls in _CALLS.items()
        }

    def _read(self, quantity: str) -> Any:
        return self._readers[quantity].read()

    @property
    def lost(self) -> str | None:
        """The call that found the card gone; None while it answers."""
        return self.notes.lost

    def read_fast(self) -> FastReading:
        """Power, counter, SM clock, throttle times and reasons. Units: see `FastReading`."""
        values: dict[str, Any] = dict(self.read_power()._asdict())
        values["sm_clock_mhz"] = _positive(self._read("sm_clock_mhz"))
        values["reasons"] = self._read("reasons")
        return FastReading(**values)

    def read_power(self) -> FastReading:
        """Powers, counter and throttle times: one call on a recent driver. Units: see `FastReading`.

        Drivers report exactly 0 for a power or counter they do not know, so 0 counts as missing. What no field has
        given so far is read by its own call.
        """
        values: dict[str, Any] = self._fields.read()
        for name in ("power_instant_w", "power_average_w", "counter_j"):
            values[name] = self._plausible(name, values.get(name))
        self._given.update(name for name, value in values.items() if value is not None)
        if "counter_j" not in self._given:
            values["counter_j"] = self._plausible("counter_j", _scaled(self._read("counter_j"), 1e-3))
        if not self._given & {"power_instant_w", "power_average_w"}:
            values["power_usage_w"] = self._plausible("power_usage_w", _scaled(self._read("power_usage_w"), 1e-3))
        return FastReading(**values)

    def _plausible(self, name: str, value: float | None) -> float | None:
        if value is not None and (value <= 0 or (name.startswith("power") and value > _MOST_WATTS)):
            self.missing[name] = f"the driver says {value:g} {'W' if name.startswith('power') else 'J'}"
            return None
        return value

    def read_slow(self) -> SlowReading:
        """Memory, temperatures, utilization, memory clock, P-state. Units: see `SlowReading`."""
        memory = self._read("memory_used_bytes")
        utilization = self._read("utilization")
        return SlowReading(
            memory_used_bytes=None if memory is None else float(memory.used),
            memory_total_bytes=None if memory is None else _positive(float(memory.total)),
            temperature_c=_scaled(self._read("temperature_c"), 1.0),
            memory_temperature_c=_positive(self._memory_temperature.read().get("memory_temperature_c")),
            utilization=None if utilization is None else utilization.gpu / 100,
            memory_clock_mhz=_positive(_scaled(self._read("memory_clock_mhz"), 1.0)),
            pstate=_scaled(self._read("pstate"), 1.0),
        )

    def activity(self) -> Activity | None:
        """Mean activity since the last call (GPM). Units: see `Activity`."""
        return self._gpm.read()

    def state(self) -> dict[str, Any]:
        """Limits, link, ECC, persistence; absent ones under `absent`. Units: in each key's name."""
        return card_facts.read_facts(self._library, self._handle, card_facts.STATE)

    def survey(self) -> Survey:
        """Processes with a compute context and memory in use, for a MIG slice its own. Units: see `Survey`."""
        return survey_of(self._library, self._memory_handle)

    def faults(self) -> dict[str, int]:
        """Failed calls so far, by call and code. Units: counts."""
        return self.notes.summary()

    def close(self) -> None:
        """Frees what the driver holds for this device."""
        self._gpm.close()


def _scaled(value: Any, factor: float) -> float | None:
    return None if value is None else float(value) * factor


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None
