"""torchvision's RetinaNet on a backbone of four convolutions, for objects of 10 to 24 pixels."""

from typing import Any

import torch
from torch import nn

from gpubench.worker.workloads.vision.unet import convolution

CHANNELS = 64
ANCHOR_SIZES = (10, 14, 19)
ANCHOR_RATIOS = (0.75, 1.33)
LEAST_SCORE = 0.05


class Detector(nn.Module):
    """Inputs: `images` N3SS, and `boxes` NB4 (x0, y0, x1, y1 in pixels) with `labels` NB; -1 marks padding.

    Returns `logits` NAC of all anchors; in training also the `loss` (focal loss, and L1 of the boxes), in eval mode
    also `detections`: per image a dict of `boxes`, `scores` and `labels`, after non-maximum suppression.
    """

    def __init__(self, num_classes: int) -> None:
        from torchvision.models.detection import RetinaNet
        from torchvision.models.detection.anchor_utils import AnchorGenerator

        super().__init__()
        backbone = nn.Sequential(
            convolution(3, 32, stride=2),
            convolution(32, CHANNELS, stride=2),
            convolution(CHANNELS, CHANNELS),
            convolution(CHANNELS, CHANNELS),
        )
        backbone.__dict__["out_channels"] = CHANNELS  # torchvision asks for it
        anchors = AnchorGenerator(sizes=(ANCHOR_SIZES,), aspect_ratios=(ANCHOR_RATIOS,))
        self.net = RetinaNet(backbone, num_classes, anchor_generator=anchors, score_thresh=LEAST_SCORE)
        _enlarge_weights(self.net)

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, Any]:
        from torchvision.models.detection.image_list import ImageList

        images_NCHW = inputs["images"]
        size = tuple(images_NCHW.shape[-2:])
        features_NCHW = self.net.backbone(images_NCHW)
        predictions = self.net.head([features_NCHW])
        anchors = self.net.anchor_generator(ImageList(images_NCHW, [size] * len(images_NCHW)), [features_NCHW])
        logits_NAC = predictions["cls_logits"]
        if self.training:
            losses = self.net.compute_loss(_without_padding(inputs["boxes"], inputs["labels"]), predictions, anchors)
            return {"logits": logits_NAC, "loss": losses["classification"] + losses["bbox_regression"]}
        one_level = {name: [part] for name, part in predictions.items()}
        per_level = [[part] for part in anchors]
        detections = self.net.postprocess_detections(one_level, per_level, [size] * len(images_NCHW))
        return {"logits": logits_NAC, "detections": detections}


def _enlarge_weights(net: Any) -> None:
    """Initialises the convolutions of both branches as He et al. (2015) do.

    torchvision's standard deviation of 0.01 is meant for 256 channels and a pretrained backbone. At 64 it shrinks the
    signal by six in each of four layers, and for some hundred steps all digits get the same logits.
    """
    for branch in (net.head.classification_head, net.head.regression_head):
        for module in branch.conv.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def _without_padding(boxes_NB4: torch.Tensor, labels_NB: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """One dict per image, as torchvision wants it. Waits for the device."""
    return [
        {"boxes": boxes[labels >= 0], "labels": labels[labels >= 0]}
        for boxes, labels in zip(boxes_NB4, labels_NB, strict=True)
    ]
