"""The data path of a case: where the input of a step comes from.

A source is endless. `fetch` gets a batch on the host (with `resident` it is already on the device), `transfer` moves it
to the device; both are part of a step. Floats arrive in the dtype of the weights and images in the case's memory
format, as from a tuned input pipeline.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, Sampler

from gpubench.suite.model.case import Case
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.workloads.numerics import NUMERICS
from gpubench.worker.workloads.supervised.examples import Batch, Examples, map_tensors

POOL_BATCHES = 8
POOL_BYTES = 256 * 2**20
POOL_SAMPLES = 512


class Cast(NamedTuple):
    """Converts inputs to a case's dtype and layout."""

    dtype: torch.dtype
    memory_format: torch.memory_format

    @classmethod
    def of(cls, case: Case) -> "Cast":
        return cls(NUMERICS[case.precision].weights, layout_of(case))

    def __call__(self, inputs: Any) -> Any:
        """Casts floats to `dtype` and images to `memory_format`; integers stay as they are."""
        return map_tensors(self._cast, inputs)

    def _cast(self, part: torch.Tensor) -> torch.Tensor:
        if not part.is_floating_point():
            return part
        return part.to(self.dtype).contiguous(
            memory_format=self.memory_format if part.ndim == 4 else torch.contiguous_format
        )


class BatchSource(Protocol):
    """`input_waits_s`: seconds per step that the host waited for batches (perf_counter); None if it never waits."""

    input_waits_s: list[float] | None

    def fetch(self) -> Batch: ...
    def transfer(self, batch: Batch) -> Batch: ...
    def close(self) -> None: ...


class Resident:
    """Rotates through distinct batches on the device: up to 8 batches and 256 MiB, and at least one batch."""

    input_waits_s: list[float] | None = None

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches
        self.last: Batch | None = None
        self.rewind()

    def rewind(self) -> None:
        """Starts again with the first batch."""
        self._rotation = cycle(self.batches)

    def fetch(self) -> Batch:
        self.last = batch = next(self._rotation)
        return batch

    def renew(self, batches: Sequence[Batch]) -> None:
        """Gives every batch other samples in the same memory: samples move within their batch, or, with one sample per
        batch, between batches.
        """
        for batch in batches:
            for part in map(torch.Tensor.detach, tree_leaves(batch)):  # a model may ask for the gradient of its input
                if 0 not in part.stride():  # an expanded tensor stores one value for many elements
                    part.copy_(part.roll(1, 0))
        if len(batches) > 1 and len(first_tensor(batches[0])) == 1:
            leaves = [[part.detach() for part in tree_leaves(batch)] for batch in batches]
            first = [part.clone() for part in leaves[0]]
            for parts, others in zip(leaves, (*leaves[1:], first), strict=True):
                for part, other in zip(parts, others, strict=True):
                    part.copy_(other)

    def transfer(self, batch: Batch) -> Batch:
        return batch

    def close(self) -> None:
        self.batches, self.last, self._rotation = [], None, cycle(())


class HostMemoryBatches(Resident):
    """A pool of batches in host memory; each step copies one. From pinned memory the copy is asynchronous."""

    def __init__(self, batches: list[Batch], device: torch.device, *, pinned: bool) -> None:
        super().__init__([map_tensors(torch.Tensor.pin_memory, batch) for batch in batches] if pinned else batches)
        self._device, self._pinned = device, pinned

    def transfer(self, batch: Batch) -> Batch:
        placed: Batch = moved(batch, self._device, non_blocking=self._pinned)
        return placed


class Loader:
    """A DataLoader without end, so that no step falls on the boundary of an epoch.

    Its workers (forked, persistent) read and prepare single samples, as a usual pipeline does.
    """

    def __init__(self, examples: Examples, cast: Cast, case: Case, device: torch.device) -> None:
        self.input_waits_s: list[float] | None = []
        self._device, self._pinned = device, accelerator_of(device).asynchronous
        self._fetches_per_step = case.accumulate if case.mode == "train" else 1
        self._waits: list[float] = []

        def collate(samples: list[Any]) -> Batch:
            inputs, targets = examples.collate(samples)
            return cast(inputs), targets

        self.loader: DataLoader[Any] = DataLoader(
            examples,
            batch_size=case.batch,
            sampler=Endless(len(examples), case.seed),
            num_workers=case.num_workers,
            collate_fn=collate,
            pin_memory=self._pinned,
            persistent_workers=case.num_workers > 0,
            multiprocessing_context="fork" if case.num_workers > 0 and hasattr(os, "fork") else None,
            generator=seeded(case.seed),
        )
        self._iterator: Iterator[Batch] | None = iter(self.loader)

    def fetch(self) -> Batch:
        assert self._iterator is not None, "the loader was closed"
        began = time.perf_counter()
        batch = next(self._iterator)
        self._waits.append(time.perf_counter() - began)
        if len(self._waits) == self._fetches_per_step:
            assert self.input_waits_s is not None
            self.input_waits_s.append(sum(self._waits))
            self._waits.clear()
        return batch

    def transfer(self, batch: Batch) -> Batch:
        placed: Batch = moved(batch, self._device, non_blocking=self._pinned)
        return placed

    def close(self) -> None:
        """Drops the iterator, which ends the worker processes."""
        self._iterator = None
        del self.loader


