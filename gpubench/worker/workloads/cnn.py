"""The reference CNN."""

import torch
from torch import nn

from gpubench.suite.model.case import Case
from gpubench.worker.workloads import tensorflow_loop
from gpubench.worker.workloads.classifier.classifier import Classifier
from gpubench.worker.workloads.supervised.examples import Batch
from gpubench.worker.workloads.supervised.lightning_loop import FrameworkLoop
from gpubench.worker.workloads.supervised.parity_probe import Outputs
from gpubench.worker.workloads.supervised.steps import TrainStep
from gpubench.worker.workloads.tensorflow_loop import TensorFlowLoop

IMAGE_SIZE = 28
NUM_CLASSES = 10


class ReferenceCNN(nn.Module):
    """Two convolutions and a classifier: images NCHW (3 channels) to raw logits NC, for cross-entropy.

    conv 3x3 3->16, ReLU, max-pool 2, conv 3x3 16->32, ReLU, max-pool 2, fully connected from 32 x (S/4) x (S/4)
    (1,568 inputs at 28 px). Convolutions are padded by 1, so only the pools change the size; both round down.
    """

    def __init__(self, num_classes: int = NUM_CLASSES, image_size: int = IMAGE_SIZE) -> None:
        super().__init__()
        side = image_size // 2 // 2
        if side < 1:
            raise ValueError(
                f"the reference CNN needs images of at least 4 x 4 pixels, not {image_size} x {image_size}"
            )
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(32 * side * side, num_classes)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        features = self.pool(torch.relu(self.conv1(images_NCHW)))
        features = self.pool(torch.relu(self.conv2(features)))
        logits_NC: torch.Tensor = self.fc(torch.flatten(features, 1))
        return logits_NC


class CNN(Classifier):
    """`workload: cnn`."""

    default_image_size = IMAGE_SIZE
    default_num_classes = NUM_CLASSES

    def make_model(self, case: Case) -> nn.Module:
        return ReferenceCNN(self.num_classes(case), self.image_size(case))

    def check_framework(self, case: Case) -> None:
        if case.framework == "tensorflow":
            tensorflow_loop.refuse(case)
        else:
            super().check_framework(case)

    def framework_loop(self, case: Case, step: TrainStep, device: torch.device) -> FrameworkLoop:
        if case.framework == "tensorflow":
            assert self.model is not None
            return TensorFlowLoop(step, self.model, case)
        return super().framework_loop(case, step, device)

    def measured_pass(self, case: Case, model: nn.Module, batch: Batch, device_type: str) -> Outputs:
        if case.framework == "tensorflow":
            return tensorflow_loop.measured_pass(model, batch)
        return super().measured_pass(case, model, batch, device_type)
