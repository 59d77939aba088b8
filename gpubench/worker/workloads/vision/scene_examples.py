"""Scenes of digits as training examples."""

import torch

from gpubench.core.errors import UsageError
from gpubench.suite.model.case import Case
from gpubench.worker.workloads.supervised.examples import DataSplits, Examples
from gpubench.worker.workloads.vision import scenes
from gpubench.worker.workloads.vision.scenes import SIZE, Scenes

DATA = "digit-scenes"

_MEAN, _STD = 0.1, 0.3


class SceneExamples(Examples):
    """One split: its `scenes`, and those of the training split as `train`."""

    def __init__(self, found: Scenes, train: Scenes) -> None:
        self.scenes, self.train = found, train

    def __len__(self) -> int:
        return len(self.scenes)

    def image(self, index: int) -> torch.Tensor:
        """Three equal channels, 3SS in float32, normalised."""
        pixels = self.scenes.images_NSS[index].float() / 255
        return ((pixels - _MEAN) / _STD).expand(3, SIZE, SIZE)


class MaskedScenes(SceneExamples):
    """An image and the class of every pixel."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.image(index), self.scenes.masks_NSS[index]


class BoxedScenes(SceneExamples):
    """The inputs of a `Detector`, and the labels again as targets."""

    def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        labels = self.scenes.labels_NB[index]
        return {"images": self.image(index), "boxes": self.scenes.boxes_NB4[index].float(), "labels": labels}, labels


def load_scenes(case: Case, kind: type[SceneExamples]) -> DataSplits:
    """UsageError for an image size other than that of the scenes."""
    if image_size(case) != SIZE:
        raise UsageError(f"{DATA} are of {SIZE} pixels, not {case.image_size}.", hint="Leave out `image_size`.")
    parts = [scenes.load(name) for name in ("train", "validation", "test")]
    train, validation, test = (kind(part, parts[0]) for part in parts)
    return DataSplits(DATA, train, validation, test, "-".join(part.digest()[:6] for part in parts))


def image_size(case: Case) -> int:
    return case.image_size or SIZE
