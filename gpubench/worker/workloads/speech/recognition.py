"""`workload: speech:recognition`: a recurrent network of 301 thousand parameters transcribes spoken digits (CTC)."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import nn

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.base import need
from gpubench.worker.workloads.by_length import ByLength
from gpubench.worker.workloads.speech import features, utterances
from gpubench.worker.workloads.speech.features import FRAMES_PER_S, NUM_BANDS, SILENCE
from gpubench.worker.workloads.speech.utterances import DIGITS, Utterance
from gpubench.worker.workloads.supervised.examples import Batch, DataSplits, Examples
from gpubench.worker.workloads.supervised.scores import Contents, Score
from gpubench.worker.workloads.supervised.supervised import Supervised

DATA = "spoken-digits"
MOST_DIGITS = 4
BLANK = 0

_STRIDE = 3
_WIDTH = 96
_RANDOM_FRAMES = 150


class Strings(Examples):
    """Features LF of an utterance with its number of frames, and its digits + 1, padded with zeros to four."""

    def __init__(self, spoken: Sequence[Utterance]) -> None:
        self.texts = [" ".join(one.words) for one in spoken]
        self.commonest = max(sorted(set(self.texts)), key=self.texts.count)
        self._features = [features.log_mel(features.wave(one.samples)[None])[0] for one in spoken]
        self._digits = [[1 + DIGITS.index(word) for word in one.words] for one in spoken]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[dict[str, Any], torch.Tensor]:
        sound, digits = self._features[index], self._digits[index]
        padding = [BLANK] * (MOST_DIGITS - len(digits))
        return {"sound": sound, "num_frames": len(sound)}, torch.tensor(digits + padding)

    def kept_on(self, device: torch.device, dtype: torch.dtype) -> ByLength:  # noqa: ARG002
        return ByLength(self, [len(sound) for sound in self._features])

    def collate(self, samples: list[Any]) -> Batch:
        inputs, targets = zip(*samples, strict=True)
        sound = nn.utils.rnn.pad_sequence([one["sound"] for one in inputs], batch_first=True, padding_value=SILENCE)
        return {"sound": sound, "num_frames": torch.tensor([one["num_frames"] for one in inputs])}, torch.stack(targets)


class CTCNet(nn.Module):
    """`sound` NLF and `num_frames` N to `logits` N(L/3)C over blank and digits, and their valid `lengths` N."""

    def __init__(self) -> None:
        super().__init__()
        self.normalisation = nn.BatchNorm1d(NUM_BANDS)
        self.convolution = nn.Conv1d(NUM_BANDS, _WIDTH, kernel_size=5, stride=_STRIDE, padding=2)
        self.gru = nn.GRU(_WIDTH, _WIDTH, num_layers=2, batch_first=True, bidirectional=True, dropout=0.2)
        self.head = nn.Linear(2 * _WIDTH, 1 + len(DIGITS))

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        local_NFL = torch.relu(self.convolution(self.normalisation(inputs["sound"].transpose(1, 2))))
        heard_NLD, _ = self.gru(local_NFL.transpose(1, 2))
        return {"logits": self.head(heard_NLD), "lengths": (inputs["num_frames"] + _STRIDE - 1) // _STRIDE}


class SpeechRecognition(Supervised):
    """Judged by the word error rate on unseen voices (jiwer)."""

    own_data = DATA
    max_gradient_norm = 5.0
    cosine_pace = True

    def make_model(self, case: Case) -> nn.Module:  # noqa: ARG002
        return CTCNet()

    def make_batch(self, case: Case, num_samples: int, generator: torch.Generator) -> Batch:  # noqa: ARG002
        """One and a half seconds of noise, with four digits."""
        device = generator.device
        sound = torch.randn(num_samples, _RANDOM_FRAMES, NUM_BANDS, generator=generator, device=device)
        digits = torch.randint(1, 1 + len(DIGITS), (num_samples, MOST_DIGITS), generator=generator, device=device)
        return {"sound": sound, "num_frames": torch.full((num_samples,), _RANDOM_FRAMES, device=device)}, digits

    def loss(self, output: dict[str, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
        """Connectionist temporal classification (Graves et al. 2006), in float32."""
        scores_LNC = output["logits"].float().log_softmax(-1).transpose(0, 1)
        num_digits_N = (targets != BLANK).sum(1)
        return nn.functional.ctc_loss(
            scores_LNC, targets, output["lengths"], num_digits_N, blank=BLANK, zero_infinity=True
        )

    def load_own_data(self, case: Case) -> DataSplits:  # noqa: ARG002
        return load()

    def augment(self, inputs: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {**inputs, "sound": features.augmented(inputs["sound"], generator)}

    def evaluate(self, case: Case, examples: Examples, device: torch.device, *, final: bool) -> Score:
        assert isinstance(examples, Strings)
        assert self.model is not None
        transcripts = [
            text
            for inputs, _ in self.evaluation_batches(case, examples, device)
            for text in written(self.model(inputs))
        ]
        trivial = {
            "the same digits every time": word_error_rate([examples.commonest] * len(transcripts), examples.texts)
        }
        return Score("wer", word_error_rate(transcripts, examples.texts), baselines=trivial if final else {})

    def contents(self, inputs: dict[str, torch.Tensor], targets: torch.Tensor) -> Contents:  # noqa: ARG002
        sound = inputs["sound"]
        num_frames = int(inputs["num_frames"].sum())
        num_padded = sound.numel() - num_frames * NUM_BANDS
        return Contents("audio_s", num_frames / FRAMES_PER_S, sound.numel(), num_padded)


@cache
def load() -> DataSplits:
    spoken = utterances.load("digit-strings")
    return DataSplits(DATA, Strings(spoken.train), Strings(spoken.validation), Strings(spoken.test), spoken.digest)


def written(output: dict[str, torch.Tensor]) -> list[str]:
    """Greedy decoding: the likeliest symbol of each frame, without repetitions and blanks."""
    best_NL, lengths = output["logits"].argmax(-1).cpu(), output["lengths"].tolist()
    return [
        " ".join(DIGITS[symbol - 1] for symbol in torch.unique_consecutive(row[:length]).tolist() if symbol != BLANK)
        for row, length in zip(best_NL, lengths, strict=True)
    ]


def word_error_rate(found: Sequence[str], wanted: Sequence[str]) -> float:
    need("speech", "jiwer")
    import jiwer

    return float(jiwer.wer(list(wanted), list(found)))
