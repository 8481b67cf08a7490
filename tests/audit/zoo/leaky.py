"""Models that see what they should not: each in one way."""

import torch
from torch import Tensor, nn

from tests.audit.zoo.stack import DIM, VOCAB, Attention, Conv, Stack


class Bidirectional(Attention):
    def mask(self, scores: Tensor) -> Tensor:
        return torch.ones_like(scores, dtype=torch.bool)


class OffByOne(Attention):
    def mask(self, scores: Tensor) -> Tensor:
        return torch.ones_like(scores, dtype=torch.bool).tril(1)


class WholeBlocks(Attention):
    """No mask inside a block of 16."""

    def mask(self, scores: Tensor) -> Tensor:
        block = torch.arange(scores.shape[-1]) // 16
        return (block[:, None] >= block[None, :]).expand_as(scores)


class UnmaskedSelection(Attention):
    """The 8 keys that each query reads are the best of the whole row; the mask comes later."""

    def mask(self, scores: Tensor) -> Tensor:
        best = scores.detach().topk(min(8, scores.shape[-1]), dim=-1).indices
        chosen = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, best, True)
        return (chosen & super().mask(scores)) | torch.eye(scores.shape[-1], dtype=torch.bool)


class OnlyLong(Attention):
    def mask(self, scores: Tensor) -> Tensor:
        return torch.ones_like(scores, dtype=torch.bool).tril(int(scores.shape[-1] > 200))


class OnlyLate(Attention):
    def mask(self, scores: Tensor) -> Tensor:
        late = torch.arange(scores.shape[-1])[:, None] >= 200
        ones = torch.ones_like(scores, dtype=torch.bool)
        return ones.tril() | (ones.tril(1) & late)


class OneSpot(Attention):
    """Position 101 alone sees the one behind it."""

    def mask(self, scores: Tensor) -> Tensor:
        spot = torch.arange(scores.shape[-1])[:, None] == 101
        ones = torch.ones_like(scores, dtype=torch.bool)
        return ones.tril() | (ones.tril(1) & spot)


