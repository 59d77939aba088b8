"""The fingerprint of a machine that every run stores, and the part that must agree to compare two runs."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpubench.core.anonymity import anonymise, hide_homes, hide_uuids
from gpubench.core.secrets import is_secret_name, masked
from gpubench.machine import host_facts, installed_software, machine_cache
from gpubench.machine.selftest import gpu_selftest, host_selftest
from gpubench.telemetry.devices.base import TelemetryError, bounded
from gpubench.telemetry.devices.nvml import card_facts as facts
from gpubench.telemetry.devices.nvml import library

ENVIRONMENT_SCHEMA = 1
_DRIVER_TIMEOUT_S = 10.0

GPU_COMPARABLE = (
    *("name", "memory_total_bytes", "power_limit_w", "sm_clock_max_mhz", "memory_clock_max_mhz"),
    *("sm_clock_application_mhz", "ecc", "mig", "pcie_generation_max", "pcie_width", "vbios"),
)
_CPU_COMPARABLE = ("model", "family", "num_threads_usable", "num_cores", "smt", "governor", "boost", "flags")
_SYSTEM_COMPARABLE = ("os", "kernel", "container", "virtual", "cpu_quota")
_PACKAGE_COMPARABLE = ("gpubench", "torch", "torchvision", "triton", "numpy")

VARIABLES = (
    frozenset({"CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING"})
    | {"CUDA_CACHE_DISABLE", "CUDA_CACHE_PATH", "CUDA_DEVICE_MAX_CONNECTIONS", "CUDA_AUTO_BOOST"}
    | {"CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "CUDA_MPS_PIPE_DIRECTORY", "CUDA_INJECTION64_PATH"}
    | {"NVTX_INJECTION64_PATH"}
    | {"NVIDIA_TF32_OVERRIDE", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}
    | {"CUBLAS_WORKSPACE_CONFIG", "CUBLASLT_WORKSPACE_SIZE"}
    | {"LD_PRELOAD", "LD_BIND_NOW", "GLIBC_TUNABLES"}
    | {"GOMP_CPU_AFFINITY", "TF32_OVERRIDE", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "NPROC"}
    | {"OMPI_MCA_btl"}
    | {"PYTHONOPTIMIZE", "PYTHONMALLOC", "PYTHONDEVMODE", "PYTHON_GIL", "PYTHON_JIT"}
    | {"OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"}
    | {"NUMEXPR_NUM_THREADS"}
)
"""Variables that change how fast GPU programs run. Only these are stored, so that no secret is."""

VARIABLE_PREFIXES = (
    *("OMP_", "KMP_", "MKL_", "TORCH_", "TORCHINDUCTOR_", "TORCHDYNAMO_", "PYTORCH_", "CUDNN_"),
    *("CUBLAS_", "TRITON_", "ONEDNN_", "DNNL_", "NCCL_", "MALLOC_"),
)
"""And all whose names begin with one of these."""


def collect(
    worker_versions: Mapping[str, Any], *, anonymous: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """The fingerprint, JSON types only. Never raises and takes at most about ten seconds, whatever the driver does.

    `worker_versions` is what the worker host reported (torch, CUDA build, cuDNN): this process never imports torch.
    `anonymous` omits the host's name, hashes UUIDs and hides home folders. What could not be read is None, with the
    reason in the part's `absent`. `self_test` is the last one of `gpubench doctor` on this host and each card under
    this driver (None if never run); `ceilings` are those measured so far for the CPU and each card. Keys name their
    units. `folder` is where to look for a git checkout, by default the current one.
    """
    driver: dict[str, Any] | None = None
    gpus: list[dict[str, Any]] = []
    absent = {}
    try:
        driver, gpus = bounded(_read_gpus, _DRIVER_TIMEOUT_S, what="NVML")
    except TelemetryError as error:
        absent = {"driver": str(error), "gpus": str(error)}
    uuids = [gpu["uuid"] for gpu in gpus if gpu.get("uuid")]
    shown = {uuid: anonymise(uuid) if anonymous else uuid for uuid in uuids}
    version = driver.get("driver") if driver else None
    ceilings = machine_cache.known_ceilings([machine_cache.CPU, *uuids])
    return {
        "schema": ENVIRONMENT_SCHEMA,
        "hostname": None if anonymous else platform.node(),
        "anonymous": anonymous,
        "system": host_facts.system(),
        "cpu": host_facts.cpu(),
        "python": installed_software.python(),
        "packages": installed_software.packages(),
        "worker": dict(worker_versions),
        "git": installed_software.git(folder),
        "variables": performance_variables(anonymous=anonymous),
        "driver": driver,
        "gpus": [{**gpu, "uuid": shown.get(gpu.get("uuid"))} for gpu in gpus] if anonymous else gpus,
        "self_test": {
            "host": host_selftest.cached(),
            **{shown[uuid]: gpu_selftest.cached(uuid, version) for uuid in uuids},
        },
        "ceilings": {shown.get(key, key): facts for key, facts in ceilings.items()},
        "absent": absent,
    }


def _read_gpus() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    nvml = library.load()
    try:
        return facts.read_driver(nvml), facts.read_gpus(nvml)
    finally:
        nvml.close()


def machine_names(hostname: str | None, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """What a list of machines may call one: its host name, then its GPUs, then its CPU. `facts` as of `comparable`."""
    gpus = [value for name, value in facts.items() if name.startswith("gpu") and name.endswith(".name")]
    return tuple(dict.fromkeys(str(each) for each in (hostname, *gpus, facts.get("cpu.model")) if each))


def comparable(env: Mapping[str, Any]) -> dict[str, Any]:
    """What must agree to compare two runs, as a flat mapping from `part.name` to values, without absent ones.

    Identity (host, UUID, PCI address), the git commit and momentary state (volatile counters, the current PCIe
    generation) are left out, so that equal cards in equal machines can be compared.
    """
    flat: dict[str, Any] = {}

    def take(part: str, values: Mapping[str, Any] | None, names: tuple[str, ...]) -> None:
        flat.update({f"{part}.{name}": values[name] for name in names if values and values.get(name) is not None})

    # A card that is not visible here has no number.
    readable = [gpu for gpu in env.get("gpus") or () if gpu.get("name")]
    for position, gpu in enumerate(readable):
        take(f"gpu{position}", gpu, GPU_COMPARABLE)
    take("driver", env.get("driver"), ("driver", "cuda_driver"))
    take("cpu", env.get("cpu"), _CPU_COMPARABLE)
    take("system", env.get("system"), _SYSTEM_COMPARABLE)
    take("python", env.get("python"), ("version", "free_threaded"))
    take("packages", env.get("packages"), _PACKAGE_COMPARABLE)
    worker = env.get("worker") or {}
    take(
        "worker", worker, tuple(sorted(name for name, value in worker.items() if isinstance(value, str | int | float)))
    )
    variables = env.get("variables") or {}
    take("variables", variables, tuple(sorted(variables)))
    return flat


def performance_variables(environ: Mapping[str, str] | None = None, *, anonymous: bool = False) -> dict[str, str]:
    """The variables that are set, by name. `anonymous` hides home folders and hashes UUIDs in their values."""
    environ = os.environ if environ is None else environ
    kept = {name: masked(name, value) for name, value in sorted(environ.items()) if matters(name)}
    if not anonymous:
        return kept
    return {name: hide_homes(hide_uuids(value), environ) for name, value in kept.items()}


def matters(name: str) -> bool:
    """Whether a variable of this name changes performance and does not look like a secret."""
    return (name in VARIABLES or name.startswith(VARIABLE_PREFIXES)) and not is_secret_name(name)
