"""Scores of predictions on scenes, and trivial predictions to compare with."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gpubench.worker.workloads.base import need
from gpubench.worker.workloads.vision.scenes import Scenes

_BRIGHT = 64
_LEAST_PIXELS = 12

Boxes = dict[str, torch.Tensor]
"""`boxes` B4, `labels` B and, for predictions, `scores` B."""


def mean_iou(predicted_NSS: torch.Tensor, truth_NSS: torch.Tensor) -> float:
    """Jaccard index over all pixels of all images, averaged over the classes that occur."""
    from sklearn.metrics import jaccard_score

    return float(jaccard_score(truth_NSS.flatten().numpy(), predicted_NSS.flatten().numpy(), average="macro"))


def mean_precision(predicted: Sequence[Boxes], truth: Sequence[Boxes]) -> dict[str, float]:
    """`map` over IoU thresholds of 0.5 to 0.95 as COCO defines it, and `map50` at 0.5 alone."""
    need("vision", "torchmetrics", "faster_coco_eval")
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(backend="faster_coco_eval")
    metric.warn_on_many_detections = False  # an untrained network finds hundreds
    metric.update(list(predicted), list(truth))
    scores = metric.compute()
    return {"map": float(scores["map"]), "map50": float(scores["map_50"])}


def true_boxes(scenes: Scenes) -> list[Boxes]:
    return [
        {"boxes": boxes[labels >= 0].float(), "labels": labels[labels >= 0]}
        for boxes, labels in zip(scenes.boxes_NB4, scenes.labels_NB, strict=True)
    ]


def trivial_masks(train: Scenes, test: Scenes) -> dict[str, torch.Tensor]:
    """Background everywhere; and the most common digit wherever a pixel is bright."""
    commonest = 1 + int(train.labels_NB[train.labels_NB >= 0].mode().values)
    bright = (test.images_NSS > _BRIGHT).long()
    return {"background everywhere": torch.zeros_like(bright), "bright pixels, commonest digit": bright * commonest}


def trivial_boxes(train: Scenes, test: Scenes) -> dict[str, list[Boxes]]:
    """The boxes of bright regions, each labelled as the most common digit."""
    commonest = int(train.labels_NB[train.labels_NB >= 0].mode().values)
    return {"bright regions, commonest digit": [_bright_regions(image, commonest) for image in test.images_NSS.numpy()]}


def _bright_regions(image_SS: Any, label: int) -> Boxes:
    from scipy import ndimage

    regions, _ = ndimage.label(image_SS > _BRIGHT, structure=np.ones((3, 3)))
    boxes = [
        (x.start, y.start, x.stop, y.stop)
        for index, (y, x) in enumerate(ndimage.find_objects(regions), start=1)
        if np.count_nonzero(regions[y, x] == index) >= _LEAST_PIXELS
    ]
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.full((len(boxes),), label),
        "scores": torch.ones(len(boxes)),
    }
