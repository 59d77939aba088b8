"""Where a step's input comes from: the data path of a case.

A source gives batches for ever. `fetch` gets one on the host side (for `resident` it is on the device already) and
`transfer` brings it to the device; both are parts of a step. Images arrive in the case's memory format and in the type
of the weights, as a tuned input pipeline would deliver them.
"""

import math
import os
import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from gpubench.suite.model.case import Case
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.workloads.classifier.datasets import DataSet, Split
from gpubench.worker.workloads.numerics import NUMERICS

Batch = tuple[torch.Tensor, torch.Tensor]

POOL_BATCHES = 8
POOL_BYTES = 256 * 2**20
POOL_SAMPLES = 512


class Format(NamedTuple):
    """Shape, type and layout of a batch: `batch_size` samples of `sample_shape`, and what is wanted of each.

    Samples are floats, or with `below` integers from 0 to one less. Targets are class indices below `num_classes`, one
    per sample or for each element of `target_shape`; without classes they are floats of that shape.
    """

    batch_size: int
    sample_shape: tuple[int, ...]
    num_classes: int | None
    dtype: torch.dtype
    memory_format: torch.memory_format
    below: int | None = None
    target_shape: tuple[int, ...] = ()

    @classmethod
    def of_images(cls, case: Case, image_size: int, num_classes: int) -> "Format":
        """Images of three channels and a class for each."""
        shape = (3, image_size, image_size)
        return cls(case.batch, shape, num_classes, NUMERICS[case.precision].weights, layout_of(case))

    @property
    def image_size(self) -> int:
        return self.sample_shape[-1]

    @property
    def num_pool_batches(self) -> int:
        size = self.dtype.itemsize if self.below is None else torch.int64.itemsize
        batch_bytes = self.batch_size * math.prod(self.sample_shape) * size
        return max(1, min(POOL_BATCHES, POOL_BYTES // batch_bytes))

    def plain(self, batch_size: int) -> "Format":
        """The same in float32 and without a layout."""
        return self._replace(batch_size=batch_size, dtype=torch.float32, memory_format=torch.contiguous_format)

    def cast(self, samples: torch.Tensor) -> torch.Tensor:
        """Float samples in the type and layout of the case; integers as they are."""
        if self.below is not None:
            return samples
        return samples.to(self.dtype).contiguous(memory_format=self.memory_format)

    def unfilled(self, device: torch.device) -> Batch:
        """A batch of the right shapes and types, whatever is in it."""
        shape, target = (self.batch_size, *self.sample_shape), (self.batch_size, *self.target_shape)
        return (
            torch.empty(shape, dtype=self.dtype if self.below is None else torch.int64, device=device),
            torch.empty(target, dtype=self.dtype if self.num_classes is None else torch.int64, device=device),
        )

    def random(self, num_samples: int, generator: torch.Generator) -> Batch:
        """Seeded samples and targets, float32 or int64, on the generator's device."""
        shape = (num_samples, *self.sample_shape)
        return (
            _drawn(shape, self.below, generator),
            _drawn((num_samples, *self.target_shape), self.num_classes, generator),
        )

    def collate(self, samples: list[tuple[torch.Tensor, Any]]) -> Batch:
        """A batch of single samples and their targets (in the loader's process)."""
        inputs, targets = zip(*samples, strict=True)
        single = isinstance(targets[0], int)
        return self.cast(torch.stack(inputs)), torch.tensor(targets) if single else torch.stack(targets)


class BatchSource(Protocol):
    """`input_waits_s` holds, per step, how long the host waited for its batches (perf_counter); None: never waits."""

    input_waits_s: list[float] | None

    def fetch(self) -> Batch: ...
    def transfer(self, batch: Batch) -> Batch: ...
    def close(self) -> None: ...


class Resident:
    """A pool of distinct batches on the device, rotated. At most 8 batches and 256 MiB, and at least one batch."""

    input_waits_s: list[float] | None = None

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches
        self.rewind()

    def rewind(self) -> None:
        """The next batch is the first again."""
        self._rotation = cycle(self.batches)

    def fetch(self) -> Batch:
        return next(self._rotation)

    def transfer(self, batch: Batch) -> Batch:
        return batch

    def close(self) -> None:
        self.batches, self._rotation = [], cycle(())


class HostMemoryBatches(Resident):
    """A pool of batches in host memory; each step copies one. From pinned memory the copy is asynchronous."""

    def __init__(self, batches: list[Batch], device: torch.device, *, pinned: bool) -> None:
        if pinned:
            batches = [(images.pin_memory(), labels.pin_memory()) for images, labels in batches]
        super().__init__(batches)
        self._device, self._pinned = device, pinned

    def transfer(self, batch: Batch) -> Batch:
        return _copied(batch, self._device, self._pinned)


class Loader:
    """A DataLoader that never ends, so that no step stands at the border of an epoch.

    The workers (forked, persistent) read, resize and normalise single images, as a usual pipeline does.
    """

    def __init__(self, samples: "Samples", layout: Format, case: Case, device: torch.device) -> None:
        self.input_waits_s: list[float] | None = []
        self._device, self._pinned = device, accelerator_of(device).asynchronous
        self._fetches_per_step = case.accumulate if case.mode == "train" else 1
        self._waits: list[float] = []
        self.loader: DataLoader[Any] = DataLoader(
            samples,
            batch_size=case.batch,
            sampler=Endless(len(samples), case.seed),
            num_workers=case.num_workers,
            collate_fn=layout.collate,
            pin_memory=self._pinned,
            persistent_workers=case.num_workers > 0,
            multiprocessing_context="fork" if case.num_workers > 0 and hasattr(os, "fork") else None,
            generator=torch.Generator().manual_seed(case.seed),
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
        return _copied(batch, self._device, self._pinned)

    def close(self) -> None:
        """Ends the worker processes: they stop when the last reference to the iterator goes."""
        self._iterator = None
        del self.loader


class Samples(Dataset[tuple[torch.Tensor, Any]]):
    """Single images: prepared one at a time from a real set, or from a pool of random ones."""

    def __init__(self, layout: Format, data: DataSet | None, split: Split | None, seed: int) -> None:
        self._layout, self._data = layout, data
        if split is None:
            sample_bytes = math.prod(layout.sample_shape) * torch.float32.itemsize
            num_samples = max(1, min(POOL_SAMPLES, POOL_BYTES // sample_bytes))
            split = Split(*layout.random(num_samples, seeded(seed)))
        self._split = split

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Any]:
        raw = self._split.images_NCHW[index : index + 1]
        image = raw if self._data is None else self._data.prepare(raw, self._layout.image_size)
        target = self._split.labels_N[index]
        is_class = target.ndim == 0 and not target.is_floating_point()
        return image[0], int(target) if is_class else target  # a tensor each would cost the loader more


class Endless(Sampler[int]):
    """Indices in seeded random order, every image once per pass, for ever."""

    def __init__(self, num_samples: int, seed: int) -> None:
        self._num_samples, self._seed = num_samples, seed

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed)
        while True:
            yield from torch.randperm(self._num_samples, generator=generator, device="cpu").tolist()


def make_source(case: Case, layout: Format, data: DataSet | None, device: torch.device) -> BatchSource:
    """The case's source. `data` None is synthetic; training takes the training split, inference the test split."""
    split = None if data is None else (data.train if case.mode == "train" else data.test)
    if case.data_path == "loader":
        return Loader(Samples(layout, data, split, case.seed), layout, case, device)
    where = device if case.data_path == "resident" else torch.device("cpu")
    batches = list(make_batches(layout, data, split, where, case.seed, layout.num_pool_batches))
    if case.data_path == "resident":
        return Resident(batches)
    return HostMemoryBatches(batches, device, pinned=case.data_path == "pinned")


def _copied(batch: Batch, device: torch.device, pinned: bool) -> Batch:
    images, labels = batch
    return images.to(device, non_blocking=pinned), labels.to(device, non_blocking=pinned)


def make_batches(
    layout: Format, data: DataSet | None, split: Split | None, device: torch.device, seed: int, num_batches: int
) -> Iterator[Batch]:
    """Seeded batches on `device`. A batch larger than the split repeats images."""
    if data is None or split is None:
        generator = torch.Generator(device).manual_seed(seed)
        for _ in range(num_batches):
            images, labels = layout.random(layout.batch_size, generator)
            yield layout.cast(images), labels
        return
    indices = iter(Endless(len(split), seed))
    for _ in range(num_batches):
        taken = split.take(torch.tensor([next(indices) for _ in range(layout.batch_size)]))
        images = data.prepare(taken.images_NCHW.to(device), layout.image_size)
        yield layout.cast(images), taken.labels_N.to(device)


def layout_of(case: Case) -> torch.memory_format:
    return torch.channels_last if case.memory_format == "channels_last" else torch.contiguous_format


def seeded(seed: int) -> torch.Generator:
    """A generator on the CPU."""
    return torch.Generator().manual_seed(seed)


def _drawn(shape: tuple[int, ...], below: int | None, generator: torch.Generator) -> torch.Tensor:
    if below is None:
        return torch.randn(shape, generator=generator, dtype=torch.float32, device=generator.device)
    return torch.randint(below, shape, generator=generator, device=generator.device)
