"""Images and labels: synthetic, scikit-learn's digits, and torchvision's small data sets from a local folder.

Every set has three splits of raw images, which are prepared in the same way: scaled to [0, 1], resized, normalised by
the training split's mean and standard deviation, three channels.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gpubench.core.errors import UsageError
from gpubench.worker.workloads.supervised.batches import as_class
from gpubench.worker.workloads.supervised.examples import Batch, DataSplits, Examples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]

VALIDATION_SHARE = 0.15
TEST_SHARE = 0.15

WHOLE_SPLIT_BYTES = 2**30
"""A prepared split up to this size is kept on the device; a larger one is kept raw and prepared batch by batch."""


@dataclass(frozen=True)
class Split:
    """Raw images NCHW in [0, `scale`] (uint8 or float32; C is 1 or 3) and class indices N (int64), on the CPU."""

    images_NCHW: torch.Tensor
    labels_N: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels_N)

    def take(self, indices: torch.Tensor) -> "Split":
        return Split(self.images_NCHW[indices], self.labels_N[indices])


@dataclass(frozen=True)
class DataSet:
    """`train`, `validation` and `test` share no image. `scale` is the raw value of white."""

    name: str
    train: Split
    validation: Split
    test: Split
    num_classes: int
    scale: float

    @cached_property
    def mean(self) -> torch.Tensor:
        """Per channel (C x 1 x 1), of the training split in [0, 1]."""
        return self._training_pixels().mean(dim=(0, 2, 3)).reshape(-1, 1, 1)

    @cached_property
    def std(self) -> torch.Tensor:
        return self._training_pixels().std(dim=(0, 2, 3)).reshape(-1, 1, 1)

    def _training_pixels(self) -> torch.Tensor:
        return self.train.images_NCHW.float() / self.scale

    def prepare(self, raw_NCHW: torch.Tensor, image_size: int) -> torch.Tensor:
        """Prepared images: float32, N x 3 x `image_size` x `image_size`, on the raw images' device.

        Resizing is bilinear without antialiasing (these images are nearly always enlarged). Statistics are the training
        split's, taken before resizing.
        """
        device = raw_NCHW.device
        images = (raw_NCHW.float() / self.scale - self.mean.to(device)) / self.std.to(device)
        if images.shape[-2:] != (image_size, image_size):
            images = torch.nn.functional.interpolate(images, size=(image_size, image_size), mode="bilinear")
        return images.expand(-1, 3, -1, -1).contiguous()


class PreparedImages(Examples):
    """A split's images N x 3 x `image_size` x `image_size` and labels, prepared when they are read."""

    def __init__(self, data: DataSet, split: Split, image_size: int) -> None:
        self._data, self._split, self._image_size = data, split, image_size
        self._is_prepared = False

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Any]:
        image = self._data.prepare(self._split.images_NCHW[index : index + 1], self._image_size)[0]
        return image, as_class(self._split.labels_N[index])

    def batches(
        self, order: torch.Tensor, batch_size: int, device: torch.device, dtype: torch.dtype
    ) -> Iterator[Batch]:
        for indices in torch.split(order.to(self._split.labels_N.device), batch_size):
            taken = self._split.take(indices)
            images = taken.images_NCHW.to(device)
            if not self._is_prepared:
                images = self._data.prepare(images, self._image_size)
            yield images.to(dtype), taken.labels_N.to(device)

    def kept_on(self, device: torch.device, dtype: torch.dtype) -> "PreparedImages":
        """Keeps the split on the device: prepared if small, else raw."""
        split, size = self._split, self._image_size
        images = split.images_NCHW.to(device)
        kept = PreparedImages(self._data, Split(images, split.labels_N.to(device)), size)
        if len(split) * 3 * size**2 * dtype.itemsize <= WHOLE_SPLIT_BYTES:
            kept._split = Split(self._data.prepare(images, size).to(dtype), kept._split.labels_N)
            kept._is_prepared = True
        return kept


def prepared(data: DataSet, image_size: int) -> DataSplits:
    """The splits of a set as examples of this image size."""
    train, validation, test = (
        PreparedImages(data, split, image_size) for split in (data.train, data.validation, data.test)
    )
    return DataSplits(data.name, train, validation, test)


def load(name: str, *, root: str | None = None, download: bool = False, seed: int = 0) -> DataSet:
    """The set called `name`, split by `seed`. UsageError if its files are not there and `download` is False."""
    if name == "digits":
        return _digits(seed)
    if name not in TORCHVISION_SETS:
        known = ", ".join(["digits", *TORCHVISION_SETS])
        raise UsageError(f"There is no data set called {name!r}.", hint=f"Real data: {known}.")
    return _torchvision_set(name, Path(root).expanduser() if root else default_root(), download, seed)


