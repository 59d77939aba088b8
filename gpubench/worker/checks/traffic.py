"""Bytes per sample that the operators of a step read and write: the other axis of the roofline."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gpubench.suite.model.case import Case
from gpubench.worker.checks.flops import meta_model
from gpubench.worker.workloads.classifier.classifier import Classifier
from gpubench.worker.workloads.classifier.parity_probe import switch_off_randomness
from gpubench.worker.workloads.numerics import NUMERICS

LEAST_BATCH = 2
"""Batch normalisation in training mode needs more than one value per channel."""


class Traffic(NamedTuple):
    """`per_sample`: bytes of one sample in one step, None with its `reason` where they cannot be counted.

    `operators`: how many operators of a forward (and its backward) do work, each of them at least one launch; None of a
    workload of your own.
    """

    per_sample: float | None
    reason: str | None = None
    operators: int | None = None


def count(workload: Any, case: Case) -> Traffic:
    """What every operator of forward (and backward, in `train`) reads and writes, each on its own, in the type it
    computes in.

    So nothing is fused and nothing stays in a cache: an upper bound of what has to pass through memory, and the measure
    by which fusing shows. The optimizer is not counted. Takes no device time: the model runs on the meta device. A
    workload of your own says it with `bytes_per_sample(case) -> float`.
    """
    own = getattr(workload, "bytes_per_sample", None)
    if own is not None:
        return _checked(float(own(case)))
    if not isinstance(workload, Classifier):
        return Traffic(None, "the workload has no `bytes_per_sample` method")
    try:
        return _count_classifier(workload, case)
    except (NotImplementedError, RuntimeError) as error:
        return Traffic(None, f"torch could not count this model without running it: {error}")


def _checked(per_sample: float) -> Traffic:
    if not (math.isfinite(per_sample) and per_sample > 0):
        return Traffic(None, f"the count was {per_sample:g}: no operator moved anything")
    return Traffic(per_sample)


def _count_classifier(workload: Classifier, case: Case) -> Traffic:
    batch, train = max(case.batch, LEAST_BATCH), case.mode == "train"
    dtype, size = NUMERICS[case.precision].compute, workload.image_size(case)
    model = meta_model(workload, case).to(dtype).train(train)
    switch_off_randomness(model)
    images = torch.empty(batch, 3, size, size, dtype=dtype, device="meta")
    labels = torch.zeros(batch, dtype=torch.int64, device="meta")
    with ByteCounter() as counter, torch.set_grad_enabled(train):
        loss = workload.loss(model(images), labels)
        if train:
            loss.backward()  # type: ignore[no-untyped-call]
    return Traffic(float(counter.num_bytes) / batch, operators=counter.num_operators)


class ByteCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the tensors that operators take and give. Views and bare allocations move nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.num_bytes = 0
        self.num_operators = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        taken, given = list(_tensors((args, kwargs))), list(_tensors(result))
        storages = {_storage(tensor) for tensor in taken}
        is_view = not func._schema.is_mutable and given and all(_storage(tensor) in storages for tensor in given)  # noqa: SLF001
        if not is_view and not func.overloadpacket.__name__.startswith(("empty", "new_empty")):
            self.num_operators += 1
            self.num_bytes += sum(map(_touched, taken)) + sum(map(_touched, given))
        return result


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor))


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - meta tensors have no address to tell them apart by


def _touched(tensor: torch.Tensor) -> int:
    """Bytes in memory behind a tensor; what is expanded from fewer elements is read once."""
    return min(tensor.numel() * tensor.itemsize, tensor.untyped_storage().nbytes())
