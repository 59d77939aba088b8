"""Doctor rows on the host: causes of varying CPU timings, and what cannot be measured."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gpubench.core.cpus import usable_cpus
from gpubench.machine import control_groups, host_facts
from gpubench.machine.doctor_row import DoctorRow, Group, Level, doctor_row
from gpubench.telemetry.devices.base import TelemetryError
from gpubench.telemetry.devices.rapl import open_rapl

_STEADY_CLOCKS = {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"}
_LEAST_FREE = 0.1
_LOOK_S = 0.5
_RAPL_S = 0.05
_BUSY_WARN, _BUSY_BAD, _STOLEN = 0.1, 0.5, 0.01

Pause = Callable[[float], None]


def rows(root: Path = Path("/"), pause: Pause = time.sleep) -> list[DoctorRow]:
    """Every row, in about half a second; `n/a` if it does not apply. `pause` waits between two looks at the CPUs."""
    checks = (_governor, _boost, _clock, _virtual, _quota, _memory, _power_supply, _thermal)
    return [*_load(root, pause), *(check(root) for check in checks), _rapl(root, pause)]


_row = partial(doctor_row, Group.HOST)


def _load(root: Path, pause: Pause) -> list[DoctorRow]:
    """CPU use now; the load average would include the last minute of our own work."""
    before = host_facts.cpu_time(root)
    pause(_LOOK_S)
    after = host_facts.cpu_time(root)
    if before is None or after is None or after.total <= before.total:
        return [_row("load", Level.NA, "cannot be read")]
    elapsed = after.total - before.total
    busy, stolen = (after.busy - before.busy) / elapsed, (after.stolen - before.stolen) / elapsed
    level, remedy = Level.WARN if busy > _BUSY_WARN else Level.OK, "Wait for other programs, or expect wider intervals."
    if busy > _BUSY_BAD:
        level, remedy = Level.BAD, "Stop other programs: CPU timings and launch-bound GPU timings suffer."
    shared = "This host is shared: measure when it is quiet, or on a machine of your own."
    text = f"{stolen:.1%} of CPU time taken by other virtual machines"
    return [
        _row("load", level, f"CPUs busy {busy:.0%} of the time", remedy, busy=busy),
        _row("stolen time", Level.WARN if stolen > _STOLEN else Level.OK, text, shared, stolen=stolen),
    ]


def _governor(root: Path) -> DoctorRow:
    found = host_facts.governors(root)
    if not found:
        return _row("governor", Level.NA, "no frequency scaling visible")
    level = Level.OK if found == {"performance"} else Level.WARN
    return _row("governor", level, ", ".join(sorted(found)), "sudo cpupower frequency-set -g performance")


def _boost(root: Path) -> DoctorRow:
    on = host_facts.boost(root)
    if on is None:
        return _row("boost", Level.NA, "not visible")
    remedy = "Clocks depend on heat and on how many cores work; turn boost off for the steadiest CPU timings."
    return _row("boost", Level.WARN if on else Level.OK, "on" if on else "off", remedy)


def _clock(root: Path) -> DoctorRow:
    source = host_facts.read_text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")
    if source is None:
        return _row("clock source", Level.NA, "not visible")
    remedy = "Reading this clock is slow and may be coarse; the kernel prefers tsc if it is stable."
    return _row("clock source", Level.OK if source in _STEADY_CLOCKS else Level.WARN, source, remedy)


def _virtual(root: Path) -> DoctorRow:
    facts = host_facts.system(root)
    if facts["virtual"] is None and facts["container"] is None:
        return _row("machine", Level.NA, "the kernel does not say whether it is virtual")
    where = ", ".join(filter(None, ["virtual machine" if facts["virtual"] else "", facts["container"] or ""]))
    remedy = "Neighbours may take CPU time unseen: prefer repeats and interleaved comparisons."
    return _row("machine", Level.WARN if facts["virtual"] else Level.OK, where or "bare metal", remedy)


def _quota(root: Path) -> DoctorRow:
    quota = control_groups.cpu_quota(root)
    if quota is None and control_groups.hidden("cpu", root):
        return _row("CPU quota", Level.NA, "control groups are not visible here (/sys/fs/cgroup)")
    if quota is None:
        return _row("CPU quota", Level.OK, "none")
    threads = usable_cpus() or 1
    remedy = (
        "Once it is used up, the kernel stops the process for the rest of the period: raise it or use fewer threads."
    )
    return _row("CPU quota", Level.WARN if quota < threads else Level.OK, f"{quota:g} of {threads} CPUs", remedy)


def _memory(root: Path) -> DoctorRow:
    text = host_facts.read_text(root / "proc/meminfo") or ""
    values = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if len(line.split()) >= 2}
    total, free = (values[name] * 1024 if name in values else None for name in ("MemTotal", "MemAvailable"))
    limit, whose = control_groups.memory_limit(root), ""
    if limit is not None and (total is None or limit.limit_bytes < total):
        known = [each for each in (limit.left_bytes, free) if each is not None]
        total, free = limit.limit_bytes, min(known, default=None)
        whose = " (limit of the control group)"
    if total is None or free is None:
        return _row("memory", Level.NA, "not visible")
    swapped = values.get("SwapTotal", 0) - values.get("SwapFree", 0)
    shown = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB available{whose}"
    if free <= _LEAST_FREE * total:
        remedy = "Raise the limit." if whose else "Close other programs: a machine that swaps cannot be measured."
        return _row("memory", Level.BAD, shown, remedy)
    remedy = "Some memory is swapped out; it may come back in the middle of a measurement."
    return _row("memory", Level.WARN if swapped > 2**20 else Level.OK, shown, remedy)


def _power_supply(root: Path) -> DoctorRow:
    """By the kernel's sysfs-class-power. Ignores supplies of scope `Device` (a mouse, a headset) and empty USB ports
    (they are offline). A machine without a battery cannot lack an adapter.
    """
    supplies = []
    for folder in sorted((root / "sys/class/power_supply").glob("*")):
        supply = {
            name: host_facts.read_text(folder / name) for name in ("type", "scope", "online", "status", "present")
        }
        if supply["scope"] != "Device" and supply["present"] != "0":
            supplies.append(supply)
    batteries = [supply["status"] for supply in supplies if supply["type"] in {"Battery", "UPS"}]
    adapters = [supply for supply in supplies if supply["type"] not in {"Battery", "UPS"}]
    online = any(supply["online"] in {"1", "2"} for supply in adapters)
    unplugged = any(supply["online"] == "0" and supply["type"] in {"Mains", None} for supply in adapters)
    discharging = "Discharging" in batteries
    charged = bool({"Charging", "Full", "Not charging"} & set(batteries))
    if online and discharging:
        remedy = "The adapter gives less than the machine takes: use a stronger one, or clocks may be held down."
        return _row("power supply", Level.WARN, "mains, and the battery discharges", remedy)
    if not online and (discharging or (batteries and unplugged and not charged)):
        return _row("power supply", Level.BAD, "on battery", "Plug the machine in: clocks are held down on battery.")
    if online or charged:
        return _row("power supply", Level.OK, "mains")
    if adapters and not batteries:
        return _row("power supply", Level.OK, "mains (there is no battery)")
    return _row("power supply", Level.NA, "not visible")


def _thermal(root: Path) -> DoctorRow:
    files = list((root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/package_throttle_count"))
    counts = [number for number in map(host_facts.read_number, files) if number is not None]
    if not counts:
        return _row("CPU heat", Level.NA, "not visible")
    if max(counts) > 0:
        return _row("CPU heat", Level.WARN, f"throttled {max(counts):.0f} times since boot", "Check the CPU's cooling.")
    return _row("CPU heat", Level.OK, "never throttled since boot")


def _rapl(root: Path, pause: Pause = time.sleep) -> DoctorRow:
    try:
        device = open_rapl(root / "sys/class/powercap")
    except TelemetryError as error:
        return _row("CPU energy", Level.NA, str(error), error.remedy)
    device.read_power()
    looked_s = time.monotonic()
    pause(_RAPL_S)
    reading, missing = device.read_power(), device.missing.get("counter_j")
    still = device.still(time.monotonic() - looked_s)
    device.close()
    if reading.counter_j is None:
        return _row("CPU energy", Level.NA, f"RAPL cannot be read: {missing}")
    if still:
        remedy = "CPU energy will be absent. Virtual machines often show counters that never move."
        text = f"RAPL readable, but the counter of {' and '.join(still)} stood still for {_RAPL_S:g} s"
        return _row("CPU energy", Level.WARN, text, remedy)
    return _row("CPU energy", Level.OK, "RAPL readable")
