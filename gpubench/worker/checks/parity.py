"""Whether a case computes what fp64 computes, within what its precision explains."""

from typing import Any, NamedTuple

from gpubench.core.records import Parity
from gpubench.suite.model.case import Case, Precision
from gpubench.worker.workloads.base import ParityProbe


class Limits(NamedTuple):
    """Largest relative L2 error of the logits, and relative error of the loss."""

    logits: float
    loss: float


_FP16, _BF16 = Limits(1.5e-2, 1e-3), Limits(8e-2, 1e-2)

LIMITS: dict[Precision, Limits] = {
    "fp32": Limits(2e-5, 1e-4),
    "tf32": Limits(1e-2, 1e-3),
    "amp-fp16": _FP16,
    "fp16": _FP16,
    "amp-bf16": _BF16,
    "bf16": _BF16,
}


def check(workload: Any, case: Case, device: Any) -> Parity | None:
    """Compares the workload's fixed batch with its fp64 reference; None for a workload that offers no `parity`.

    Does not need a built step (call it after `close` where memory is tight) and takes its own memory on the device for
    eight samples. The gradient's error is reported without a limit: a healthy bf16 network of 34 layers is far off.
    """
    offer = getattr(workload, "parity", None)
    if offer is None:
        return None
    return judge(offer(case, device), LIMITS[case.precision])


def judge(probe: ParityProbe, limits: Limits) -> Parity:
    """NaN or a shape that differs is a failure: the error is then infinite."""
    logits = relative_l2(probe.logits_NC, probe.reference_logits_NC)
    loss = relative_l2(probe.loss, probe.reference_loss)
    gradient = None
    if probe.gradient is not None and probe.reference_gradient is not None:
        gradient = relative_l2(probe.gradient, probe.reference_gradient)
    return Parity(
        passed=logits <= limits.logits and loss <= limits.loss,
        logits_rel_error=logits,
        loss_rel_error=loss,
        gradient_rel_error=gradient,
        logits_limit=limits.logits,
        loss_limit=limits.loss,
        num_samples=probe.num_samples,
    )


def relative_l2(got: Any, expected: Any) -> float:
    """|got - expected| / |expected| in fp64; infinite if the shapes differ or anything is not finite."""
    import torch

    got, expected = got.double(), expected.double()
    if got.shape != expected.shape:
        return float("inf")
    error = float(torch.linalg.vector_norm(got - expected))
    size = float(torch.linalg.vector_norm(expected))
    if not (torch.isfinite(got).all() and torch.isfinite(expected).all()):
        return float("inf")
    return error / size if size > 0 else (0.0 if error == 0 else float("inf"))
