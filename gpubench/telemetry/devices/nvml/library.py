"""NVML behind one call that turns every failure into an `NvmlError`, and the meaning of the return codes.

Numbers and names of the codes: nvml.h.
"""

import contextlib
import importlib
import threading
from enum import StrEnum
from types import ModuleType
from typing import Any

from gpubench.telemetry.devices.base import TelemetryError

NO_PERMISSION = 4
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13

_FROM_1 = (
    "UNINITIALIZED INVALID_ARGUMENT NOT_SUPPORTED NO_PERMISSION ALREADY_INITIALIZED NOT_FOUND INSUFFICIENT_SIZE "
    "INSUFFICIENT_POWER DRIVER_NOT_LOADED TIMEOUT IRQ_ISSUE LIBRARY_NOT_FOUND FUNCTION_NOT_FOUND CORRUPTED_INFOROM "
    "GPU_IS_LOST RESET_REQUIRED OPERATING_SYSTEM LIB_RM_VERSION_MISMATCH IN_USE MEMORY NO_DATA VGPU_ECC_NOT_SUPPORTED "
    "INSUFFICIENT_RESOURCES FREQ_NOT_SUPPORTED ARGUMENT_VERSION_MISMATCH DEPRECATED NOT_READY GPU_NOT_FOUND "
    "INVALID_STATE RESET_TYPE_NOT_SUPPORTED"
)
NAMES = dict(enumerate(_FROM_1.split(), start=1)) | {999: "UNKNOWN"}


class Kind(StrEnum):
    """What a failed call means: `off` will not work on this card and driver, `lost` the card is gone, `transient` may
    work on the next tick.
    """

    OFF = "off"
    LOST = "lost"
    TRANSIENT = "transient"


PASSING = frozenset({10, 11, 17, 19, 20, 23, 27, 999})
"""Codes after which opening a device may succeed later (TIMEOUT, IN_USE, NOT_READY, UNKNOWN, ...)."""

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

_MISMATCH = "NVMLLibraryMismatchError"
"""Raised by the binding since 12.560 if the library lacks a newer version of a call; not an NVMLError."""


def kind_of(code: int | None) -> Kind:
    """The kind of a return code; None (an error without a code) is transient."""
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


class NvmlError(TelemetryError):
    """A failed NVML call. `code` is its return code (None: the binding itself failed), `call` the function's name."""

    def __init__(self, call: str, code: int | None, detail: str = "") -> None:
        super().__init__(f"{call}: {detail or name_of(code)}", code=code)
        self.call = call


class Library:
    """NVML, initialised. Every instance holds one of NVML's own references and releases it once."""

    def __init__(self, pynvml: ModuleType) -> None:
        self.pynvml = pynvml
        self._open = True
        self._lock = threading.Lock()

    def call(self, name: str, *args: Any) -> Any:
        """`pynvml.<name>(*args)`. NvmlError for any failure in the driver, the library or the binding.

        The binding's exceptions are unhashable and compare by `.value`, so they are translated here and never passed
        on.
        """
        try:
            function = getattr(self.pynvml, name)
        except AttributeError:
            raise NvmlError(name, FUNCTION_NOT_FOUND, "not in this nvidia-ml-py") from None
        try:
            return function(*args)
        except self.pynvml.NVMLError as error:
            code = int(error.value)
        except Exception as error:  # noqa: BLE001 - ctypes and decoding errors of the binding become data too
            if type(error).__name__ != _MISMATCH:
                raise NvmlError(name, None, f"{type(error).__name__}: {error}") from None
            code = FUNCTION_NOT_FOUND
        raise NvmlError(name, code)

    def close(self) -> None:
        """Releases the reference, once. A failing shutdown is harmless."""
        with self._lock:
            was_open, self._open = self._open, False
        if was_open:
            with contextlib.suppress(NvmlError):
                self.call("nvmlShutdown")


def load() -> Library:
    """NVML, initialised. If it cannot be: TelemetryError with a short reason, NVML's code and a remedy."""
    try:
        pynvml = importlib.import_module("pynvml")
    except ImportError:
        raise TelemetryError("nvidia-ml-py is not installed", remedy="pip install nvidia-ml-py") from None
    if not hasattr(pynvml, "nvmlInitWithFlags"):
        raise TelemetryError(
            "another module named pynvml hides nvidia-ml-py",
            remedy="pip uninstall pynvml; pip install --force-reinstall nvidia-ml-py",
        )
    library = Library(pynvml)
    try:
        library.call("nvmlInitWithFlags", 0)
    except NvmlError as fault:
        reason, remedy = unavailable(fault.code)
        raise TelemetryError(reason, code=fault.code, remedy=remedy) from None
    return library
