"""A split in epochs: batches to train on, and predictions of every image."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.classifier.batches import Batch, Format
from gpubench.worker.workloads.classifier.datasets import DataSet, Split
from gpubench.worker.workloads.numerics import autocast_of

if TYPE_CHECKING:
    from gpubench.worker.workloads.classifier.classifier import Classifier

WHOLE_SPLIT_BYTES = 2**30
"""A prepared split up to this size is kept on the device; a larger one is kept raw and prepared batch by batch."""

EVALUATION_BATCH = 256


Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def unchanged(images_NCHW: torch.Tensor, _generator: torch.Generator) -> torch.Tensor:
    return images_NCHW


class EpochSource:
    """The training split in a new seeded order every epoch, already on the device, without a last, partial batch (a
    split smaller than one batch is one batch). `augment` changes the prepared images by a seeded generator.
    """

    input_waits_s: list[float] | None = None

    def __init__(
        self,
        data: DataSet,
        split: Split,
        layout: Format,
        device: torch.device,
        seed: int,
        *,
        augment: Augment = unchanged,
    ) -> None:
        self._data, self._layout, self._augment = data, layout, augment
        self._generator = torch.Generator().manual_seed(seed)
        self._device = device
        self._prepared = len(split) * 3 * layout.image_size**2 * layout.dtype.itemsize <= WHOLE_SPLIT_BYTES
        images = split.images_NCHW.to(device)
        self._images = data.prepare(images, layout.image_size).to(layout.dtype) if self._prepared else images
        self._labels = split.labels_N.to(device)
        self._batch_size = min(layout.batch_size, len(split))
        self.num_batches = len(split) // self._batch_size
        self._left: list[torch.Tensor] = []

    def fetch(self) -> Batch:
        if not self._left:
            order = torch.randperm(len(self._labels), generator=self._generator).to(self._device)
            self._left = list(torch.split(order, self._batch_size))[: self.num_batches][::-1]
        indices = self._left.pop()
        images = self._images[indices]
        if not self._prepared:
            images = self._data.prepare(images, self._layout.image_size)
        return self._layout.cast(self._augment(images, self._generator)), self._labels[indices]

    def transfer(self, batch: Batch) -> Batch:
        return batch

    def close(self) -> None:
        self._left = []


def predict(
    workload: "Classifier", case: Case, data: DataSet, split: Split, layout: Format, device: torch.device
) -> torch.Tensor:
    """Predicted classes N on the CPU, at the case's precision, in eval mode; afterwards the model trains again."""
    model = workload.model
    assert model is not None, "the model is built first"
    model.eval()
    predicted = []
    with torch.inference_mode(), autocast_of(case.precision, device.type)():
        for raw in torch.split(split.images_NCHW, EVALUATION_BATCH):
            images = layout.cast(data.prepare(raw.to(device), layout.image_size))
            predicted.append(workload.logits(model(images)).argmax(dim=1).cpu())
    model.train()
    return torch.cat(predicted)
