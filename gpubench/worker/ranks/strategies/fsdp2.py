"""`fsdp2`: each rank has its own batch and a shard of every parameter, gathered layer by layer on use."""

import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from gpubench.suite.model.case import Case
from gpubench.worker.ranks.strategies.seam import Strategy, no_fused_sgd, own_layers
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.supervised.steps import Distributed
from gpubench.worker.workloads.supervised.supervised import Supervised


class FSDP2(Strategy):
    waits_inside = "with fsdp2 ranks wait for each other's parameters inside forward and backward"

    def refused(self, case: Case) -> str | None:
        if case.memory_format == "channels_last":
            return "fsdp2 shards contiguous parameters only (use `memory_format: contiguous`)"
        if case.compile != "off":
            return "torch.compile of a model that fsdp2 has sharded is not measured yet"
        return no_fused_sgd(case)

    def distribute(self, workload: Supervised, model: nn.Module, case: Case) -> Distributed:  # noqa: ARG002
        mesh = init_device_mesh(case.device_type, (dist.get_world_size(),))
        try:
            for _, layer in own_layers(model):
                fully_shard(layer, mesh=mesh)
            fully_shard(model, mesh=mesh)
        except (NotImplementedError, ValueError) as error:
            raise Unsupported(f"fsdp2 cannot shard this model: {error}") from error
        return Distributed(model, model)
