"""Real data as a step takes it: samples, and batches of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset

Batch = tuple[Any, Any]
"""Inputs and targets: each a tensor, or tuples and dicts of them. The sample is the first dimension of every tensor."""


def map_tensors(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """What `function` returns for every tensor of some inputs (and the same of others), put together likewise."""
    if isinstance(first, dict):
        return {name: map_tensors(function, part, *(other[name] for other in others)) for name, part in first.items()}
    if type(first) in (tuple, list):  # a DataLoader that pins memory makes lists of tuples
        return tuple(map_tensors(function, *parts) for parts in zip(first, *others, strict=True))
    return function(first, *others)


class Examples(Dataset[Any]):
    """One split of real data. A subclass has `__len__` and `__getitem__`: one sample's inputs and target, without a
    batch dimension. `collate` pads where samples differ in length.
    """

    def __len__(self) -> int:
        raise NotImplementedError

    def collate(self, samples: list[Any]) -> Batch:
        """A batch of single samples, on the CPU."""
        inputs, targets = zip(*samples, strict=True)
        return map_tensors(_stacked, *inputs), map_tensors(_stacked, *targets)

    def batches(
        self, order: torch.Tensor, batch_size: int, device: torch.device, dtype: torch.dtype
    ) -> Iterator[Batch]:
        """The samples at these indices in batches on `device`, their inputs' floats in `dtype`."""
        for indices in torch.split(order, batch_size):
            inputs, targets = self.collate([self[index] for index in indices.tolist()])
            yield (
                map_tensors(
                    lambda part: part.to(device, dtype) if part.is_floating_point() else part.to(device), inputs
                ),
                map_tensors(lambda part: part.to(device), targets),
            )

    def kept_on(self, device: torch.device, dtype: torch.dtype) -> "Examples":  # noqa: ARG002
        """The same for many passes: a subclass may keep all of it on the device."""
        return self


def _stacked(*parts: Any) -> torch.Tensor:
    return torch.stack(parts) if isinstance(parts[0], torch.Tensor) else torch.tensor(parts)


@dataclass(frozen=True)
class DataSplits:
    """Three splits that share no sample. `digest` tells data apart that differ between machines (None: they do not)."""

    name: str
    train: Examples
    validation: Examples
    test: Examples
    digest: str | None = None
