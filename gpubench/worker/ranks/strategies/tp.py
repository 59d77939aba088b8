"""`tp`: all ranks take the same batch, and each has a part of every nn.Linear (tensor parallelism)."""

from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module

from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import PRECISIONS
from gpubench.worker.ranks.strategies.seam import Strategy, joined_parts, no_fused_sgd
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.supervised.examples import Batch
from gpubench.worker.workloads.supervised.steps import Distributed
from gpubench.worker.workloads.supervised.supervised import Supervised

OWN_PLAN = "tensor_parallel_plan"
"""Method of a user's module that returns a plan for `parallelize_module`, by submodule name."""

_TF32_EPS = 2.0**-10
_BETWEEN = (nn.ReLU, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.Dropout, nn.Identity)
"""Elementwise modules, which may stand between a layer split by columns and the next one, split by rows."""


class TP(Strategy):
    waits_inside = "with tp ranks wait for each other's parts of a layer inside forward and backward"

    def refused(self, case: Case) -> str | None:
        if case.compile != "off":
            return "torch.compile of a model that tp has split is not measured yet"
        return no_fused_sgd(case)

    def distribute(self, workload: Supervised, model: nn.Module, case: Case) -> Distributed:  # noqa: ARG002
        num_ranks = dist.get_world_size()
        plan = plan_of(model, num_ranks)
        if not plan:
            raise Unsupported(
                f"tp splits nn.Linear layers of at least {num_ranks} outputs, and {case.workload} has none that can be "
                f"split; a module of yours can say how with `{OWN_PLAN}(self)` (docs/scaling.md)"
            )
        parallelize_module(model, init_device_mesh(case.device_type, (num_ranks,)), plan)
        return Distributed(model, model)

    def num_parts(self, case: Case) -> int:  # noqa: ARG002
        return 1

    def own_part(self, parts: Sequence[Batch], rank: int) -> Batch:  # noqa: ARG002
        return joined_parts(parts)

    def coarsest(self, case: Case, gradient: torch.dtype) -> float:
        """Partial sums of a product are rounded to its dtype."""
        precision = PRECISIONS[case.precision]
        computed = _TF32_EPS if precision.math == "tf32" else float(torch.finfo(getattr(torch, precision.compute)).eps)
        return max(computed, super().coarsest(case, gradient))


def plan_of(model: nn.Module, num_ranks: int) -> dict[str, ParallelStyle]:
    """The module's own plan; by default pairs of layers are split by columns and by rows, with one sum behind them, and
    every other nn.Linear by columns, with its output gathered.
    """
    for prefix, module in model.named_modules():
        own = getattr(module, OWN_PLAN, None)
        if own is not None:
            return {f"{prefix}.{name}" if prefix else name: style for name, style in own().items()}
    fits = dict(_linears(model, num_ranks))
    plan: dict[str, ParallelStyle] = {}
    for first, second in _pairs(model):
        if first in fits and second in fits and first not in plan:
            plan |= {first: ColwiseParallel(), second: RowwiseParallel()}
    return {name: plan.get(name, ColwiseParallel(output_layouts=Replicate())) for name in fits}


def _linears(model: nn.Module, num_ranks: int) -> Iterator[tuple[str, nn.Linear]]:
    """Layers with weights of their own whose `forward` is called: torch's attention reads the weights itself."""
    inside = [f"{name}." for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)]
    users: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            users[id(parameter)] = users.get(id(parameter), 0) + 1
    for name, module in model.named_modules():
        alone = isinstance(module, nn.Linear) and users[id(module.weight)] == 1
        if alone and module.out_features >= num_ranks and not name.startswith(tuple(inside)):
            yield name, module


def _pairs(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of consecutive layers with nothing but elementwise modules between them."""
    for name, module in model.named_modules():
        dot = f"{name}." if name else ""
        if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
            yield f"{dot}linear1", f"{dot}linear2"
        if isinstance(module, nn.Sequential):
            first = None
            for number, child in module.named_children():
                if isinstance(child, nn.Linear):
                    if first is not None:
                        yield f"{dot}{first}", f"{dot}{number}"
                    first = None if first is not None else number
                elif not isinstance(child, _BETWEEN):
                    first = None
