"""AMD GPUs through `amdsmi`, AMD's Python package, imported only when a backend is opened.

Units, by include/amd_smi/amdsmi.h and py-interface/amdsmi_interface.py of github.com/ROCm/amdsmi: power W, power caps
uW (bare-metal Linux), energy in ticks of `counter_resolution` uJ, clocks MHz, temperatures degrees Celsius, activity
per cent, memory bytes. What a chip lacks is "N/A" or an error; both become None with the reason in `missing`.
"""

import contextlib
import importlib
import os
import time
from collections.abc import Callable, Mapping

from gpubench.telemetry.devices.base import Backend, Identity, NullBackend, Survey, TelemetryError, bounded
from gpubench.telemetry.devices.cuda_visible import selected
from gpubench.telemetry.devices.rocm.amdsmi_calls import AmdSmi, AmdSmiError, cards, survey_of
from gpubench.telemetry.devices.rocm.card import RocmDevice

_TIMEOUT_S = 20.0
_CLOSE_TIMEOUT_S = 0.4


class RocmBackend(Backend):
    """Every AMD GPU that the driver shows to this process."""

    kind = "rocm"

    def __init__(self, smi: AmdSmi, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._smi, self._clock = smi, clock

    def open(self, identity: Identity) -> RocmDevice:
        """The GPU that HIP calls `identity`, by PCI address or UUID. TelemetryError unless exactly one matches."""

        def find() -> RocmDevice:
            known = cards(self._smi)
            found = [handle for handle, card in known if identity.pci and card.pci == identity.pci.lower()]
            if not found and identity.uuid:
                uuid = f"GPU-{identity.uuid.removeprefix('GPU-').lower()}"
                found = [handle for handle, card in known if card.uuid == uuid]
            if len(found) == 1:
                return RocmDevice(self._smi, found[0], clock=self._clock)
            remedy = "In a container, check that the card's /dev/dri and /dev/kfd are passed in."
            named = f"{len(found)} of {len(known)} AMD GPUs match {identity.pci or identity.uuid}"
            raise TelemetryError(named, remedy=remedy)

        return bounded(find, _TIMEOUT_S, what="amdsmi")

    def identify(self, device: int | str, environ: Mapping[str, str] = os.environ) -> Identity:
        """A device by HIP's number (`0`, `"cuda:1"`), UUID (`"GPU-..."`) or PCI address. TelemetryError if there is
        none.

        ROCR_VISIBLE_DEVICES is applied first, then HIP_VISIBLE_DEVICES (or CUDA_VISIBLE_DEVICES, which HIP accepts too)
        to the rest, each as torch reads it.
        """
        text = str(device)
        if text.startswith("GPU-"):
            return Identity(uuid=text)
        if ":" in text and not text.startswith("cuda"):
            return Identity(pci=text)
        number = text.removeprefix("cuda").removeprefix(":") or "0"
        visible = self.visible(environ)
        if not number.isdecimal() or int(number) >= len(visible):
            remedy = "Look at ROCR_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES."
            raise TelemetryError(f"HIP has no device {text}: {len(visible)} visible", remedy=remedy)
        return visible[int(number)]

    def visible(self, environ: Mapping[str, str]) -> list[Identity]:
        """The devices that the variables leave, in HIP's order. TelemetryError if the driver does not answer."""
        visible = bounded(self._in_hip_order, _TIMEOUT_S, what="amdsmi")
        second = "HIP_VISIBLE_DEVICES" if "HIP_VISIBLE_DEVICES" in environ else "CUDA_VISIBLE_DEVICES"
        for variable in ("ROCR_VISIBLE_DEVICES", second):
            if variable in environ:
                chosen = selected(environ[variable], [each.uuid or "" for each in visible])
                visible = [visible[place] for place in chosen if isinstance(place, int)]
        return visible

    def _in_hip_order(self) -> list[Identity]:
        found = []
        for position, (handle, identity) in enumerate(cards(self._smi)):
            try:
                order = self._smi.call("amdsmi_get_gpu_enumeration_info", handle)["hip_id"]
            except (AmdSmiError, KeyError):
                order = position  # amdsmi before ROCm 6.4 does not know HIP's numbers
            found.append((order if isinstance(order, int) else position, position, identity))
        return [identity for _, _, identity in sorted(found, key=lambda each: each[:2])]

    def survey(self) -> dict[str, Survey]:
        """Processes and memory of every GPU, by UUID. TelemetryError if the driver does not answer."""

        def ask() -> dict[str, Survey]:
            return {str(card.uuid): survey_of(self._smi, handle) for handle, card in cards(self._smi)}

        return bounded(ask, _TIMEOUT_S, what="amdsmi")

    def close(self) -> None:
        """Shuts amdsmi down; a driver that hangs is abandoned after 0.4 s."""
        with contextlib.suppress(TelemetryError):
            bounded(lambda: self._smi.call("amdsmi_shut_down"), _CLOSE_TIMEOUT_S, what="amdsmi_shut_down")


def open_rocm(*, clock: Callable[[], float] = time.monotonic) -> Backend | None:
    """AMD's backend, or one that says why there is none; None if amdsmi is not installed."""
    try:
        smi = AmdSmi(importlib.import_module("amdsmi"))
        bounded(lambda: smi.call("amdsmi_init"), _TIMEOUT_S, what="amdsmi")
        if not smi.call("amdsmi_get_processor_handles"):
            return NullBackend("no AMD GPU")
    except TelemetryError as error:
        return NullBackend(str(error), error.remedy or "Load the amdgpu module, and join the groups render and video.")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it loads libamd_smi.so when imported, and each version fails differently
        if isinstance(error, ModuleNotFoundError) and error.name == "amdsmi":
            return None
        remedy = "Install the amdsmi of ROCm's own version, in /opt/rocm/share/amd_smi, with its libamd_smi.so."
        return NullBackend(f"amdsmi cannot be loaded: {error or type(error).__name__}", remedy)
    return RocmBackend(smi, clock=clock)
