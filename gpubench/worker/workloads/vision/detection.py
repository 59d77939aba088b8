"""`workload: vision:detection`: a RetinaNet of 437 thousand parameters finds digits in scenes."""

from typing import Any

import torch
from torch import nn

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.supervised.examples import Batch, DataSplits, Examples
from gpubench.worker.workloads.supervised.scores import Score
from gpubench.worker.workloads.supervised.supervised import Supervised
from gpubench.worker.workloads.vision.retinanet import Detector
from gpubench.worker.workloads.vision.scene_examples import DATA, BoxedScenes, image_size, load_scenes
from gpubench.worker.workloads.vision.scenes import MOST_DIGITS
from gpubench.worker.workloads.vision.scores import mean_precision, trivial_boxes, true_boxes

NUM_CLASSES = 10

_SIDE = 16.0


class Detection(Supervised):
    """Judged by mean average precision."""

    own_data = DATA
    max_gradient_norm = 5.0
    loss_in_inference = False
    cosine_pace = True

    def make_model(self, case: Case) -> nn.Module:  # noqa: ARG002
        return Detector(NUM_CLASSES)

    def make_batch(self, case: Case, num_samples: int, generator: torch.Generator) -> Batch:
        """Noise, with three boxes of 16 pixels in each image."""
        size, device = image_size(case), generator.device
        images = torch.randn(num_samples, 3, size, size, generator=generator, device=device)
        corner = torch.rand(num_samples, MOST_DIGITS, 2, generator=generator, device=device) * (size - _SIDE)
        labels = torch.randint(NUM_CLASSES, (num_samples, MOST_DIGITS), generator=generator, device=device)
        return {"images": images, "boxes": torch.cat([corner, corner + _SIDE], 2), "labels": labels}, labels

    def loss(self, output: Any, targets: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """The network computes its own loss."""
        loss: torch.Tensor = output["loss"]
        return loss

    def load_own_data(self, case: Case) -> DataSplits:
        return load_scenes(case, BoxedScenes)

    def evaluate(self, case: Case, examples: Examples, device: torch.device, *, final: bool) -> Score:
        assert isinstance(examples, BoxedScenes)
        assert self.model is not None
        found = [
            {name: part.cpu().float() if part.is_floating_point() else part.cpu() for name, part in one.items()}
            for inputs, _ in self.evaluation_batches(case, examples, device)
            for one in self.model(inputs)["detections"]
        ]
        truth = true_boxes(examples.scenes)
        score = mean_precision(found, truth)
        trivial = trivial_boxes(examples.train, examples.scenes) if final else {}
        return Score(
            "map",
            score["map"],
            {"map50": score["map50"]},
            {name: mean_precision(boxes, truth)["map"] for name, boxes in trivial.items()},
        )
