"""Floating-point operations per sample, as torch's own FlopCounterMode counts them."""

import math
from typing import Any, NamedTuple

import torch

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.classifier.classifier import Classifier
from gpubench.worker.workloads.classifier.parity_probe import switch_off_randomness

NUM_SAMPLES = 2
"""Batch normalisation in training mode needs more than one value per channel, so a single sample will not do."""


class Flops(NamedTuple):
    """`per_sample`: FLOPs of one sample in one step, None with its `reason` where they cannot be counted."""

    per_sample: float | None
    reason: str | None = None


def count(workload: Any, case: Case) -> Flops:
    """FLOPs per sample: the forward in `infer`, forward and backward in `train`.

    Convolutions, matrix products and attention, two operations per multiply-add, as FlopCounterMode registers them;
    elementwise work, normalisation and the optimizer are not counted. Takes no device time: the model is counted on the
    meta device, without storage. A workload of your own says it with `flops_per_sample(case) -> float`.
    """
    own = getattr(workload, "flops_per_sample", None)
    if own is not None:
        return _checked(float(own(case)))
    if not isinstance(workload, Classifier):
        return Flops(None, "the workload has no `flops_per_sample` method")
    try:
        return _checked(_count_classifier(workload, case))
    except (NotImplementedError, RuntimeError) as error:
        return Flops(None, f"torch could not count this model without running it: {error}")


def _checked(per_sample: float) -> Flops:
    if not (math.isfinite(per_sample) and per_sample > 0):
        return Flops(None, f"the count was {per_sample:g}: no operation that torch counts")
    return Flops(per_sample)


def _count_classifier(workload: Classifier, case: Case) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    meta = torch.device("meta")
    model = meta_model(workload, case).train(case.mode == "train")
    switch_off_randomness(model)
    size = workload.image_size(case)
    images = torch.empty(NUM_SAMPLES, 3, size, size, device=meta)
    labels = torch.zeros(NUM_SAMPLES, dtype=torch.int64, device=meta)
    counting = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: _convolution_backward}
    )
    with counting as counter, torch.set_grad_enabled(case.mode == "train"):
        loss = workload.loss(model(images), labels)
        if case.mode == "train":
            loss.backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops()) / NUM_SAMPLES


def meta_model(workload: Classifier, case: Case) -> torch.nn.Module:
    """Made without storage; models whose initialisation reads values (regnet) are made on the CPU and moved."""
    try:
        with torch.device("meta"):
            return workload.make_model(case)
    except (NotImplementedError, RuntimeError):
        return workload.make_model(case).to("meta")


def _convolution_backward(grad_out_shape: Any, x_shape: Any, w_shape: Any, *rest: Any, **_: Any) -> int:
    """Each of the two gradients (input, weights) costs what the forward does.

    torch's own formula ignores groups for the weights' gradient: it counts a depthwise convolution as many times over
    as it has channels (convnext_tiny 8.7 times its forward instead of 3).
    """
    from torch.utils.flop_counter import conv_flop_count

    transposed, output_mask = rest[4], rest[7]
    forward = conv_flop_count(x_shape, w_shape, grad_out_shape, transposed=transposed)
    return int(forward) * (bool(output_mask[0]) + bool(output_mask[1]))
