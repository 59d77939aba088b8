"""Environment variables that change how fast GPU programs run. Only these are stored, so that no secret is."""

import os
from collections.abc import Mapping

from gpubench.core.anonymity import hide_homes, hide_uuids
from gpubench.core.secrets import is_secret_name, masked

EXACT = (
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
"""Whole names."""

PREFIXES = (
    *("OMP_", "KMP_", "MKL_", "TORCH_", "TORCHINDUCTOR_", "TORCHDYNAMO_", "PYTORCH_", "CUDNN_"),
    *("CUBLAS_", "TRITON_", "ONEDNN_", "DNNL_", "NCCL_", "MALLOC_"),
)
"""Prefixes: all names that begin with one of these."""


def performance_variables(environ: Mapping[str, str] | None = None, *, anonymous: bool = False) -> dict[str, str]:
    """The variables that are set, by name. `anonymous` hides home folders and hashes UUIDs in their values."""
    environ = os.environ if environ is None else environ
    kept = {name: masked(name, value) for name, value in sorted(environ.items()) if matters(name)}
    if not anonymous:
        return kept
    return {name: hide_homes(hide_uuids(value), environ) for name, value in kept.items()}


def matters(name: str) -> bool:
    """Whether a variable of this name changes performance and does not look like a secret."""
    return (name in EXACT or name.startswith(PREFIXES)) and not is_secret_name(name)
