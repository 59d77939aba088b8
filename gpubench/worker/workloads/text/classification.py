"""`workload: text:classification`: a Transformer that recognises which program a sentence comes from."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import nn

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.by_length import ByLength
from gpubench.worker.workloads.supervised.examples import Batch, DataSplits, Examples
from gpubench.worker.workloads.supervised.scores import Contents, Score
from gpubench.worker.workloads.supervised.supervised import Supervised
from gpubench.worker.workloads.text import catalogues
from gpubench.worker.workloads.text.catalogues import SentencePair
from gpubench.worker.workloads.text.transformer import WIDTH, Embedding, encoder
from gpubench.worker.workloads.text.vocabulary import END, PADDING, SIZE, Vocabulary, padded

DATA = "catalogues"
NUM_PROGRAMS = 10
"""The programs with most sentences."""

_LAYERS = 2
_MOST_TOKENS = 40
_RANDOM_LENGTH = 16


class Labelled(Examples):
    """Tokens of the English sentence, and the index of its program."""

    def __init__(
        self,
        pairs: Sequence[SentencePair],
        train: Sequence[SentencePair],
        programs: Sequence[str],
        vocabulary: Vocabulary,
    ) -> None:
        self.pairs, self.train = tuple(pairs), tuple(train)
        self._tokens = [vocabulary.encode(pair.english)[:_MOST_TOKENS] for pair in pairs]
        self._programs = [programs.index(pair.program) for pair in pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[list[int], int]:
        return self._tokens[index], self._programs[index]

    def kept_on(self, device: torch.device, dtype: torch.dtype) -> ByLength:  # noqa: ARG002
        return ByLength(self, [len(tokens) for tokens in self._tokens])

    def collate(self, samples: list[Any]) -> Batch:
        tokens, programs = zip(*samples, strict=True)
        return padded(tokens), torch.tensor(programs)


class SentenceClassifier(nn.Module):
    """Tokens NL to logits NC: two encoder layers, averaged over the tokens that are not padding."""

    def __init__(self, num_tokens: int, num_classes: int) -> None:
        super().__init__()
        self.embedding = Embedding(num_tokens)
        self.encoder = encoder(num_layers=_LAYERS)
        self.head = nn.Linear(WIDTH, num_classes)

    def forward(self, tokens_NL: torch.Tensor) -> torch.Tensor:
        padding_NL = tokens_NL == PADDING
        read_NLD = self.encoder(self.embedding(tokens_NL), src_key_padding_mask=padding_NL)
        kept_NL1 = (~padding_NL)[:, :, None].to(read_NLD.dtype)
        logits_NC: torch.Tensor = self.head((read_NLD * kept_NL1).sum(1) / kept_NL1.sum(1))
        return logits_NC


class TextClassification(Supervised):
    """Judged by accuracy."""

    own_data = DATA
    max_gradient_norm = 1.0
    cosine_pace = True

    def make_model(self, case: Case) -> nn.Module:  # noqa: ARG002
        return SentenceClassifier(SIZE, NUM_PROGRAMS)

    def make_batch(self, case: Case, num_samples: int, generator: torch.Generator) -> Batch:  # noqa: ARG002
        """Sentences of 16 tokens without padding."""
        device = generator.device
        tokens = torch.randint(END + 1, SIZE, (num_samples, _RANDOM_LENGTH), generator=generator, device=device)
        return tokens, torch.randint(NUM_PROGRAMS, (num_samples,), generator=generator, device=device)

    def loss(self, output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(output, targets)

    def load_own_data(self, case: Case) -> DataSplits:
        return load(case.data_root)

    def evaluate(self, case: Case, examples: Examples, device: torch.device, *, final: bool) -> Score:
        assert isinstance(examples, Labelled)
        assert self.model is not None
        right = [
            self.model(tokens).argmax(1) == programs
            for tokens, programs in self.evaluation_batches(case, examples, device)
        ]
        accuracy = float(torch.cat(right).double().mean())
        return Score("accuracy", accuracy, baselines=trivial_accuracies(examples) if final else {})

    def contents(self, inputs: torch.Tensor, targets: torch.Tensor) -> Contents:  # noqa: ARG002
        num_padded = int((inputs == PADDING).sum())
        return Contents("tokens", inputs.numel() - num_padded, inputs.numel(), num_padded)


@cache
def load(root: str | None) -> DataSplits:
    corpus = catalogues.load(root)
    counts = Counter(pair.program for pair in corpus.train)
    programs = sorted(counts, key=lambda program: (-counts[program], program))[:NUM_PROGRAMS]
    parts = [
        [pair for pair in part if pair.program in programs] for part in (corpus.train, corpus.validation, corpus.test)
    ]
    vocabulary = Vocabulary(pair.english for pair in parts[0])
    train, validation, test = (Labelled(part, parts[0], programs, vocabulary) for part in parts)
    return DataSplits(DATA, train, validation, test, corpus.digest)


def trivial_accuracies(examples: Labelled) -> dict[str, float]:
    """Always the program with most sentences; and that of the training sentence that shares most words."""
    truth = [pair.program for pair in examples.pairs]
    known = [pair.program for pair in examples.train]
    near = catalogues.nearest([pair.english for pair in examples.pairs], [pair.english for pair in examples.train])
    commonest = Counter(known).most_common(1)[0][0]
    return {
        "commonest program": sum(program == commonest for program in truth) / len(truth),
        "nearest training sentence": sum(program == known[index] for program, index in zip(truth, near, strict=True))
        / len(truth),
    }
