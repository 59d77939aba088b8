"""One AMD GPU under observation.

Throttling comes from the accumulated residencies of `amdsmi_get_gpu_metrics_info` (MI300 and newer): each counts the
firmware's cycles under one limit, and `accumulation_counter` all cycles, 32 bits wide (gpu_metrics_v1_6 in the kernel's
kgd_pp_interface.h). They give the time under each limit, but not the current reasons.
"""

import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import reduce
from operator import getitem
from typing import Any

from gpubench.telemetry.devices.base import Device, FastReading, SlowReading, Survey
from gpubench.telemetry.devices.rocm.amdsmi_calls import AmdSmi, AmdSmiError, survey_of, uuid_of

_MOST_WATTS = 20_000
_NOT_SUPPORTED = frozenset({2, 3, 5, 10})
"""AMDSMI_STATUS_NOT_SUPPORTED, NOT_YET_IMPLEMENTED, FAIL_LOAD_SYMBOL and NO_PERM: asking again is useless."""

_APU = re.compile(r"\bMI\d+A\b")
"""GPU and CPU in one socket (MI300A), for which amdsmi gives joint power and energy."""

_LOST = frozenset({31, 34, 54})
"""AMDSMI_STATUS_NOT_FOUND, DRIVER_NOT_LOADED and AMDGPU_RESTART_ERR."""

_COUNTER_BITS = 32
_RESIDENCIES = {
    "throttle_power_cap_s": ("ppt_residency_acc",),
    "throttle_sw_thermal_s": ("socket_thm_residency_acc", "vr_thm_residency_acc", "hbm_thm_residency_acc"),
    "throttle_hw_thermal_s": ("prochot_residency_acc",),
}
"""Package power tracking; the firmware's temperature limits; the processor-hot signal."""


