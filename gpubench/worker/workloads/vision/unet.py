"""A small U-Net: an image of three channels to a class for every pixel."""

import torch
from torch import nn
from torch.nn import functional


def convolution(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    """3x3 without bias, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """Images N3SS to logits NCSS, S a multiple of four: two stages down, two up."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fine = convolution(3, 32)
        self.middle = convolution(32, 64, stride=2)
        self.coarse = nn.Sequential(convolution(64, 96, stride=2), convolution(96, 96))
        self.joined = convolution(96 + 64, 64)
        self.head = nn.Conv2d(64 + 32, num_classes, kernel_size=1)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        fine = self.fine(images_NCHW)
        middle = self.middle(fine)
        joined = self.joined(torch.cat([_doubled(self.coarse(middle)), middle], 1))
        logits_NCHW: torch.Tensor = self.head(torch.cat([_doubled(joined), fine], 1))
        return logits_NCHW


def _doubled(features_NCHW: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(features_NCHW, scale_factor=2.0)
