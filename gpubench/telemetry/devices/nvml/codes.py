"""NVML's return codes, and what each means for a sampler. Numbers and names: nvml.h."""

from enum import StrEnum

NOT_SUPPORTED = 3
INSUFFICIENT_SIZE = 7
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15

NAMES = {
    1: "UNINITIALIZED",
    2: "INVALID_ARGUMENT",
    3: "NOT_SUPPORTED",
    4: "NO_PERMISSION",
    5: "ALREADY_INITIALIZED",
    6: "NOT_FOUND",
    7: "INSUFFICIENT_SIZE",
    8: "INSUFFICIENT_POWER",
    9: "DRIVER_NOT_LOADED",
    10: "TIMEOUT",
    11: "IRQ_ISSUE",
    12: "LIBRARY_NOT_FOUND",
    13: "FUNCTION_NOT_FOUND",
    14: "CORRUPTED_INFOROM",
    15: "GPU_IS_LOST",
    16: "RESET_REQUIRED",
    17: "OPERATING_SYSTEM",
    18: "LIB_RM_VERSION_MISMATCH",
    19: "IN_USE",
    20: "MEMORY",
    21: "NO_DATA",
    22: "VGPU_ECC_NOT_SUPPORTED",
    23: "INSUFFICIENT_RESOURCES",
    24: "FREQ_NOT_SUPPORTED",
    25: "ARGUMENT_VERSION_MISMATCH",
    26: "DEPRECATED",
    27: "NOT_READY",
    28: "GPU_NOT_FOUND",
    29: "INVALID_STATE",
    30: "RESET_TYPE_NOT_SUPPORTED",
    999: "UNKNOWN",
}


class Kind(StrEnum):
    """What a failed call means: `off` will not work on this card and driver, `lost` the card is gone, `transient` may
    work on the next tick.
    """

    OFF = "off"
    LOST = "lost"
    TRANSIENT = "transient"


PASSING = frozenset({10, 11, 17, 19, 20, 23, 27, 999})
"""Codes after which asking for a device again later may well succeed (TIMEOUT, IN_USE, NOT_READY, UNKNOWN, ...)."""

_OFF = frozenset({2, 3, 4, 13, 22, 25, 26})
_LOST = frozenset({15, 16, 28})

_UNAVAILABLE = {
    9: ("NVIDIA driver not loaded", "Load the kernel module (`sudo modprobe nvidia`), or reboot after an install."),
    12: (
        "no NVIDIA driver",
        "Install the NVIDIA driver; in a container, start it with the NVIDIA runtime (`--gpus all`).",
    ),
    18: (
        "NVIDIA driver and library versions differ",
        "The driver was updated while loaded: reboot, or unload and reload the nvidia kernel modules.",
    ),
    4: ("no permission to read the GPU", "Run as a user who may open /dev/nvidiactl and /dev/nvidia*."),
    15: ("GPU is lost", "The card fell off the bus: look at `dmesg` for Xid 79; a power cycle is usually needed."),
}


def kind_of(code: int | None) -> Kind:
    """How to take a return code; None (an error without a code) is transient."""
    if code in _LOST:
        return Kind.LOST
    return Kind.OFF if code in _OFF else Kind.TRANSIENT


def name_of(code: int | None) -> str:
    """`GPU_IS_LOST (15)`; a code newer than this table is shown as its number."""
    return "no code" if code is None else f"{NAMES.get(code, 'code')} ({code})"


def unavailable(code: int | None) -> tuple[str, str]:
    """(reason, remedy) of a failed initialisation: a few words for a table and a sentence."""
    if code in _UNAVAILABLE:
        return _UNAVAILABLE[code]
    return f"NVML could not start: {name_of(code)}", "Run `nvidia-smi`: it meets the same error and may say more."
