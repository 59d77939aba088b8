"""What models of transformers are trained for: the class of each, random batches, and the loss.

The loss is taken of the logits, not by the model: then every architecture of a task has the same.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from gpubench.worker.workloads.supervised.examples import Batch

IGNORED = -100
"""The target that the loss leaves out: torch's default `ignore_index`."""

MASKED_SHARE = 0.15
"""Share of tokens that a masked language model has to predict (Devlin et al. 2019)."""

SAMPLING_RATE = 16_000
"""Audio samples per second; a frame of a spectrogram is 10 ms (Radford et al. 2022)."""

FRAMES_PER_S = 100


class Sizes(NamedTuple):
    """`length` of a sample in tokens, `shortest` the smallest share of it that is not padding, and `audio_s`."""

    length: int
    shortest: float
    audio_s: float


class Draw:
    """Draws a batch's random tensors for one configuration."""

    def __init__(self, config: Any, sizes: Sizes, num_samples: int, generator: torch.Generator) -> None:
        self.config, self.sizes, self.num_samples, self.generator = config, sizes, num_samples, generator

    def integers(self, below: int, *shape: int) -> torch.Tensor:
        shape = (self.num_samples, *shape)
        return torch.randint(below, shape, generator=self.generator, device=self.generator.device)

    def floats(self, *shape: int) -> torch.Tensor:
        return torch.randn((self.num_samples, *shape), generator=self.generator, device=self.generator.device)

    def text(self) -> dict[str, torch.Tensor]:
        """Token ids and, if `shortest` allows padding, a mask that is 1 for real tokens."""
        length, text = self.sizes.length, _text_config(self.config)
        inputs = {"input_ids": self.integers(text.vocab_size, length)}
        if self.sizes.shortest < 1:
            least = max(1, round(self.sizes.shortest * length))
            lengths = least + self.integers(length - least + 1, 1)
            inputs["attention_mask"] = (torch.arange(length, device=lengths.device) < lengths).long()
        return inputs

    def images(self) -> torch.Tensor:
        vision = getattr(self.config, "vision_config", self.config)
        size = vision.image_size
        height, width = size if isinstance(size, list | tuple) else (size, size)
        return self.floats(getattr(vision, "num_channels", 3), height, width)

    def audio(self) -> torch.Tensor:
        return self.floats(round(self.sizes.audio_s * SAMPLING_RATE))


def _text_config(config: Any) -> Any:
    return getattr(config, "text_config", config)


