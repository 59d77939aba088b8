"""`workload: vision:segmentation`: a U-Net of 251 thousand parameters finds the pixels of digits in scenes."""

import torch
from torch import nn

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.supervised.examples import Batch, DataSplits, Examples
from gpubench.worker.workloads.supervised.scores import Score
from gpubench.worker.workloads.supervised.supervised import Supervised
from gpubench.worker.workloads.vision.scene_examples import DATA, MaskedScenes, image_size, load_scenes
from gpubench.worker.workloads.vision.scores import mean_iou, trivial_masks
from gpubench.worker.workloads.vision.unet import UNet

NUM_CLASSES = 11
"""Background and ten digits."""


class Segmentation(Supervised):
    """Judged by mean intersection over union."""

    own_data = DATA
    max_gradient_norm = 5.0
    cosine_pace = True

    def make_model(self, case: Case) -> nn.Module:  # noqa: ARG002
        return UNet(NUM_CLASSES)

    def make_batch(self, case: Case, num_samples: int, generator: torch.Generator) -> Batch:
        size, device = image_size(case), generator.device
        images = torch.randn(num_samples, 3, size, size, generator=generator, device=device)
        return images, torch.randint(NUM_CLASSES, (num_samples, size, size), generator=generator, device=device)

    def loss(self, output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy over pixels."""
        return nn.functional.cross_entropy(output, targets)

    def load_own_data(self, case: Case) -> DataSplits:
        return load_scenes(case, MaskedScenes)

    def evaluate(self, case: Case, examples: Examples, device: torch.device, *, final: bool) -> Score:
        assert isinstance(examples, MaskedScenes)
        assert self.model is not None
        predicted = [
            self.model(images).argmax(1).cpu() for images, _ in self.evaluation_batches(case, examples, device)
        ]
        truth = examples.scenes.masks_NSS
        trivial = trivial_masks(examples.train, examples.scenes) if final else {}
        return Score(
            "miou",
            mean_iou(torch.cat(predicted), truth),
            baselines={name: mean_iou(masks, truth) for name, masks in trivial.items()},
        )
