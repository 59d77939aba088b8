"""Whether a case computes what fp64 computes, within the rounding of its precision."""

import math
import traceback
from collections.abc import Iterator
from typing import Any

from gpubench.core.findings import finding
from gpubench.core.records import Parity
from gpubench.core.units import format_significant, told_apart
from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import PRECISIONS, ParityLimits
from gpubench.worker.checks.after_steps import Metrics, all_absent
from gpubench.worker.job import RunningJob
from gpubench.worker.workloads import optional_facts
from gpubench.worker.workloads.base import ParityProbe
from gpubench.worker.workloads.users_errors import in_one_line

_RANDOM_SHARE = 0.25
"""If outputs of two calls differ by more than this share of the error, the model is random and cannot be compared with
a reference.
"""

_WIDE = 4
"""Bytes of a dtype that rounds a loss no more than its limit allows for."""

_MORE_PROBES = 2

_METRICS = ("parity_logits_rel_error", "parity_loss_rel_error", "parity_gradient_rel_error")


def checked(launch: RunningJob, workload: Any, case: Case, device: Any) -> tuple[Parity | None, Metrics]:
    """Compares the fixed batch with fp64: GB305 if it differs, GB306 if it could not be compared."""
    if not launch.job.parity:
        return None, all_absent(_METRICS, "not checked in this launch")
    launch.enter("parity")
    try:
        parity = check(workload, case, device)
    except Exception as error:  # noqa: BLE001 - a failed check leaves the figure unverified; the log has its traceback
        traceback.print_exc()
        parity = f"The parity check itself failed: {in_one_line(error)}"
    if isinstance(parity, str):
        launch.findings.append(finding("GB306", parity))
        return None, all_absent(_METRICS, parity)
    if not parity.passed:
        logits, most = told_apart(parity.logits_rel_error, parity.logits_limit, format_significant)
        message = f"Against fp64 the logits differ by {logits} (at most {most} at {case.precision})"
        if parity.loss_rel_error is not None:
            loss, most_loss = told_apart(parity.loss_rel_error, parity.loss_limit, format_significant)
            message += f" and the loss by {loss} (at most {most_loss})"
        message += "."
        launch.findings.append(finding("GB305", message, logits=parity.logits_rel_error, loss=parity.loss_rel_error))
    errors = (parity.logits_rel_error, parity.loss_rel_error, parity.gradient_rel_error)
    metrics = {
        name: error if error is not None and math.isfinite(error) else None
        for name, error in zip(_METRICS, errors, strict=True)
    }
    reasons = {"parity_gradient_rel_error": "inference has no gradient"} if case.mode == "infer" else {}
    if parity.loss_rel_error is None:
        reasons["parity_loss_rel_error"] = "the model has no loss in inference"
    other = "the result was not finite, or of another shape"
    absent = {name: reasons.get(name, other) for name, value in metrics.items() if value is None}
    return parity, (metrics, absent)


def check_outputs(launch: RunningJob, workload: Any, case: Case, device: Any) -> None:
    """Compares sampled outputs of measured steps with a fresh model: GB317 if they differ by more than rounding
    explains, GB306 if that model does not agree with itself.
    """
    if not launch.job.parity:
        return
    try:
        found = optional_facts.check_outputs(workload, device)
    except Exception as error:  # noqa: BLE001 - a failed check leaves the outputs unverified; the log has its traceback
        traceback.print_exc()
        message = f"The check of measured outputs itself failed: {in_one_line(error)}"
        launch.findings.append(finding("GB306", message))
        return
    limit = 2 * limits_of(case).logits
    if found is None or found.error <= limit:
        return
    facts: dict[str, Any] = {"error": found.error, "change": found.change, "num_samples": found.num_samples}
    if found.change > min(limit, _RANDOM_SHARE * found.error):
        message = "Outputs of measured steps cannot be checked: the model gives the same samples other outputs."
        launch.findings.append(finding("GB306", message, **facts))
        return
    apart, most = told_apart(found.error, limit, format_significant)
    message = f"Outputs of measured steps differ by {apart} from a fresh model's (at most {most} at {case.precision})."
    launch.findings.append(finding("GB317", message, **facts))


