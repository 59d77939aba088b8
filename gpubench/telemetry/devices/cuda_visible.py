"""Which card CUDA calls device N, without torch and without a CUDA context in this process."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from gpubench.telemetry.devices.base import Identity, TelemetryError
from gpubench.telemetry.devices.nvml import card_facts
from gpubench.telemetry.devices.nvml.library import Library, NvmlError

_TIMEOUT_S = 20.0
_PCI = re.compile(r"^([0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(\.[0-7])?$")

# Runs in a separate process: cuInit here would spoil every later fork of the caller's program.
_ASK_CUDA = """
import ctypes, json, sys
cuda = ctypes.CDLL("libcuda.so.1")
device, name, uuid, total = ctypes.c_int(), ctypes.create_string_buffer(256), (ctypes.c_ubyte * 16)(), ctypes.c_size_t()
pci = ctypes.create_string_buffer(32)
for code in (cuda.cuInit(0), cuda.cuDeviceGet(ctypes.byref(device), int(sys.argv[1])),
             getattr(cuda, "cuDeviceGetUuid_v2", cuda.cuDeviceGetUuid)(uuid, device),
             cuda.cuDeviceGetName(name, 256, device), cuda.cuDeviceTotalMem_v2(ctypes.byref(total), device),
             cuda.cuDeviceGetPCIBusId(pci, 32, device)):
    if code:
        sys.exit(f"CUDA error {code}")
digits = bytes(uuid).hex()
parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
print(json.dumps({"uuid": "-".join(parts), "name": name.value.decode(), "total_bytes": total.value,
                  "pci": pci.value.decode()}))
"""


def identify(device: int | str, library: Library, environ: Mapping[str, str] | None = None) -> Identity:
    """The identity of a device named by CUDA's number (`0`, `"cuda:1"`), a UUID (`"GPU-..."`, `"MIG-..."`, a prefix of
    one is enough) or a PCI address. CUDA_VISIBLE_DEVICES counts for numbers, as it does for CUDA.

    The CUDA driver is asked where there is one. Without it the variable is read: its UUIDs as they are, its numbers in
    the order of PCI addresses, which is CUDA's where CUDA_DEVICE_ORDER says so or all cards are alike. TelemetryError
    where the number means no card, or could mean several.
    """
    environ = os.environ if environ is None else environ
    if isinstance(device, str) and (device.startswith(("GPU-", "MIG-")) or _PCI.match(device)):
        return _named(device, library)
    text = str(device).removeprefix("cuda:") if str(device) != "cuda" else "0"
    if not text.isdecimal():
        raise TelemetryError(f"not a device: {device!r}", remedy="Give a CUDA device number, a UUID or a PCI address.")
    number = int(text)
    asked = _ask_cuda(number, environ)
    return asked if asked is not None else _read_variable(number, library, environ)


def shown(library: Library, environ: Mapping[str, str] | None = None) -> list[str]:
    """UUIDs of the cards that CUDA_VISIBLE_DEVICES leaves to this process; of every card where that cannot be told (MIG
    slices, numbers whose order is unknown). TelemetryError where the cards cannot be listed.
    """
    environ = os.environ if environ is None else environ
    uuids = _uuids(library)
    variable = environ.get("CUDA_VISIBLE_DEVICES")
    if variable is None:
        return uuids
    entries = _valid_prefix([entry.strip() for entry in variable.split(",")], len(uuids))
    numbers = [entry for entry in entries if entry.isdecimal()]
    if any(entry.startswith("MIG-") for entry in entries) or (
        numbers and not _order_is_known(library, environ, len(uuids))
    ):
        return uuids
    chosen = {uuids[int(entry)] if entry.isdecimal() else _named(entry, library).uuid for entry in entries}
    return [uuid for uuid in uuids if uuid in chosen]


def _named(text: str, library: Library) -> Identity:
    if _PCI.match(text):
        return Identity(pci=text)
    matches = [uuid for uuid in _uuids(library) if uuid.lower().startswith(text.lower())]
    if len(matches) > 1:
        raise TelemetryError(f"{text} is the beginning of {len(matches)} UUIDs")
    # NVML lists cards only: a MIG slice's UUID must be whole, and is asked for as it is.
    return Identity(uuid=matches[0] if matches else text)


def _ask_cuda(number: int, environ: Mapping[str, str]) -> Identity | None:
    """What the CUDA driver says in a separate process; None without a driver."""
    command = [sys.executable, "-I", "-S", "-c", _ASK_CUDA, str(number)]
    options: dict[str, Any] = {"env": dict(environ), "timeout": _TIMEOUT_S, "stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode == 0:
        return Identity.of(json.loads(done.stdout))
    if "CUDA error 101" in done.stderr:
        raise TelemetryError(f"CUDA has no device {number}", remedy="Look at CUDA_VISIBLE_DEVICES.")
    return None


def _read_variable(number: int, library: Library, environ: Mapping[str, str]) -> Identity:
    uuids = _uuids(library)
    variable = environ.get("CUDA_VISIBLE_DEVICES")
    entries = [str(position) for position in range(len(uuids))]
    if variable is not None:
        entries = _valid_prefix([entry.strip() for entry in variable.split(",")], len(uuids))
    if number >= len(entries):
        found = f"CUDA has no device {number}: {len(entries)} visible"
        raise TelemetryError(found, remedy="Look at CUDA_VISIBLE_DEVICES.")
    entry = entries[number]
    if not entry.isdecimal():
        return _named(entry, library)
    if not _order_is_known(library, environ, len(uuids)):
        raise TelemetryError(
            f"which card CUDA calls {number} is unknown: cards differ and CUDA orders them by speed",
            remedy="Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the card by its UUID.",
        )
    return Identity(uuid=uuids[int(entry)])


def _valid_prefix(entries: list[str], num_cards: int) -> list[str]:
    """CUDA ignores an invalid entry and all that follow it."""
    kept = []
    for entry in entries:
        if not (entry.startswith(("GPU-", "MIG-")) or (entry.isdecimal() and int(entry) < num_cards)):
            break
        kept.append(entry)
    return kept


def _uuids(library: Library) -> list[str]:
    """UUIDs in NVML's order, which is that of PCI addresses."""
    try:
        handles = [library.call("nvmlDeviceGetHandleByIndex", i) for i in range(library.call("nvmlDeviceGetCount"))]
        return [str(library.call("nvmlDeviceGetUUID", handle)) for handle in handles]
    except NvmlError as fault:
        raise TelemetryError(f"the cards could not be listed: {fault}", code=fault.code) from None


def _order_is_known(library: Library, environ: Mapping[str, str], num_cards: int) -> bool:
    if num_cards <= 1 or environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
        return True
    return len({gpu.get("name") for gpu in card_facts.read_gpus(library)}) == 1
