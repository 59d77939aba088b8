"""Whether a case computes what fp64 computes, within what its precision explains."""

from typing import Any

from gpubench.core.records import Parity
from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import PRECISIONS, ParityLimits
from gpubench.worker.workloads.base import ParityProbe


def check(workload: Any, case: Case, device: Any) -> Parity | None:
    """Compares the workload's fixed batch with its fp64 reference; None for a workload that offers no `parity`.

    Does not need a built step (call it after `close` where memory is tight) and takes its own memory on the device for
    eight samples. The gradient's error is reported without a limit: a healthy bf16 network of 34 layers is far off.
    """
    offer = getattr(workload, "parity", None)
    if offer is None:
        return None
    return judge(offer(case, device), PRECISIONS[case.precision].parity)


def judge(probe: ParityProbe, limits: ParityLimits) -> Parity:
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
