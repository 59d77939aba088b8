"""Doctor rows on the state of each GPU, from NVML alone."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from gpubench.core.units import format_bytes, format_watts, told_apart
from gpubench.machine.doctor_row import DoctorRow, Group, Level, doctor_row
from gpubench.telemetry.devices import cuda_visible
from gpubench.telemetry.devices.base import Identity, NullBackend, Survey, TelemetryError
from gpubench.telemetry.devices.nvml import NvmlBackend, card_facts, open_backend
from gpubench.telemetry.devices.nvml.library import NO_PERMISSION, name_of
from gpubench.telemetry.window.throttling import CLOCKS_SET_BIT, REASON_BITS

_HOT_C = 80
_BUSY = 0.05
_DEFAULT_COMPUTE_MODE = 0
_MPS_SERVER = "nvidia-cuda-mps-server"


def rows(*, only_shown: bool = False) -> tuple[list[DoctorRow], Mapping[str, Any] | None, list[dict[str, Any]]]:
    """(rows, the driver's versions or None, each card's facts). `only_shown`: only cards in CUDA_VISIBLE_DEVICES."""
    backend = open_backend()
    try:
        if not isinstance(backend, NvmlBackend):
            # Without a driver there is no GPU; any other failure is a fault.
            absent = isinstance(backend, NullBackend) and backend.code in {9, 12}
            return [_row("NVML", Level.NA if absent else Level.BAD, backend.reason, backend.remedy)], None, []
        uuids = cuda_visible.shown(backend.library)
        driver = card_facts.read_driver(backend.library)
        gpus = card_facts.read_gpus(backend.library)
        versions = (driver["driver"] or "version unknown", f"serves CUDA {driver['cuda_driver'] or 'unknown'}")
        found = [_row("driver", Level.OK, ", ".join(versions))]
        for gpu in gpus:
            if gpu.get("uuid") in uuids:
                found += _of_gpu(backend, gpu)
            elif not only_shown:
                found.append(_not_shown(gpu))
        gpus = [gpu for gpu in gpus if gpu.get("uuid") in uuids or not only_shown]
    except TelemetryError as error:
        return [_row("NVML", Level.BAD, str(error), error.remedy)], None, []
    else:
        return found, driver, gpus
    finally:
        backend.close()


_row = partial(doctor_row, Group.GPU)


def _of_gpu(backend: NvmlBackend, gpu: Mapping[str, Any]) -> list[DoctorRow]:
    """The rows of one card, with its NVML index in their names."""
    title = f"GPU {gpu['nvml_index']}"
    memory = format_bytes(gpu["memory_total_bytes"]) if gpu.get("memory_total_bytes") else "memory unknown"
    try:
        device = backend.open(Identity(uuid=gpu["uuid"]))
    except TelemetryError as error:
        return [_row(title, Level.BAD, f"cannot be read: {error}", error.remedy or "`nvidia-smi -q` may say more.")]
    fast, slow = device.read_fast(), device.read_slow()
    reasons, survey = fast.reasons, device.survey()
    device.close()
    return [
        _row(title, Level.OK, f"{gpu.get('name') or 'name unknown'}, {memory}", uuid=gpu["uuid"]),
        _processes(title, survey),
        _mps(title, survey),
        _load(title, slow.utilization),
        _power_limit(title, gpu),
        _clocks(title, gpu, reasons),
        _throttling(title, reasons),
        _temperature(title, slow.temperature_c),
        _energy(title, fast.counter_j, fast.power_instant_w or fast.power_average_w or fast.power_usage_w),
        *_settings(title, gpu),
    ]


def _not_shown(gpu: Mapping[str, Any]) -> DoctorRow:
    """The row of a card that is not used, so its state does not matter."""
    title, absent = f"GPU {gpu['nvml_index']}", gpu["absent"]
    if gpu.get("uuid"):
        text = f"{gpu.get('name') or 'name unknown'}, not used: CUDA_VISIBLE_DEVICES leaves it out"
        return _row(title, Level.NA, text, uuid=gpu["uuid"])
    reason = absent.get("handle") or absent.get("uuid") or "it does not tell its UUID"
    if name_of(NO_PERMISSION) in reason:
        return _row(title, Level.NA, f"not given to this process: {reason}")
    remedy = (
        "Other cards can be used. `nvidia-smi -q` and `dmesg` (Xid messages) may say more; a lost card needs a reset."
    )
    return _row(title, Level.WARN, f"cannot be read: {reason}", remedy)


def _processes(title: str, survey: Survey) -> DoctorRow:
    name = f"{title} processes"
    if survey.processes is None:
        return _row(name, Level.NA, f"cannot be listed: {survey.why}")
    if not survey.processes:
        return _row(name, Level.OK, "no other process")
    who = ", ".join(f"{process.pid} {process.name}".strip() for process in survey.processes)
    remedy = "Stop them, or choose another card with CUDA_VISIBLE_DEVICES."
    data = [process._asdict() for process in survey.processes]
    return _row(name, Level.BAD, f"in use by {who}", remedy, processes=data)


def _mps(title: str, survey: Survey) -> DoctorRow:
    """By the server's process, which the driver lists while one runs; its clients do not know of each other."""
    if survey.processes is None:
        return _row(f"{title} MPS", Level.NA, f"processes cannot be listed: {survey.why}")
    if not any(_MPS_SERVER in process.name for process in survey.processes):
        return _row(f"{title} MPS", Level.OK, "no server")
    remedy = "Programs share this card's multiprocessors: echo quit | nvidia-cuda-mps-control."
    return _row(f"{title} MPS", Level.WARN, "a server runs", remedy)


