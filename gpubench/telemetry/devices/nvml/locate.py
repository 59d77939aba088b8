"""Finds the NVML handle of a CUDA device, by UUID and never by index (the two orders differ)."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from gpubench.telemetry.devices.base import Identity, TelemetryError
from gpubench.telemetry.devices.nvml import card_facts
from gpubench.telemetry.devices.nvml.library import PASSING, Kind, Library, NvmlError, kind_of, name_of

Answer = TypeVar("Answer")
_MEMORY_TOLERANCE = 0.1
"""CUDA's total leaves out what the driver reserves: up to several per cent of what NVML reports."""


class MatchedCard(NamedTuple):
    """`handle` is the card's (the parent's for a MIG slice), `memory_handle` that of the slice itself."""

    handle: Any
    memory_handle: Any
    uuid: str
    name: str
    how: str
    parent_shared: bool


def find(library: Library, identity: Identity) -> MatchedCard:
    """The one card that is `identity`. TelemetryError if there is none, or if name or memory disagree; its `code` is
    set if asking again may help.
    """
    tried: list[str] = []
    passing: int | None = None
    lost: NvmlError | None = None
    for how, call, argument in _attempts(identity):
        try:
            handle = library.call(call, argument)
            return _verified(library, handle, identity, how)
        except NvmlError as fault:
            if kind_of(fault.code) is Kind.LOST:
                lost = lost or fault  # a lost neighbour may break the search by UUID: the address is tried as well
            tried.append(f"{how} {argument}: {name_of(fault.code)}")
            passing = fault.code if fault.code in PASSING else passing
    if lost is not None:
        raise lost
    raise TelemetryError(
        "no NVML device matches the CUDA device" + (f" ({'; '.join(tried)})" if tried else ": CUDA named none"),
        code=passing,
        remedy="In a container, check that the driver's libraries match the kernel module and the card is passed in.",
    )


def _attempts(identity: Identity) -> list[tuple[str, str, str]]:
    """(how, NVML call, argument) in order: as a whole card, as a MIG slice, by PCI address."""
    attempts = []
    if identity.uuid:
        bare = identity.uuid.removeprefix("GPU-") if not identity.uuid.startswith("MIG-GPU-") else identity.uuid
        names = [identity.uuid] if bare.startswith("MIG-") else [f"GPU-{bare}", f"MIG-{bare}"]
        attempts = [("uuid", "nvmlDeviceGetHandleByUUID", name) for name in names]
    if identity.pci:
        attempts.append(("pci", "nvmlDeviceGetHandleByPciBusId", identity.pci))
    return attempts


def _verified(library: Library, handle: Any, identity: Identity, how: str) -> MatchedCard:
    answer = _ask(lambda: library.call("nvmlDeviceIsMigDeviceHandle", handle))  # a driver without it has no slices
    is_slice = bool(getattr(answer, "value", answer))
    parent = library.call("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle) if is_slice else handle
    name = _ask(lambda: str(library.call("nvmlDeviceGetName", handle)))
    uuid = _ask(lambda: str(library.call("nvmlDeviceGetUUID", handle)))
    total = _ask(lambda: card_facts.memory(library, handle)[0])
    differs, cuda_bytes = None, identity.total_bytes
    if identity.name and name and not _same_name(identity.name, name):
        differs = f"name is {name}, CUDA says {identity.name}"
    elif cuda_bytes and total and abs(cuda_bytes - total) > _MEMORY_TOLERANCE * max(cuda_bytes, total):
        differs = f"total memory in bytes is {total}, CUDA says {cuda_bytes}"
    if differs:
        remedy = "Check CUDA_VISIBLE_DEVICES and, in a container, which cards the driver's library sees."
        raise TelemetryError(f"the NVML device found is a different card: its {differs}", remedy=remedy)
    return MatchedCard(
        parent, handle, uuid or str(identity.uuid or identity.pci), name or identity.name or "", how, is_slice
    )


def _ask(question: Callable[[], Answer]) -> Answer | None:
    """The answer, or None if the driver has none: an unknown name or size is no contradiction. A lost card is
    raised.
    """
    try:
        return question()
    except NvmlError as fault:
        if kind_of(fault.code) is Kind.LOST:
            raise
        return None


def _same_name(cuda: str, nvml: str) -> bool:
    """Equal, or one with more detail than the other (`NVIDIA H100 80GB HBM3 MIG 1g.10gb`)."""
    short, long = sorted((cuda.removeprefix("NVIDIA ").strip(), nvml.removeprefix("NVIDIA ").strip()), key=len)
    return long.startswith(short)
