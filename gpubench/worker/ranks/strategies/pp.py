"""`pp`: each rank has some layers, and a batch goes through them in micro-batches (a pipeline, 1F1B)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.pipelining import Schedule1F1B, SplitPoint, pipeline
from torch.utils.flop_counter import FlopCounterMode

from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import PRECISIONS
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.ranks.strategies.seam import Strategy, joined_parts, layers
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.supervised.batches import Cast, moved
from gpubench.worker.workloads.supervised.examples import Batch
from gpubench.worker.workloads.supervised.steps import Distributed
from gpubench.worker.workloads.supervised.supervised import Supervised

MICRO_BATCHES_PER_RANK = 4
"""The default. With four micro-batches for each of p ranks, filling and emptying the pipeline takes (p-1) of (5p-1)
slots, at most a fifth of a step (Huang et al., GPipe, 2019, section 2.3).
"""


def num_micro_batches(case: Case) -> int:
    return case.micro_batches or MICRO_BATCHES_PER_RANK * case.world_size


class PP(Strategy):
    waits_inside = "with pp ranks wait for each other's micro-batches inside forward and backward"

    def refused(self, case: Case) -> str | None:
        batch = case.batch if case.scaling == "strong" else case.batch * case.world_size
        number = num_micro_batches(case)
        if number < case.world_size:
            return f"a pipeline of {case.world_size} ranks needs as many micro-batches, not {number}"
        if batch % number:
            return f"a batch of {batch} cannot be divided into {number} micro-batches"
        if case.compile != "off":
            return "a pipeline's stages are traced by torch.export, and compiling them is not measured yet"
        if PRECISIONS[case.precision].autocast is not None:
            return "stages of a pipeline send what was traced, without autocast (use fp32, tf32 or bf16)"
        return None

    def distribute(self, workload: Supervised, model: nn.Module, case: Case) -> Distributed:
        """The stage of this rank. The rest of the model is not kept."""
        rank, num_ranks = dist.get_rank(), dist.get_world_size()
        number, device = num_micro_batches(case), accelerator_of(case.device).device
        samples = Cast.of(case)(moved(workload.example(case, case.batch // number), device))
        cuts = cuts_of(model, samples, num_ranks, case.workload)
        try:
            pipe = pipeline(model, mb_args=(samples,), split_spec=dict.fromkeys(cuts, SplitPoint.BEGINNING))
        except Exception as error:  # whatever torch.export finds in a user's code
            told = str(error).strip().partition("\n")[0]
            raise Unsupported(f"torch.export cannot trace {case.workload} as a pipeline: {told}") from error
        if pipe.num_stages != num_ranks:
            raise Unsupported(f"cut at {', '.join(cuts)}, {case.workload} makes {pipe.num_stages} stages")
        stage = pipe.build_stage(rank, device)
        schedule = Schedule1F1B(stage, n_microbatches=number, loss_fn=workload.loss)

        def learn(samples: Any, targets: Any) -> torch.Tensor:
            """The mean loss on the last rank, which alone knows it; 0 on the others."""
            losses: list[torch.Tensor] = []
            inputs = (samples,) if rank == 0 else ()
            if rank == num_ranks - 1:
                schedule.step(*inputs, target=targets, losses=losses)
            else:
                schedule.step(*inputs)
            return torch.stack(losses).detach().mean() if losses else torch.zeros((), device=device)

        return Distributed(stage.submod, stage.submod, learn)

    def num_parts(self, case: Case) -> int:
        """Each micro-batch: batch normalisation takes its statistics from one."""
        return num_micro_batches(case)

    def own_part(self, parts: Sequence[Batch], rank: int) -> Batch:  # noqa: ARG002
        return joined_parts(parts)

    def loss_of_all(self, loss: torch.Tensor) -> torch.Tensor:
        dist.all_reduce(loss)
        return loss


def cuts_of(model: nn.Module, samples: Any, num_stages: int, name: str) -> list[str]:
    """The layers with which the second and later stages begin, so that stages have about as many FLOPs each.

    Unsupported where there are fewer layers than stages, or the model returns more than a tensor.
    """
    known = [(path, layer) for path, layer in layers(model) if not isinstance(layer, nn.ModuleList | nn.ModuleDict)]
    calls: list[tuple[str, int]] = []
    counter = FlopCounterMode(display=False)

    def note(path: str) -> Any:
        return lambda *_: calls.append((path, counter.get_total_flops()))

    handles = [layer.register_forward_pre_hook(note(path)) for path, layer in known]
    was_training = model.training
    try:
        with torch.no_grad(), counter:  # in evaluation mode, which leaves running statistics as they are
            output = model.eval()(samples)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    if not isinstance(output, torch.Tensor) or output.ndim == 0:
        raise Unsupported(f"pp needs a model that returns one tensor, from which the loss is made; {name} returns more")
    order = [path for path, _ in calls]
    once = [(path, begun) for path, begun in calls if order.count(path) == 1]
    if len(once) < num_stages:
        found = ", ".join(path for path, _ in once) or "none"
        raise Unsupported(f"a pipeline of {num_stages} ranks needs as many layers called once; {name} has: {found}")
    total = counter.get_total_flops()
    cuts: list[int] = []
    for stage in range(1, num_stages):
        first = cuts[-1] + 1 if cuts else 1
        last = len(once) - (num_stages - stage)
        cuts.append(min(range(first, last + 1), key=lambda place: abs(once[place][1] - total * stage / num_stages)))
    return [once[place][0] for place in cuts]
