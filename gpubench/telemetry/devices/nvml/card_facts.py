"""A card's identity, settings and processes, read between launches. A failed call costs one fact."""

from collections.abc import Callable
from typing import Any

from gpubench.telemetry.devices.base import ProcessUse, Survey, surveyed
from gpubench.telemetry.devices.nvml.library import Kind, Library, NvmlError, kind_of

_CLOCK_SM, _CLOCK_MEMORY = 1, 2
_APP_CLOCK_TARGET, _APP_CLOCK_DEFAULT = 1, 2
_MEMORY_V2 = 0x02000028

Fact = Callable[[Library, Any], Any]


def _call(name: str, *args: Any, to: Callable[[Any], Any] = lambda value: value) -> Fact:
    return lambda library, handle: to(library.call(name, handle, *args))


def _watts(milliwatts: int) -> float:
    return milliwatts / 1000


def _pci(library: Library, handle: Any) -> str:
    bus_id = library.call("nvmlDeviceGetPciInfo_v3", handle).busId
    return bus_id.decode("ascii", "replace") if isinstance(bus_id, bytes) else str(bus_id)


def memory(library: Library, handle: Any) -> tuple[int, int, int | None]:
    """(total, used, reserved by the driver) in bytes. By the second version of the call, or the first if that is
    missing.
    """
    try:
        info = library.call("nvmlDeviceGetMemoryInfo", handle, _MEMORY_V2)
    except NvmlError as fault:
        if kind_of(fault.code) is not Kind.OFF:
            raise
        info = library.call("nvmlDeviceGetMemoryInfo", handle)
        return info.total, info.used, None
    return info.total, info.used, info.reserved


IDENTITY: dict[str, Fact] = {
    "name": _call("nvmlDeviceGetName"),
    "uuid": _call("nvmlDeviceGetUUID"),
    "pci": _pci,
    "memory_total_bytes": lambda library, handle: memory(library, handle)[0],
    "compute_capability": _call("nvmlDeviceGetCudaComputeCapability", to=lambda pair: f"{pair[0]}.{pair[1]}"),
    "vbios": _call("nvmlDeviceGetVbiosVersion"),
}

STATE: dict[str, Fact] = {
    "power_limit_w": _call("nvmlDeviceGetEnforcedPowerLimit", to=_watts),
    "power_limit_default_w": _call("nvmlDeviceGetPowerManagementDefaultLimit", to=_watts),
    "power_limit_min_w": _call("nvmlDeviceGetPowerManagementLimitConstraints", to=lambda limits: _watts(limits[0])),
    "power_limit_max_w": _call("nvmlDeviceGetPowerManagementLimitConstraints", to=lambda limits: _watts(limits[1])),
    "sm_clock_max_mhz": _call("nvmlDeviceGetMaxClockInfo", _CLOCK_SM),
    "memory_clock_max_mhz": _call("nvmlDeviceGetMaxClockInfo", _CLOCK_MEMORY),
    "sm_clock_application_mhz": _call("nvmlDeviceGetClock", _CLOCK_SM, _APP_CLOCK_TARGET),
    "sm_clock_application_default_mhz": _call("nvmlDeviceGetClock", _CLOCK_SM, _APP_CLOCK_DEFAULT),
    "ecc": _call("nvmlDeviceGetEccMode", to=lambda modes: bool(modes[0])),
    "ecc_uncorrected_volatile": _call("nvmlDeviceGetTotalEccErrors", 1, 0),
    "mig": _call("nvmlDeviceGetMigMode", to=lambda modes: bool(modes[0])),
    "persistence": _call("nvmlDeviceGetPersistenceMode", to=bool),
    "compute_mode": _call("nvmlDeviceGetComputeMode"),
    "pcie_generation": _call("nvmlDeviceGetCurrPcieLinkGeneration"),
    "pcie_generation_max": _call("nvmlDeviceGetMaxPcieLinkGeneration"),
    "pcie_width": _call("nvmlDeviceGetCurrPcieLinkWidth"),
    "pcie_width_max": _call("nvmlDeviceGetMaxPcieLinkWidth"),
}


def read_facts(library: Library, handle: Any, facts: dict[str, Fact]) -> dict[str, Any]:
    """Every fact by name, None where it could not be read, with the reasons under `absent`.

    Units: in each key's name. Never raises. A lost card gives only reasons and is not asked again, because each call
    may take seconds.
    """
    values: dict[str, Any] = dict.fromkeys(facts)
    absent: dict[str, str] = {}
    lost: str | None = None
    for name, read in facts.items():
        if lost is not None:
            absent[name] = lost
            continue
        try:
            values[name] = read(library, handle)
        except NvmlError as fault:
            absent[name] = str(fault)
            lost = str(fault) if kind_of(fault.code) is Kind.LOST else None
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
    facts: dict[str, Fact] = {
        "driver": lambda library, _: library.call("nvmlSystemGetDriverVersion"),
        "cuda_driver": lambda library, _: _version(library.call("nvmlSystemGetCudaDriverVersion_v2")),
        "nvml": lambda library, _: library.call("nvmlSystemGetNVMLVersion"),
    }
    return read_facts(library, None, facts)


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def survey_of(library: Library, handle: Any) -> Survey:
    """Compute processes and memory in use; what cannot be read is None with the reason in `why`. Units: bytes."""

    def name_of(pid: int) -> str:
        try:  # the driver's own name: a process number from outside a container means nothing here
            return str(library.call("nvmlSystemGetProcessName", pid))
        except NvmlError:
            return ""

    def processes() -> list[ProcessUse]:
        listed = library.call("nvmlDeviceGetComputeRunningProcesses", handle)
        uses = [(int(each.pid), each.usedGpuMemory) for each in listed]
        return [ProcessUse(pid, None if used is None else int(used), name_of(pid)) for pid, used in uses]

    return surveyed(processes, lambda: int(memory(library, handle)[1]))


def survey_all(library: Library) -> dict[str, Survey]:
    """Every card by its UUID; cards that cannot be opened are left out. NvmlError if they cannot be counted."""
    found = {}
    for index in range(library.call("nvmlDeviceGetCount")):
        try:
            handle = library.call("nvmlDeviceGetHandleByIndex", index)
            found[str(library.call("nvmlDeviceGetUUID", handle))] = survey_of(library, handle)
        except NvmlError:
            # Reported, with its reason, when this card is tracked.
            continue
    return found
