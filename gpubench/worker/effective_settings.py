"""Applies the settings of a case, reads back what took effect, and reports differences.

Floats: torch's `fp32_precision` per backend and operation decides. The older switches (`allow_tf32`,
`set_float32_matmul_precision`) are set to agree, because reading a contradicting one raises, and parts of torch still
read them: the compiler of 2.9 to 2.14 under TF32, and `torch.backends.cudnn.flags`.
"""

import os
import random
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpubench.core.findings import Finding, finding
from gpubench.core.records import Effective
from gpubench.suite.model.case import SPECS, Case
from gpubench.suite.model.precisions import PRECISIONS
from gpubench.worker.accelerator import Accelerator, accelerator_of, software
from gpubench.worker.checks.unsupported import unsupported
from gpubench.worker.failures import SettingsMismatch
from gpubench.worker.freed_memory import keep_freed_memory
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.numerics import NOT_SEEN, PARTLY_WATCHED

MATH = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")
"""Every operation whose float32 may be computed in lower precision, by its place in `torch.backends`."""

WATCHED_VARIABLES = (
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_LAUNCH_BLOCKING",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_NVML_BASED_CUDA_CHECK",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
)
"""Environment variables that change figures without showing in torch's flags; they are recorded if set."""

_CAUSES = {
    "training": "The workload must call `model.eval()` for `infer` and `model.train()` for `train`.",
    "inference_mode": "The workload must run `infer` under `torch.inference_mode()`.",
    "grad_scaler": "fp16 gradients underflow without a GradScaler.",
}


def prepare(case: Case, torch: Any) -> None:
    """Applies the settings of a case before its workload is built. Raises Unsupported if it cannot run here."""
    reason = unsupported(case)
    if reason is not None:
        raise Unsupported(reason)
    apply(case, torch)


def apply(case: Case, torch: Any) -> None:
    """Sets precision, cuDNN, threads, seed and current device of this process. Call it after `unsupported`, because a
    missing CUDA device raises torch's own error here.
    """
    _set_math(torch, tf32=PRECISIONS[case.precision].math == "tf32")
    torch.backends.cudnn.enabled = case.cudnn_enabled
    torch.backends.cudnn.benchmark = case.cudnn_benchmark
    torch.backends.cudnn.deterministic = case.cudnn_deterministic
    if case.cpu_threads is not None:
        torch.set_num_threads(case.cpu_threads)
    random.seed(case.seed)
    np.random.seed(case.seed % 2**32)  # noqa: NPY002 - workloads and data sets still draw from it
    torch.manual_seed(case.seed)
    accelerator_of(case.device).select()


def _set_math(torch: Any, *, tf32: bool) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Please use the new API settings", category=UserWarning)
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32
    math = "tf32" if tf32 else "ieee"
    torch.backends.cudnn.fp32_precision = math  # used by compiled convolutions
    for name in MATH:  # last, because the older switches write these too
        _backend(torch, name).fp32_precision = "ieee" if name.startswith("mkldnn") else math


def read_back(case: Case, workload_probe: dict[str, Any] | None, device: Any) -> Effective:
    """The settings in effect now. `workload_probe` is the workload's `probe()` of the built step (None: it has none).
    If the watched operators match the requested precision but others were not watched, the precision counts as not
    seen.

    Call it before and after the measured steps: it runs a small product and a small convolution on `device` to see
    whether float32 is computed in lower precision (which also catches overrides by the environment), and waits for
    them.
    """
    import torch

    accelerator = accelerator_of(device)
    probe = dict(workload_probe or {})
    elsewhere = any(probe.get("extra", {}).get(name) for name in PARTLY_WATCHED)
    observed, facts = observed_math(torch, accelerator), accelerator.facts()
    environment = {name: os.environ[name] for name in WATCHED_VARIABLES if name in os.environ}
    extra = {**probe.pop("extra", {}), "observed_math": observed, "environment": environment, **facts.extra}
    extra["freed_memory"] = keep_freed_memory()
    math, has_gpu = math_modes(torch), accelerator_of("cuda").problem() is None
    cudnn = torch.backends.cudnn.version() if has_gpu else None  # type: ignore[no-untyped-call]
    precision = _precision(probe, extra, math, observed, accelerator)
    return Effective(
        precision=NOT_SEEN if elsewhere and precision == case.precision else precision,
        math=math,
        **cudnn_flags(torch),
        cpu_threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
        seed=torch.initial_seed(),
        device=str(device),
        versions=software(torch, cudnn),
        extra=extra,
        device_name=facts.name,
        device_uuid=facts.uuid,
        **probe,
    )


