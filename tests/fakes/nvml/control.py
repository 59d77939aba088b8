"""Builds the fake NVML and drives it from Python. `fake_nvml.c` says what it emulates."""

import ctypes
import math
import subprocess
import types
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).with_name("fake_nvml.c")
SONAME = "libnvidia-ml.so.1"

UUID = "fa4e0000-0000-4000-8000-000000000001"
OTHER_UUID = "fa4e0000-0000-4000-8000-000000000002"
NAME = "NVIDIA Fake 100"
GIB = 2**30

# Every code of nvmlReturn_t but SUCCESS.
RETURN_CODES = (*range(1, 29), 999)

INSTANT, AVERAGE, COUNTER = 0, 1, 2
POWER_CAP, SYNC_BOOST, SW_THERMAL, HW_THERMAL, POWER_BRAKE = range(5)


def build(folder: Path, *, soname: str = SONAME, old_driver: bool = False) -> Path:
    """Compiles the fake into `folder` under NVML's file name.

    Inside the test process it is given another soname: a library of NVML's own soname in this process would be found by
    whatever asks for NVML next.
    """
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / SONAME
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", f"-Wl,-soname,{soname}"]
    flags += ["-DOLD_DRIVER"] if old_driver else []
    subprocess.run(["cc", *flags, "-o", str(library), str(SOURCE), "-lm", "-lpthread"], check=True)
    return library


MPS_SERVER_PID = 5555
"""The process that the fake calls nvidia-cuda-mps-server."""


class Fake:
    """The fake's controls. Times are seconds of its clock; power in W, energy in J."""

    def __init__(self, library: Path) -> None:
        self.lib = ctypes.CDLL(str(library))
        self.lib.fake_now.restype = self.lib.fake_log_time.restype = self.lib.fake_energy.restype = ctypes.c_double
        self.lib.fake_log_call.restype = ctypes.c_char_p
        self._frozen_s: float | None = None

    def reset(self) -> None:
        self.lib.fake_reset()

    def now(self) -> float:
        return float(self.lib.fake_now())

    def freeze(self, at_s: float) -> None:
        """The clock stands at `at_s` until it is set again."""
        self.lib.fake_set_time(ctypes.c_double(at_s))

    def add_device(
        self,
        uuid: str = UUID,
        *,
        name: str = NAME,
        pci: str = "00000000:41:00.0",
        memory: int = 80 * GIB,
        parent: int = -1,
        prefix: str = "GPU-",
    ) -> int:
        return int(
            self.lib.fake_add_device(
                name.encode(), f"{prefix}{uuid}".encode(), pci.encode(), ctypes.c_ulonglong(memory), parent
            )
        )

    def trace(self, segments: Sequence[tuple[float, float]], device: int = 0) -> None:
        """Power from each time on: [(time, watts), ...]."""
        doubles = ctypes.c_double * len(segments)
        times, watts = zip(*segments, strict=True)
        self.lib.fake_set_trace(device, len(segments), doubles(*times), doubles(*watts))

    def sensor(
        self,
        which: int,
        period_s: float,
        *,
        phase_s: float = 0.0,
        window_s: float = 0.0,
        jitter: float = 0.0,
        device: int = 0,
    ) -> None:
        """`jitter` is the share of the period by which updates stray."""
        self.lib.fake_set_sensor(device, which, *map(ctypes.c_double, (period_s, phase_s, window_s, jitter)))

    def counter(
        self,
        *,
        offset_j: float = 0.0,
        reset_at_s: float = -1.0,
        wrap32: bool = False,
        aliasing: bool = False,
        device: int = 0,
    ) -> None:
        self.lib.fake_set_counter(
            device, ctypes.c_double(offset_j), ctypes.c_double(reset_at_s), int(wrap32), int(aliasing)
        )

    def abilities(
        self, *, fields: bool = True, scope: int = 0, gpm: bool = False, energy_counter: bool = True, device: int = 0
    ) -> None:
        self.lib.fake_set_abilities(device, int(fields), scope, int(gpm), int(energy_counter))

    def hold(self, reason: int, start_s: float, end_s: float, device: int = 0) -> None:
        """Clocks are held down for `reason` from start to end."""
        self.lib.fake_hold(device, reason, ctypes.c_double(start_s), ctypes.c_double(end_s))

    def clock(self, at_s: float, before_mhz: float, after_mhz: float, device: int = 0) -> None:
        self.lib.fake_set_clock(device, *map(ctypes.c_double, (at_s, before_mhz, after_mhz)))

    def state(
        self, *, reasons: int = 0, temperature: int = 55, limit_w: float = 700.0, used: int = 8 * GIB, device: int = 0
    ) -> None:
        self.lib.fake_set_state(device, reasons, temperature, int(limit_w * 1000), ctypes.c_ulonglong(used))

    def speeds(self, *, pcie_width: int = 16, memory_mhz: int = 2619, device: int = 0) -> None:
        self.lib.fake_set_speeds(device, pcie_width, memory_mhz)

    def processes(self, *pids: int, used: int = GIB, device: int = 0) -> None:
        self.lib.fake_set_processes(
            device, len(pids), (ctypes.c_int * max(1, len(pids)))(*pids), ctypes.c_ulonglong(used)
        )

    def rule(
        self,
        call: str = "*",
        code: int = 0,
        *,
        start_s: float = -math.inf,
        end_s: float = math.inf,
        delay_s: float = 0.0,
        zero: bool = False,
        device: int = -1,
    ) -> None:
        """Calls to `call` (`field:83` for a field, `*` for all) fail with `code`, take `delay_s`, or say 0."""
        span = (ctypes.c_double(max(start_s, -1e18)), ctypes.c_double(min(end_s, 1e18)), ctypes.c_double(delay_s))
        self.lib.fake_add_rule(call.encode(), device, code, *span, int(zero))

    def clear_rules(self) -> None:
        self.lib.fake_clear_rules()

    def calls(self) -> list[tuple[float, str]]:
        """(time, name) of every call so far."""
        return [
            (float(self.lib.fake_log_time(i)), self.lib.fake_log_call(i).decode())
            for i in range(self.lib.fake_log_length())
        ]

    def energy(self, start_s: float, end_s: float, device: int = 0) -> float:
        """The true integral."""
        return float(self.lib.fake_energy(device, ctypes.c_double(start_s), ctypes.c_double(end_s)))


def install(fake: Fake, pynvml: types.ModuleType) -> None:
    """Makes nvidia-ml-py call the fake from now on."""
    pynvml.nvmlLib = fake.lib
    pynvml._nvmlGetFunctionPointer_cache.clear()


def uninstall(pynvml: types.ModuleType) -> None:
    """The next initialisation loads what the machine has."""
    pynvml.nvmlLib = None
    pynvml._nvmlGetFunctionPointer_cache.clear()


def square(
    start_s: float, end_s: float, *, period_s: float, duty: float, high_w: float, low_w: float
) -> list[tuple[float, float]]:
    """A load that alternates: high for `duty` of each period, then low."""
    segments = []
    at_s = start_s
    while at_s < end_s:
        segments += [(at_s, high_w), (min(at_s + duty * period_s, end_s), low_w)]
        at_s += period_s
    return segments
