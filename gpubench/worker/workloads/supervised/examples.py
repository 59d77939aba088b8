"""Real data: samples, and how they become batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset

Batch = tuple[Any, Any]
"""Inputs and targets: tensors, or tuples and dicts of them. The first dimension of every tensor is the sample."""


def map_tensors(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """Applies `function` to every tensor of `first` (and its counterparts in `others`); keeps the structure."""
    if isinstance(first, dict):
        return {name: map_tensors(function, part, *(other[name] for other in others)) for name, part in first.items()}
    if type(first) in (tuple, list):  # a DataLoader that pins memory makes lists of tuples
        return tuple(map_tensors(function, *parts) for parts in zip(first, *others, strict=True))
    return function(first, *others)


class Examples(Dataset[Any]):
    """One split of real data. A subclass defines `__len__` and `__getitem__`, which returns one sample's inputs and
    target without a batch dimension. Override `collate` to pad samples of different lengths.
    """

    def __len__(self) -> int:
        raise NotImplementedError

    def collate(self, samples: list[Any]) -> Batch:
        """Makes a batch of single samples, on the CPU."""
        inputs, targets = zip(*samples, strict=True)
        return map_tensors(_stacked, *inputs), map_tensors(_stacked, *targets)

    def batches(
        self, order: torch.Tensor, batch_size: int, device: torch.device, dtype: torch.dtype
    ) -> Iterator[Batch]:
        """Batches of the samples at these indices on `device`, with floating-point inputs in `dtype`."""
        for indices in torch.split(order, batch_size):
            inputs, targets = self.collate([self[index] for index in indices.tolist()])
            yield (
                map_tensors(
                    lambda part: part.to(device, dtype) if part.is_floating_point() else part.to(device), inputs
                ),
                map_tensors(lambda part: part.to(device), targets),
            )

    def kept_on(self, device: torch.device, dtype: torch.dtype) -> "Examples":  # noqa: ARG002
        """These examples for repeated passes: a subclass may keep the whole split on the device."""
        return self


def _stacked(*parts: Any) -> torch.Tensor:
    return torch.stack(parts) if isinstance(parts[0], torch.Tensor) else torch.tensor(parts)


@dataclass(frozen=True)
class DataSplits:
    """Three splits that share no sample. `digest` identifies data that may differ between machines (None: it never
    does).
    """

    name: str
    train: Examples
    validation: Examples
    test: Examples
    digest: str | None = None