class RocmDevice(Device):
    """One AMD GPU under observation. Power and clocks of a partition are those of the whole chip."""

    kind = "rocm"

    def __init__(self, smi: AmdSmi, handle: Any, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.key, self.name = uuid_of(smi, handle), ""
        with contextlib.suppress(AmdSmiError):
            self.name = str(smi.call("amdsmi_get_gpu_asic_info", handle)["market_name"])
        self.missing["pstate"] = "AMD GPUs have no P-states"
        if _APU.search(self.name):
            self.scopes = dict.fromkeys(("counter_j", "power_instant_w", "power_average_w", "power_usage_w"), "module")
        self._lost: str | None = None
        self._smi, self._handle, self._clock, self._enum = smi, handle, clock, smi.module
        self._faults: Counter[str] = Counter()
        self._given: set[tuple[Any, ...]] = set()
        self._off: set[tuple[Any, ...]] = set()
        self._residencies: dict[str, int] = {}
        self._residencies_s, self._throttled_s = 0.0, dict.fromkeys(_RESIDENCIES, 0.0)
        try:
            partition = smi.call("amdsmi_get_gpu_compute_partition", handle)
        except AmdSmiError:
            partition = "N/A"  # a chip that cannot be partitioned
        self.parent_shared = partition not in ("SPX", "N/A", "")

    @property
    def lost(self) -> str | None:
        """The call that found the device gone; None while it answers."""
        return self._lost

    def read_fast(self) -> FastReading:
        """Power, energy counter, GFX clock and throttle times. Units: see `FastReading`."""
        clock_mhz = self._clock_mhz("sm_clock_mhz", self._enum.AmdSmiClkType.GFX)
        return self.read_power()._replace(sm_clock_mhz=clock_mhz, **self._throttle_times())

    def read_power(self) -> FastReading:
        """Energy counter and powers. Units: see `FastReading`.

        MI300 and newer report current power, older chips an average; `socket_power` is whichever there is.
        """
        energy = self._ask("counter_j", "amdsmi_get_energy_count")
        power = self._ask("power_instant_w", "amdsmi_get_power_info")
        return FastReading(
            power_instant_w=self._watts("power_instant_w", power, "current_socket_power"),
            power_average_w=self._watts("power_average_w", power, "average_socket_power"),
            power_usage_w=self._watts("power_usage_w", power, "socket_power"),
            counter_j=None if energy is None else self._joules(energy),
        )

    def read_slow(self) -> SlowReading:
        """Memory, temperatures, activity, memory clock. Units: see `SlowReading`."""
        vram, sensors = self._enum.AmdSmiMemoryType.VRAM, self._enum.AmdSmiTemperatureType
        activity = self._ask("utilization", "amdsmi_get_gpu_activity")
        percent = None if activity is None else self._number("utilization", activity, "gfx_activity")
        return SlowReading(
            memory_used_bytes=self._ask("memory_used_bytes", "amdsmi_get_gpu_memory_usage", vram),
            memory_total_bytes=self._ask("memory_total_bytes", "amdsmi_get_gpu_memory_total", vram),
            temperature_c=self._celsius("temperature_c", sensors.JUNCTION, sensors.EDGE),
            memory_temperature_c=self._celsius("memory_temperature_c", sensors.VRAM),
            utilization=None if percent is None else percent / 100,
            memory_clock_mhz=self._clock_mhz("memory_clock_mhz", self._enum.AmdSmiClkType.MEM),
        )

    def state(self) -> dict[str, Any]:
        """Power limits, largest clocks and link; absent ones under `absent`. Units: in each key's name."""
        kinds = self._enum.AmdSmiClkType
        asked: dict[str, tuple[tuple[Any, ...], tuple[str, ...]]] = {
            "power_limit_w": (("amdsmi_get_power_cap_info",), ("power_cap",)),
            "power_limit_default_w": (("amdsmi_get_power_cap_info",), ("default_power_cap",)),
            "power_limit_min_w": (("amdsmi_get_power_cap_info",), ("min_power_cap",)),
            "power_limit_max_w": (("amdsmi_get_power_cap_info",), ("max_power_cap",)),
            "sm_clock_max_mhz": (("amdsmi_get_clock_info", kinds.GFX), ("max_clk",)),
            "memory_clock_max_mhz": (("amdsmi_get_clock_info", kinds.MEM), ("max_clk",)),
            "pcie_width": (("amdsmi_get_pcie_info",), ("pcie_metric", "pcie_width")),
            "pcie_width_max": (("amdsmi_get_pcie_info",), ("pcie_static", "max_pcie_width")),
        }
        values: dict[str, Any] = {}
        absent: dict[str, str] = {}
        for name, ((call, *args), keys) in asked.items():
            values[name] = None
            try:
                value = reduce(getitem, keys, self._smi.call(call, self._handle, *args))
            except (AmdSmiError, KeyError, TypeError) as error:
                absent[name] = str(error)
            else:
                if value == "N/A":
                    absent[name] = "amdsmi says N/A"
                else:
                    values[name] = float(value * 1e-6) if name.startswith("power") else value
        return {**values, "absent": absent}

    def survey(self) -> Survey:
        """Processes with memory on the device, and memory in use. Units: see `Survey`."""
        return survey_of(self._smi, self._handle)

    def faults(self) -> dict[str, int]:
        """Failed calls so far, by call and status. Units: counts."""
        return dict(sorted(self._faults.items()))

    def _ask(self, quantity: str, name: str, *args: Any) -> Any:
        """The call's answer, or None with the reason in `missing`. A quantity that was never there is read only
        once.
        """
        call = (name, *args)
        if self._lost is not None or call in self._off:
            return None
        try:
            answer = self._smi.call(name, self._handle, *args)
        except AmdSmiError as fault:
            self.missing[quantity] = str(fault)
            self._faults[f"{fault.call}: {fault.status if fault.status is not None else 'no status'}"] += 1
            if fault.status in _LOST:
                self._lost = str(fault)
            elif fault.status in _NOT_SUPPORTED and call not in self._given:
                self._off.add(call)
            return None
        self._given.add(call)
        self.missing.pop(quantity, None)
        return answer

    def _number(self, quantity: str, answer: Mapping[str, Any], *keys: str) -> float | None:
        """The value of the first key present; None for "N/A"."""
        value = next((answer[key] for key in keys if key in answer), "N/A")
        if isinstance(value, int | float):
            return float(value)
        self.missing[quantity] = f"amdsmi says {value} for {keys[0]}"
        return None

    def _watts(self, quantity: str, answer: Mapping[str, Any] | None, key: str) -> float | None:
        if answer is None:
            self.missing.setdefault(quantity, self.missing.get("power_instant_w", "no power was read"))
            return None
        watts = self._number(quantity, answer, key)
        if watts is None or not 0 < watts < _MOST_WATTS:  # 0 and 65535 mean unknown
            self.missing.setdefault(quantity, f"amdsmi says {watts} W for {key}")
            return None
        self.missing.pop(quantity, None)
        return watts

    def _joules(self, energy: Mapping[str, Any]) -> float | None:
        """Ticks times their size. A 32-bit counter wraps: at 15.3 uJ and 700 W every 94 s."""
        ticks = self._number("counter_j", energy, "energy_accumulator", "power")
        size_uj = self._number("counter_j", energy, "counter_resolution")
        if ticks is None or size_uj is None:
            return None
        self.counter_wrap_j = (1 << _COUNTER_BITS) * size_uj * 1e-6
        return ticks * size_uj * 1e-6

    def _clock_mhz(self, quantity: str, kind: Any) -> float | None:
        answer = self._ask(quantity, "amdsmi_get_clock_info", kind)
        return None if answer is None else self._number(quantity, answer, "clk", "cur_clk")

    def _celsius(self, quantity: str, *sensors: Any) -> float | None:
        current = self._enum.AmdSmiTemperatureMetric.CURRENT
        answers = (self._ask(quantity, "amdsmi_get_temp_metric", sensor, current) for sensor in sensors)
        return next((float(answer) for answer in answers if answer is not None), None)

    def _throttle_times(self) -> dict[str, Any]:
        """Seconds under each limit since the first reading: its share of the firmware's cycles, times the elapsed time.

        Temperature limits overlap, so the one that held longest counts.
        """
        now_s = self._clock()
        metrics = self._ask("reasons", "amdsmi_get_gpu_metrics_info")
        if metrics is None:
            return dict.fromkeys(_RESIDENCIES)
        names = ("accumulation_counter", *(name for group in _RESIDENCIES.values() for name in group))
        numbers = {name: metrics.get(name) for name in names}
        if not all(isinstance(value, int) for value in numbers.values()):
            self.missing["reasons"] = "this chip or driver does not accumulate time under limits"
            return dict.fromkeys(_RESIDENCIES)
        self.missing["reasons"] = "AMD GPUs tell the time under each limit, no reasons of the moment"
        before, self._residencies = self._residencies, {name: int(value or 0) for name, value in numbers.items()}
        passed_s, self._residencies_s = now_s - self._residencies_s, now_s
        turn = 1 << _COUNTER_BITS
        added = {name: (now - before[name]) % turn if before else 0 for name, now in self._residencies.items()}
        cycles = added["accumulation_counter"]
        if before and not cycles:  # nothing accumulated yet
            self._residencies, self._residencies_s = before, now_s - passed_s
            return dict.fromkeys(_RESIDENCIES)
        for quantity, parts in _RESIDENCIES.items():
            share = max(added[part] for part in parts) / cycles if cycles else 0.0
            self._throttled_s[quantity] += min(1.0, share) * passed_s
        return dict(self._throttled_s)
