"""`workload: resnet9`: a small residual network for images of 32 pixels, with the recipe that trains it quickly.

The network and the recipe are those that made 94 % on CIFAR-10 a race (D. Page, "How to train your ResNet", 2018):
eight convolutions in three stages, a triangle of learning rates, and crops, mirrored images and a blanked square.
"""

import torch
from torch import nn
from torch.nn import functional

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.classifier.classifier import Classifier

IMAGE_SIZE = 32
NUM_CLASSES = 10
WIDTH = 64

_LOGIT_SCALE = 0.125
_PEAK_AT = 0.2
_WEIGHT_DECAY = 5e-4
_PADDING = 4
_BLANK = 8


def convolution(channels_in: int, channels_out: int) -> nn.Sequential:
    """3x3 without bias, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions with a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(convolution(channels, channels), convolution(channels, channels))

    def forward(self, features_NCHW: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = features_NCHW + self.branch(features_NCHW)
        return out


class ResNet9(nn.Module):
    """Images N3SS to raw logits NC. `width` channels after the first convolution, eight times as many at the end."""

    def __init__(self, num_classes: int = NUM_CLASSES, width: int = WIDTH) -> None:
        super().__init__()
        self.features = nn.Sequential(
            convolution(3, width),
            convolution(width, 2 * width),
            nn.MaxPool2d(2),
            Residual(2 * width),
            convolution(2 * width, 4 * width),
            nn.MaxPool2d(2),
            convolution(4 * width, 8 * width),
            nn.MaxPool2d(2),
            Residual(8 * width),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(8 * width, num_classes, bias=False)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        logits_NC: torch.Tensor = self.classifier(self.features(images_NCHW)) * _LOGIT_SCALE
        return logits_NC


class CifarNet(Classifier):
    """The network and its training recipe; the suite's learning rate is the peak of the schedule."""

    default_image_size = IMAGE_SIZE
    default_num_classes = NUM_CLASSES

    def make_model(self, case: Case) -> nn.Module:
        return ResNet9(self.num_classes(case))

    def augment(self, images_NCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Shifts each image by up to 4 pixels (edges mirrored), flips half of them, and blanks a square."""
        return blanked(mirrored(shifted(images_NCHW, generator), generator), generator)

    def pace(self, optimizer: torch.optim.Optimizer, learning_rate: float, step: int, num_steps: int) -> None:
        """Linear warm-up over the first fifth, then linear decay to zero; Nesterov momentum and weight decay."""
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * triangle(step, num_steps)
            if "momentum" in group:
                group["nesterov"], group["weight_decay"] = True, _WEIGHT_DECAY


def triangle(step: int, num_steps: int) -> float:
    """Learning rate at the middle of step `step` of `num_steps`, as a share of the peak."""
    at = (step + 0.5) / num_steps
    return at / _PEAK_AT if at < _PEAK_AT else (1 - at) / (1 - _PEAK_AT)


def shifted(images_NCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    num, _, height, width = images_NCHW.shape
    padded = functional.pad(images_NCHW, (_PADDING,) * 4, mode="reflect")
    top, left = (
        _draw(2 * _PADDING + 1, num, images_NCHW, generator),
        _draw(2 * _PADDING + 1, num, images_NCHW, generator),
    )
    rows = (top[:, None] + torch.arange(height, device=top.device))[:, :, None]
    columns = (left[:, None] + torch.arange(width, device=left.device))[:, None, :]
    which = torch.arange(num, device=top.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[which, rows, columns].permute(0, 3, 1, 2)


def mirrored(images_NCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    flip = _draw(2, len(images_NCHW), images_NCHW, generator).bool()
    return torch.where(flip[:, None, None, None], images_NCHW.flip(3), images_NCHW)


def blanked(images_NCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Sets a square of 8 pixels to 0, the mean of normalised images."""
    num, _, height, width = images_NCHW.shape
    inside = []
    for size in (height, width):
        start = _draw(max(1, size - _BLANK + 1), num, images_NCHW, generator)[:, None]
        at = torch.arange(size, device=images_NCHW.device)
        inside.append((at >= start) & (at < start + _BLANK))
    square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images_NCHW.masked_fill(square, 0.0)


def _draw(below: int, num: int, images_NCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(below, (num,), generator=generator).to(images_NCHW.device)