def num_classes(name: str) -> int | None:
    """Classes of a real set; None for synthetic data, which uses the workload's number."""
    return None if name == "synthetic" else 10


def default_root() -> Path:
    """`$XDG_CACHE_HOME/gpubench/data`, or the same under `~/.cache`."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "gpubench" / "data"


def stratified(labels_N: torch.Tensor, share: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Splits indices at random into the rest and a `share` that has the same mix of classes (to within one image).

    The same indices as scikit-learn's `train_test_split(stratify=labels)`, whose import takes a second in every host.
    """
    num_part = math.ceil(share * len(labels_N))
    classes, counts = np.unique(labels_N.numpy(), return_counts=True)
    random = np.random.RandomState(seed % 2**32)
    num_rest_c = _in_proportion(counts, len(labels_N) - num_part, random)
    num_part_c = _in_proportion(counts - num_rest_c, num_part, random)
    rest: list[int] = []
    part: list[int] = []
    for label, count, end, more in zip(classes, counts, num_rest_c, num_part_c, strict=True):
        shuffled = np.flatnonzero(labels_N.numpy() == label)[random.permutation(count)]
        rest.extend(shuffled[:end])
        part.extend(shuffled[end : end + more])
    return torch.from_numpy(random.permutation(rest)), torch.from_numpy(random.permutation(part))


def _in_proportion(counts_c: "IntArray", total: int, random: np.random.RandomState) -> "IntArray":
    """`total` shared out in proportion to `counts_c`: rounded down, then one more by the largest remainder; ties at
    random.
    """
    exact = counts_c / counts_c.sum() * total
    shares, remainder = np.floor(exact), exact - np.floor(exact)
    for value in np.unique(remainder)[::-1]:
        tied = np.flatnonzero(remainder == value)
        num_missing = int(total - shares.sum())
        if num_missing == 0:
            break
        shares[random.choice(tied, size=min(len(tied), num_missing), replace=False)] += 1
    whole: IntArray = shares.astype(np.int64)
    return whole


def _digits(seed: int) -> DataSet:
    """1,797 images of 8 x 8 pixels in 17 shades of grey, split 70/15/15."""
    pixels_and_label = np.loadtxt(_digits_file(), delimiter=",", dtype=np.float32)
    everything = Split(
        torch.from_numpy(pixels_and_label[:, :-1]).reshape(-1, 1, 8, 8),
        torch.from_numpy(pixels_and_label[:, -1]).to(torch.int64),
    )
    rest, test = stratified(everything.labels_N, TEST_SHARE, seed)
    train, validation = _carve(everything.take(rest), VALIDATION_SHARE / (1 - TEST_SHARE), seed)
    return DataSet("digits", train, validation, everything.take(test), num_classes=10, scale=16.0)


def _digits_file() -> Path:
    """The file behind scikit-learn's `load_digits`, found without importing scikit-learn."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise UsageError("The digits are scikit-learn's.", hint="Install it: pip install scikit-learn")
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"


def _carve(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    rest, part = stratified(split.labels_N, share, seed)
    return split.take(rest), split.take(part)


TORCHVISION_SETS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10"}


def _torchvision_set(name: str, root: Path, download: bool, seed: int) -> DataSet:
    """Uses the set's own test split; a random 15 % of its training images become the validation split."""
    learning, test = (_read(name, root, train=part, download=download) for part in (True, False))
    train, validation = _carve(learning, VALIDATION_SHARE, seed)
    return DataSet(name, train, validation, test, num_classes=10, scale=255.0)


def _read(name: str, root: Path, *, train: bool, download: bool) -> Split:
    from torchvision import datasets

    make = getattr(datasets, TORCHVISION_SETS[name])
    try:
        stored: Any = make(str(root), train=train, download=download)
    except (RuntimeError, OSError) as error:
        if download:
            raise UsageError(f"{name} could not be downloaded to {root}: {error}") from error
        raise UsageError(
            f"{name} was not found in {root}.",
            hint=f"Put torchvision's {TORCHVISION_SETS[name]} files there, name their folder with `data_root`, "
            "or pass --download.",
        ) from error
    images = torch.as_tensor(stored.data)
    channels_first = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return Split(channels_first.contiguous(), torch.as_tensor(stored.targets, dtype=torch.int64))
