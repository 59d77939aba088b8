"""`ddp`: each rank has the whole model and its own batch; gradients are averaged during backward."""

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gpubench.suite.model.case import Case
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.ranks.strategies.seam import Strategy
from gpubench.worker.workloads.supervised.steps import Distributed
from gpubench.worker.workloads.supervised.supervised import Supervised


class DDP(Strategy):
    def distribute(self, workload: Supervised, model: nn.Module, case: Case) -> Distributed:  # noqa: ARG002
        device = accelerator_of(case.device).device
        return Distributed(model, DistributedDataParallel(model, device_ids=None if device.type == "cpu" else [device]))
