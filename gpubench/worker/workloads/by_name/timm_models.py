"""`workload: timm:<model>`: any image model of timm by name, with random weights."""

from typing import Any

import torch
from torch import nn

from gpubench.core.errors import UsageError
from gpubench.suite.model.case import Case
from gpubench.worker.workloads.by_name.model_names import check_name, check_params
from gpubench.worker.workloads.classifier.classifier import Classifier
from gpubench.worker.workloads.supervised.steps import tensors_in

NUM_CLASSES = 1000


class TimmModel(Classifier):
    default_num_classes = NUM_CLASSES

    def __init__(self, name: str) -> None:
        import timm

        check_name(name.partition(".")[0], timm.list_models(), "timm has no model", "convnext_tiny")
        super().__init__()
        self.name = name

    @property
    def default_image_size(self) -> int:  # type: ignore[override]
        import timm

        config = timm.get_pretrained_cfg(self.name)
        return int(config.input_size[-1]) if config is not None else 224

    def check(self, case: Case) -> None:
        check_params(case.workload, case.params, {})
        super().check(case)

    def make_model(self, case: Case) -> nn.Module:
        import timm

        size = self.image_size(case)
        create: Any = timm.create_model
        arguments: dict[str, Any] = {"pretrained": False, "num_classes": self.num_classes(case)}
        sizes = {"img_size": size} if size != self.default_image_size else {}
        try:
            model: nn.Module = create(self.name, **arguments, **sizes)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            model = create(self.name, **arguments)  # it takes any size
        except RuntimeError as error:
            hint = "`timm.list_models()` lists the names."
            raise UsageError(f"timm cannot make {self.name}: {error}", hint=hint) from error
        return model

    def logits(self, output: Any) -> torch.Tensor:
        """Of distilled models in training, those of the class token."""
        return next(iter(tensors_in(output)))