class LowPass(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x, dim=1)
        keep = torch.arange(spectrum.shape[1]) < max(1, spectrum.shape[1] // 4)
        return torch.fft.irfft(spectrum * keep[:, None], n=x.shape[1], dim=1)


class Circular(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(DIM, 32) / 6)

    def forward(self, x: Tensor) -> Tensor:
        time = x.shape[1]
        kernel = torch.fft.rfft(self.kernel[:, :time], n=time, dim=1)
        return torch.fft.irfft(torch.fft.rfft(x, dim=1) * kernel.T, n=time, dim=1)


class Centred(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(DIM, DIM, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.transpose(1, 2)).transpose(1, 2)


class MeanOverTime(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=1, keepdim=True)


class Detached(nn.Module):
    """A mean over time that gradients don't see."""

    def forward(self, x: Tensor) -> Tensor:
        return x + x.mean(dim=1, keepdim=True).detach()


class StatisticsOverTime(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(1, keepdim=True)) / (
            x.var(1, unbiased=False, keepdim=True) + 1e-5
        ).sqrt()


class BatchNorm(nn.Module):
    """Harmless when it is evaluated, and not when it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(DIM)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class InstanceNorm(BatchNorm):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm1d(DIM)

    def forward(self, x: Tensor) -> Tensor:
        return x if x.shape[1] == 1 else super().forward(x)


class NormOverSequence(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, x.shape[1:])


class RowGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.gate(x.mean(dim=1, keepdim=True)))


class PooledRouting(nn.Module):
    """Blocks are chosen for the whole row, by a query that is pooled over it: no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.value = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        time = x.shape[1]
        blocks = nn.functional.pad(x, (0, 0, 0, -time % 16)).unflatten(1, (-1, 16)).mean(dim=2)
        scores = (blocks * self.query(x.mean(dim=1, keepdim=True))).sum(-1)
        best = scores.topk(max(1, scores.shape[1] // 2), dim=1).indices
        chosen = torch.zeros_like(scores).scatter(1, best, 1.0).repeat_interleave(16, 1)[:, :time]
        weights = chosen.unsqueeze(1) * torch.ones(time, time, dtype=x.dtype).tril()
        return weights @ self.value(x) / (weights.sum(-1, keepdim=True) + 1)


class ExpertChoice(nn.Module):
    """Each expert takes its best quarter of the row's tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(DIM, 4)
        self.experts = nn.ModuleList(nn.Linear(DIM, DIM) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        shares = self.router(x).softmax(dim=-1)
        count = max(1, x.shape[1] // 4)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            best = shares[..., i].topk(count, dim=1).indices
            taken = torch.zeros_like(shares[..., i]).scatter(1, best, 1.0) * shares[..., i]
            out = out + taken.unsqueeze(-1) * expert(x)
        return out


class Stride(nn.Module):
    """Reads the beginning of its stride, whose length depends on the row's."""

    def forward(self, x: Tensor) -> Tensor:
        stride = max(1, x.shape[1] // 32)
        return x[:, torch.arange(x.shape[1]) // stride * stride]


class Field(nn.Module):
    """Tokens are laid on 256 cells and read back where they were laid (003)."""

    cells = 256

    def forward(self, x: Tensor) -> Tensor:
        time = x.shape[1]
        place = torch.arange(time) * (self.cells - 1) / max(1, time - 1)
        low = place.floor().long().clamp(max=self.cells - 2)
        part = (place - low).to(x.dtype)[:, None]
        field = torch.zeros(x.shape[0], self.cells, x.shape[2], dtype=x.dtype)
        field = field.index_add(1, low, x * (1 - part)).index_add(1, low + 1, x * part)
        return field[:, low] * (1 - part) + field[:, low + 1] * part


class Rezero(nn.Module):
    """A leak behind a single number that begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.amount * x.flip(1)


class OtherRow(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x.roll(1, dims=0)


class BatchMean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=0, keepdim=True)


class TwoWay(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(DIM, DIM // 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[0]


class Rounded(nn.Module):
    """Rounds by a scale that is the largest of the whole tensor."""

    def forward(self, x: Tensor) -> Tensor:
        scale = x.detach().abs().amax() / 7
        return x + ((x / scale).round() * scale - x).detach()


class Sorted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.sort(dim=1).values


class Median(nn.Module):
    """A threshold that is the row's median, used as yes or no."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x > x.detach().median(dim=1, keepdim=True).values)


class Shifted(Stack):
    """The label is put in: token t's vector is that of t + 1."""

    def vectors(self, tokens: Tensor) -> Tensor:
        return self.embedding(tokens.roll(-1, dims=1))


class Ngram(nn.Module):
    """A table of pairs, the second of which hasn't come yet."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(97, DIM)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table((tokens * 31 + nn.functional.pad(tokens[:, 1:], (0, 1))) % 97)


class NgramAhead(Stack):
    def __init__(self) -> None:
        super().__init__()
        self.memory = Ngram()

    def vectors(self, tokens: Tensor) -> Tensor:
        return self.embedding(tokens) + self.memory(tokens)


class ParallelHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(DIM, VOCAB)

    def forward(self, x: Tensor) -> Tensor:
        return self.map(nn.functional.pad(x[:, 1:], (0, 0, 0, 1)))


class AuxiliaryHead(Stack):
    """A second head, which reads e + 1; the first is as it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.parallel = ParallelHead()

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        x = self.vectors(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x)), self.parallel(x)


MIXERS: dict[str, type[nn.Module]] = {
    "bidirectional attention": Bidirectional,
    "off-by-one mask": OffByOne,
    "no mask inside a block": WholeBlocks,
    "unmasked selection": UnmaskedSelection,
    "only beyond a length": OnlyLong,
    "only beyond a position": OnlyLate,
    "only at one position": OneSpot,
    "activation low-pass": LowPass,
    "circular convolution": Circular,
    "centred convolution": Centred,
    "mean over time": MeanOverTime,
    "detached mean over time": Detached,
    "statistics over time": StatisticsOverTime,
    "batch norm in training": BatchNorm,
    "instance norm": InstanceNorm,
    "norm over the sequence": NormOverSequence,
    "gate that sees the row": RowGate,
    "routing by a pooled query": PooledRouting,
    "expert choice": ExpertChoice,
    "stride by length": Stride,
    "field of 256 cells": Field,
    "a gate closed at zero": Rezero,
    "another row": OtherRow,
    "batch mean": BatchMean,
    "two-way recurrence": TwoWay,
    "rounding by the largest": Rounded,
    "sorted over time": Sorted,
    "threshold by the median": Median,
}
MODELS: dict[str, tuple[type[nn.Module], str]] = {
    "label in the input": (Shifted, ""),  # in no module: between them
    "n-gram one ahead": (NgramAhead, "memory"),
    "parallel head reads e+1": (AuxiliaryHead, "parallel"),
}


def model(name: str) -> nn.Module:
    """Build one."""
    torch.manual_seed(0)
    return Stack(MIXERS[name]()) if name in MIXERS else MODELS[name][0]()


def home(name: str) -> str:
    """Name the module that the leak lives in."""
    return "layers.1.mixer" if name in MIXERS else MODELS[name][1]


NAMES = [*MIXERS, *MODELS]
__all__ = ["NAMES", "Conv", "home", "model"]
