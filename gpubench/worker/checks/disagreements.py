"""Where what took effect is not what was asked for."""

from collections.abc import Iterator
from typing import Any

from gpubench.core.findings import Finding, finding
from gpubench.core.records import Effective
from gpubench.suite.model.case import SPECS, Case
from gpubench.suite.model.precisions import PRECISIONS

_CAUSES = {
    "training": "The workload must call `model.eval()` for `infer` and `model.train()` for `train`.",
    "inference_mode": "The workload must run `infer` under `torch.inference_mode()`.",
    "grad_scaler": "fp16 gradients underflow without a GradScaler.",
}


def mismatches(case: Case, before: Effective | None, after: Effective | None) -> tuple[Finding, ...]:
    """One GB301 per setting that was not as asked before or after the measured steps.

    What a workload does not tell (None) is not judged: without `probe`, only torch's global settings are.
    """
    findings: dict[str, Finding] = {}
    for when, effective in (("before", before), ("after", after)):
        if effective is None:
            continue
        for setting, asked, got in _disagreements(case, effective):
            if setting not in findings:
                was, wanted = (
                    ("on" if each else "off") if isinstance(each, bool) else str(each) for each in (got, asked)
                )
                message = f"{setting} was {was} {when} the measured steps; {wanted} was asked for."
                hint = _cause(setting, case, effective) or None
                findings[setting] = finding(
                    "GB301", message, hint=hint, setting=setting, asked=asked, got=got, when=when
                )
    return tuple(findings.values())


def _disagreements(case: Case, effective: Effective) -> Iterator[tuple[str, Any, Any]]:
    """(setting, asked, got): settings by name, then torch's fp32_precision for the device's own backends. What products
    really did is part of `precision`.
    """
    precision = PRECISIONS[case.precision]
    read_back = (name for name, spec in SPECS.items() if spec.read_back is not None and spec.read_back(case))
    expected = {
        **{name: getattr(case, name) for name in read_back},
        "autocast_dtype": precision.autocast,
        "training": case.mode == "train",
        "inference_mode": case.mode == "infer",
    }
    for setting, asked in expected.items():
        got = effective.read(setting)
        if asked is not None and got is not None and got != asked:
            yield setting, asked, got
    for name, got in effective.math.items():
        if name.startswith("mkldnn") != (case.device_type == "cuda") and got != precision.math:
            yield f"math.{name}", precision.math, got
    if precision.scaled and case.mode == "train" and effective.optimizer and not effective.grad_scaler:
        yield "grad_scaler", True, False


def _cause(setting: str, case: Case, effective: Effective) -> str:
    """The likeliest reason, in words a person can act on; empty if there is none to offer."""
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
