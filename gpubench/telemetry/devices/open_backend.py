"""The source of telemetry that this machine has."""

import time
from collections.abc import Callable

from gpubench.telemetry.devices import nvml
from gpubench.telemetry.devices.base import Backend
from gpubench.telemetry.devices.rocm import open_rocm


def open_backend(*, clock: Callable[[], float] = time.monotonic) -> Backend:
    """NVML; without it amdsmi where that is installed; else a backend that says why there is none. Never raises."""
    nvidia = nvml.open_backend(clock=clock)
    return nvidia if nvidia.available else open_rocm(clock=clock) or nvidia
