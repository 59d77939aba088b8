"""The interface of the strategies by which ranks train one model, their table, and what they share."""

import importlib
from collections import Counter
from collections.abc import Iterator, Sequence
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
    """Every rank makes one for each launch."""

    waits_inside: ClassVar[str | None] = None
    """Why a rank's own time cannot be measured, if ranks wait for each other inside forward or backward."""

    def refused(self, case: Case) -> str | None:  # noqa: ARG002
        """Why the strategy cannot train with these settings; None if it can. Called before any rank is started."""
        return None

    def distribute(self, workload: Supervised, model: nn.Module, case: Case) -> Distributed:
        """A rank's part of the placed model; its optimizer is made afterwards. `case` is the rank's, with the batch of
        its steps. Unsupported if the model cannot be distributed in this way. Every rank calls it.
        """
        raise NotImplementedError

    # Used to compare the ranks with one process.

    def num_parts(self, case: Case) -> int:
        """Number of parts of the batch of all ranks, which one process takes one after the other."""
        return case.world_size

    def own_part(self, parts: Sequence[Batch], rank: int) -> Batch:
        """The share of one rank."""
        return parts[rank]

    def loss_of_all(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss of all ranks, from what each has returned."""
        dist.all_reduce(loss)
        return loss / dist.get_world_size()

    def coarsest(self, case: Case, gradient: torch.dtype) -> float:  # noqa: ARG002
        """Relative size of the rounding errors by which ranks and one process differ: by default, those of summing
        gradients, as both run the same kernels.
        """
        return float(torch.finfo(gradient).eps)


def strategy_named(name: str) -> Strategy:
    module = importlib.import_module(f"{__package__}.{name}")
    return cast(Strategy, getattr(module, name.upper())())


def refused(case: Case) -> str | None:
    """Why the case's strategy cannot measure it; None if it can. Collectives and `ddp` have no limits of their own."""
    if case.strategy == "ddp" or case.is_collective:
        return None
    if case.mode == "infer":
        return f"`strategy: {case.strategy}` is a way to train; in inference ranks are replicas, so leave it out"
    if PRECISIONS[case.precision].scaled:
        return f"a GradScaler over parts of a model (`strategy: {case.strategy}`) is not measured; use amp-bf16"
    return strategy_named(case.strategy).refused(case)


def no_fused_sgd(case: Case) -> str | None:
    """For strategies that shard parameters: torch's fused SGD is the only fused optimizer without DTensor support
    (2.14).
    """
    return (
        "torch has no fused sgd for sharded parameters (use adam or adamw)"
        if case.fused and case.optimizer == "sgd"
        else None
    )


def joined_parts(parts: Sequence[Batch]) -> Batch:
    """All parts in order as one batch."""
    together: Batch = map_tensors(lambda *each: torch.cat(each), *parts)
    return together


_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def layers(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Children with parameters, by name; containers, wrappers and stacks of equal blocks are opened."""
    for name, child in model.named_children():
        if isinstance(child, _CONTAINERS) or len(list(model.children())) == 1 or _holds_stack(child):
            yield from layers(child, f"{prefix}{name}.") if list(child.children()) else [(prefix + name, child)]
        elif any(True for _ in child.parameters()):
            yield prefix + name, child


def own_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Layers that share no parameter with another one (as embedding and output layer may)."""
    found = list(layers(model))
    times = Counter(id(parameter) for _, layer in found for parameter in set(layer.parameters()))
    return [(name, layer) for name, layer in found if all(times[id(each)] == 1 for each in layer.parameters())]


def _holds_stack(module: nn.Module) -> bool:
    return any(
        isinstance(child, _CONTAINERS)
        and len(kinds := [type(each) for each in child.children()]) > 1 == len(set(kinds))
        for child in module.children()
    )
