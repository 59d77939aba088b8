"""`workload: vision:embedding`: do two distorted pictures show the same drawing, for drawings that were never trained
on?

Every handwritten digit is one identity, like a face. Most other identities are other digits, but some look very much
like it.
"""

import hashlib
from functools import cache

import torch
from torch import nn
from torch.nn import functional

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.classifier import datasets
from gpubench.worker.workloads.supervised.examples import Batch, DataSplits, Examples
from gpubench.worker.workloads.supervised.scores import Score
from gpubench.worker.workloads.supervised.supervised import Supervised
from gpubench.worker.workloads.vision.unet import convolution

DATA = "digits"
IMAGE_SIZE = 24
NUM_PICTURES = 4
"""Pictures per drawing."""

WIDTH = 64

_TEMPERATURE = 0.1
_TURN, _STRETCH, _SHIFT, _NOISE = 0.35, 0.2, 0.2, 0.1


class Pictures(Examples):
    """Two pictures 3SS of one drawing, and its index. `pictures_NVSS` has four of each."""

    def __init__(self, pictures_NVSS: torch.Tensor) -> None:
        self.pictures_NVSS = pictures_NVSS
        self._pairs = [(a, b) for a in range(NUM_PICTURES) for b in range(a)]

    def __len__(self) -> int:
        return len(self.pictures_NVSS) * len(self._pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        which, pair = divmod(index, len(self._pairs))
        pictures = self.pictures_NVSS[which, list(self._pairs[pair])]
        return pictures[:, None].expand(-1, 3, -1, -1), which


class EmbeddingNet(nn.Module):
    """Images NV3SS (V per drawing) to vectors NVD of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            convolution(3, 32),
            convolution(32, 64, stride=2),
            convolution(64, 96, stride=2),
            convolution(96, 96, stride=2),
            nn.Flatten(),
            nn.LazyLinear(WIDTH),
        )

    def forward(self, images_NVCHW: torch.Tensor) -> torch.Tensor:
        images_BCHW = images_NVCHW.flatten(0, 1)
        first = next(self.parameters())
        if first.is_contiguous(memory_format=torch.channels_last):  # five dimensions have no such layout
            images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
        vectors = functional.normalize(self.features(images_BCHW), dim=1)
        return vectors.reshape(*images_NVCHW.shape[:2], WIDTH)


class Verification(Supervised):
    """Judged by the equal error rate over all pairs of pictures."""

    own_data = DATA
    max_gradient_norm = 5.0
    cosine_pace = True

    def make_model(self, case: Case) -> nn.Module:  # noqa: ARG002
        return EmbeddingNet()

    def make_batch(self, case: Case, num_samples: int, generator: torch.Generator) -> Batch:
        size, device = case.image_size or IMAGE_SIZE, generator.device
        images = torch.randn(num_samples, 2, 3, size, size, generator=generator, device=device)
        return images, torch.arange(num_samples, device=device)

    def loss(self, output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Each first picture must find its second among all of the batch, by cosine similarity at temperature 0.1
        (N-pair loss, Sohn 2016). If a drawing occurs twice in the batch, its other picture is left out.
        """
        cosines_NN = output[:, 0].float() @ output[:, 1].float().T / _TEMPERATURE
        again_NN = (targets[:, None] == targets) & ~torch.eye(len(targets), dtype=torch.bool, device=targets.device)
        return functional.cross_entropy(
            cosines_NN.masked_fill(again_NN, -torch.inf), torch.arange(len(targets), device=targets.device)
        )

    def load_own_data(self, case: Case) -> DataSplits:
        return load(case.image_size or IMAGE_SIZE)

    def evaluate(self, case: Case, examples: Examples, device: torch.device, *, final: bool) -> Score:  # noqa: ARG002
        assert isinstance(examples, Pictures)
        assert self.model is not None
        pictures_NVSS = examples.pictures_NVSS
        vectors_NVD = torch.cat(
            [
                self.model(few[:, :, None].expand(-1, -1, 3, -1, -1).to(device))
                for few in torch.split(pictures_NVSS, 256)
            ]
        )
        trivial = {"cosine of the pixels": equal_error_rate(_normal(pictures_NVSS))} if final else {}
        return Score("eer", equal_error_rate(vectors_NVD.float().cpu()), baselines=trivial)


@cache
def load(size: int) -> DataSplits:
    digits = datasets.load(DATA)
    parts = (digits.train, digits.validation, digits.test)
    drawings = torch.cat([part.images_NCHW for part in parts]).byte()
    digest = hashlib.sha256(drawings.numpy().tobytes()).hexdigest()[:16]
    train, validation, test = (
        Pictures(distorted(part.images_NCHW / 16, size, seed)) for seed, part in enumerate(parts)
    )
    return DataSplits(DATA, train, validation, test, digest)


def distorted(drawings_N1HW: torch.Tensor, size: int, seed: int) -> torch.Tensor:
    """Four pictures NVSS per drawing: rotated by up to 20 degrees, stretched, shifted by up to a fifth, with noise."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return 2 * torch.rand(shape, generator=generator) - 1

    pictures = []
    for _ in range(NUM_PICTURES):
        num = len(drawings_N1HW)
        turn, stretch, shift = _TURN * drawn(num), 1.25 + _STRETCH * drawn(num, 2), _SHIFT * drawn(num, 2)
        rows = [
            torch.stack([stretch[:, 0] * turn.cos(), -turn.sin(), shift[:, 0]], 1),
            torch.stack([turn.sin(), stretch[:, 1] * turn.cos(), shift[:, 1]], 1),
        ]
        grid = functional.affine_grid(torch.stack(rows, 1), [num, 1, size, size], align_corners=False)
        picture = functional.grid_sample(drawings_N1HW, grid, align_corners=False)[:, 0]
        pictures.append(picture + _NOISE * torch.randn(picture.shape, generator=generator))
    return torch.stack(pictures, 1)


def equal_error_rate(vectors_NVD: torch.Tensor) -> float:
    """Over all pairs of pictures: the error rate at the cosine threshold where false accepts are as frequent as false
    rejects.
    """
    from sklearn.metrics import roc_curve

    num, pictures = vectors_NVD.shape[:2]
    vectors, owner = vectors_NVD.flatten(0, 1), torch.arange(num).repeat_interleave(pictures)
    first, second = torch.triu_indices(len(owner), len(owner), offset=1)
    same = (owner[first] == owner[second]).numpy()
    cosines = vectors.numpy() @ vectors.numpy().T  # not in torch, whose autocast would round them
    false_accepts, true_accepts, _ = roc_curve(same, cosines[first, second])
    false_rejects = 1 - true_accepts
    at = abs(false_accepts - false_rejects).argmin()
    return float(false_accepts[at] + false_rejects[at]) / 2


def _normal(pictures_NVSS: torch.Tensor) -> torch.Tensor:
    pixels = pictures_NVSS.flatten(2)
    return functional.normalize(pixels - pixels.mean(2, keepdim=True), dim=2)
