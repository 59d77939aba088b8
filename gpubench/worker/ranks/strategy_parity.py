"""Whether ranks together compute what one process computes on the same batch."""

from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from gpubench.suite.model.case import Case
from gpubench.worker.checks.parity import relative_l2
from gpubench.worker.workloads.classifier.batches import Batch, Samples, map_inputs
from gpubench.worker.workloads.classifier.classifier import Classifier
from gpubench.worker.workloads.classifier.parity_probe import fixed_batch, switch_off_randomness
from gpubench.worker.workloads.numerics import autocast_of


class FromOneProcess(NamedTuple):
    """Relative L2 errors, and the largest that rounding explains."""

    loss: float
    gradient: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.loss <= self.limit and self.gradient <= self.limit


def compare(workload: Classifier, case: Case, device: torch.device) -> FromOneProcess:
    """One forward and backward of all ranks, each on its part of a seeded batch, and the same by this process alone,
    one part after the other. Every rank must call it.

    Parts one after the other, because batch normalisation takes its statistics from a part. Both sides run the same
    kernels on the same parts, and differ in the order of sums only: half of the gradients' digits must agree.
    """
    rank, num_ranks = dist.get_rank(), dist.get_world_size()
    parts = [_part(workload, case, device, number) for number in range(num_ranks)]
    alone = _fresh(workload, case, device)
    losses = [_backward(workload, case, alone, part) for part in parts]
    expected = _gradient(alone) / num_ranks
    together = workload.distribute(_fresh(workload, case, device))
    loss = _backward(workload, case, together, parts[rank])
    dist.all_reduce(loss)
    got = _gradient(together)
    dtype = next(parameter.grad.dtype for parameter in alone.parameters() if parameter.grad is not None)
    mean = torch.stack(losses).mean()
    limit = float(torch.finfo(dtype).eps ** 0.5)
    return FromOneProcess(relative_l2(loss / num_ranks, mean), relative_l2(got, expected), limit)


def _part(workload: Classifier, case: Case, device: torch.device, number: int) -> Batch:
    samples, labels = fixed_batch(workload, case.model_copy(update={"seed": case.seed + number}))
    placed: Samples = map_inputs(lambda tensor: tensor.to(device), samples)
    return workload.input_format(case).cast(placed), labels.to(device)


def _fresh(workload: Classifier, case: Case, device: torch.device) -> torch.nn.Module:
    model = workload.place_model(case, device)
    switch_off_randomness(model)
    return model


def _backward(workload: Classifier, case: Case, model: Any, part: Batch) -> torch.Tensor:
    """Adds to the gradients. The loss, detached."""
    samples, labels = part
    with autocast_of(case.precision, labels.device.type)():
        loss = workload.loss(model(samples), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    detached: torch.Tensor = loss.detach().double()
    return detached


def _gradient(model: torch.nn.Module) -> torch.Tensor:
    found = [parameter.grad.double().flatten() for parameter in model.parameters() if parameter.grad is not None]
    return torch.cat(found)
