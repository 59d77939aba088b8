"""The batches of a training, epoch by epoch."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.supervised.batches import Cast
from gpubench.worker.workloads.supervised.examples import Batch, Examples


class EpochSource:
    """The batches of a split in a new seeded order every epoch, on the device. Drops the last, partial batch (a split
    smaller than one batch is one batch). `augment` changes the inputs.
    """

    input_waits_s: list[float] | None = None

    def __init__(
        self,
        examples: Examples,
        case: Case,
        device: torch.device,
        *,
        augment: Callable[[Any, torch.Generator], Any] = lambda inputs, _generator: inputs,
    ) -> None:
        self._cast, self._device, self._augment = Cast.of(case), device, augment
        self._examples = examples.kept_on(device, self._cast.dtype)
        self._generator = torch.Generator().manual_seed(case.seed)
        self._batch_size = min(case.batch, len(examples))
        self.num_batches = len(examples) // self._batch_size
        self._epoch: Iterator[Batch] = iter(())

    def fetch(self) -> Batch:
        batch = next(self._epoch, None)
        if batch is None:
            order = torch.randperm(len(self._examples), generator=self._generator)
            whole = order[: self.num_batches * self._batch_size]
            self._epoch = self._examples.batches(whole, self._batch_size, self._device, self._cast.dtype)
            batch = next(self._epoch)
        inputs, targets = batch
        return self._cast(self._augment(inputs, self._generator)), targets

    def transfer(self, batch: Batch) -> Batch:
        return batch

    def close(self) -> None:
        self._epoch = iter(())
