"""CPU package energy from RAPL, through the kernel's powercap files (`Documentation/power/powercap/powercap.rst`).

Since 2020 kernels let only root read `energy_uj` (CVE-2020-8694); AMD's packages appear under the same names.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpubench.telemetry.devices.base import Device, FastReading, TelemetryError
from gpubench.telemetry.devices.periods import Periods

POWERCAP = Path("/sys/class/powercap")
PERIODS = Periods(counter_s=0.001)
"""RAPL counters are updated about every millisecond (Intel SDM vol. 3B, 15.10)."""

_MOST_W = 800.0
"""Watts; more than any package draws for long."""

_LATE_S = 0.1
_STILL_S = 1.0
"""Far longer than a package's counter ever stays the same."""

_UNMASK = (
    "Let the container see it: docker run --security-opt systempaths=unconfined "
    "-v /sys/devices/virtual/powercap:/sys/devices/virtual/powercap:ro "
    "(podman: --security-opt unmask=/sys/devices/virtual/powercap)."
)


class Zone:
    """One package's counter, kept open. `total_j` only grows: wraps at `max_energy_range_uj` are undone."""

    def __init__(self, folder: Path, now_s: float) -> None:
        self.name = (folder / "name").read_text(encoding="ascii").strip()
        self._fd = os.open(folder / "energy_uj", os.O_RDONLY | os.O_CLOEXEC)
        self._last_uj, self._last_s = self._read_uj(), now_s
        self.moved_s = now_s
        """When the counter last changed."""
        try:
            self._range_uj = int((folder / "max_energy_range_uj").read_text(encoding="ascii"))
        except (OSError, ValueError):
            self._range_uj = 0  # if a container shows only `energy_uj`, a wrap counts as a reset
        self.total_j = 0.0

    def _read_uj(self) -> int:
        return int(os.pread(self._fd, 32, 0))

    def read(self, now_s: float) -> bool:
        """Adds the energy since the last reading. False if that is unknown: after a suspend or a reset, or if the
        counter may have wrapped unseen. OSError or ValueError if the file cannot be read.
        """
        now_uj = self._read_uj()
        most_uj = _MOST_W * 1e6 * (now_s - self._last_s + _LATE_S)
        added_uj = {now_uj - self._last_uj}
        added_uj |= {now_uj - self._last_uj + self._range_uj + 1} if self._range_uj else set()
        possible = [each for each in added_uj if 0 <= each <= most_uj]
        self.moved_s = self.moved_s if now_uj == self._last_uj else now_s
        self._last_uj, self._last_s = now_uj, now_s
        if len(possible) == 1:
            self.total_j += possible[0] / 1e6
        return len(possible) == 1

    def close(self) -> None:
        os.close(self._fd)


class RaplDevice(Device):
    """All CPU packages of the machine, as one device that has only an energy counter."""

    kind = "rapl"
    key = "cpu"
    name = "CPU packages"

    def __init__(self, zones: list[Zone], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._zones, self._clock = zones, clock

    def read_power(self) -> FastReading:
        """Only `counter_j`, the sum over packages since opening, or since one of them was reset. Units: J."""
        now_s = self._clock()
        try:
            known = [zone.read(now_s) for zone in self._zones]
        except (OSError, ValueError) as error:
            self.missing["counter_j"] = f"energy_uj: {error}"
            return FastReading()
        if not all(known):
            for zone in self._zones:
                zone.total_j = 0.0
        if still := self.still(_STILL_S):
            self.missing["counter_j"] = f"the counter of {' and '.join(still)} stands still"
            return FastReading()
        self.missing.pop("counter_j", None)
        return FastReading(counter_j=sum(zone.total_j for zone in self._zones))

    def still(self, for_s: float) -> list[str]:
        """Packages whose counter has not moved for `for_s` seconds: without them the sum is meaningless."""
        now_s = self._clock()
        return [zone.name for zone in self._zones if now_s - zone.moved_s > for_s]

    def state(self) -> dict[str, Any]:
        """Names of the zones. Units: none."""
        return {"zones": [zone.name for zone in self._zones], "absent": {}}

    def close(self) -> None:
        for zone in self._zones:
            zone.close()


def open_rapl(root: Path = POWERCAP, *, clock: Callable[[], float] = time.monotonic) -> RaplDevice:
    """The machine's packages. TelemetryError, with the reason, if there are none or they may not be read.

    Memory-mapped duplicates (`intel-rapl-mmio`) and the zones inside a package (cores, DRAM) are left out.
    """
    folders = [folder for folder in sorted(root.glob("intel-rapl*:*")) if folder.name.count(":") == 1]
    names = {folder: _name(folder) for folder in folders}
    packages = [each for each in folders if each.name.startswith("intel-rapl:") and names[each].startswith("package")]
    if not packages:
        reason, remedy = _why_none(root, names)
        raise TelemetryError(reason, remedy=remedy)
    zones: list[Zone] = []
    try:
        zones.extend(Zone(folder, clock()) for folder in packages)
    except PermissionError:
        raise TelemetryError(
            "RAPL needs root", remedy="sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj (until the next boot)"
        ) from None
    except OSError as error:
        raise TelemetryError(f"RAPL could not be read: {error}") from None
    except ValueError:
        raise TelemetryError("RAPL is hidden: energy_uj holds no number, as in a container", remedy=_UNMASK) from None
    return RaplDevice(zones, clock)


def _why_none(root: Path, names: dict[Path, str]) -> tuple[str, str]:
    """(reason, remedy) if no zone is a package."""
    if not root.is_dir():
        remedy = "On a machine of your own: sudo modprobe intel_rapl_common intel_rapl_msr."
        return "no RAPL counters: this kernel or virtual machine shows no powercap", remedy
    inside = list(root.glob("*"))
    if any(folder.is_symlink() and not folder.exists() for folder in inside):
        return "RAPL is hidden: the links in /sys/class/powercap lead nowhere, as in a container", _UNMASK
    if names and not any(names.values()):
        return "RAPL is hidden: the zones in /sys/class/powercap are empty, as in a container", _UNMASK
    if names:
        shown = ", ".join(f"{folder.name} ({name or 'no name'})" for folder, name in names.items())
        return f"RAPL shows no CPU package, only {shown}", ""
    if inside:
        remedy = "On a machine of your own: sudo modprobe intel_rapl_msr. In a container: " + _UNMASK
        return "powercap shows no RAPL zone", remedy
    return "no RAPL counters: /sys/class/powercap is empty", "Load intel_rapl_msr, or in a container: " + _UNMASK


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
