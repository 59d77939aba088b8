"""A whole step in a CUDA graph."""

import warnings
from typing import Any

import torch

from gpubench.worker.workloads.classifier.batches import Batch, Resident, Source
from gpubench.worker.workloads.classifier.steps import InferStep, TrainStep

WARMUP_STEPS = 3


class GraphedStep:
    """Replays one captured step.

    A graph reads its input from fixed addresses. With `data_path: resident` these hold the same batches in every
    replay; otherwise each replay is preceded by copying the next batches into them. torch's rules for capture are kept:
    warm-up on a side stream, gradients set to None before capture so that backward allocates them from the graph's own
    pool.
    """

    def __init__(self, step: TrainStep | InferStep, source: Source, *, num_batches: int, device: torch.device) -> None:
        self._eager, self._source = step, source
        self._static = [_own_memory(source.transfer(source.fetch())) for _ in range(num_batches)]
        self._copies_input = type(source) is not Resident
        step.source = Resident(self._static)
        self._warm_up(device)
        self._graph = torch.cuda.CUDAGraph()
        # Thread-local, or a loader's thread that pins memory meanwhile would spoil the capture.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._result = step()
        step.reset()

    def _warm_up(self, device: torch.device) -> None:
        side: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*capturable=True")  # it is captured, right after this
            for _ in range(WARMUP_STEPS):
                self._eager()
        torch.cuda.current_stream(device).wait_stream(side)
        if isinstance(self._eager, TrainStep):
            self._eager.optimizer.zero_grad(set_to_none=True)

    def __call__(self) -> Any:
        if self._copies_input:
            self._load()
        self._graph.replay()
        self._eager.num_steps += 1
        return self._result

    def _load(self) -> None:
        for fixed_images, fixed_labels in self._static:
            images, labels = self._source.fetch()
            fixed_images.copy_(images, non_blocking=True)
            fixed_labels.copy_(labels, non_blocking=True)


def _own_memory(batch: Batch) -> Batch:
    images, labels = batch
    return images.clone(memory_format=torch.preserve_format), labels.clone()
