"""A whole step in a CUDA graph."""

from typing import Any

import torch

from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.workloads.classifier.batches import BatchSource, Resident
from gpubench.worker.workloads.classifier.steps import InferStep, TrainStep

WARMUP_STEPS = 3


class GraphedStep:
    """Replays one captured step.

    A graph reads its input from fixed addresses. With `data_path: resident` these hold the same batches in every
    replay; otherwise the next batches are copied into them first. Gradients are set to None before the capture, so that
    backward allocates them from the graph's pool.
    """

    def __init__(
        self, step: TrainStep | InferStep, source: BatchSource, *, num_batches: int, device: torch.device
    ) -> None:
        self._eager, self._source = step, source
        batches = [source.transfer(source.fetch()) for _ in range(num_batches)]
        self._static = [
            (images.clone(memory_format=torch.preserve_format), labels.clone()) for images, labels in batches
        ]
        self._copies_input = type(source) is not Resident
        step.source = Resident(self._static)
        self._replay, self._result = accelerator_of(device).capture(
            step, num_warmups=WARMUP_STEPS, before=self._drop_gradients
        )
        step.reset()

    def _drop_gradients(self) -> None:
        if isinstance(self._eager, TrainStep):
            self._eager.optimizer.zero_grad(set_to_none=True)

    def __call__(self) -> Any:
        if self._copies_input:
            for fixed_images, fixed_labels in self._static:
                images, labels = self._source.fetch()
                fixed_images.copy_(images, non_blocking=True)
                fixed_labels.copy_(labels, non_blocking=True)
        self._replay()
        self._eager.num_steps += 1
        return self._result
