"""`workload: text:translation`: a Transformer of 1.1 million parameters that learns German from gettext catalogues."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import nn

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.base import need
from gpubench.worker.workloads.by_length import ByLength
from gpubench.worker.workloads.supervised.examples import Batch, DataSplits, Examples
from gpubench.worker.workloads.supervised.scores import Contents, Score
from gpubench.worker.workloads.supervised.supervised import Supervised
from gpubench.worker.workloads.text import catalogues
from gpubench.worker.workloads.text.catalogues import SentencePair
from gpubench.worker.workloads.text.transformer import Transformer
from gpubench.worker.workloads.text.vocabulary import BEGIN, END, PADDING, SIZE, Vocabulary, padded

DATA = "catalogues"
MOST_TOKENS = 40

_RANDOM_LENGTH = 16
_WARMUP_STEPS = 100
_BETAS = (0.9, 0.98)


class Sentences(Examples):
    """Tokens of both languages. `pairs` holds the text."""

    def __init__(self, pairs: Sequence[SentencePair], train: Sequence[SentencePair], vocabulary: Vocabulary) -> None:
        self.pairs, self.train, self.vocabulary = tuple(pairs), tuple(train), vocabulary
        self._source = [vocabulary.encode(pair.english)[:MOST_TOKENS] for pair in pairs]
        self._target = [[BEGIN, *vocabulary.encode(pair.german)[: MOST_TOKENS - 2], END] for pair in pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[list[int], list[int]]:
        return self._source[index], self._target[index]

    def kept_on(self, device: torch.device, dtype: torch.dtype) -> ByLength:  # noqa: ARG002
        return ByLength(self, [len(tokens) for tokens in self._target])

    def collate(self, samples: list[Any]) -> Batch:
        sources, targets = zip(*samples, strict=True)
        target_NM = padded(targets)
        return {"source": padded(sources), "target": target_NM[:, :-1]}, target_NM[:, 1:]


class Translation(Supervised):
    """Judged by BLEU and chrF of greedy translations of the test split (sacrebleu)."""

    own_data = DATA
    max_gradient_norm = 1.0

    def make_model(self, case: Case) -> nn.Module:  # noqa: ARG002
        return Transformer(SIZE)

    def make_batch(self, case: Case, num_samples: int, generator: torch.Generator) -> Batch:  # noqa: ARG002
        """Sentences of 16 tokens without padding."""
        source, target = (
            torch.randint(END + 1, SIZE, (num_samples, length), generator=generator, device=generator.device)
            for length in (_RANDOM_LENGTH, _RANDOM_LENGTH + 1)
        )
        return {"source": source, "target": target[:, :-1]}, target[:, 1:]

    def loss(self, output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy per token with label smoothing of 0.1."""
        return nn.functional.cross_entropy(
            output.flatten(0, 1), targets.flatten(), ignore_index=PADDING, label_smoothing=0.1
        )

    def load_own_data(self, case: Case) -> DataSplits:
        return load(case.data_root)

    def pace(self, optimizer: torch.optim.Optimizer, learning_rate: float, step: int, num_steps: int) -> None:
        """Linear warm-up over 100 steps, times the square root of the remaining share of steps; the betas of Vaswani et
        al. (2017).
        """
        share = min(1.0, (step + 1) / _WARMUP_STEPS) * (1 - step / num_steps) ** 0.5
        for group in optimizer.param_groups:
            group["lr"], group["betas"] = learning_rate * share, _BETAS

    def evaluate(self, case: Case, examples: Examples, device: torch.device, *, final: bool) -> Score:
        assert isinstance(examples, Sentences)
        assert isinstance(self.model, Transformer)
        found = [
            examples.vocabulary.decode(tokens)
            for inputs, _ in self.evaluation_batches(case, examples, device)
            for tokens in self.model.translate(inputs["source"], MOST_TOKENS).tolist()
        ]
        wanted = [pair.german for pair in examples.pairs]
        bleu, chrf = bleu_and_chrf(found, wanted)
        return Score("bleu", bleu, {"chrf": chrf}, trivial_translations(examples) if final else {})

    def contents(self, inputs: dict[str, torch.Tensor], targets: torch.Tensor) -> Contents:
        tokens = [inputs["source"], targets]
        num_elements = sum(part.numel() for part in tokens)
        num_padded = sum(int((part == PADDING).sum()) for part in tokens)
        return Contents("tokens", num_elements - num_padded, num_elements, num_padded)


@cache
def load(root: str | None) -> DataSplits:
    corpus = catalogues.load(root)
    vocabulary = Vocabulary(sentence for pair in corpus.train for sentence in pair[:2])
    train, validation, test = (
        Sentences(part, corpus.train, vocabulary) for part in (corpus.train, corpus.validation, corpus.test)
    )
    return DataSplits(DATA, train, validation, test, corpus.digest)


def bleu_and_chrf(found: Sequence[str], wanted: Sequence[str]) -> tuple[float, float]:
    """Scores of the whole corpus, from 0 to 1."""
    need("text", "sacrebleu")
    import sacrebleu

    references = [list(wanted)]
    return (
        sacrebleu.corpus_bleu(list(found), references).score / 100,
        sacrebleu.corpus_chrf(list(found), references).score / 100,
    )


def trivial_translations(examples: Sentences) -> dict[str, float]:
    """BLEU of copying the source, and of the translation of the training sentence that shares most words."""
    english, german = ([getattr(pair, name) for pair in examples.pairs] for name in ("english", "german"))
    near = catalogues.nearest(english, [pair.english for pair in examples.train])
    return {
        "copying the source": bleu_and_chrf(english, german)[0],
        "nearest training sentence": bleu_and_chrf([examples.train[index].german for index in near], german)[0],
    }
