"""Where what took effect is not what was asked for."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from gpubench.core.findings import Finding, finding
from gpubench.core.records import Effective
from gpubench.suite.model.case import SPECS, Case
from gpubench.suite.model.precisions import PRECISIONS


class Disagreement(NamedTuple):
    setting: str
    asked: Any
    got: Any
    cause: str


def mismatches(case: Case, before: Effective | None, after: Effective | None) -> tuple[Finding, ...]:
    """One GB301 per setting that was not as asked before or after the measured steps.

    What a workload does not tell (None) is not judged: without `probe`, only torch's global settings are.
    """
    findings: dict[str, Finding] = {}
    for when, effective in (("before", before), ("after", after)):
        if effective is None:
            continue
        for wrong in _disagreements(case, effective):
            findings.setdefault(wrong.setting, _as_finding(wrong, when))
    return tuple(findings.values())


def _as_finding(wrong: Disagreement, when: str) -> Finding:
    message = f"{wrong.setting} was {_text(wrong.got)} {when} the measured steps; {_text(wrong.asked)} was asked for."
    return finding(
        "GB301",
        message,
        hint=wrong.cause or None,
        setting=wrong.setting,
        asked=wrong.asked,
        got=wrong.got,
        when=when,
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _disagreements(case: Case, effective: Effective) -> Iterator[Disagreement]:
    """Settings compared by name; an expected value of None is not judged."""
    for setting, asked in _expected(case).items():
        got = effective.read(setting)
        if asked is not None and got is not None and got != asked:
            yield Disagreement(setting, asked, got, _cause(setting, case, effective))
    yield from _math(case, effective)


def _expected(case: Case) -> dict[str, Any]:
    read_back = (name for name, spec in SPECS.items() if spec.read_back is not None and spec.read_back(case))
    return {
        **{name: getattr(case, name) for name in read_back},
        "autocast_dtype": PRECISIONS[case.precision].autocast,
        "training": case.mode == "train",
        "inference_mode": case.mode == "infer",
    }


def _math(case: Case, effective: Effective) -> Iterator[Disagreement]:
    """The fp32_precision of torch for the device's own backends; what products really did is part of `precision`."""
    on_cuda, precision = case.device_type == "cuda", PRECISIONS[case.precision]
    for name, got in effective.math.items():
        belongs = name.startswith("mkldnn") != on_cuda
        if belongs and got != precision.math:
            yield Disagreement(f"math.{name}", precision.math, got, _cause("math", case, effective))
    if precision.scaled and case.mode == "train" and effective.optimizer and not effective.grad_scaler:
        yield Disagreement("grad_scaler", True, False, "fp16 gradients underflow without a GradScaler.")


def _cause(setting: str, case: Case, effective: Effective) -> str:
    """The likeliest reason, in words a person can act on; empty where there is none to offer."""
    if setting in ("precision", "math", "autocast_dtype"):
        return _precision_cause(case, effective)
    causes = {
        "training": "The workload must call `model.eval()` for `infer` and `model.train()` for `train`.",
        "inference_mode": "The workload must run `infer` under `torch.inference_mode()`.",
    }
    return causes.get(setting) or (SPECS[setting].cause if setting in SPECS else "")


def _precision_cause(case: Case, effective: Effective) -> str:
    environment = effective.extra.get("environment", {})
    overrides = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "ONEDNN_DEFAULT_FPMATH_MODE")
    found = [f"{name}={environment[name]}" for name in overrides if name in environment]
    if found:
        return f"{' and '.join(found)} in the environment overrides torch's setting; unset it."
    if effective.parameter_dtype is None:
        return f"The workload must compute in what `case.precision` asks for ({case.precision})."
    return "The workload, or a library it imports, changes torch's precision settings after they were set."
