"""One card under observation."""

import time
from collections.abc import Callable
from typing import Any

from gpubench.telemetry.devices.base import Activity, FastReading, SlowReading, Survey
from gpubench.telemetry.devices.nvml import card_facts, fields
from gpubench.telemetry.devices.nvml.card_facts import survey_of
from gpubench.telemetry.devices.nvml.gpm import Gpm
from gpubench.telemetry.devices.nvml.library import Library
from gpubench.telemetry.devices.nvml.locate import MatchedCard
from gpubench.telemetry.devices.nvml.reader import Notes, Reader

_SM, _MEMORY = 1, 2
_GPU_SENSOR = 0
_MEMORY_V2 = 0x02000028
_MOST_WATTS = 20_000
_POWERS = (fields.POWER_INSTANT, fields.POWER_AVERAGE, fields.COUNTER)


class NvmlDevice:
    """NVML's view of one card. For a MIG slice, power and clocks are the whole card's and memory is the slice's."""

    kind = "nvml"

    def __init__(self, library: Library, found: MatchedCard, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.key = found.uuid
        self.name = found.name
        self.how = found.how
        self.parent_shared = found.parent_shared
        self._library = library
        self._handle = found.handle
        self._memory_handle = found.memory_handle
        self.notes = Notes()
        self._fields = fields.Fields(library, found.handle, self.notes, (*_POWERS, *fields.THROTTLE))
        self._memory_temperature = fields.Fields(library, found.handle, self.notes, (fields.MEMORY_TEMPERATURE,))
        self._given: set[str] = set()
        self._gpm = Gpm(library, found.handle, self.notes, clock)
        self._gpm.off = found.parent_shared
        self._make_readers()

    def _make_readers(self) -> None:
        self._counter = self._reader("counter_j", ("nvmlDeviceGetTotalEnergyConsumption",))
        self._usage = self._reader("power_usage_w", ("nvmlDeviceGetPowerUsage",))
        self._sm_clock = self._reader("sm_clock_mhz", ("nvmlDeviceGetClockInfo", _SM))
        self._memory_clock = self._reader("memory_clock_mhz", ("nvmlDeviceGetClockInfo", _MEMORY))
        self._reasons = self._reader(
            "reasons", ("nvmlDeviceGetCurrentClocksEventReasons",), ("nvmlDeviceGetCurrentClocksThrottleReasons",)
        )
        self._temperature = self._reader(
            "temperature_c", ("nvmlDeviceGetTemperature", _GPU_SENSOR), ("nvmlDeviceGetTemperatureV", _GPU_SENSOR)
        )
        self._utilization = self._reader("utilization", ("nvmlDeviceGetUtilizationRates",))
        self._pstate = self._reader("pstate", ("nvmlDeviceGetPerformanceState",))
        self._memory = Reader(
            "memory_used_bytes",
            self.notes,
            lambda: self._library.call("nvmlDeviceGetMemoryInfo", self._memory_handle, _MEMORY_V2),
            lambda: self._library.call("nvmlDeviceGetMemoryInfo", self._memory_handle),
        )

    def _reader(self, quantity: str, *calls: tuple[Any, ...]) -> Reader:
        def candidate(name: str, *args: Any) -> Callable[[], Any]:
            return lambda: self._library.call(name, self._handle, *args)

        return Reader(quantity, self.notes, *(candidate(*call) for call in calls))

    @property
    def missing(self) -> dict[str, str]:
        """What cannot be read, with the last fault of each."""
        return self.notes.missing

    @property
    def lost(self) -> str | None:
        """The call that found the card gone; None while it answers."""
        return self.notes.lost

    def read_fast(self) -> FastReading:
        """Power, counter, SM clock, throttle times and reasons. Units: see `FastReading`."""
        values: dict[str, Any] = dict(self.read_power()._asdict())
        values["sm_clock_mhz"] = _positive(self._sm_clock.read())
        values["reasons"] = self._reasons.read()
        return FastReading(**values)

    def read_power(self) -> FastReading:
        """Powers, counter and throttle times: one call on a recent driver. Units: see `FastReading`.

        A power or counter of exactly 0 is a known way of drivers to say nothing, and is taken as missing. What no field
        has given so far is asked for by its own call.
        """
        values: dict[str, Any] = self._fields.read()
        for name in ("power_instant_w", "power_average_w", "counter_j"):
            values[name] = _plausible(name, values.get(name))
        self._given.update(name for name, value in values.items() if value is not None)
        if "counter_j" not in self._given:
            values["counter_j"] = _positive(_scaled(self._counter.read(), 1e-3))
        if not self._given & {"power_instant_w", "power_average_w"}:
            values["power_usage_w"] = _plausible("power_usage_w", _scaled(self._usage.read(), 1e-3))
        return FastReading(**values)

    def read_slow(self) -> SlowReading:
        """Memory, temperatures, utilization, memory clock, P-state. Units: see `SlowReading`."""
        memory = self._memory.read()
        utilization = self._utilization.read()
        return SlowReading(
            memory_used_bytes=None if memory is None else float(memory.used),
            memory_total_bytes=None if memory is None else _positive(float(memory.total)),
            temperature_c=_scaled(self._temperature.read(), 1.0),
            memory_temperature_c=_positive(self._memory_temperature.read().get("memory_temperature_c")),
            utilization=None if utilization is None else utilization.gpu / 100,
            memory_clock_mhz=_positive(_scaled(self._memory_clock.read(), 1.0)),
            pstate=_scaled(self._pstate.read(), 1.0),
        )

    def activity(self) -> Activity | None:
        """Mean activity since the last call (GPM). Units: see `Activity`."""
        return self._gpm.read()

    def state(self) -> dict[str, Any]:
        """Limits, link, ECC, persistence; absent ones under `absent`. Units: in each key's name."""
        return card_facts.read_facts(self._library, self._handle, card_facts.STATE)

    def survey(self) -> Survey:
        """Processes with a compute context and memory in use, of a MIG slice alone. Units: see `Survey`."""
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


def _plausible(name: str, value: float | None) -> float | None:
    if name.startswith("power") and value is not None and value > _MOST_WATTS:
        return None
    return _positive(value)
