"""The calls of `amdsmi` that more than one part needs, with one error for all its failures."""

import contextlib
from types import ModuleType
from typing import Any

from gpubench.telemetry.devices.base import Identity, ProcessUse, Survey, TelemetryError, surveyed


class AmdSmiError(TelemetryError):
    """A failed amdsmi call. `status` is the library's code, None where the binding itself failed."""

    def __init__(self, call: str, detail: str, status: int | None = None) -> None:
        super().__init__(f"{call}: {detail}")
        self.call, self.status = call, status


class AmdSmi:
    """The module, initialised."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def call(self, name: str, *args: Any) -> Any:
        """AmdSmiError for any failure in the driver, the library or the binding."""
        try:
            return getattr(self.module, name)(*args)
        except Exception as error:  # noqa: BLE001 - from the binding, ctypes, or an old version without the call
            status = getattr(error, "err_code", None)
            info = getattr(error, "err_info", None) or f"{type(error).__name__}: {error}"
            raise AmdSmiError(name, str(info).strip(), status) from None


def cards(smi: AmdSmi) -> list[tuple[Any, Identity]]:
    """Handles and identities of the cards that answer; a lost card does not affect the others."""
    found = []
    for handle in smi.call("amdsmi_get_processor_handles"):
        with contextlib.suppress(AmdSmiError):
            found.append((handle, Identity(uuid=uuid_of(smi, handle), pci=pci_of(smi, handle))))
    return found


def uuid_of(smi: AmdSmi, handle: Any) -> str:
    """`GPU-` and the serial number in 16 digits, as in HIP and ROCR_VISIBLE_DEVICES; without one, the address."""
    try:
        serial = str(smi.call("amdsmi_get_gpu_asic_info", handle)["asic_serial"])
    except AmdSmiError:
        serial = "N/A"
    return pci_of(smi, handle) if serial == "N/A" else f"GPU-{serial.lower().removeprefix('0x'):0>16}"


def pci_of(smi: AmdSmi, handle: Any) -> str:
    return str(smi.call("amdsmi_get_gpu_device_bdf", handle)).lower()


def survey_of(smi: AmdSmi, handle: Any) -> Survey:
    def processes() -> list[ProcessUse]:
        listed = smi.call("amdsmi_get_gpu_process_list", handle)
        return [
            ProcessUse(int(each["pid"]), int(each["memory_usage"]["vram_mem"]), str(each["name"])) for each in listed
        ]

    vram = smi.module.AmdSmiMemoryType.VRAM
    return surveyed(processes, lambda: int(smi.call("amdsmi_get_gpu_memory_usage", handle, vram)))
