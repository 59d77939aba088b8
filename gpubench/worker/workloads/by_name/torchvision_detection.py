"""`workload: torchvision-detection:<model>`: any detector of torchvision, with random weights.

A sample is an image with a few random boxes. In inference a detector with random weights finds almost nothing, so its
final box selection has little to do.
"""

from typing import Any

import torch
from torch import nn

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.base import ParityProbe, Unsupported
from gpubench.worker.workloads.by_name.model_names import check_name, check_params
from gpubench.worker.workloads.supervised.examples import Batch
from gpubench.worker.workloads.supervised.supervised import Supervised

IMAGE_SIZE = 800
"""The shorter side of COCO's images in torchvision's reference script."""

NUM_CLASSES = 91
NUM_BOXES = 5
LEAST_SIDE = 4
"""Pixels per side of the smallest random box."""

NUM_KEYPOINTS = 17

_DRAWS = "the model draws the boxes it learns from at random, so there is no fixed loss to compare"
_HARDEST = "the loss is that of the boxes with the largest losses, whose choice rounding changes"
_CHOOSES = "the second stage works on boxes chosen by their scores, which rounding changes: there is no fixed output"


def model_names() -> list[str]:
    from torchvision import models

    return sorted(models.list_models(module=models.detection))


class NamedDetector(nn.Module):
    """Takes a batch's inputs: images, boxes and labels in training, images alone in inference.

    Returns `losses` by name in training and `detections` in inference. One-stage models also return `logits`: the
    classes of all anchors, before boxes are selected.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._logits: torch.Tensor | None = None
        head = getattr(model, "head", None)
        if isinstance(head, nn.Module):
            head.register_forward_hook(self._keep)

    def _keep(self, _head: nn.Module, _inputs: Any, output: Any) -> None:
        self._logits = output["cls_logits"]

    def forward(self, inputs: Any) -> dict[str, Any]:
        if not self.training:
            images = inputs["images"] if isinstance(inputs, dict) else inputs
            found: dict[str, Any] = {"detections": self.model(list(images))}
        else:
            images = inputs["images"]
            others = {name: values for name, values in inputs.items() if name != "images"}
            others["boxes"] = others["boxes"].to(images.dtype)
            targets = [{name: values[index] for name, values in others.items()} for index in range(len(images))]
            found = {"losses": self.model(list(images), targets)}
        logits, self._logits = self._logits, None
        return found if logits is None else {**found, "logits": logits}


class TorchvisionDetector(Supervised):
    loss_in_inference = False
    reads_values = True

    def __init__(self, name: str) -> None:
        check_name(name, model_names(), "torchvision has no detection model", "retinanet_resnet50_fpn")
        super().__init__()
        self.name = name

    @property
    def own_size(self) -> int | None:
        """SSDs are built for one size."""
        return 300 if self.name.startswith("ssd300") else 320 if self.name.startswith("ssdlite320") else None

    @property
    def has_two_stages(self) -> bool:
        return "rcnn" in self.name

    def check(self, case: Case) -> None:
        check_params(case.workload, case.params, {"boxes": f"random boxes in an image ({NUM_BOXES})"})
        if case.cuda_graph:
            raise Unsupported(f"{case.workload} reads values on the host in every step, which a CUDA graph cannot hold")
        if self.own_size and case.image_size not in (None, self.own_size):
            raise Unsupported(f"torchvision builds {self.name} for {self.own_size} x {self.own_size} pixels only")

    def make_model(self, case: Case) -> nn.Module:
        from torchvision import models

        size = case.image_size or self.own_size or IMAGE_SIZE
        sizes = {} if self.own_size else {"min_size": size, "max_size": size}
        num_classes = case.num_classes or NUM_CLASSES
        return NamedDetector(
            models.get_model(self.name, weights=None, weights_backbone=None, num_classes=num_classes, **sizes)
        )

    def make_batch(self, case: Case, num_samples: int, generator: torch.Generator) -> Batch:
        """Boxes are pairs of corners in whole pixels: in half precision they would move."""
        size, device = case.image_size or self.own_size or IMAGE_SIZE, generator.device
        num_boxes = int(case.params.get("boxes", NUM_BOXES))
        images_NCHW = torch.rand((num_samples, 3, size, size), generator=generator, device=device)
        where = (num_samples, num_boxes)

        def drawn(below: int, shape: tuple[int, ...]) -> torch.Tensor:
            return torch.randint(below, shape, generator=generator, device=device)

        corners = drawn(size // 2, (*where, 2))
        sides = LEAST_SIDE + drawn(max(1, size // 2 - LEAST_SIDE), (*where, 2))
        boxes = torch.cat([corners, corners + sides], dim=2)
        labels = 1 + drawn((case.num_classes or NUM_CLASSES) - 1, where)
        if case.mode == "infer":
            return images_NCHW, labels
        inputs = {"images": images_NCHW, "boxes": boxes, "labels": labels}
        if self.name.startswith("maskrcnn"):
            inputs["masks"] = drawn(2, (*where, size, size)).to(torch.uint8)
        if self.name.startswith("keypointrcnn"):
            middles = (corners + sides // 2)[:, :, None].expand(-1, -1, NUM_KEYPOINTS, -1)
            inputs["keypoints"] = torch.cat([middles, torch.ones_like(middles[..., :1])], dim=3).float()
        return inputs, labels

    def loss(self, output: Any, targets: Any) -> torch.Tensor:  # noqa: ARG002 - the model has them
        """The sum of the model's own losses."""
        total: torch.Tensor = torch.stack([loss.float() for loss in output["losses"].values()]).sum()
        return total

    def logits(self, output: Any) -> torch.Tensor:
        """The classes of all anchors; of a model of two stages the losses, or the scores of its first image."""
        if "logits" in output:
            logits: torch.Tensor = output["logits"]
            return logits
        if "losses" in output:
            return torch.stack(list(output["losses"].values()))
        scores: torch.Tensor = output["detections"][0]["scores"]
        return scores

    def parity(self, case: Case, device: Any) -> ParityProbe | str:
        if self.has_two_stages:
            return _DRAWS if case.mode == "train" else _CHOOSES
        if self.name.startswith("ssd") and case.mode == "train":
            return _HARDEST
        return super().parity(case, device)
