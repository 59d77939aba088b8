"""Whether all ranks together compute what one process computes on the same batch."""

from typing import Any, NamedTuple

import torch
import torch.distributed as dist

from gpubench.suite.model.case import Case
from gpubench.worker.checks.parity import relative_l2
from gpubench.worker.ranks.strategies.seam import Strategy
from gpubench.worker.workloads.numerics import autocast_of, real_parts
from gpubench.worker.workloads.supervised.batches import Cast, first_tensor, moved
from gpubench.worker.workloads.supervised.examples import Batch
from gpubench.worker.workloads.supervised.parity_probe import NUM_SAMPLES, fixed_batch, switch_off_randomness
from gpubench.worker.workloads.supervised.steps import Distributed
from gpubench.worker.workloads.supervised.supervised import Supervised


class FromOneProcess(NamedTuple):
    """Relative L2 errors, and the largest that rounding explains."""

    loss: float
    gradient: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.loss <= self.limit and self.gradient <= self.limit


def compare(workload: Supervised, case: Case, device: torch.device, strategy: Strategy) -> FromOneProcess:
    """Runs one forward and backward of all ranks on a seeded batch, and the same in this process alone, one part of the
    batch after the other. Every rank must call it. The gradient is that of the parameters which this rank trains.

    The batch is taken in parts because batch normalisation computes its statistics per part: per rank, or per
    micro-batch. The limit is half of the digits: both sides run the same kernels on the same parts, and only add
    gradients in another order.
    """
    num_parts = strategy.num_parts(case)
    size = case.batch // num_parts if case.splits_model else case.batch
    of_part = case.model_copy(update={"batch_size": min(size, NUM_SAMPLES)})
    parts = [_part(workload, of_part, device, number) for number in range(num_parts)]
    alone = _fresh(workload, case, device)
    losses = [_backward(workload, case, Distributed(alone, alone), part) for part in parts]
    expected = _gradients(alone)
    own = strategy.own_part(parts, dist.get_rank())
    distributed_case = case.model_copy(update={"batch_size": len(first_tensor(own))})
    together = strategy.distribute(workload, _fresh(workload, case, device), distributed_case)
    loss = strategy.loss_of_all(_backward(workload, case, together, own))
    got = _gradients(together.module)
    dtype = next(parameter.grad.dtype for parameter in alone.parameters() if parameter.grad is not None)
    limit = strategy.coarsest(case, dtype) ** 0.5
    here = torch.cat([expected[name] for name in got]) / num_parts
    return FromOneProcess(
        relative_l2(loss, torch.stack(losses).mean()), relative_l2(torch.cat(list(got.values())), here), limit
    )


def _part(workload: Supervised, case: Case, device: torch.device, number: int) -> Batch:
    batch = fixed_batch(workload, case.model_copy(update={"seed": case.seed + number}))
    inputs, targets = moved(batch, device)
    return Cast.of(case)(inputs), targets


def _fresh(workload: Supervised, case: Case, device: torch.device) -> torch.nn.Module:
    model = workload.place_model(case, device)
    switch_off_randomness(model)
    return model


def _backward(workload: Supervised, case: Case, model: Distributed, part: Batch) -> torch.Tensor:
    """Adds to the gradients; returns the detached loss."""
    inputs, targets = part
    if model.learn is not None:
        return model.learn(inputs, targets).double()
    with autocast_of(case.precision, first_tensor(inputs).device.type)():
        loss = workload.loss(model.called(inputs), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    detached: torch.Tensor = loss.detach().double()
    return detached


def _gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Flat gradients by parameter name. Ranks gather those that are sharded."""
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {name: real_parts(_whole(gradient)).double().flatten() for name, gradient in gradients.items()}


def _whole(gradient: Any) -> torch.Tensor:
    gather = getattr(gradient, "full_tensor", None)
    tensor: torch.Tensor = gradient if gather is None else gather()
    return tensor
