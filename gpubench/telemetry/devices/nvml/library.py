"""The NVML library behind one call that turns every failure into a `NvmlError`."""

import importlib
import threading
from types import ModuleType
from typing import Any

from gpubench.telemetry.devices.base import TelemetryError
from gpubench.telemetry.devices.nvml import codes

_MISMATCH = "NVMLLibraryMismatchError"
"""What the binding raises, since 12.560, if the library lacks a newer version of a call. It is no NVMLError."""


class NvmlError(TelemetryError):
    """A failed NVML call. `code` is its return code (None: the binding itself failed), `call` the function's name."""

    def __init__(self, call: str, code: int | None, detail: str = "") -> None:
        super().__init__(f"{call}: {detail or codes.name_of(code)}", code=code)
        self.call = call


class Library:
    """NVML, initialised. Every instance holds one of NVML's own references and gives it back once."""

    def __init__(self, pynvml: ModuleType) -> None:
        self.pynvml = pynvml
        self._open = True
        self._lock = threading.Lock()

    def call(self, name: str, *args: Any) -> Any:
        """`pynvml.<name>(*args)`. NvmlError for whatever goes wrong, in the driver, the library or the binding.

        The binding's exceptions are unhashable and compare by `.value`, so they are translated here and go no further.
        """
        try:
            function = getattr(self.pynvml, name)
        except AttributeError:
            raise NvmlError(name, codes.FUNCTION_NOT_FOUND, "not in this nvidia-ml-py") from None
        try:
            return function(*args)
        except self.pynvml.NVMLError as error:
            code = int(error.value)
        except Exception as error:  # noqa: BLE001 - ctypes and decoding errors of the binding become data too
            if type(error).__name__ != _MISMATCH:
                raise NvmlError(name, None, f"{type(error).__name__}: {error}") from None
            code = codes.FUNCTION_NOT_FOUND
        raise NvmlError(name, code)

    def close(self) -> None:
        """Gives the reference back, once. A failing shutdown changes nothing for anybody."""
        with self._lock:
            was_open, self._open = self._open, False
        if was_open:
            try:
                self.call("nvmlShutdown")
            except NvmlError:
                return


def load() -> Library:
    """NVML, initialised. TelemetryError with a reason of a few words, NVML's code and the remedy where it cannot be."""
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
        reason, remedy = codes.unavailable(fault.code)
        raise TelemetryError(reason, code=fault.code, remedy=remedy) from None
    return library