def check(workload: Any, case: Case, device: Any) -> Parity | str:
    """Compares the workload's fixed batch with its fp64 reference, or says why it cannot.

    Needs no built step (call it after `close` if memory is tight), but memory on the device for eight samples. The
    error of the gradient has no limit: in bf16, that of a healthy network of 34 layers is large.
    """
    offer = getattr(workload, "parity", None)
    if offer is None:
        return f"{case.workload} offers no reference output."
    probe: ParityProbe | str = offer(case, device)
    if isinstance(probe, str):
        return probe
    parity = judge(probe, limits_of(case))
    if _same_memory(probe.logits_NC, probe.reference_logits_NC):
        return parity.model_copy(update={"passed": False, "logits_rel_error": math.inf})  # its own reference
    for again_NC in () if parity.passed else _again(probe, offer, case, device):
        change = relative_l2(again_NC, probe.logits_NC)
        if math.isfinite(change) and change >= _RANDOM_SHARE * parity.logits_rel_error:
            return f"The same batch gave other logits when repeated (by {change:.2g}): the model draws at random."
    return parity


def _again(probe: ParityProbe, offer: Any, case: Case, device: Any) -> Iterator[Any]:
    """The logits of more passes of the same batch: two passes of a model that draws one of few widths may agree."""
    if probe.again_NC is not None:
        yield probe.again_NC
    for _ in range(_MORE_PROBES):
        again = offer(case, device)
        yield from (each for each in (again.logits_NC, again.again_NC) if each is not None)


def limits_of(case: Case) -> ParityLimits:
    """Of the precision; where activations are rounded to int8, those of bf16, which rounds to as many bits."""
    own, rounded = PRECISIONS[case.precision].parity, PRECISIONS["bf16"].parity
    return max(own, rounded, key=lambda limits: limits.logits) if case.compress == "int8-dynamic" else own


def _same_memory(got: Any, expected: Any) -> bool:
    return bool(got.numel() and got.untyped_storage().data_ptr() == expected.untyped_storage().data_ptr())


def judge(probe: ParityProbe, limits: ParityLimits) -> Parity:
    """NaN, or a shape that differs, is a failure with an infinite error. A loss that was itself computed in two bytes,
    or is the only output, is rounded as logits are and may differ as much.
    """
    logits = relative_l2(probe.logits_NC, probe.reference_logits_NC)
    loss, loss_limit = None, limits.loss
    if probe.loss is not None and probe.reference_loss is not None:
        loss = relative_l2(probe.loss, probe.reference_loss)
        if probe.loss.dtype.itemsize < _WIDE or probe.logits_NC.ndim == 0:
            loss_limit = max(limits)
    gradient = None
    if probe.gradient is not None and probe.reference_gradient is not None:
        gradient = relative_l2(probe.gradient, probe.reference_gradient)
    return Parity(
        passed=logits <= limits.logits and (loss is None or loss <= loss_limit),
        logits_rel_error=logits,
        loss_rel_error=loss,
        gradient_rel_error=gradient,
        logits_limit=limits.logits,
        loss_limit=loss_limit,
        num_samples=probe.num_samples,
    )


def relative_l2(got: Any, expected: Any) -> float:
    """|got - expected| / |expected| in fp64; infinite if the shapes differ or anything is not finite. Where both are
    the same infinity, as behind a mask, they are equal.
    """
    import torch

    from gpubench.worker.workloads.numerics import without_masked

    if got.shape != expected.shape:
        return math.inf
    got, expected = without_masked(got.double(), expected.double())
    if not (torch.isfinite(got).all() and torch.isfinite(expected).all()):
        return math.inf
    error = float(torch.linalg.vector_norm(got - expected))
    size = float(torch.linalg.vector_norm(expected))
    return error / size if size > 0 else (0.0 if error == 0 else math.inf)
