"""State that a workload can change for its whole process, and so for every arm in it."""

import gc
import os
import sys
import threading
import tracemalloc
from typing import Any

from gpubench.worker.effective_settings import WATCHED_VARIABLES


def process_state(torch: Any) -> dict[str, object]:
    """The state by name. The settings of cases (precision of products, cuDNN's flags) are read back elsewhere."""
    hooks = {
        f"{name} of {module}": tuple(map(id, held.values())) if isinstance(held, dict) else held
        for module in ("torch.nn.modules.module", "torch.optim.optimizer")
        for name, held in vars(sys.modules[module]).items()
        if name.startswith("_global_")
    }
    stance = getattr(sys.modules.get("torch._dynamo.eval_frame"), "_stance", None)
    cuda = torch.backends.cuda
    attention = ("flash", "mem_efficient", "math", "cudnn")
    autocast = {kind: (torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")}
    return {
        "anomaly detection": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "threads": torch.get_num_threads(),
        "usable CPUs": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "default dtype": torch.get_default_dtype(),
        "default device": torch.empty(0).device,  # get_default_device fails in torch 2.9 after a reset
        "deterministic algorithms": torch.get_deterministic_debug_mode(),
        "filling of uninitialised memory": torch.utils.deterministic.fill_uninitialized_memory,
        "gradients": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": autocast,
        "flushing of denormal numbers": float(torch.full((), 1e-40, dtype=torch.float32, device="cpu") * 1.0) == 0.0,
        "modes of torch functions": len(torch.overrides._get_current_function_mode_stack()),  # noqa: SLF001
        "modes of torch operators": len(torch.utils._python_dispatch._get_current_dispatch_mode_stack()),  # noqa: SLF001
        "threads of backward": torch._C._is_multithreading_enabled(),  # noqa: SLF001 - there is no public one
        "oneDNN": torch.backends.mkldnn.enabled,
        "order of einsum": (torch.backends.opt_einsum.enabled, torch.backends.opt_einsum.strategy),
        "attention kernels": [getattr(cuda, f"{name}_sdp_enabled")() for name in attention],
        "quantised engine": torch.backends.quantized.engine,
        "stance of torch.compile": getattr(stance, "stance", "default"),
        "torch profiler": torch.autograd._profiler_enabled(),  # noqa: SLF001
        "garbage collection": (gc.isenabled(), gc.get_threshold(), gc.get_debug()),
        "trace function": (sys.gettrace(), sys.getprofile(), threading.gettrace()),
        "tracemalloc": tracemalloc.is_tracing(),
        "switch interval": sys.getswitchinterval(),
        "environment": {name: os.environ.get(name) for name in WATCHED_VARIABLES},
        **hooks,
    }


def changes(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return [name for name, value in after.items() if before[name] != value]