def math_modes(torch: Any) -> dict[str, str]:
    """The current fp32_precision of every operation, as reported by torch."""
    return {name: str(_backend(torch, name).fp32_precision) for name in MATH}


def cudnn_flags(torch: Any) -> dict[str, bool]:
    cudnn = torch.backends.cudnn
    return {f"cudnn_{name}": bool(getattr(cudnn, name)) for name in ("enabled", "benchmark", "deterministic")}


def _backend(torch: Any, name: str) -> Any:
    backend = torch.backends
    for part in name.split("."):
        backend = getattr(backend, part)
    return backend


def observed_math(torch: Any, accelerator: Accelerator) -> dict[str, str | None]:
    """`ieee` or `reduced` for a float32 matrix product and a convolution, told from their results.

    Every factor is 1 + 2^-12, which fp32 keeps and TF32 (10 bits of fraction) and bf16 (7) round to 1, so the mean of a
    sum of such products is 1.000244 or 1. None if it is neither. On a GPU both are large enough for tensor cores to pay
    off: libraries may use them under TF32, but need not.
    """
    from gpubench.worker.workloads.numerics import no_autotuning

    factor, device = 1.0 + 2.0**-12, accelerator.device
    size, batch, pixels = (1024, 16, 56) if accelerator.asynchronous else (256, 4, 16)
    where = {"dtype": torch.float32, "device": device}  # a workload may have changed the defaults
    matrix = torch.full((size, size), factor, **where)
    image = torch.full((batch, 64, pixels, pixels), factor, **where)
    weights = torch.full((64, 64, 3, 3), 1.0, **where)
    with torch.no_grad(), torch.autocast(device.type, enabled=False), no_autotuning():
        product = (matrix @ torch.ones_like(matrix)) / size
        convolution = torch.nn.functional.conv2d(image, weights) / (64 * 9)
    return {"matmul": _kept(product.double().mean().item()), "conv": _kept(convolution.double().mean().item())}


def _kept(mean: float) -> str | None:
    step = 2.0**-12
    if abs(mean - 1.0 - step) < step / 4:
        return "ieee"
    return "reduced" if abs(mean - 1.0) < step / 4 else None


_BY_TYPES = {(spec.weights, spec.compute, spec.autocast is not None): spec.name for spec in PRECISIONS.values()}


_SHORT = ("float16", "bfloat16")


def _precision(
    probe: dict[str, Any],
    extra: dict[str, Any],
    math: dict[str, str],
    observed: dict[str, str | None],
    accelerator: Accelerator,
) -> str:
    """The precision really used, from observed types and the mode of float32."""
    compute: str | None = probe.get("compute_dtype")
    autocast: str | None = probe.get("autocast_dtype")
    if compute is None:
        return NOT_SEEN
    parts = set(compute.split("+"))
    if autocast is not None and autocast in parts and parts <= {autocast, "float32"}:
        compute = autocast  # autocast keeps some operations in float32, and a workload may do so too
    own = probe.get("parameter_dtype") or "+".join(extra.get("weight_dtypes", ()))
    if own in _SHORT and own in extra.get("every_step_dtypes", ()) and parts <= {own, "float32"}:
        compute = own  # torch's attention without a fused kernel and rotary embeddings multiply in float32
    if compute != "float32":
        weights: str = probe.get("parameter_dtype") or ("float32" if autocast else compute)
        key = (weights, compute, autocast is not None)
        return _BY_TYPES.get(key, compute if weights == compute else f"{compute} products of {weights} weights")
    on_gpu = accelerator.device.type == "cuda"
    modes = {math[name] for name in ("cuda.matmul", "cudnn.conv")} if on_gpu else set()
    seen = {mode for mode in observed.values() if mode is not None}
    if modes <= {"ieee"} and seen <= {"ieee"}:
        return "fp32"
    if modes == {"tf32"} and "reduced" in seen:
        return "tf32"
    products = "+".join(sorted(seen)) or "neither fp32 nor TF32"
    return f"fp32 with products in {products} (torch says {'+'.join(sorted(modes)) or 'ieee'})"


