"""A small language model with one layer to be chosen; it knows nothing of surefoot."""

from typing import Any

import torch
from torch import Tensor, nn

VOCAB, DIM, HEADS = 32, 16, 2


class Conv(nn.Module):
    """Convolves with the past alone."""

    def __init__(self, dim: int = DIM, taps: int = 4) -> None:
        super().__init__()
        self.taps, self.conv = taps, nn.Conv1d(dim, dim, taps)

    def forward(self, x: Tensor) -> Tensor:
        padded = nn.functional.pad(x.transpose(1, 2), (self.taps - 1, 0))
        return self.conv(padded).transpose(1, 2)


class Attention(nn.Module):
    """Attends to whatever the mask lets it; by default to the past."""

    def __init__(self, dim: int = DIM, heads: int = HEADS) -> None:
        super().__init__()
        self.heads, self.qkv = heads, nn.Linear(dim, 3 * dim)

    def mask(self, scores: Tensor) -> Tensor:
        """Say which keys each query sees."""
        return torch.ones_like(scores, dtype=torch.bool).tril()

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3 * self.heads, -1)).transpose(1, 2).chunk(3, dim=1)
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        weights = scores.masked_fill(~self.mask(scores), -torch.inf).softmax(dim=-1)
        return (weights @ v).transpose(1, 2).flatten(2)


class Layer(nn.Module):
    """Adds to the stream what a mixer gives, through a map that begins at zero."""

    def __init__(self, mixer: nn.Module, dim: int = DIM) -> None:
        super().__init__()
        self.norm, self.mixer, self.out = nn.LayerNorm(dim), mixer, nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out(self.mixer(self.norm(x)))


class Stack(nn.Module):
    """Ids to logits: a convolution, the layer that is looked at, and attention."""

    def __init__(self, middle: nn.Module | None = None, vocab: int = VOCAB) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, DIM)
        middle = [] if middle is None else [Layer(middle)]
        self.layers = nn.ModuleList([Layer(Conv()), *middle, Layer(Attention())])
        self.norm, self.head = nn.LayerNorm(DIM), nn.Linear(DIM, vocab)

    def vectors(self, tokens: Tensor) -> Tensor:
        """Give the vectors that go in."""
        return self.embedding(tokens)

    def forward(self, tokens: Tensor) -> Any:
        x = self.vectors(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))