class Endless(Sampler[int]):
    """Seeded random indices without end; every pass contains every sample once."""

    def __init__(self, num_samples: int, seed: int) -> None:
        self._num_samples, self._seed = num_samples, seed

    def __iter__(self) -> Iterator[int]:
        generator = seeded(self._seed)
        while True:
            yield from torch.randperm(self._num_samples, generator=generator, device="cpu").tolist()


class SampledPool(Examples):
    """The samples of one random batch as a data set: what a loader reads for synthetic data."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return len(first_tensor(self._batch))

    def __getitem__(self, index: int) -> Any:
        inputs, targets = map_tensors(lambda part: part[index], self._batch)
        return inputs, as_class(targets)


MakeBatch = Callable[[int, torch.Generator], Batch]
"""Makes a seeded random batch of that many samples, in float32 or integers on the generator's device."""


def make_source(case: Case, make_batch: MakeBatch, examples: Examples | None, device: torch.device) -> BatchSource:
    """The case's source: batches of `examples`, or random ones if that is None."""
    cast = Cast.of(case)
    if case.data_path == "loader":
        return Loader(examples or SampledPool(_pool(make_batch, case.seed)), cast, case, device)
    where = device if case.data_path == "resident" else torch.device("cpu")
    batches: list[Batch] = []
    for inputs, targets in make_batches(case, make_batch, examples, where):
        batches.append((cast(inputs), targets))
        if len(batches) >= min(POOL_BATCHES, POOL_BYTES // max(1, num_bytes(batches[0][0]))):
            break
    if case.data_path == "resident":
        return Resident(batches)
    return HostMemoryBatches(batches, device, pinned=case.data_path == "pinned")


def make_batches(case: Case, make_batch: MakeBatch, examples: Examples | None, device: torch.device) -> Iterator[Batch]:
    """Endless seeded batches of the case's size, in float32. A batch larger than the split repeats samples."""
    if examples is None:
        generator = torch.Generator(device).manual_seed(case.seed)
        while True:
            yield make_batch(case.batch, generator)
    indices = iter(Endless(len(examples), case.seed))
    while True:
        order = torch.tensor([next(indices) for _ in range(case.batch)])
        yield from examples.batches(order, case.batch, device, torch.float32)


def _pool(make_batch: MakeBatch, seed: int) -> Batch:
    """As many samples as fit a loader's pool."""
    one = num_bytes(make_batch(1, seeded(seed))[0])
    return make_batch(max(1, min(POOL_SAMPLES, POOL_BYTES // max(1, one))), seeded(seed))


def moved(tree: Any, device: torch.device, *, non_blocking: bool = False) -> Any:
    """Moves every tensor to `device`."""
    return map_tensors(lambda part: part.to(device, non_blocking=non_blocking), tree)


def num_bytes(tree: Any) -> int:
    return sum(leaf.numel() * leaf.itemsize for leaf in tree_leaves(tree))


def first_tensor(tree: Any) -> torch.Tensor:
    """Any tensor of a batch: it shows the device and, by its first dimension, the number of samples."""
    found: torch.Tensor = tree_leaves(tree)[0]
    return found


def as_class(target: Any) -> Any:
    """Converts a single class index to an int, which is cheaper for a loader than a tensor."""
    is_class = isinstance(target, torch.Tensor) and target.ndim == 0 and not target.is_floating_point()
    return int(target) if is_class else target


def layout_of(case: Case) -> torch.memory_format:
    return torch.channels_last if case.memory_format == "channels_last" else torch.contiguous_format


def seeded(seed: int) -> torch.Generator:
    """A CPU generator."""
    return torch.Generator().manual_seed(seed)
