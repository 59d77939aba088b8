"""Where a step's input comes from: the data path of a case.

A source gives batches for ever. `fetch` gets one on the host side (for `resident` it is on the device already) and
`transfer` brings it to the device; both are parts of a step. Images arrive in the case's memory format and in the type
of the weights, as a tuned input pipeline would deliver them.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from gpubench.suite.model.case import Case
from gpubench.suite.model.input_shape import Inputs, InputShape
from gpubench.worker.accelerator import accelerator_of
from gpubench.worker.workloads.classifier.datasets import DataSet, Split
from gpubench.worker.workloads.numerics import NUMERICS

Samples = torch.Tensor | tuple[torch.Tensor, ...] | dict[str, torch.Tensor]
"""A module's only input, several in order, or by name."""

Batch = tuple[Samples, torch.Tensor]

POOL_BATCHES = 8
POOL_BYTES = 256 * 2**20
POOL_SAMPLES = 512


def map_inputs(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """What `function` returns for every input of some samples (and the same of others), put together likewise."""
    if isinstance(first, dict):
        return {name: function(part, *(other[name] for other in others)) for name, part in first.items()}
    if type(first) in (tuple, list):  # a DataLoader that pins memory makes lists of tuples
        return tuple(function(*parts) for parts in zip(first, *others, strict=True))
    return function(first, *others)


def parts_of(inputs: Any) -> list[Any]:
    """All inputs of some samples, or of their shapes, without what holds them together."""
    return list(inputs.values() if isinstance(inputs, dict) else inputs if type(inputs) in (tuple, list) else [inputs])


class Format(NamedTuple):
    """Shapes, types and layout of a batch: `batch_size` samples of `inputs`, and what is wanted of each.

    Targets are class indices below `num_classes`, one per sample or for each element of `target_shape`; without classes
    they are floats of that shape.
    """

    batch_size: int
    inputs: Inputs
    num_classes: int | None
    dtype: torch.dtype
    memory_format: torch.memory_format
    target_shape: tuple[int, ...] = ()

    @classmethod
    def of_images(cls, case: Case, image_size: int, num_classes: int) -> "Format":
        """Images of three channels and a class for each."""
        image = InputShape(None, (3, image_size, image_size))
        return cls(case.batch, image, num_classes, NUMERICS[case.precision].weights, layout_of(case))

    @property
    def image_size(self) -> int:
        assert isinstance(self.inputs, InputShape)
        return self.inputs.shape[-1]

    @property
    def sample_bytes(self) -> int:
        return sum(math.prod(part.shape) * (part.itemsize or self.dtype.itemsize) for part in parts_of(self.inputs))

    @property
    def num_pool_batches(self) -> int:
        return max(1, min(POOL_BATCHES, POOL_BYTES // (self.batch_size * self.sample_bytes)))

    def plain(self, batch_size: int) -> "Format":
        """The same in float32 and without a layout."""
        return self._replace(batch_size=batch_size, dtype=torch.float32, memory_format=torch.contiguous_format)

    def cast(self, samples: Samples) -> Samples:
        """Float samples in the type of the case, images in its layout; integers as they are."""

        def cast(part: torch.Tensor) -> torch.Tensor:
            if not part.is_floating_point():
                return part
            return part.to(self.dtype).contiguous(
                memory_format=self.memory_format if part.ndim == 4 else torch.contiguous_format
            )

        found: Samples = map_inputs(cast, samples)
        return found

    def unfilled(self, device: torch.device) -> Batch:
        """A batch of the right shapes and types, whatever is in it."""

        def empty(part: InputShape) -> torch.Tensor:
            dtype = self.dtype if part.below is None else torch.bool if part.is_bool else torch.int64
            return torch.empty((self.batch_size, *part.shape), dtype=dtype, device=device)

        target = (self.batch_size, *self.target_shape)
        return (
            map_inputs(empty, self.inputs),
            torch.empty(target, dtype=self.dtype if self.num_classes is None else torch.int64, device=device),
        )

    def random(self, num_samples: int, generator: torch.Generator) -> Batch:
        """Seeded samples and targets, float32 or int64, on the generator's device."""

        def drawn(part: InputShape) -> torch.Tensor:
            values = _drawn((num_samples, *part.shape), part.below, generator)
            return values.bool() if part.is_bool else values

        return map_inputs(drawn, self.inputs), _drawn((num_samples, *self.target_shape), self.num_classes, generator)

    def collate(self, samples: list[tuple[Samples, Any]]) -> Batch:
        """A batch of single samples and their targets (in the loader's process)."""
        inputs, targets = zip(*samples, strict=True)
        single = isinstance(targets[0], int)
        stacked: Samples = map_inputs(lambda *parts: torch.stack(parts), *inputs)
        return self.cast(stacked), torch.tensor(targets) if single else torch.stack(targets)


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
            batches = [
                (map_inputs(torch.Tensor.pin_memory, samples), labels.pin_memory()) for samples, labels in batches
            ]
        super().__init__(batches)
        self._device, self._pinned = device, pinned

    def transfer(self, batch: Batch) -> Batch:
        return _copied(batch, self._device, self._pinned)


class Loader:
    """A DataLoader that never ends, so that no step stands at the border of an epoch.

    The workers (forked, persistent) read, resize and normalise single images, as a usual pipeline does.
    """

    def __init__(self, samples: "SingleSamples", layout: Format, case: Case, device: torch.device) -> None:
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


class SingleSamples(Dataset[tuple[Samples, Any]]):
    """Single images, prepared one at a time from a real set; or single samples of a pool of random ones."""

    def __init__(self, layout: Format, data: DataSet | None, split: Split | None, seed: int) -> None:
        self._layout, self._data = layout, data
        if split is None:
            num_samples = max(1, min(POOL_SAMPLES, POOL_BYTES // layout.plain(1).sample_bytes))
            self._samples, self._targets = layout.random(num_samples, seeded(seed))
        else:
            self._samples, self._targets = split.images_NCHW, split.labels_N

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, index: int) -> tuple[Samples, Any]:
        if self._data is None:
            sample = map_inputs(lambda part: part[index], self._samples)
        else:
            assert isinstance(self._samples, torch.Tensor), "real data are images"
            sample = self._data.prepare(self._samples[index : index + 1], self._layout.image_size)[0]
        target = self._targets[index]
        is_class = target.ndim == 0 and not target.is_floating_point()
        return sample, int(target) if is_class else target  # a tensor each would cost the loader more


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
        return Loader(SingleSamples(layout, data, split, case.seed), layout, case, device)
    where = device if case.data_path == "resident" else torch.device("cpu")
    batches = list(make_batches(layout, data, split, where, case.seed, layout.num_pool_batches))
    if case.data_path == "resident":
        return Resident(batches)
    return HostMemoryBatches(batches, device, pinned=case.data_path == "pinned")


def _copied(batch: Batch, device: torch.device, pinned: bool) -> Batch:
    samples, labels = batch
    return map_inputs(lambda part: part.to(device, non_blocking=pinned), samples), labels.to(
        device, non_blocking=pinned
    )


def make_batches(
    layout: Format, data: DataSet | None, split: Split | None, device: torch.device, seed: int, num_batches: int
) -> Iterator[Batch]:
    """Seeded batches on `device`. A batch larger than the split repeats images."""
    if data is None or split is None:
        generator = torch.Generator(device).manual_seed(seed)
        for _ in range(num_batches):
            samples, labels = layout.random(layout.batch_size, generator)
            yield layout.cast(samples), labels
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
