"""How ranks train one model: what each strategy says, and where it is found."""

import importlib
from collections.abc import Sequence
from typing import ClassVar, cast

import torch
import torch.distributed as dist
from torch import nn

from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import PRECISIONS
from gpubench.worker.workloads.supervised.examples import Batch, map_tensors
from gpubench.worker.workloads.supervised.steps import Distributed
from gpubench.worker.workloads.supervised.supervised import Supervised


class Strategy:
    """One is made for each launch, on every rank."""

    waits_inside: ClassVar[str | None] = None
    """Why a rank's own time cannot be told, where ranks wait for each other inside forward or backward."""

    def refused(self, case: Case) -> str | None:  # noqa: ARG002
        """Why the strategy cannot train with these settings, known before any rank is started; None if it can."""
        return None

    def distribute(self, workload: Supervised, model: nn.Module, case: Case) -> Distributed:
        """Between placing the model and making its optimizer: this rank's part of it. `case` is that of the rank, with
        the batch that a step of it takes. Unsupported where the model cannot be distributed so. Every rank calls it.
        """
        raise NotImplementedError

    # For the comparison with one process.

    def num_parts(self, case: Case) -> int:
        """How many parts, each of which one process takes alone, make the batch of all ranks."""
        return case.world_size

    def own_part(self, parts: Sequence[Batch], rank: int) -> Batch:
        """What this rank gets of them."""
        return parts[rank]

    def loss_of_all(self, loss: torch.Tensor) -> torch.Tensor:
        """Of all ranks, from what each has returned."""
        dist.all_reduce(loss)
        return loss / dist.get_world_size()

    def coarsest(self, case: Case, gradient: torch.dtype) -> float:  # noqa: ARG002
        """The relative size of the roundings in which ranks and one process differ: where both run the same kernels,
        those of the gradients' sums.
        """
        return float(torch.finfo(gradient).eps)


def strategy_named(name: str) -> Strategy:
    module = importlib.import_module(f"{__package__}.{name}")
    return cast(Strategy, getattr(module, name.upper())())


def refused(case: Case) -> str | None:
    """Why its strategy cannot measure the case; None if it can. Collectives and `ddp` can do what ranks can."""
    if case.strategy == "ddp" or case.is_collective:
        return None
    if case.mode == "infer":
        return f"`strategy: {case.strategy}` is a way to train; in inference ranks are replicas, so leave it out"
    if PRECISIONS[case.precision].scaled:
        return f"a GradScaler over parts of a model (`strategy: {case.strategy}`) is not measured; use amp-bf16"
    return strategy_named(case.strategy).refused(case)


def no_fused_sgd(case: Case) -> str | None:
    """For strategies that shard parameters: of torch's fused optimizers this one takes no DTensor (2.14)."""
    return (
        "torch has no fused sgd for sharded parameters (use adam or adamw)"
        if case.fused and case.optimizer == "sgd"
        else None
    )


def joined_parts(parts: Sequence[Batch]) -> Batch:
    """One batch of all of them, in order."""
    together: Batch = map_tensors(lambda *each: torch.cat(each), *parts)
    return together
