"""A small pre-norm Transformer (Vaswani et al. 2017): three encoder layers, one decoder layer."""

import torch
from torch import nn

from gpubench.worker.workloads.text.vocabulary import BEGIN, END, PADDING

WIDTH = 128
HEADS = 4
READING_LAYERS, WRITING_LAYERS = 3, 1
MOST_POSITIONS = 64
DROPOUT = 0.0
"""Every sentence is read twice at most, so nothing is learned by heart."""


class Embedding(nn.Module):
    """Tokens NL to vectors NLD: learned token embeddings times the root of D, plus learned position embeddings."""

    def __init__(self, num_tokens: int, width: int = WIDTH) -> None:
        super().__init__()
        self.tokens = nn.Embedding(num_tokens, width, padding_idx=PADDING)
        self.positions = nn.Embedding(MOST_POSITIONS, width)
        self.scale = width**0.5
        for table in (self.tokens, self.positions):
            nn.init.normal_(table.weight, std=width**-0.5)

    def forward(self, tokens_NL: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(tokens_NL.shape[1], device=tokens_NL.device)
        vectors_NLD: torch.Tensor = self.tokens(tokens_NL) * self.scale + self.positions(positions)
        return vectors_NLD


def encoder(width: int = WIDTH, num_layers: int = READING_LAYERS) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(width, HEADS, 4 * width, DROPOUT, batch_first=True, norm_first=True)
    layers = nn.TransformerEncoder(layer, num_layers, nn.LayerNorm(width), enable_nested_tensor=False)
    _initialise(layers)
    return layers


class Transformer(nn.Module):
    """`source` NL and `target` NM (with start token, without end token) to logits NMV of the token after each of
    `target`. The output layer shares the weights of the token embedding.
    """

    def __init__(self, num_tokens: int) -> None:
        super().__init__()
        self.embedding = Embedding(num_tokens)
        self.encoder = encoder()
        layer = nn.TransformerDecoderLayer(WIDTH, HEADS, 4 * WIDTH, DROPOUT, batch_first=True, norm_first=True)
        self.decoder = nn.TransformerDecoder(layer, WRITING_LAYERS, nn.LayerNorm(WIDTH))
        _initialise(self.decoder)

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.write(inputs["target"], self.read(inputs["source"]), inputs["source"])

    def read(self, source_NL: torch.Tensor) -> torch.Tensor:
        read_NLD: torch.Tensor = self.encoder(self.embedding(source_NL), src_key_padding_mask=source_NL == PADDING)
        return read_NLD

    def write(self, target_NM: torch.Tensor, read_NLD: torch.Tensor, source_NL: torch.Tensor) -> torch.Tensor:
        length = target_NM.shape[1]
        later = torch.ones(length, length, dtype=torch.bool, device=target_NM.device).triu(1)
        written = self.decoder(
            self.embedding(target_NM), read_NLD, tgt_mask=later, memory_key_padding_mask=source_NL == PADDING
        )
        return nn.functional.linear(written, self.embedding.tokens.weight)

    def translate(self, source_NL: torch.Tensor, most_tokens: int) -> torch.Tensor:
        """Greedy decoding: N x at most `most_tokens`, padded after the end token."""
        read_NLD = self.read(source_NL)
        target = torch.full((len(source_NL), 1), BEGIN, device=source_NL.device)
        ended = torch.zeros(len(source_NL), dtype=torch.bool, device=source_NL.device)
        for _ in range(most_tokens):
            following = self.write(target, read_NLD, source_NL)[:, -1].argmax(-1).masked_fill(ended, PADDING)
            ended |= following == END
            target = torch.cat([target, following[:, None]], 1)
            if bool(ended.all()):
                break
        return target[:, 1:]


def _initialise(module: nn.Module) -> None:
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
