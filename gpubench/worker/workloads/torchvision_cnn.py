"""`workload: torchvision:<model>`: any classification model of torchvision by name, with random weights."""

from typing import Any

import torch
from torch import nn

from gpubench.core.did_you_mean import near
from gpubench.core.errors import UsageError
from gpubench.suite.model.case import Case
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.classifier.classifier import Classifier

IMAGE_SIZE = 224
INCEPTION_V3_IMAGE_SIZE = 299
NUM_CLASSES = 1000

# Weight of each auxiliary classifier's loss: Szegedy et al. 2015 (0.3, googlenet) and torchvision's reference script
# (0.4).
AUXILIARY_WEIGHTS = {"googlenet": 0.3, "inception_v3": 0.4}


def model_names() -> list[str]:
    """Names of torchvision's classification models, sorted."""
    from torchvision import models

    return sorted(models.list_models(module=models))


def check_model_name(name: str) -> None:
    """UsageError with the nearest name if torchvision has no such classification model."""
    names = model_names()
    if name not in names:
        hint = near(name, names).replace("did", "Did", 1) or f"There are {len(names)}, such as resnet50."
        raise UsageError(f"torchvision has no classification model named {name!r}.", hint=hint)


class TorchvisionCNN(Classifier):
    default_num_classes = NUM_CLASSES

    def __init__(self, name: str) -> None:
        check_model_name(name)
        super().__init__()
        self.name = name

    @property
    def default_image_size(self) -> int:  # type: ignore[override]
        return INCEPTION_V3_IMAGE_SIZE if self.name == "inception_v3" else IMAGE_SIZE

    def make_model(self, case: Case) -> nn.Module:
        from torchvision import models

        arguments = {"weights": None, "num_classes": self.num_classes(case), **self._own_arguments(case)}
        try:
            model: nn.Module = models.get_model(self.name, **arguments)
        except (AssertionError, ValueError) as error:
            size = self.image_size(case)
            raise Unsupported(f"torchvision cannot build {self.name} for {size} x {size} pixels: {error}") from error
        return model

    def _own_arguments(self, case: Case) -> dict[str, Any]:
        """Arguments that only some models take. Transformers fix the image size when they are built."""
        size = self.image_size(case)
        if self.name in AUXILIARY_WEIGHTS:
            return {"init_weights": True, "aux_logits": True}
        if self.name.startswith("vit_"):
            return {"image_size": size}
        if self.name.startswith("maxvit"):
            return {"input_size": (size, size)}
        return {}

    def loss(self, output: Any, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of the logits, and of each auxiliary classifier that a training forward returns."""
        if isinstance(output, torch.Tensor):
            return nn.functional.cross_entropy(output, targets)
        logits, *auxiliary = (logits_NC for logits_NC in output if logits_NC is not None)
        loss = nn.functional.cross_entropy(logits, targets)
        for logits_NC in auxiliary:
            loss = loss + AUXILIARY_WEIGHTS[self.name] * nn.functional.cross_entropy(logits_NC, targets)
        return loss

    def logits(self, output: Any) -> torch.Tensor:
        tensor: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
        return tensor
