"""A model small enough to check by hand; it keeps the contract and has every role but tables."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.learn.learner import Learner
from surefoot.model.batch import IGNORED, Batch
from surefoot.model.parameters import Declared, Linear, Norm, initialise, parameter
from surefoot.plan.plan import Knobs
from surefoot.recipe.choice import options
from surefoot.recipe.schema import Train

VOCAB = 11
OPTIM: dict[str, dict[str, Any]] = {
    "matrix": {"kind": "muon"},
    "embedding": {"kind": "adam"},
    "head": {"kind": "adam"},
    "scalar": {"kind": "adam"},
    "filter": {"kind": "adam"},
}


class Layer(nn.Module):
    """A fused pair of maps, a convolution's taps, a norm."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = Norm(dim)
        parameter(self, "pair", (2 * dim, dim), Declared("matrix", std=0.2, split=(dim, dim)))
        parameter(self, "taps", (dim, 1, 4), Declared("filter", std=0.2))
        self.out = Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        a, b = nn.functional.linear(normed, self.pair).chunk(2, -1)
        padded = nn.functional.pad(normed.transpose(1, 2), (3, 0))
        mixed = nn.functional.conv1d(padded, self.taps, groups=self.taps.shape[0]).transpose(1, 2)
        return x + self.out(torch.tanh(a) * b + mixed)


class Toy(nn.Module):
    """Embedding, layers, head; dropout where a test asks for it."""

    def __init__(self, dim: int = 8, layers: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        parameter(self, "embedding", (VOCAB, dim), Declared("embedding", std=1.0))
        self.layers = nn.ModuleList(Layer(dim) for _ in range(layers))
        parameter(self, "head", (VOCAB, dim), Declared("head", std=0.3))
        self.dropout = dropout
        self.random = dropout > 0
        self.spoil: dict[int, float] = {}  # call -> what its loss is multiplied with
        self.spoilt_at: dict[int, float] = {}  # data position -> the same, each time it is read
        self.calls = 0

    def loss(
        self, batch: Batch, knobs: Mapping[str, Any], valid: int, probe: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the sum over this micro-batch's targets, over the step's `valid`."""
        x = self.embedding[batch.tokens]
        rms: list[Tensor] = []
        for layer in self.layers:
            x = nn.functional.dropout(layer(x), self.dropout) if self.dropout else layer(x)
            rms.append(x.detach().square().mean().sqrt())
        logits = nn.functional.linear(x, self.head)
        total = nn.functional.cross_entropy(
            logits.flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        ce = total / valid
        stats = {"ce": ce.detach(), "logit_max": logits.detach().abs().max()}
        if probe:
            stats["layer_out_rms"] = torch.stack(rms)
        loss = ce * self.spoil.get(self.calls, 1.0) * self.spoilt_at.get(batch.position, 1.0)
        self.calls += 1
        return loss, stats


def toy(seed: int = 0, **shape: Any) -> Toy:
    """Build a toy with its first values."""
    model = Toy(**shape)
    initialise(model, seed)
    return model


def learner(
    model: nn.Module | None = None,
    optim: Mapping[str, dict[str, Any]] | None = None,
    **train: Any,
) -> Learner:
    """Build a learner over a toy; the named roles replace or join the usual ones."""
    tables = {**OPTIM, **(optim or {})}
    chosen = {role: options("optimisers", table, "adam") for role, table in tables.items()}
    return Learner(model or toy(), chosen, Train(**{"batch": 4, **train}))


def knobs(step: int = 1, lr: float = 0.01, momentum: float = 0.9, **roles: float) -> Knobs:
    """Give one step's knobs: the same lr for every role but those named."""
    names = ("matrix", "embedding", "value_embedding", "head", "table", "filter", "scalar")
    return Knobs(
        step=step,
        lr={role: roles.get(role, lr) for role in names},
        momentum=momentum,
        values={"lr": 1.0, "momentum": momentum},
    )


def batch(step: int = 1, rows: int = 4, time: int = 6, ignored: int = 0) -> Batch:
    """Draw a batch; of its first row so many targets count for nothing."""
    source = torch.Generator().manual_seed(step)
    tokens = torch.randint(VOCAB, (rows, time + 1), generator=source)
    targets = tokens[:, 1:].clone()
    targets[0, :ignored] = IGNORED
    return Batch(
        tokens=tokens[:, :-1],
        targets=targets,
        position=(step - 1) * rows,
        hash=f"{step:016x}",
        valid=int((targets != IGNORED).sum()),
    )
