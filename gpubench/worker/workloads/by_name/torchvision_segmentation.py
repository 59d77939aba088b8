"""`workload: torchvision-segmentation:<model>`: any of torchvision's segmentation models, with random weights."""

from typing import Any

import torch
from torch import nn

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.by_name.model_names import check_name, check_params
from gpubench.worker.workloads.supervised.examples import Batch
from gpubench.worker.workloads.supervised.supervised import Supervised

IMAGE_SIZE = 520
NUM_CLASSES = 21
"""The classes of Pascal VOC, with which torchvision's reference script evaluates (on images of 520 pixels)."""

AUXILIARY_WEIGHT = 0.5
"""Weight of the auxiliary head's loss in torchvision's reference script."""


def model_names() -> list[str]:
    from torchvision import models

    return sorted(models.list_models(module=models.segmentation))


class TorchvisionSegmentation(Supervised):
    """Images N3SS to logits NCSS, with a class for every pixel."""

    def __init__(self, name: str) -> None:
        check_name(name, model_names(), "torchvision has no segmentation model", "fcn_resnet50")
        super().__init__()
        self.name = name

    def check(self, case: Case) -> None:
        check_params(case.workload, case.params, {})

    def make_model(self, case: Case) -> nn.Module:
        from torchvision import models

        num_classes = case.num_classes or NUM_CLASSES
        model: nn.Module = models.get_model(self.name, weights=None, weights_backbone=None, num_classes=num_classes)
        return model

    def make_batch(self, case: Case, num_samples: int, generator: torch.Generator) -> Batch:
        size, device = case.image_size or IMAGE_SIZE, generator.device
        images_NCHW = torch.randn((num_samples, 3, size, size), generator=generator, device=device)
        shape = (num_samples, size, size)
        return images_NCHW, torch.randint(case.num_classes or NUM_CLASSES, shape, generator=generator, device=device)

    def loss(self, output: Any, targets: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy over pixels, plus half of the auxiliary head's if the model has one."""
        loss = nn.functional.cross_entropy(output["out"], targets)
        if "aux" in output:
            loss = loss + AUXILIARY_WEIGHT * nn.functional.cross_entropy(output["aux"], targets)
        return loss

    def logits(self, output: Any) -> torch.Tensor:
        logits_NCHW: torch.Tensor = output["out"]
        return logits_NCHW
