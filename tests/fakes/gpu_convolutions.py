"""Convolutions in float32 as a GPU may compute them, for limits that a CPU has to show."""

import torch
from torch.nn.functional import pad

# Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks": F(4x4, 3x3), the largest tile in use in fp32.
_DATA = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float32,
)
_FILTER = torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]).float() / 24
_INVERSE = torch.tensor([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]).float()


def winograd(images_NCHW, weights_KC33, bias_K):
    """A 3x3 convolution of stride 1 with a border of zeros."""
    (num, _, height, width), num_out = images_NCHW.shape, len(weights_KC33)
    rows, columns = -(-height // 4), -(-width // 4)
    padded = pad(images_NCHW, (1, 1 + 4 * columns - width, 1, 1 + 4 * rows - height))
    data = _DATA @ padded.unfold(2, 6, 4).unfold(3, 6, 4) @ _DATA.T
    filters = _FILTER @ weights_KC33 @ _FILTER.T
    tiles = _INVERSE @ torch.einsum("kcij,nctuij->nktuij", filters, data) @ _INVERSE.T
    result = tiles.permute(0, 1, 2, 4, 3, 5).reshape(num, num_out, 4 * rows, 4 * columns)[:, :, :height, :width]
    return result if bias_K is None else result + bias_K[:, None, None]


def rounded_to_tf32(tensor):
    """Float32 with 10 bits of fraction, to nearest."""
    return ((tensor.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def use(monkeypatch, kind):
    """`kind` is `winograd` (where the shape allows it) or `tf32`. Float64 is left alone."""
    real = torch.nn.Conv2d._conv_forward

    def forward(layer, images, weights, bias):
        if images.dtype is torch.float32 and kind == "tf32":
            return real(layer, rounded_to_tf32(images), rounded_to_tf32(weights), bias)
        small = (layer.kernel_size, layer.stride, layer.padding, layer.groups) == ((3, 3), (1, 1), (1, 1), 1)
        if images.dtype is torch.float32 and small:
            return winograd(images, weights, bias)
        return real(layer, images, weights, bias)

    monkeypatch.setattr(torch.nn.Conv2d, "_conv_forward", forward)
