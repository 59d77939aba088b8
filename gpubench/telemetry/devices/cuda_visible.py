"""Which card CUDA calls device N, without torch and without a CUDA context in this process.

CUDA numbers only the cards that this process may open; NVML counts the others too (another user's on a shared node, a
lost one).
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from gpubench.telemetry.devices.base import Identity, TelemetryError
from gpubench.telemetry.devices.nvml import library as nvml_library
from gpubench.telemetry.devices.nvml.library import NO_PERMISSION, Library, NvmlError

_TIMEOUT_S = 20.0
_PCI = re.compile(r"^([0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(\.[0-7])?$")

_LEADING_NUMBER = re.compile(r"[+-]?\d+")

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
    """The identity of a device named by CUDA's number (`0`, `"cuda:1"`), a UUID (`"GPU-..."`, `"MIG-..."`, or a prefix)
    or a PCI address. CUDA_VISIBLE_DEVICES applies to numbers, as in CUDA.

    The CUDA driver is asked if there is one. Without it the variable is read: UUIDs as they are, numbers in the order
    of PCI addresses, which is CUDA's order if CUDA_DEVICE_ORDER says so or all cards are alike. TelemetryError if the
    number means no card, or could mean several.
    """
    environ = os.environ if environ is None else environ
    if isinstance(device, str) and _PCI.match(device):
        return Identity(pci=device)
    if isinstance(device, str) and device.startswith(("GPU-", "MIG-")):
        try:
            matches = [uuid for uuid in _cards(library) if uuid.lower().startswith(device.lower())]
        except TelemetryError:
            matches = []  # a whole UUID needs no list
        if len(matches) > 1:
            raise TelemetryError(f"{device} is the beginning of {len(matches)} UUIDs")
        # NVML lists cards only: a MIG slice's UUID must be whole, and is used as it is.
        return Identity(uuid=matches[0] if matches else device)
    text = str(device).removeprefix("cuda:") if str(device) != "cuda" else "0"
    if not text.isdecimal():
        raise TelemetryError(f"not a device: {device!r}", remedy="Give a CUDA device number, a UUID or a PCI address.")
    asked = _ask_cuda(int(text), environ)
    if asked is not None:
        return asked
    visible, order_is_known = _read_variable(library, environ)
    if int(text) >= len(visible):
        found = f"CUDA has no device {text}: {len(visible)} visible"
        variable = environ.get("CUDA_VISIBLE_DEVICES")
        remedy = f"Look at CUDA_VISIBLE_DEVICES{'' if variable is None else f' ({variable!r})'}."
        raise TelemetryError(found, remedy=remedy)
    if not order_is_known:
        raise TelemetryError(
            f"which card CUDA calls {text} is unknown: cards differ and CUDA orders them by speed",
            remedy="Set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the card by its UUID.",
        )
    return Identity(uuid=visible[int(text)])


def shown(library: Library, environ: Mapping[str, str] | None = None) -> list[str]:
    """UUIDs of the cards that this process may open and CUDA_VISIBLE_DEVICES shows, in NVML's order; for a MIG slice,
    its card's. If the variable cannot be resolved, all that it may open. TelemetryError if there are none.
    """
    environ = os.environ if environ is None else environ
    cards = list(_cards(library))
    visible, order_is_known = _read_variable(library, environ)
    if not order_is_known:
        found = [_ask_cuda(number, environ) for number in range(len(visible))]
        uuids = [f"GPU-{each.uuid.removeprefix('GPU-')}" if each and each.uuid else None for each in found]
        return cards if None in uuids else [card for card in cards if card in uuids]
    try:
        parents = [_card_of(name, library) if name.startswith("MIG-") else name for name in visible]
    except NvmlError:
        return cards
    return [card for card in cards if card in parents]


def cuda_cards(environ: Mapping[str, str]) -> list[str]:
    """UUIDs of the devices among which CUDA_VISIBLE_DEVICES can choose for a program started from here: of a card that
    is divided, its MIG slices. Empty where the driver does not say so.
    """
    try:
        library = nvml_library.load()
        named = [name for name in _read_variable(library, environ)[0] if name.startswith("MIG-")]
        return named or [each for card in shown(library, environ) for each in _slices(card, library) or [card]]
    except TelemetryError:
        return []


def _slices(card: str, library: Library) -> list[str]:
    """UUIDs of a card's MIG slices. CUDA lists but one of them, NVML all."""
    found = []
    try:
        handle = library.call("nvmlDeviceGetHandleByUUID", card)
        for index in range(library.call("nvmlDeviceGetMaxMigDeviceCount", handle)):
            with suppress(NvmlError):  # no slice has this number
                mig = library.call("nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
                found.append(str(library.call("nvmlDeviceGetUUID", mig)))
    except NvmlError:
        return []  # a driver, or a card, that has none
    return found


def selected(variable: str, uuids: Sequence[str]) -> list[int | str]:
    """The cards that a list of visible devices selects: positions in CUDA's order, and MIG slices by name.

    As torch reads it (`torch.cuda._parse_visible_devices`, and pytorch#92315 for what the driver does): a list of UUIDs
    or their beginnings if it starts with one, else of numbers, of which only leading digits count (`1gpu2` is 1). It
    ends before the first entry that names no card; with a repeated entry nothing is visible at all.
    """
    chosen: list[int | str] = []
    for entry in parse(variable):
        place: int | str = entry
        if isinstance(entry, str) and not entry.startswith("MIG-"):
            matches = [position for position, uuid in enumerate(uuids) if uuid.startswith(entry)]
            place = matches[0] if len(matches) == 1 else len(uuids)
        if isinstance(place, int) and place >= len(uuids):
            break
        if place in chosen:
            return []
        chosen.append(place)
    return chosen


def parse(variable: str) -> list[int | str]:
    """The entries that count: all UUIDs with one prefix, or all numbers."""
    prefix = variable[:4] if variable.startswith(("GPU-", "MIG-")) else ""
    entries: list[int | str] = []
    for text in variable.split(","):
        number = _LEADING_NUMBER.match(text.strip())
        entry = text if prefix else int(number[0]) if number else -1
        if entry in entries:
            return []
        if (prefix and not text.startswith(prefix)) or (isinstance(entry, int) and entry < 0):
            break
        entries.append(entry)
    return entries


def _ask_cuda(number: int, environ: Mapping[str, str]) -> Identity | None:
    """The CUDA driver's answer, from a separate process; None without a driver."""
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


def _read_variable(library: Library, environ: Mapping[str, str]) -> tuple[list[str], bool]:
    """(UUIDs in CUDA's order, whether that order is known)."""
    cards, variable = _cards(library), environ.get("CUDA_VISIBLE_DEVICES")
    uuids = list(cards)
    chosen = list(range(len(uuids))) if variable is None else selected(variable, uuids)
    by_number = variable is None or any(isinstance(entry, int) for entry in parse(variable))
    known = not by_number or len(set(cards.values())) <= 1 or environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    return [uuids[place] if isinstance(place, int) else place for place in chosen], known


def _cards(library: Library) -> dict[str, str | None]:
    """The cards that this process may open, UUID to name, in NVML's order (by PCI address).

    TelemetryError if there is none, unless that is because all cards belong to other jobs.
    """
    cards: dict[str, str | None] = {}
    fault: NvmlError | None = None
    try:
        for index in range(library.call("nvmlDeviceGetCount")):
            try:
                handle = library.call("nvmlDeviceGetHandleByIndex", index)
                uuid = str(library.call("nvmlDeviceGetUUID", handle))
            except NvmlError as error:
                fault = fault if error.code == NO_PERMISSION else fault or error
                continue
            try:
                cards[uuid] = str(library.call("nvmlDeviceGetName", handle))
            except NvmlError:
                cards[uuid] = None
    except NvmlError as error:
        fault = error
    if fault is not None and not cards:
        raise TelemetryError(f"the cards could not be listed: {fault}", code=fault.code)
    return cards


def _card_of(mig: str, library: Library) -> str:
    handle = library.call("nvmlDeviceGetHandleByUUID", mig)
    card = library.call("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle)
    return str(library.call("nvmlDeviceGetUUID", card))
