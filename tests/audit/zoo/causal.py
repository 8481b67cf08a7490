"""Models that see the past alone, some of which look as if they did not."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from tests.audit.zoo.stack import DIM, VOCAB, Attention, Conv, Layer, Stack


class Fused(Attention):
    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3 * self.heads, -1)).transpose(1, 2).chunk(3, dim=1)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.transpose(1, 2).flatten(2)


class Windowed(Attention):
    def mask(self, scores: Tensor) -> Tensor:
        ones = torch.ones_like(scores, dtype=torch.bool)
        return ones.tril() & ones.triu(-15)


class PastSelection(Attention):
    """The best 8 keys of those that may be seen."""

    def mask(self, scores: Tensor) -> Tensor:
        past = super().mask(scores)
        best = scores.masked_fill(~past, -torch.inf).topk(min(8, scores.shape[-1])).indices
        return torch.zeros_like(past).scatter(-1, best, True) & past


class PaddedFft(nn.Module):
    """A long convolution by FFT, with room for what would wrap around."""

    dtype: torch.dtype | None = None

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(DIM, 64) / 8)

    def forward(self, x: Tensor) -> Tensor:
        u, kernel = (v.to(self.dtype) if self.dtype else v for v in (x, self.kernel))
        n = 2 * (x.shape[1] + 64)
        y = torch.fft.irfft(
            torch.fft.rfft(u, n=n, dim=1) * torch.fft.rfft(kernel, n=n).T, n=n, dim=1
        )
        return y[:, : x.shape[1]].to(x.dtype)


class NarrowFft(PaddedFft):
    dtype = torch.float32


class RunningMean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        counts = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
        return x.cumsum(dim=1) / counts


class RunningMax(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.cummax(dim=1).values


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module] = nn.GRU) -> None:
        super().__init__()
        self.cell: Any = kind(DIM, DIM, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)[0]


class Linear(nn.Module):
    """Attention without softmax: sums that run along."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(DIM, 3 * DIM)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k = nn.functional.elu(q) + 1, nn.functional.elu(k) + 1
        sums = torch.einsum("btd,bte->btde", k, v).cumsum(dim=1)
        return torch.einsum("btd,btde->bte", q, sums) / (q * k.cumsum(1)).sum(-1, keepdim=True)


class Routed(nn.Module):
    """Each token by itself goes to its best expert."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(DIM, 4)
        self.experts = nn.ModuleList(nn.Linear(DIM, DIM) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        best = self.router(x).argmax(dim=-1, keepdim=True)
        every = torch.stack([expert(x) for expert in self.experts], dim=2)
        return every.gather(2, best.unsqueeze(-1).expand(-1, -1, 1, DIM)).squeeze(2)


class Dropped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.drop = Conv(), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(self.drop(self.conv(x)), 0.3, self.training)


class Noisy(nn.Module):
    """Adds noise in training."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x) if self.training else x


class Loud(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 1e4 * x


class Scan(nn.Module):
    """A state that decays, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.randn(DIM))

    def forward(self, x: Tensor) -> Tensor:
        state, told = torch.zeros_like(x[:, 0]), list[Tensor]()
        for t in range(x.shape[1]):
            state = torch.sigmoid(self.decay) * state + x[:, t]
            told.append(state)
        return torch.stack(told, dim=1)


class Twice(nn.Module):
    """One module, called two times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = Conv()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.tanh(self.conv(x)))


class Positions(Stack):
    """Positions of its own, up to 512."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Embedding(512, DIM)

    def vectors(self, tokens: Tensor) -> Tensor:
        return self.embedding(tokens) + self.places(torch.arange(tokens.shape[1]))


class PastPairs(Stack):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(97, DIM)

    def vectors(self, tokens: Tensor) -> Tensor:
        pairs = (tokens * 31 + nn.functional.pad(tokens[:, :-1], (1, 0))) % 97
        return self.embedding(tokens) + self.table(pairs)


class Tied(Stack):
    def __init__(self) -> None:
        super().__init__()
        self.head.weight = self.embedding.weight


class Heavy(Stack):
    """Weights a hundred times as large as they should be."""

    def __init__(self) -> None:
        super().__init__(Attention())
        with torch.no_grad():
            for weight in self.parameters():
                weight.mul_(100)


class Spoken(Stack):
    """Gives an object with logits, as others do."""

    def forward(self, tokens: Tensor) -> Any:
        return SimpleNamespace(logits=super().forward(tokens), loss=None)


class Worded(Stack):
    def forward(self, tokens: Tensor) -> Any:
        return {"logits": super().forward(tokens), "length": tokens.shape[1]}


class Floats(nn.Module):
    """Vectors in, vectors out."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(Layer(Conv()), Layer(Attention()))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Encoder(nn.Module):
    """Torch's own encoder, with its mask, and dropout."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(DIM, 2, 32, dropout=0.2, batch_first=True)
        self.embedding = nn.Embedding(VOCAB, DIM)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(DIM, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return self.head(self.encoder(self.embedding(tokens), mask.to(self.head.weight.dtype)))


MIXERS: dict[str, Callable[[], nn.Module]] = {
    "attention": Attention,
    "fused attention": Fused,
    "windowed attention": Windowed,
    "selection among the past": PastSelection,
    "convolution": Conv,
    "FFT with room": PaddedFft,
    "FFT in fp32": NarrowFft,
    "running mean": RunningMean,
    "running maximum": RunningMax,
    "GRU": Recurrent,
    "LSTM": lambda: Recurrent(nn.LSTM),
    "linear attention": Linear,
    "experts by token": Routed,
    "dropout": Dropped,
    "noise in training": Noisy,
    "huge values": Loud,
    "a state that decays": Scan,
    "a module called twice": Twice,
}
MODELS: dict[str, Callable[[], nn.Module]] = {
    "positions of its own": Positions,
    "pairs of the past": PastPairs,
    "tied weights": Tied,
    "huge weights": Heavy,
    "an object with logits": Spoken,
    "a dictionary": Worded,
    "floats": Floats,
    "torch's encoder": Encoder,
}
NAMES = [*MIXERS, *MODELS]


def model(name: str) -> nn.Module:
    """Build one."""
    torch.manual_seed(0)
    return Stack(MIXERS[name]()) if name in MIXERS else MODELS[name]()
