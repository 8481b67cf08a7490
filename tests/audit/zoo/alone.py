"""A language model in one file, as somebody else would write it."""

import math

import torch
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self, dim: int, ahead: int) -> None:
        super().__init__()
        self.ahead = ahead
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        nn.init.zeros_(self.proj.weight)

    def attend(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
        mask = torch.ones_like(scores, dtype=torch.bool).tril(self.ahead)
        return self.proj(scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Small(nn.Module):
    """A transformer whose second block's mask may be off by a few."""

    def __init__(self, dim: int = 16, layers: int = 2, ahead: int = 0, longest: int = 1024) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(50, dim), nn.Embedding(longest, dim)
        self.blocks = nn.ModuleList(Block(dim, ahead if i == 1 else 0) for i in range(layers))
        self.head = nn.Linear(dim, 50)

    def hidden(self, tokens: Tensor) -> Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.hidden(tokens))


class Picky(Small):
    """Runs at multiples of 8 alone, and at single tokens."""

    def forward(self, tokens: Tensor) -> Tensor:
        if tokens.shape[1] % 8:
            raise ValueError(f"length {tokens.shape[1]} is no multiple of 8")
        return super().forward(tokens)


class Broken(nn.Module):
    """Never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.wte = nn.Embedding(50, 8)

    def forward(self, tokens: Tensor) -> Tensor:
        raise KeyError("no weights")


NOT_A_CLASS = 3