def _hidden(tokens: torch.Tensor, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Targets with padding set to `IGNORED`."""
    mask = inputs.get("attention_mask")
    return tokens if mask is None else tokens.masked_fill(mask == 0, IGNORED)


def _classes_of_text(draw: Draw) -> Batch:
    return draw.text(), draw.integers(draw.config.num_labels)


def _classes_of_tokens(draw: Draw) -> Batch:
    inputs = draw.text()
    return inputs, _hidden(draw.integers(draw.config.num_labels, draw.sizes.length), inputs)


def _spans(draw: Draw) -> Batch:
    return draw.text(), draw.integers(draw.sizes.length, 2)


def _next_tokens(draw: Draw) -> Batch:
    inputs = draw.text()
    tokens = _hidden(inputs["input_ids"], inputs)
    return inputs, functional.pad(tokens[:, 1:], (0, 1), value=IGNORED)


def _masked_tokens(draw: Draw) -> Batch:
    inputs = draw.text()
    tokens = _hidden(inputs["input_ids"], inputs)
    chosen = draw.integers(round(1 / MASKED_SHARE), draw.sizes.length) == 0
    chosen[:, 0] = True  # one at least: the mean over none is no number
    return inputs, tokens.masked_fill(~chosen, IGNORED)


def _translations(draw: Draw) -> Batch:
    target = draw.integers(_text_config(draw.config).vocab_size, draw.sizes.length)
    return {**draw.text(), "decoder_input_ids": target}, functional.pad(target[:, 1:], (0, 1), value=IGNORED)


def _transcripts_by_frame(draw: Draw) -> Batch:
    """At most one character per twelfth of a second; 0 is CTC's blank."""
    num_characters = max(1, round(draw.sizes.audio_s * 12))
    return {"input_values": draw.audio()}, 1 + draw.integers(draw.config.vocab_size - 1, num_characters)


def _transcripts(draw: Draw) -> Batch:
    """Whisper takes 30 s, padded: two frames for each position of its encoder."""
    frames = 2 * draw.config.max_source_positions
    target = draw.integers(draw.config.vocab_size, draw.sizes.length)
    inputs = {"input_features": draw.floats(draw.config.num_mel_bins, frames), "decoder_input_ids": target}
    return inputs, functional.pad(target[:, 1:], (0, 1), value=IGNORED)


def _classes_of_audio(draw: Draw) -> Batch:
    return {"input_values": draw.audio()}, draw.integers(draw.config.num_labels)


def _classes_of_images(draw: Draw) -> Batch:
    return {"pixel_values": draw.images()}, draw.integers(draw.config.num_labels)


def _pairs(draw: Draw) -> Batch:
    """Images with their texts; the target of an image is the index of its text in the batch."""
    places = torch.arange(draw.num_samples, device=draw.generator.device)
    return {**draw.text(), "pixel_values": draw.images()}, places


def _cross_entropy(output: Any, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(output["logits"].flatten(0, -2).float(), targets.flatten())


def _span_loss(output: Any, targets: torch.Tensor) -> torch.Tensor:
    start = functional.cross_entropy(output["start_logits"].float(), targets[:, 0])
    return (start + functional.cross_entropy(output["end_logits"].float(), targets[:, 1])) / 2


def _ctc_loss(output: Any, targets: torch.Tensor) -> torch.Tensor:
    scores_NTC = output["logits"].float().log_softmax(2)
    frames = torch.full((len(targets),), scores_NTC.shape[1], dtype=torch.int64)
    lengths = torch.full((len(targets),), targets.shape[1], dtype=torch.int64)
    return functional.ctc_loss(scores_NTC.transpose(0, 1), targets, frames, lengths, zero_infinity=True)


def _contrastive_loss(output: Any, targets: torch.Tensor) -> torch.Tensor:
    """Matches images with texts and texts with images (Radford et al. 2021)."""
    by_text = output["logits_per_text"].float()
    places = torch.arange(len(targets), device=targets.device)
    return (functional.cross_entropy(by_text, places) + functional.cross_entropy(by_text.T, places)) / 2


class Task(NamedTuple):
    """`auto` names transformers' class, `models` its table of architectures; `logits` picks the output that is compared
    with fp64.
    """

    auto: str
    models: str
    batch: Callable[[Draw], Batch]
    loss: Callable[[Any, torch.Tensor], torch.Tensor]
    logits: str = "logits"


TASKS = {
    "masked-lm": Task("AutoModelForMaskedLM", "MASKED_LM", _masked_tokens, _cross_entropy),
    "causal-lm": Task("AutoModelForCausalLM", "CAUSAL_LM", _next_tokens, _cross_entropy),
    "seq2seq-lm": Task("AutoModelForSeq2SeqLM", "SEQ_TO_SEQ_CAUSAL_LM", _translations, _cross_entropy),
    "sequence-classification": Task(
        "AutoModelForSequenceClassification", "SEQUENCE_CLASSIFICATION", _classes_of_text, _cross_entropy
    ),
    "token-classification": Task(
        "AutoModelForTokenClassification", "TOKEN_CLASSIFICATION", _classes_of_tokens, _cross_entropy
    ),
    "question-answering": Task(
        "AutoModelForQuestionAnswering", "QUESTION_ANSWERING", _spans, _span_loss, "start_logits"
    ),
    "ctc": Task("AutoModelForCTC", "CTC", _transcripts_by_frame, _ctc_loss),
    "speech-seq2seq": Task("AutoModelForSpeechSeq2Seq", "SPEECH_SEQ_2_SEQ", _transcripts, _cross_entropy),
    "audio-classification": Task(
        "AutoModelForAudioClassification", "AUDIO_CLASSIFICATION", _classes_of_audio, _cross_entropy
    ),
    "image-classification": Task(
        "AutoModelForImageClassification", "IMAGE_CLASSIFICATION", _classes_of_images, _cross_entropy
    ),
    "contrastive": Task("AutoModel", "ZERO_SHOT_IMAGE_CLASSIFICATION", _pairs, _contrastive_loss, "logits_per_text"),
}
"""Tasks by the name after the `@`."""