def _load(title: str, utilization: float | None) -> DoctorRow:
    if utilization is None:
        return _row(f"{title} load", Level.NA, "utilization cannot be read")
    level = Level.BAD if utilization > _BUSY else Level.OK
    remedy = "Something computes on this card (perhaps outside this container): wait, or choose another."
    return _row(f"{title} load", level, f"busy {utilization:.0%} of the time", remedy)


def _power_limit(title: str, gpu: Mapping[str, Any]) -> DoctorRow:
    limit, default = gpu.get("power_limit_w"), gpu.get("power_limit_default_w")
    if limit is None or default is None:
        return _row(f"{title} power limit", Level.NA, "cannot be read")
    if limit < default - 0.5:
        remedy = f"sudo nvidia-smi -i {gpu['nvml_index']} -pl {default:.0f}, or state the limit with every figure."
        ours, usual = told_apart(limit, default, format_watts)
        return _row(f"{title} power limit", Level.BAD, f"{ours}, below the default of {usual}", remedy)
    return _row(f"{title} power limit", Level.OK, f"{limit:.0f} W")


def _clocks(title: str, gpu: Mapping[str, Any], reasons: int | None) -> DoctorRow:
    highest = gpu.get("sm_clock_max_mhz")
    limit = "" if highest is None else f"up to {highest} MHz"
    if reasons is None:
        text = ", ".join(filter(None, ["whether a setting holds them cannot be read", limit]))
        return _row(f"{title} clocks", Level.NA, text)
    if reasons & CLOCKS_SET_BIT:
        return _row(f"{title} clocks", Level.OK, ", ".join(filter(None, ["held by a setting", limit])))
    remedy = f"For the steadiest comparisons: sudo nvidia-smi -i {gpu.get('nvml_index', 0)} -lgc MHZ (undo: -rgc)."
    return _row(f"{title} clocks", Level.WARN, f"SM clock not locked ({limit or 'its maximum cannot be read'})", remedy)


def _throttling(title: str, reasons: int | None) -> DoctorRow:
    if reasons is None:
        return _row(f"{title} throttling", Level.NA, "cannot be read")
    held = [name.replace("_", " ") for name, bit in REASON_BITS.items() if reasons & bit]
    if not held:
        return _row(f"{title} throttling", Level.OK, "clocks are not held down")
    severe = reasons & (REASON_BITS["hw_thermal"] | REASON_BITS["power_brake"] | REASON_BITS["sw_thermal"])
    remedy = "An idle card that throttles has a problem: check cooling and power (`nvidia-smi -q -d PERFORMANCE`)."
    return _row(f"{title} throttling", Level.BAD if severe else Level.WARN, f"held down by {', '.join(held)}", remedy)


def _temperature(title: str, temperature_c: float | None) -> DoctorRow:
    if temperature_c is None:
        return _row(f"{title} temperature", Level.NA, "cannot be read")
    level = Level.WARN if temperature_c >= _HOT_C else Level.OK
    return _row(f"{title} temperature", level, f"{temperature_c:.0f} C", "Let it cool down before measuring.")


def _energy(title: str, counter_j: float | None, power_w: float | None) -> DoctorRow:
    if counter_j is not None:
        return _row(f"{title} energy", Level.OK, "energy counter readable")
    if power_w is not None:
        remedy = "Energy comes from power readings here, and needs windows of at least 10 s."
        return _row(f"{title} energy", Level.WARN, "no energy counter, power only", remedy)
    return _row(f"{title} energy", Level.NA, "neither energy nor power can be read")


def _settings(title: str, gpu: Mapping[str, Any]) -> list[DoctorRow]:
    found = []
    width, widest = gpu.get("pcie_width"), gpu.get("pcie_width_max")
    if width and widest and width < widest:
        remedy = "Reseat the card or check the slot: transfers from the host are slower."
        found.append(_row(f"{title} PCIe", Level.WARN, f"x{width} of x{widest}", remedy))
    if gpu.get("persistence") is False:
        remedy = "sudo nvidia-smi -pm 1 (or nvidia-persistenced): without it first calls take seconds and clocks reset."
        found.append(_row(f"{title} persistence", Level.WARN, "off", remedy))
    if gpu.get("mig"):
        found.append(_row(f"{title} MIG", Level.WARN, "on: power and energy are those of the whole card"))
    found.append(_ecc(title, gpu))
    if gpu.get("compute_mode") not in {None, _DEFAULT_COMPUTE_MODE}:
        text = "not the default: a second process may be refused"
        found.append(_row(f"{title} compute mode", Level.WARN, text, "sudo nvidia-smi -c 0"))
    return found


def _ecc(title: str, gpu: Mapping[str, Any]) -> DoctorRow:
    """On cards with GDDR it costs bandwidth and memory, so figures with and without it do not compare."""
    errors, on = gpu.get("ecc_uncorrected_volatile"), gpu.get("ecc")
    if errors:
        text = f"{errors} uncorrected errors since the driver was loaded"
        remedy = "Reset the GPU or reboot; `nvidia-smi -q -d ECC,ROW_REMAPPER` says whether to replace the card."
        return _row(f"{title} ECC", Level.BAD, text, remedy)
    if on is None:
        return _row(f"{title} ECC", Level.NA, "cannot be read, or the card has none")
    return _row(f"{title} ECC", Level.OK, "on" if on else "off: compare only with cards that have it off, too")