def check(case: Case, effective: Effective, *, before: bool) -> None:
    """SettingsMismatch if a setting is not as requested, read `before` the measured steps or after them."""
    wrong = mismatches(case, *((effective, None) if before else (None, effective)))
    if wrong:
        raise SettingsMismatch(wrong)


def mismatches(case: Case, before: Effective | None, after: Effective | None) -> tuple[Finding, ...]:
    """One GB301 per setting that was not as requested before or after the measured steps.

    What a workload does not report (None) is not judged: without `probe`, only torch's global settings are.
    """
    findings: dict[str, Finding] = {}
    for when, effective in (("before", before), ("after", after)):
        if effective is None:
            continue
        for setting, asked, got in _disagreements(case, effective):
            was, wanted = (("on" if each else "off") if isinstance(each, bool) else str(each) for each in (got, asked))
            message = f"{setting} was {was} {when} the measured steps; {wanted} was asked for."
            facts = {"setting": setting, "asked": asked, "got": got, "when": when}
            hint = _cause(setting, case, effective) or None
            findings.setdefault(setting, finding("GB301", message, hint=hint, **facts))
    return tuple(findings.values())


def _disagreements(case: Case, effective: Effective) -> Iterator[tuple[str, Any, Any]]:
    """(setting, requested, actual): settings by name, then torch's fp32_precision for the device's backends. The
    observed precision of products is part of `precision`.
    """
    precision = PRECISIONS[case.precision]
    read_back = (name for name, spec in SPECS.items() if spec.read_back is not None and spec.read_back(case))
    expected = {
        **{name: getattr(case, name) for name in read_back},
        "autocast_dtype": precision.autocast,
        "training": case.mode == "train",
        "inference_mode": case.mode == "infer",
    }
    not_seen = set(effective.extra.get("not_seen", ())) - {"precision"}  # its observed value may be wrong already
    for setting, asked in expected.items():
        got = effective.read(setting)
        if asked is not None and got not in (None, asked, NOT_SEEN) and setting not in not_seen:
            yield setting, asked, got
    for name, got in effective.math.items():
        if name.startswith("mkldnn") != (case.device_type == "cuda") and got != precision.math:
            yield f"math.{name}", precision.math, got
    if precision.scaled and case.mode == "train" and effective.optimizer and not effective.grad_scaler:
        yield "grad_scaler", True, False


def _cause(setting: str, case: Case, effective: Effective) -> str:
    """The likeliest reason, and what to do; empty if unknown."""
    if setting not in ("precision", "autocast_dtype") and not setting.startswith("math."):
        return _CAUSES.get(setting) or (SPECS[setting].cause if setting in SPECS else "")
    environment = effective.extra.get("environment", {})
    overrides = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "ONEDNN_DEFAULT_FPMATH_MODE")
    found = [f"{name}={environment[name]}" for name in overrides if name in environment]
    if found:
        return f"{' and '.join(found)} in the environment overrides torch's setting; unset it."
    if effective.parameter_dtype is None:
        return f"The workload must compute in what `case.precision` asks for ({case.precision})."
    return "The workload, or a library it imports, changes torch's precision settings after they were set."
