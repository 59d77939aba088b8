"""Who is on a card, and how much of it is in use. Milliseconds each: between launches only."""

from typing import Any

from gpubench.telemetry.devices.base import ProcessUse, Survey
from gpubench.telemetry.devices.nvml import card_facts
from gpubench.telemetry.devices.nvml.library import Library, NvmlError


def survey_of(library: Library, handle: Any) -> Survey:
    """Compute processes and memory in use; what cannot be read is None with the reason in `why`. Units: bytes."""
    why = []
    processes, used = None, None
    try:
        listed = library.call("nvmlDeviceGetComputeRunningProcesses", handle)
        processes = [_use(library, int(entry.pid), entry.usedGpuMemory) for entry in listed]
    except NvmlError as fault:
        why.append(str(fault))
    try:
        used = int(card_facts.memory(library, handle)[1])
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


def _use(library: Library, pid: int, used: int | None) -> ProcessUse:
    """The driver's name of the process: in a container the process number means nothing here."""
    try:
        name = str(library.call("nvmlSystemGetProcessName", pid))
    except NvmlError:
        name = ""
    return ProcessUse(pid, None if used is None else int(used), name)
