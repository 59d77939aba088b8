"""Batches of samples of similar length, to keep padding small."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from gpubench.worker.workloads.supervised.examples import Batch, Examples

BATCHES_TOGETHER = 50


class ByLength(Examples):
    """Sorts samples by length within fifty batches of a random order, then shuffles these batches."""

    def __init__(self, examples: Examples, lengths: Sequence[int]) -> None:
        self._examples, self._lengths_N = examples, torch.tensor(lengths)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> Any:
        return self._examples[index]

    def batches(
        self, order: torch.Tensor, batch_size: int, device: torch.device, dtype: torch.dtype
    ) -> Iterator[Batch]:
        sorted_parts = [
            part[self._lengths_N[part].argsort()] for part in torch.split(order, BATCHES_TOGETHER * batch_size)
        ]
        batches = [batch for part in sorted_parts for batch in torch.split(part, batch_size)]
        generator = torch.Generator().manual_seed(int(order[0]))
        mixed = [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]
        yield from self._examples.batches(torch.cat(mixed), batch_size, device, dtype)
