"""The fingerprint of a machine that every run stores, and the part of it that decides whether two runs compare."""

import platform
from collections.abc import Mapping
from typing import Any

from gpubench.machine import host_facts, installed_software, stored_ceilings
from gpubench.machine.environment_variables import anonymise, performance_variables
from gpubench.machine.selftest import gpu_selftest, host_selftest
from gpubench.telemetry.devices.base import TelemetryError
from gpubench.telemetry.devices.bounded import bounded
from gpubench.telemetry.devices.nvml import card_facts as facts
from gpubench.telemetry.devices.nvml import library

ENVIRONMENT_SCHEMA = 1
_DRIVER_TIMEOUT_S = 10.0

GPU_COMPARABLE = (
    "name",
    "memory_total_bytes",
    "power_limit_w",
    "sm_clock_max_mhz",
    "memory_clock_max_mhz",
    "sm_clock_application_mhz",
    "ecc",
    "mig",
    "pcie_generation_max",
    "pcie_width",
    "vbios",
)
_CPU_COMPARABLE = ("model", "num_threads_usable", "num_cores", "smt", "governor", "boost", "flags")
_SYSTEM_COMPARABLE = ("os", "kernel", "container", "virtual", "cpu_quota")
_PACKAGE_COMPARABLE = ("gpubench", "torch", "torchvision", "triton", "numpy")


def collect(worker_versions: Mapping[str, Any], *, anonymous: bool = False) -> dict[str, Any]:
    """The fingerprint, JSON types only. Never raises and takes at most about ten seconds, whatever the driver does.

    `worker_versions` is what the worker host reported (torch, CUDA build, cuDNN): this process never imports torch.
    `anonymous` leaves the host's name out, hashes UUIDs and hides home folders. What could not be read is None with its
    reason under `absent` of the same part. Units: in each key's name.
    """
    return {
        "schema": ENVIRONMENT_SCHEMA,
        "hostname": None if anonymous else platform.node(),
        "anonymous": anonymous,
        "system": host_facts.system(),
        "cpu": host_facts.cpu(),
        "python": installed_software.python(),
        "packages": installed_software.packages(),
        "worker": dict(worker_versions),
        "git": installed_software.git(),
        "variables": performance_variables(anonymous=anonymous),
        **_gpu_part(anonymous=anonymous),
    }


def _gpu_part(*, anonymous: bool) -> dict[str, Any]:
    """`driver` and `gpus`; without a driver, None and an empty list with the reason."""
    try:
        driver, gpus = bounded(_read_gpus, _DRIVER_TIMEOUT_S, what="NVML")
    except TelemetryError as error:
        reason = str(error)
        quoted, peaks = _self_test([], None, anonymous=anonymous), _ceilings([], anonymous=anonymous)
        absent = {"driver": reason, "gpus": reason}
        return {"driver": None, "gpus": [], "self_test": quoted, "ceilings": peaks, "absent": absent}
    quoted = _self_test(gpus, driver.get("driver"), anonymous=anonymous)
    peaks = _ceilings(gpus, anonymous=anonymous)
    if anonymous:
        gpus = [{**gpu, "uuid": anonymise(gpu["uuid"]) if gpu.get("uuid") else None} for gpu in gpus]
    return {"driver": driver, "gpus": gpus, "self_test": quoted, "ceilings": peaks, "absent": {}}


def _self_test(gpus: list[dict[str, Any]], driver: str | None, *, anonymous: bool) -> dict[str, Any]:
    """What `gpubench doctor` last measured of this host and of each card under this driver; None where it never did."""
    cards = {gpu["uuid"]: gpu_selftest.cached(gpu["uuid"], driver) for gpu in gpus if gpu.get("uuid")}
    if anonymous:
        cards = {anonymise(uuid): facts for uuid, facts in cards.items()}
    return {"host": host_selftest.cached(), **cards}


def _ceilings(gpus: list[dict[str, Any]], *, anonymous: bool) -> dict[str, list[stored_ceilings.Facts]]:
    """The ceilings measured so far of the CPU (`cpu`) and of each card."""
    found = stored_ceilings.known([stored_ceilings.CPU, *(gpu["uuid"] for gpu in gpus if gpu.get("uuid"))])
    return {anonymise(key) if anonymous and key != stored_ceilings.CPU else key: facts for key, facts in found.items()}


def _read_gpus() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    nvml = library.load()
    try:
        return facts.read_driver(nvml), facts.read_gpus(nvml)
    finally:
        nvml.close()


def comparable(env: Mapping[str, Any]) -> dict[str, Any]:
    """What must agree for two runs to be held against each other: flat, `part.name` to a value, absent ones left out.

    Identity (host, UUID, PCI address), the git commit and passing state (volatile counters, the PCIe generation of the
    moment) are not part of it: two equal cards in two equal machines compare.
    """
    flat: dict[str, Any] = {}

    def take(part: str, values: Mapping[str, Any] | None, names: tuple[str, ...]) -> None:
        flat.update({f"{part}.{name}": values[name] for name in names if values and values.get(name) is not None})

    for position, gpu in enumerate(env.get("gpus") or ()):
        take(f"gpu{position}", gpu, GPU_COMPARABLE)
    take("driver", env.get("driver"), ("driver", "cuda_driver"))
    take("cpu", env.get("cpu"), _CPU_COMPARABLE)
    take("system", env.get("system"), _SYSTEM_COMPARABLE)
    take("python", env.get("python"), ("version", "free_threaded"))
    take("packages", env.get("packages"), _PACKAGE_COMPARABLE)
    worker = env.get("worker") or {}
    take("worker", worker, tuple(sorted(name for name, value in worker.items() if _plain(value))))
    variables = env.get("variables") or {}
    take("variables", variables, tuple(sorted(variables)))
    return flat


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool)
