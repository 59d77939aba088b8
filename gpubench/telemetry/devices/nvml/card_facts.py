"""What a card is, how it is set and which processes use it: read between launches, one failure costing one fact."""

from collections.abc import Callable
from typing import Any

from gpubench.telemetry.devices.base import ProcessUse, Survey
from gpubench.telemetry.devices.nvml import codes
from gpubench.telemetry.devices.nvml.library import Library, NvmlError

_CLOCK_SM, _CLOCK_MEMORY = 1, 2
_APP_CLOCK_TARGET, _APP_CLOCK_DEFAULT = 1, 2
_MEMORY_V2 = 0x02000028

Fact = Callable[[Library, Any], Any]


def _call(name: str, *args: Any) -> Fact:
    return lambda library, handle: library.call(name, handle, *args)


def _watts(name: str) -> Fact:
    return lambda library, handle: library.call(name, handle) / 1000


def _flag(name: str, index: int | None = None) -> Fact:
    def read(library: Library, handle: Any) -> bool:
        value = library.call(name, handle)
        return bool(value if index is None else value[index])

    return read


def _pci(library: Library, handle: Any) -> str:
    bus_id = library.call("nvmlDeviceGetPciInfo_v3", handle).busId
    return bus_id.decode("ascii", "replace") if isinstance(bus_id, bytes) else str(bus_id)


def _power_limits(index: int) -> Fact:
    return lambda library, handle: library.call("nvmlDeviceGetPowerManagementLimitConstraints", handle)[index] / 1000


def memory(library: Library, handle: Any) -> tuple[int, int, int | None]:
    """(total, used, reserved by the driver) in bytes. The second version of the call, the first where it is missing."""
    try:
        info = library.call("nvmlDeviceGetMemoryInfo", handle, _MEMORY_V2)
    except NvmlError as fault:
        if codes.kind_of(fault.code) is not codes.Kind.OFF:
            raise
        info = library.call("nvmlDeviceGetMemoryInfo", handle)
        return info.total, info.used, None
    return info.total, info.used, info.reserved


def _compute_capability(library: Library, handle: Any) -> str:
    major, minor = library.call("nvmlDeviceGetCudaComputeCapability", handle)
    return f"{major}.{minor}"


IDENTITY: dict[str, Fact] = {
    "name": _call("nvmlDeviceGetName"),
    "uuid": _call("nvmlDeviceGetUUID"),
    "pci": _pci,
    "memory_total_bytes": lambda library, handle: memory(library, handle)[0],
    "compute_capability": _compute_capability,
    "vbios": _call("nvmlDeviceGetVbiosVersion"),
}

STATE: dict[str, Fact] = {
    "power_limit_w": _watts("nvmlDeviceGetEnforcedPowerLimit"),
    "power_limit_default_w": _watts("nvmlDeviceGetPowerManagementDefaultLimit"),
    "power_limit_min_w": _power_limits(0),
    "power_limit_max_w": _power_limits(1),
    "sm_clock_max_mhz": _call("nvmlDeviceGetMaxClockInfo", _CLOCK_SM),
    "memory_clock_max_mhz": _call("nvmlDeviceGetMaxClockInfo", _CLOCK_MEMORY),
    "sm_clock_application_mhz": _call("nvmlDeviceGetClock", _CLOCK_SM, _APP_CLOCK_TARGET),
    "sm_clock_application_default_mhz": _call("nvmlDeviceGetClock", _CLOCK_SM, _APP_CLOCK_DEFAULT),
    "ecc": _flag("nvmlDeviceGetEccMode", 0),
    "ecc_uncorrected_volatile": _call("nvmlDeviceGetTotalEccErrors", 1, 0),
    "mig": _flag("nvmlDeviceGetMigMode", 0),
    "persistence": _flag("nvmlDeviceGetPersistenceMode"),
    "compute_mode": _call("nvmlDeviceGetComputeMode"),
    "pcie_generation": _call("nvmlDeviceGetCurrPcieLinkGeneration"),
    "pcie_generation_max": _call("nvmlDeviceGetMaxPcieLinkGeneration"),
    "pcie_width": _call("nvmlDeviceGetCurrPcieLinkWidth"),
    "pcie_width_max": _call("nvmlDeviceGetMaxPcieLinkWidth"),
}


def read_facts(library: Library, handle: Any, facts: dict[str, Fact]) -> dict[str, Any]:
    """Every fact by name, None where it could not be read, with the reasons under `absent`.

    Units: in each key's name. Never raises; a card that is lost gives nothing but reasons.
    """
    values: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for name, read in facts.items():
        try:
            values[name] = read(library, handle)
        except NvmlError as fault:
            values[name], absent[name] = None, str(fault)
    return {**values, "absent": absent}


def read_gpus(library: Library) -> list[dict[str, Any]]:
    """Identity and state of every card in NVML's order (which is not CUDA's). NvmlError if they cannot be counted."""
    gpus = []
    for index in range(library.call("nvmlDeviceGetCount")):
        try:
            handle = library.call("nvmlDeviceGetHandleByIndex", index)
        except NvmlError as fault:
            gpus.append({"nvml_index": index, "absent": {"handle": str(fault)}})
            continue
        gpus.append({"nvml_index": index, **read_facts(library, handle, {**IDENTITY, **STATE})})
    return gpus


def read_driver(library: Library) -> dict[str, Any]:
    """Driver version, the newest CUDA it serves (`13.0`) and NVML's version; None with a reason where unknown."""

    def cuda(library: Library, _handle: Any) -> str:
        number = library.call("nvmlSystemGetCudaDriverVersion_v2")
        return f"{number // 1000}.{number % 1000 // 10}"

    facts: dict[str, Fact] = {
        "driver": lambda library, _: library.call("nvmlSystemGetDriverVersion"),
        "cuda_driver": cuda,
        "nvml": lambda library, _: library.call("nvmlSystemGetNVMLVersion"),
    }
    return read_facts(library, None, facts)


def survey_of(library: Library, handle: Any) -> Survey:
    """Compute processes and memory in use; what cannot be read is None with the reason in `why`. Units: bytes."""
    why = []
    processes, used = None, None
    try:
        listed = library.call("nvmlDeviceGetComputeRunningProcesses", handle)
        processes = []
        for entry in listed:
            try:  # the driver's name of the process: in a container the process number means nothing here
                name = str(library.call("nvmlSystemGetProcessName", int(entry.pid)))
            except NvmlError:
                name = ""
            used_bytes = None if entry.usedGpuMemory is None else int(entry.usedGpuMemory)
            processes.append(ProcessUse(int(entry.pid), used_bytes, name))
    except NvmlError as fault:
        why.append(str(fault))
    try:
        used = int(memory(library, handle)[1])
    except NvmlError as fault:
        why.append(str(fault))
    return Survey(processes, used, "; ".join(why))


def survey_all(library: Library) -> dict[str, Survey]:
    """Every card by its UUID; cards that cannot be opened are left out. NvmlError if they cannot be counted."""
    found = {}
    for index in range(library.call("nvmlDeviceGetCount")):
        try:
            handle = library.call("nvmlDeviceGetHandleByIndex", index)
            found[str(library.call("nvmlDeviceGetUUID", handle))] = survey_of(library, handle)
        except NvmlError:
            # Said again, with its reason, when this card is tracked.
            continue
    return found
