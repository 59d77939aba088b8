"""Chooses this machine's source of telemetry, and what a program sees of its cards."""

import time
from collections.abc import Callable, Mapping

from gpubench.core.extensions import TELEMETRY_GROUP, extensions
from gpubench.telemetry.devices import nvml
from gpubench.telemetry.devices.base import Backend, NullBackend, TelemetryError
from gpubench.telemetry.devices.cuda_visible import cuda_cards
from gpubench.telemetry.devices.rocm import RocmBackend, open_rocm

_COUNTED = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
"""Variables that number what ROCR_VISIBLE_DEVICES has left."""


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


def one_card_each(environ: Mapping[str, str]) -> list[dict[str, str]]:
    """`environ` once for each device that it shows, changed to show it alone: a card or MIG slice of NVIDIA's, else a
    card of AMD's. Devices are named by UUID. Empty if there are none.

    TelemetryError if AMD's cards cannot be told apart by UUID.
    """
    nvidia = cuda_cards(environ)
    if nvidia:
        return [{**environ, "CUDA_VISIBLE_DEVICES": uuid} for uuid in nvidia]
    backend = open_rocm()
    if not isinstance(backend, RocmBackend):
        return []
    try:
        amd = [str(each.uuid) for each in backend.visible(environ)]
    finally:
        backend.close()
    if len(set(amd)) < len(amd) or not all(uuid.startswith("GPU-") for uuid in amd):
        raise TelemetryError(
            f"these AMD GPUs cannot be told apart, which a fleet needs: {', '.join(amd)}",
            remedy="Partitions of one GPU share its UUID: set its compute partition to SPX. A GPU without a serial "
            "number has none.",
        )
    rest = {name: value for name, value in environ.items() if name not in _COUNTED}
    return [{**rest, "ROCR_VISIBLE_DEVICES": uuid} for uuid in amd]
