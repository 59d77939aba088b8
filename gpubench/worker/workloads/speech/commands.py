"""`workload: speech:commands`: a recurrent network of 97 thousand parameters recognises ten spoken words."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import nn

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.speech import features, utterances
from gpubench.worker.workloads.speech.features import FRAMES_PER_S, NUM_BANDS
from gpubench.worker.workloads.speech.utterances import COMMANDS, SAMPLE_RATE_HZ, Utterance
from gpubench.worker.workloads.supervised.examples import Batch, DataSplits, Examples
from gpubench.worker.workloads.supervised.scores import Contents, Score
from gpubench.worker.workloads.supervised.supervised import Supervised

DATA = "spoken-commands"
NUM_SAMPLES = SAMPLE_RATE_HZ * 8 // 10
NUM_FRAMES = 1 + NUM_SAMPLES // features.HOP
TEST_SNR_DB, LOW_SNR_DB = 20.0, 5.0

_TAKES = 2
"""Copies of every training utterance, each with its own noise, loudness and delay."""

_WIDTH = 96
_MOST_DELAY = 1500


class Words(Examples):
    """Features LF and the index of the word."""

    def __init__(self, features_NLF: torch.Tensor, labels_N: torch.Tensor) -> None:
        self.features_NLF, self.labels_N = features_NLF, labels_N

    def __len__(self) -> int:
        return len(self.labels_N)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.features_NLF[index], self.labels_N[index]


class HeldOutWords(Words):
    """Words by voices that are not in the training split, at 20 dB and, as `low`, at 5 dB."""

    def __init__(self, spoken: Sequence[Utterance], train: Words, seed: int) -> None:
        waves_NT, labels_N = clean(spoken)
        high, low = (at_snr(waves_NT, snr_db, seed) for snr_db in (TEST_SNR_DB, LOW_SNR_DB))
        super().__init__(high, labels_N)
        self.low, self.train = Words(low, labels_N), train


class GRUClassifier(nn.Module):
    """Features NLF to logits NC: a GRU of two layers over every second frame, averaged over time."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.normalisation = nn.BatchNorm1d(NUM_BANDS)
        self.gru = nn.GRU(NUM_BANDS, _WIDTH, num_layers=2, batch_first=True, dropout=0.2)
        self.head = nn.Linear(_WIDTH, num_classes)

    def forward(self, features_NLF: torch.Tensor) -> torch.Tensor:
        normal_NLF = self.normalisation(features_NLF.transpose(1, 2)).transpose(1, 2)
        heard_NLD, _ = self.gru(normal_NLF[:, ::2])
        logits_NC: torch.Tensor = self.head(heard_NLD.mean(1))
        return logits_NC


class SpeechCommands(Supervised):
    """Judged by accuracy on unseen voices at 20 dB, and in addition at 5 dB."""

    own_data = DATA
    max_gradient_norm = 1.0

    def make_model(self, case: Case) -> nn.Module:  # noqa: ARG002
        return GRUClassifier(len(COMMANDS))

    def make_batch(self, case: Case, num_samples: int, generator: torch.Generator) -> Batch:  # noqa: ARG002
        device = generator.device
        sound = torch.randn(num_samples, NUM_FRAMES, NUM_BANDS, generator=generator, device=device)
        return sound, torch.randint(len(COMMANDS), (num_samples,), generator=generator, device=device)

    def loss(self, output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(output, targets)

    def load_own_data(self, case: Case) -> DataSplits:  # noqa: ARG002
        return load()

    def augment(self, inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return features.augmented(inputs, generator)

    def pace(self, optimizer: torch.optim.Optimizer, learning_rate: float, step: int, num_steps: int) -> None:
        """Constant, then linear decay to 0 over the last third."""
        share = min(1.0, 3 * (1 - step / num_steps))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * share

    def evaluate(self, case: Case, examples: Examples, device: torch.device, *, final: bool) -> Score:
        assert isinstance(examples, HeldOutWords)
        accuracy = self._accuracy(case, examples, device)
        if not final:
            return Score("accuracy", accuracy)
        low = self._accuracy(case, examples.low, device)
        return Score("accuracy", accuracy, {"noisy_accuracy": low}, trivial_accuracies(examples))

    def _accuracy(self, case: Case, examples: Examples, device: torch.device) -> float:
        assert self.model is not None
        right = [
            self.model(sound).argmax(1) == words for sound, words in self.evaluation_batches(case, examples, device)
        ]
        return float(torch.cat(right).double().mean())

    def contents(self, inputs: torch.Tensor, targets: torch.Tensor) -> Contents:
        return Contents("audio_s", len(targets) * NUM_FRAMES / FRAMES_PER_S, inputs.numel(), 0)


@cache
def load() -> DataSplits:
    spoken = utterances.load("commands")
    train = training_words(spoken.train)
    validation, test = (HeldOutWords(part, train, seed) for seed, part in enumerate((spoken.validation, spoken.test)))
    return DataSplits(DATA, train, validation, test, digest=spoken.digest)


def clean(spoken: Sequence[Utterance]) -> tuple[torch.Tensor, torch.Tensor]:
    """Waves NT of 0.8 s, and the indices of their words."""
    waves = [features.trimmed(features.wave(one.samples), NUM_SAMPLES) for one in spoken]
    return torch.stack(waves), torch.tensor([COMMANDS.index(one.words[0]) for one in spoken])


def at_snr(waves_NT: torch.Tensor, snr_db: float, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return features.log_mel(features.noisy(waves_NT, torch.full((len(waves_NT),), snr_db), generator))


def training_words(spoken: Sequence[Utterance]) -> Words:
    """Every utterance twice: at 5 to 30 dB, a third to full loudness, shifted by up to 70 ms."""
    waves_NT, labels_N = clean(spoken)
    generator = torch.Generator().manual_seed(0)
    takes = []
    for _ in range(_TAKES):
        delays = torch.randint(-_MOST_DELAY, _MOST_DELAY + 1, (len(waves_NT),), generator=generator)
        moved = torch.stack([wave.roll(int(by)) for wave, by in zip(waves_NT, delays, strict=True)])
        loud = moved * (0.3 + torch.rand(len(moved), 1, generator=generator))
        takes.append(
            features.log_mel(features.noisy(loud, 5 + 25 * torch.rand(len(moved), generator=generator), generator))
        )
    return Words(torch.cat(takes), labels_N.repeat(_TAKES))


def trivial_accuracies(examples: HeldOutWords) -> dict[str, float]:
    """Always the most common word; and the word of the training utterance with the nearest features."""
    train, truth = examples.train, examples.labels_N
    known, heard = train.features_NLF.flatten(1), examples.features_NLF.flatten(1)
    nearest = train.labels_N[torch.cdist(heard, known).argmin(1)]
    return {
        "commonest word": float((truth == train.labels_N.mode().values).double().mean()),
        "nearest training utterance": float((truth == nearest).double().mean()),
    }
