"""FLOPs of torchvision's models against the arithmetic of their published layers, written out here layer by layer."""

import pytest

from gpubench.suite.model.case import Case
from gpubench.worker.checks.work_counts import count_flops
from gpubench.worker.workloads.registry import resolve


def conv(side, channels_in, channels_out, kernel, *, groups=1):
    """A convolution that gives `side` x `side` pixels; a multiply-add is two."""
    return 2 * side**2 * channels_out * (channels_in // groups) * kernel**2


def linear(inputs, outputs):
    return 2 * inputs * outputs


def resnet50():
    total = conv(112, 3, 64, 7) + linear(2048, 1000)
    channels = 64
    for width, blocks, side in ((64, 3, 56), (128, 4, 28), (256, 6, 14), (512, 3, 7)):
        for block in range(blocks):
            first = block == 0
            before = side * 2 if first and width > 64 else side  # the stride is in the 3x3 convolution
            total += conv(before, channels, width, 1) + conv(side, width, width, 3) + conv(side, width, 4 * width, 1)
            total += conv(side, channels, 4 * width, 1) if first else 0
            channels = 4 * width
    return total


def resnet18():
    total = conv(112, 3, 64, 7) + linear(512, 1000)
    channels = 64
    for width, side in ((64, 56), (128, 28), (256, 14), (512, 7)):
        total += conv(side, channels, width, 3) + 3 * conv(side, width, width, 3)
        total += conv(side, channels, width, 1) if channels != width else 0
        channels = width
    return total


def vgg16():
    total = linear(512 * 49, 4096) + linear(4096, 4096) + linear(4096, 1000)
    channels, side = 3, 224
    for width, layers in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(layers):
            total += conv(side, channels, width, 3)
            channels = width
        side //= 2
    return total


def alexnet():
    return (
        conv(55, 3, 64, 11)
        + conv(27, 64, 192, 5)
        + conv(13, 192, 384, 3)
        + conv(13, 384, 256, 3)
        + conv(13, 256, 256, 3)
        + linear(9216, 4096)
        + linear(4096, 4096)
        + linear(4096, 1000)
    )


def mobilenet_v2():
    total = conv(112, 3, 32, 3)
    channels, side = 32, 112
    for expand, width, blocks, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for block in range(blocks):
            hidden = channels * expand
            total += conv(side, channels, hidden, 1) if expand > 1 else 0
            side = side // stride if block == 0 else side
            total += conv(side, hidden, hidden, 3, groups=hidden) + conv(side, hidden, width, 1)
            channels = width
    return total + conv(7, 320, 1280, 1) + linear(1280, 1000)


def first_layer(name):
    """Images need no gradient, so the first convolution is worth twice its forward in training, not three times."""
    return {
        "resnet50": conv(112, 3, 64, 7),
        "resnet18": conv(112, 3, 64, 7),
        "vgg16": conv(224, 3, 64, 3),
        "alexnet": conv(55, 3, 64, 11),
        "mobilenet_v2": conv(112, 3, 32, 3),
    }[name]


BY_HAND = {"resnet50": resnet50, "resnet18": resnet18, "vgg16": vgg16, "alexnet": alexnet, "mobilenet_v2": mobilenet_v2}


@pytest.mark.parametrize("name", BY_HAND)
def test_forward_and_training_step_are_within_one_percent_of_the_arithmetic_by_hand(name):
    def counted(mode):
        workload = f"torchvision:{name}"
        return count_flops(resolve(workload), Case(workload=workload, mode=mode, image_size=224)).per_sample

    forward = BY_HAND[name]()
    assert counted("infer") == pytest.approx(forward, rel=0.01)
    assert counted("train") == pytest.approx(3 * forward - first_layer(name), rel=0.01)


def test_resnet50_is_the_published_count():
    """8.2 GFLOP forward (4.09 G multiply-adds, torchvision's own table), 24.3 for a training step."""
    assert resnet50() == pytest.approx(2 * 4.09e9, rel=0.01)
    assert 3 * resnet50() - first_layer("resnet50") == pytest.approx(24.3e9, rel=0.01)
