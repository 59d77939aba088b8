"""CPU package energy from RAPL, through the kernel's powercap files (`Documentation/power/powercap/powercap.rst`).

Since 2020 kernels let only root read `energy_uj` (CVE-2020-8694); AMD's packages appear under the same names.
"""

import os
from pathlib import Path
from typing import Any

from gpubench.telemetry.devices.base import Device, FastReading, TelemetryError
from gpubench.telemetry.devices.periods import Periods

POWERCAP = Path("/sys/class/powercap")
PERIODS = Periods(counter_s=0.001)
"""RAPL counters are updated about every millisecond (Intel SDM vol. 3B, 15.10)."""


class Zone:
    """One package's counter, kept open. Its wrap at `max_energy_range_uj` is undone, so `total_j` only grows."""

    def __init__(self, folder: Path) -> None:
        self.name = (folder / "name").read_text(encoding="ascii").strip()
        self._range_uj = int((folder / "max_energy_range_uj").read_text(encoding="ascii"))
        self._fd = os.open(folder / "energy_uj", os.O_RDONLY | os.O_CLOEXEC)
        self._last_uj = self._read_uj()
        self._total_uj = 0

    def _read_uj(self) -> int:
        return int(os.pread(self._fd, 32, 0))

    def total_j(self) -> float:
        """Joules since this zone was opened. OSError or ValueError where the file cannot be read."""
        now_uj = self._read_uj()
        delta_uj = now_uj - self._last_uj
        self._total_uj += delta_uj if delta_uj >= 0 else delta_uj + self._range_uj + 1
        self._last_uj = now_uj
        return self._total_uj / 1e6

    def close(self) -> None:
        os.close(self._fd)


class RaplDevice(Device):
    """The machine's CPU packages together, as a device with nothing but an energy counter."""

    kind = "rapl"
    key = "cpu"
    name = "CPU packages"

    def __init__(self, zones: list[Zone]) -> None:
        super().__init__()
        self._zones = zones

    def read_power(self) -> FastReading:
        """Only `counter_j`, the sum over packages since opening. Units: J."""
        try:
            return FastReading(counter_j=sum(zone.total_j() for zone in self._zones))
        except (OSError, ValueError) as error:
            self.missing["counter_j"] = f"energy_uj: {error}"
            return FastReading()

    def state(self) -> dict[str, Any]:
        """Names of the zones. Units: none."""
        return {"zones": [zone.name for zone in self._zones], "absent": {}}

    def close(self) -> None:
        for zone in self._zones:
            zone.close()


def open_rapl(root: Path = POWERCAP) -> RaplDevice:
    """The machine's packages. TelemetryError with the reason where there are none or they may not be read.

    Memory-mapped duplicates (`intel-rapl-mmio`) and the zones inside a package (cores, DRAM) are left out.
    """
    folders = [folder for folder in sorted(root.glob("intel-rapl:*")) if folder.name.count(":") == 1]
    packages = [folder for folder in folders if _name(folder).startswith("package")]
    if not packages:
        raise TelemetryError("no RAPL counters on this machine")
    zones: list[Zone] = []
    try:
        zones.extend(Zone(folder) for folder in packages)
    except PermissionError:
        raise TelemetryError(
            "RAPL needs root", remedy="sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj (until the next boot)"
        ) from None
    except (OSError, ValueError) as error:
        raise TelemetryError(f"RAPL could not be read: {error}") from None
    return RaplDevice(zones)


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text(encoding="ascii").strip()
    except OSError:
        return ""
