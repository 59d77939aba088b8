"""What a host loads for all its children, and what it can say about itself."""

import importlib
import os
import platform
import sys

from gpubench.protocol.messages import Hello
from gpubench.worker.process import device_query

_NVML_CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"

MODULES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy.stats",
    "ruptures",
    "sklearn.datasets",
    "sklearn.metrics",
    "nvtx",
    "gpubench.stats.stopping_rule",
    "gpubench.stats.step_series",
    "gpubench.worker.measure_case",
    "gpubench.worker.ab.blocks",
    "gpubench.worker.quality",
    "gpubench.worker.workloads.cnn",
    "gpubench.worker.workloads.torchvision_cnn",
    "torch.utils.flop_counter",
    "torch.optim.adam",
    "torch.optim.adamw",
    "torch.optim.sgd",
)


def preload(*, everything: bool) -> None:
    """Imports what children will need; without `everything`, torch alone (a fresh process imports for itself).

    While modules are imported, torch answers "is CUDA there?" through NVML: a library that asks at import time would
    otherwise initialise CUDA here, and no child could use it any more.
    """
    was_set = _NVML_CHECK in os.environ
    os.environ.setdefault(_NVML_CHECK, "1")
    try:
        for name in MODULES if everything else MODULES[:1]:
            importlib.import_module(name)
    finally:
        if not was_set:
            del os.environ[_NVML_CHECK]


def hello(*, can_fork: bool) -> Hello:
    """The host's first message: versions, CUDA devices, and why there are none."""
    import torch

    from gpubench.worker.accelerator import installed, software

    found = device_query.ask_in_child(torch) if can_fork else device_query.ask_in_program()
    return Hello(
        pid=os.getpid(),
        role="host",
        python=sys.executable,
        versions={
            "gpubench": installed("gpubench"),
            "python": platform.python_version(),
            **software(torch, found.cudnn),
            "numpy": installed("numpy"),
            "nvtx": installed("nvtx"),
        },
        devices=found.devices,
        can_fork=can_fork,
        cuda_unavailable=found.unavailable,
    )
