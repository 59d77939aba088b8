"""Byte-pair encoding of the training sentences."""

from collections.abc import Iterable

import torch

from gpubench.worker.workloads.base import need

SIZE = 2000
PADDING, BEGIN, END = 0, 1, 2

_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")


class Vocabulary:
    """At most 2,000 pieces of words, learned from `sentences` by the `tokenizers` library."""

    def __init__(self, sentences: Iterable[str]) -> None:
        need("text", "tokenizers")
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        self._tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))  # noqa: S106
        self._tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        self._tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=SIZE, special_tokens=list(_SPECIAL), show_progress=False)
        self._tokenizer.train_from_iterator(sentences, trainer)

    def encode(self, sentence: str) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(sentence).ids
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """Text up to the first end token, without special tokens."""
        kept = []
        for token in tokens:
            if token == END:
                break
            if token >= len(_SPECIAL):
                kept.append(token)
        text: str = self._tokenizer.decode(kept)
        return text.strip()


def padded(sentences: Iterable[list[int]]) -> torch.Tensor:
    """N x longest, filled with the padding token."""
    rows = [torch.tensor(tokens) for tokens in sentences]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=float(PADDING))
