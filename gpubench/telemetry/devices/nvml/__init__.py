"""NVML through nvidia-ml-py (import name `pynvml`): the only part of telemetry that knows the binding."""

import contextlib
import time
from collections.abc import Callable

from gpubench.telemetry.devices import cuda_visible
from gpubench.telemetry.devices.base import Backend, Identity, NullBackend, Survey, TelemetryError, bounded
from gpubench.telemetry.devices.nvml import library as nvml_library
from gpubench.telemetry.devices.nvml.card import NvmlDevice
from gpubench.telemetry.devices.nvml.card_facts import survey_all
from gpubench.telemetry.devices.nvml.locate import find

_INIT_TIMEOUT_S = 20.0
_OPEN_TIMEOUT_S = 5.0
_IDENTIFY_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 0.4


class NvmlBackend(Backend):
    """Every card that the driver shows to this process."""

    kind = "nvml"

    def __init__(self, library: nvml_library.Library, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.library = library
        self._clock = clock

    def identify(self, device: int | str) -> Identity:
        """By CUDA's number, a UUID or a PCI address. TelemetryError if that is no card, or could be several."""
        return bounded(lambda: cuda_visible.identify(device, self.library), _IDENTIFY_TIMEOUT_S, what="NVML")

    def open(self, identity: Identity) -> NvmlDevice:
        """The card that CUDA calls `identity`. TelemetryError if none matches or the driver does not answer."""
        found = bounded(lambda: find(self.library, identity), _OPEN_TIMEOUT_S, what="NVML")
        return NvmlDevice(self.library, found, clock=self._clock)

    def survey(self) -> dict[str, Survey]:
        """Processes and memory of every card, by UUID. TelemetryError if the driver does not answer."""
        return bounded(lambda: survey_all(self.library), _OPEN_TIMEOUT_S, what="NVML")

    def close(self) -> None:
        """Shuts NVML down; a driver that hangs is abandoned after 0.4 s."""
        with contextlib.suppress(TelemetryError):
            bounded(self.library.close, _CLOSE_TIMEOUT_S, what="nvmlShutdown")


def open_backend(*, clock: Callable[[], float] = time.monotonic) -> Backend:
    """NVML, or a `NullBackend` that says why there is none. Never raises."""
    try:
        library = bounded(nvml_library.load, _INIT_TIMEOUT_S, what="NVML")
    except TelemetryError as error:
        return NullBackend(str(error), error.remedy, code=error.code)
    return NvmlBackend(library, clock=clock)
