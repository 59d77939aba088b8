"""Scenes of real handwritten digits for detection and segmentation: scikit-learn's digits on a noisy background.

Everything is integer arithmetic with NumPy's own generators, so that every machine makes the same scenes; `digest`
shows whether it did.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from gpubench.worker.workloads.classifier import datasets
from gpubench.worker.workloads.classifier.datasets import Split

SIZE = 64
MOST_DIGITS = 3
NUM_SCENES = {"train": 1200, "validation": 200, "test": 400}

_DIGIT_SIZES = (16, 20, 24)
_INK = 64
_NOISE = 22
_TRIES = 20
_SEEDS = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True)
class Scenes:
    """`images_NSS` uint8 and `masks_NSS` (0: background, 1 + digit elsewhere). Boxes are x0, y0, x1, y1 in pixels; a
    scene with fewer than three digits has boxes of zeros with label -1 at the end. `boxes_NB4`, `labels_NB`: int64.
    """

    images_NSS: torch.Tensor
    masks_NSS: torch.Tensor
    boxes_NB4: torch.Tensor
    labels_NB: torch.Tensor

    def __len__(self) -> int:
        return len(self.images_NSS)

    def digest(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of everything."""
        sha256 = hashlib.sha256()
        for part in (self.images_NSS, self.masks_NSS, self.boxes_NB4, self.labels_NB):
            sha256.update(np.ascontiguousarray(part.numpy()).tobytes())
        return sha256.hexdigest()[:16]


@cache
def load(split: str) -> Scenes:
    """`train`, `validation` or `test`: no digit's image occurs in two of them."""
    return make(getattr(datasets.load("digits"), split), NUM_SCENES[split], _SEEDS[split])


def make(digits: Split, num_scenes: int, seed: int) -> Scenes:
    """Scenes with one to three digits each, whose boxes do not overlap."""
    rng = np.random.Generator(np.random.PCG64(seed))
    images = rng.integers(-_NOISE, _NOISE + 1, (num_scenes, SIZE, SIZE), dtype=np.int64)
    masks = np.zeros((num_scenes, SIZE, SIZE), np.uint8)
    boxes = np.zeros((num_scenes, MOST_DIGITS, 4), np.int64)
    labels = np.full((num_scenes, MOST_DIGITS), -1, np.int64)
    for scene in range(num_scenes):
        placed = 0
        for _ in range(rng.integers(1, MOST_DIGITS + 1)):
            index = int(rng.integers(len(digits)))
            ink = _enlarged(digits.images_NCHW[index, 0].numpy(), int(rng.choice(_DIGIT_SIZES)))
            box = _find_place(ink, boxes[scene, :placed], rng)
            if box is None:
                continue
            at = (scene, slice(box[1], box[3]), slice(box[0], box[2]))
            images[at] += ink
            masks[at][ink > _INK] = 1 + int(digits.labels_N[index])
            boxes[scene, placed], labels[scene, placed] = box, int(digits.labels_N[index])
            placed += 1
    pixels = images.clip(0, 255).astype(np.uint8)
    return Scenes(
        torch.from_numpy(pixels), torch.from_numpy(masks).long(), torch.from_numpy(boxes), torch.from_numpy(labels)
    )


def _enlarged(raw_HW: Any, size: int) -> Any:
    """Scales a digit of 8 x 8 pixels (0 to 16) to `size` x `size` (0 to 255) and crops it to its ink. Pillow resizes
    bytes in fixed-point arithmetic.
    """
    from PIL import Image

    full = Image.fromarray((raw_HW * 255 / 16).astype(np.uint8))
    pixels = np.asarray(full.resize((size, size), Image.Resampling.BILINEAR), np.int64)
    rows, columns = np.nonzero(pixels > _INK)
    return pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def _find_place(ink_HW: Any, taken: Any, rng: np.random.Generator) -> tuple[int, int, int, int] | None:
    """A box of the ink's size that overlaps no taken one; None if twenty tries fail."""
    height, width = ink_HW.shape
    for _ in range(_TRIES):
        x, y = int(rng.integers(SIZE - width)), int(rng.integers(SIZE - height))
        box = (x, y, x + width, y + height)
        if all(box[2] <= b[0] or box[0] >= b[2] or box[3] <= b[1] or box[1] >= b[3] for b in taken):
            return box
    return None
