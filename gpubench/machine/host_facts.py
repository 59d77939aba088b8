"""Facts about the host: CPU, governor, kernel, container. All from /proc, /sys and the standard library.

`root` is `/`, or a folder with a test's files.
"""

import os
import platform
import re
from pathlib import Path
from typing import Any, NamedTuple

from gpubench.core.cpus import usable_cpus
from gpubench.machine import control_groups

RELEVANT_FLAGS = (
    *("avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16"),
    *("avx512_fp16", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8", "asimd", "asimdhp", "sve", "sve2"),
    *("bf16", "i8mm", "hypervisor"),
)
"""CPU flags that decide which kernels a math library picks, and `hypervisor`, which marks a virtual machine."""


def read_text(path: Path) -> str | None:
    """The stripped text of a small file; None if it is missing or unreadable."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def read_number(path: Path) -> float | None:
    """The number in a small file; None if there is none."""
    text = read_text(path)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _cpuinfo(root: Path) -> dict[str, str]:
    """Fields of the first processor; Arm names its flags `Features`."""
    fields = {}
    for line in (read_text(root / "proc/cpuinfo") or "").split("\n\n", 1)[0].splitlines():
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    return fields


def cpu(root: Path = Path("/")) -> dict[str, Any]:
    """Model, counts, frequency policy and the flags that matter. Units: MHz; counts of hardware threads and cores."""
    info = _cpuinfo(root)
    policy = root / "sys/devices/system/cpu/cpu0/cpufreq"
    flags = set((info.get("flags") or info.get("Features") or "").split())
    max_khz = read_number(policy / "cpuinfo_max_freq")
    return {
        "model": info.get("model name") or info.get("Hardware") or platform.processor() or platform.machine(),
        "family": "-".join(info[name] for name in ("cpu family", "model") if name in info) or None,
        "machine": platform.machine(),
        "num_threads": os.cpu_count(),
        "num_threads_usable": usable_cpus(),
        "num_cores": len(_each_cpu(root, "topology/thread_siblings_list")) or None,
        "num_sockets": len(_each_cpu(root, "topology/physical_package_id")) or None,
        "smt": {"1": True, "0": False}.get(read_text(root / "sys/devices/system/cpu/smt/active") or ""),
        "governor": read_text(policy / "scaling_governor"),
        "driver": read_text(policy / "scaling_driver"),
        "preference": read_text(policy / "energy_performance_preference"),
        "boost": boost(root),
        "max_mhz": None if max_khz is None else max_khz / 1000,
        "microcode": info.get("microcode"),
        "flags": [flag for flag in RELEVANT_FLAGS if flag in flags],
    }


def _each_cpu(root: Path, name: str) -> set[str]:
    files = (root / "sys/devices/system/cpu").glob(f"cpu[0-9]*/{name}")
    return {text for text in map(read_text, files) if text}


def boost(root: Path = Path("/")) -> bool | None:
    """Whether the CPU may exceed its base clock; None if the kernel does not say."""
    no_turbo = read_text(root / "sys/devices/system/cpu/intel_pstate/no_turbo")
    if no_turbo in {"0", "1"}:
        return no_turbo == "0"
    return {"1": True, "0": False}.get(read_text(root / "sys/devices/system/cpu/cpufreq/boost") or "")


def governors(root: Path = Path("/")) -> set[str]:
    """The frequency governors of all CPUs; empty without frequency scaling (most virtual machines)."""
    return _each_cpu(root, "cpufreq/scaling_governor")


class HostCpuTime(NamedTuple):
    """CPU time of the whole machine since boot, in clock ticks, summed over CPUs."""

    busy: int
    stolen: int
    total: int


def cpu_time(root: Path = Path("/")) -> HostCpuTime | None:
    """From the first line of /proc/stat (proc(5)); None if it cannot be read. User time includes guests' time."""
    fields = (read_text(root / "proc/stat") or "").split("\n", 1)[0].split()
    if len(fields) < 9 or fields[0] != "cpu":
        return None
    user, nice, system_, idle, iowait, irq, softirq, steal = map(int, fields[1:9])
    busy = user + nice + system_ + irq + softirq
    return HostCpuTime(busy, steal, busy + idle + iowait + steal)


def container(root: Path = Path("/")) -> str | None:
    """`docker`, `podman`, `kubernetes`, `lxc`, `gvisor`, ... or None outside a container, as far as that can be
    seen.
    """
    if (root / "run/.containerenv").exists():
        return "podman"
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    if (root / ".dockerenv").exists():
        return "docker"
    if "gVisor" in (read_text(root / "proc/version") or ""):
        return "gvisor"
    groups = read_text(root / "proc/1/cgroup") or ""
    found = re.search(r"kubepods|docker|libpod|lxc|containerd", groups)
    names = {"kubepods": "kubernetes", "libpod": "podman"}
    if found:
        return names.get(found[0], found[0])
    return "apptainer" if os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER") else None


def virtual(root: Path = Path("/")) -> bool | None:
    """Whether a hypervisor runs this kernel; None if unknown (the flag `hypervisor` exists on x86 only)."""
    if any((root / path).exists() for path in ("sys/hypervisor/type", "proc/device-tree/hypervisor/compatible")):
        return True
    flags = _cpuinfo(root).get("flags")
    return None if flags is None else "hypervisor" in flags.split()


def memory_bytes(root: Path = Path("/")) -> int | None:
    """Physical memory in bytes."""
    found = re.search(r"MemTotal:\s+(\d+) kB", read_text(root / "proc/meminfo") or "")
    return int(found[1]) * 1024 if found else None


def system(root: Path = Path("/")) -> dict[str, Any]:
    """Kernel, C library, container, limits. Units: memory in bytes, quota in CPUs."""
    try:
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        distribution = None
    limit = control_groups.memory_limit(root)
    return {
        "os": platform.system(),
        "kernel": platform.release(),
        "libc": " ".join(filter(None, platform.libc_ver())) or None,
        "distribution": distribution,
        "container": container(root),
        "virtual": virtual(root),
        "cpu_quota": control_groups.cpu_quota(root),
        "memory_bytes": memory_bytes(root),
        "memory_limit_bytes": None if limit is None else limit.limit_bytes,
    }
