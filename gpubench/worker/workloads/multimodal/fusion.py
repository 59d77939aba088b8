"""`workload: multimodal:fusion`: recognises a digit from a noisy image and a noisy recording, neither of which
suffices.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import nn
from torch.nn import functional

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.classifier import datasets
from gpubench.worker.workloads.classifier.datasets import Split
from gpubench.worker.workloads.speech import features, utterances
from gpubench.worker.workloads.speech.features import NUM_BANDS
from gpubench.worker.workloads.speech.utterances import DIGITS, SAMPLE_RATE_HZ, Utterance
from gpubench.worker.workloads.supervised.examples import Batch, DataSplits, Examples
from gpubench.worker.workloads.supervised.scores import Score
from gpubench.worker.workloads.supervised.supervised import Supervised
from gpubench.worker.workloads.vision.unet import convolution

DATA = "seen-and-spoken"
IMAGE_SIZE = 16
NUM_SAMPLES = SAMPLE_RATE_HZ * 8 // 10
NUM_FRAMES = 1 + NUM_SAMPLES // features.HOP
SNR_DB = -12.0
PIXEL_NOISE = 0.6
"""Standard deviation of the white noise."""

NUM_TAKES = 4
"""Copies of every image, each with another utterance and other noise."""

_WIDTH = 64


class SeenAndSpoken(Examples):
    """An image 3SS and features LF of one digit."""

    def __init__(self, images_NSS: torch.Tensor, sounds_NLF: torch.Tensor, labels_N: torch.Tensor) -> None:
        self.images_NSS, self.sounds_NLF, self.labels_N = images_NSS, sounds_NLF, labels_N

    def __len__(self) -> int:
        return len(self.labels_N)

    def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        image = self.images_NSS[index].expand(3, -1, -1)
        return {"image": image, "sound": self.sounds_NLF[index]}, self.labels_N[index]


class FusionNet(nn.Module):
    """`image` N3SS and `sound` NLF to `logits` NC of both together, and to those of `image` and `sound` alone."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.see = nn.Sequential(
            convolution(3, 32),
            convolution(32, 64, stride=2),
            convolution(64, _WIDTH, stride=2),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * _WIDTH, _WIDTH),
            nn.ReLU(),
        )
        self.normalisation = nn.BatchNorm1d(NUM_BANDS)
        self.hear = nn.GRU(NUM_BANDS, _WIDTH, num_layers=1, batch_first=True)
        self.image_head = nn.Linear(_WIDTH, num_classes)
        self.sound_head = nn.Linear(_WIDTH, num_classes)
        self.head = nn.Sequential(nn.Linear(2 * _WIDTH, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, num_classes))

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        seen_ND = self.see(inputs["image"])
        normal_NLF = self.normalisation(inputs["sound"].transpose(1, 2)).transpose(1, 2)
        heard_ND = self.hear(normal_NLF[:, ::2])[0].mean(1)
        return {
            "logits": self.head(torch.cat([seen_ND, heard_ND], 1)),
            "image": self.image_head(seen_ND),
            "sound": self.sound_head(heard_ND),
        }


class Fusion(Supervised):
    """Judged by accuracy, next to the accuracy of the image alone and of the sound alone."""

    own_data = DATA
    max_gradient_norm = 5.0
    cosine_pace = True

    def make_model(self, case: Case) -> nn.Module:  # noqa: ARG002
        return FusionNet(len(DIGITS))

    def make_batch(self, case: Case, num_samples: int, generator: torch.Generator) -> Batch:
        size, device = case.image_size or IMAGE_SIZE, generator.device
        image = torch.randn(num_samples, 3, size, size, generator=generator, device=device)
        sound = torch.randn(num_samples, NUM_FRAMES, NUM_BANDS, generator=generator, device=device)
        digits = torch.randint(len(DIGITS), (num_samples,), generator=generator, device=device)
        return {"image": image, "sound": sound}, digits

    def loss(self, output: dict[str, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of all three answers, so that each modality alone is trained as well as it can be."""
        losses = [functional.cross_entropy(output[name], targets) for name in ("logits", "image", "sound")]
        return torch.stack(losses).sum()

    def load_own_data(self, case: Case) -> DataSplits:
        return load(case.image_size or IMAGE_SIZE)

    def evaluate(self, case: Case, examples: Examples, device: torch.device, *, final: bool) -> Score:
        assert self.model is not None
        right: dict[str, list[torch.Tensor]] = {"logits": [], "image": [], "sound": []}
        for inputs, digits in self.evaluation_batches(case, examples, device):
            for name, logits in self.model(inputs).items():
                right[name].append(logits.argmax(1) == digits)
        both, image, sound = (float(torch.cat(part).double().mean()) for part in right.values())
        return Score("accuracy", both, baselines={"image alone": image, "sound alone": sound} if final else {})


@cache
def load(size: int) -> DataSplits:
    spoken, seen = utterances.load("digits"), datasets.load("digits")
    parts = [(seen.train, spoken.train), (seen.validation, spoken.validation), (seen.test, spoken.test)]
    train, validation, test = (paired(*part, size, seed) for seed, part in enumerate(parts))
    return DataSplits(DATA, train, validation, test, spoken.digest)


def paired(seen: Split, spoken: Sequence[Utterance], size: int, seed: int) -> SeenAndSpoken:
    """Every image four times, each time with a random utterance of its digit; both get noise."""
    generator = torch.Generator().manual_seed(seed)
    labels_N = seen.labels_N.repeat(NUM_TAKES)
    by_digit = [[index for index, one in enumerate(spoken) if one.words == (word,)] for word in DIGITS]
    waves = torch.stack([features.trimmed(features.wave(one.samples), NUM_SAMPLES) for one in spoken])
    draws = torch.rand(len(labels_N), generator=generator).tolist()
    chosen = [
        by_digit[label][int(draw * len(by_digit[label]))] for label, draw in zip(labels_N.tolist(), draws, strict=True)
    ]
    sounds = features.log_mel(features.noisy(waves[chosen], torch.full((len(chosen),), SNR_DB), generator))
    pixels = functional.interpolate(seen.images_NCHW / 16, size=(size, size), mode="bilinear")[:, 0].repeat(
        NUM_TAKES, 1, 1
    )
    images = pixels + PIXEL_NOISE * torch.randn(pixels.shape, generator=generator)
    return SeenAndSpoken(images, sounds, labels_N)
