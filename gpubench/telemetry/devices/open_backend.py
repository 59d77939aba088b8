"""Chooses this machine's source of telemetry."""

import time
from collections.abc import Callable

from gpubench.core.extensions import TELEMETRY_GROUP, extensions
from gpubench.telemetry.devices import nvml
from gpubench.telemetry.devices.base import Backend, NullBackend
from gpubench.telemetry.devices.rocm import open_rocm


def open_backend(*, clock: Callable[[], float] = time.monotonic) -> Backend:
    """The first available of NVML, amdsmi and other packages' backends; else one that says why there is none.

    Never raises. An extension is a callable like this one; it returns None if its hardware is missing.
    """
    nvidia = nvml.open_backend(clock=clock)
    if nvidia.available:
        return nvidia
    amd = open_rocm(clock=clock)
    if amd is not None and amd.available:
        return amd
    for extension in extensions(TELEMETRY_GROUP):
        try:
            backend: Backend | None = extension.value(clock=clock)
            if backend is not None and backend.available:
                return backend
        except Exception as error:  # noqa: BLE001 - another package may raise anything
            extension.left_out(f"{type(error).__name__}: {error}")
    if amd is None:
        return nvidia
    remedy = " ".join(filter(None, (nvidia.remedy, amd.remedy)))
    return NullBackend(f"{nvidia.reason}; {amd.reason}", remedy)
