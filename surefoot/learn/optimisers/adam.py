"""AdamW: each weight moves by its mean gradient over its root mean square, decay decoupled.

m <- b1 m + (1-b1) g; v <- b2 v + (1-b2) g²; W <- W(1 - lr wd) - lr m̂ / (sqrt(v̂) + eps), with
m̂ = m/(1-b1^t), v̂ = v/(1-b2^t). Loshchilov and Hutter, arXiv 1711.05101.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field, Strict
from torch import Tensor, nn
from torch.optim.adamw import adamw

from surefoot.errors import Problem
from surefoot.recipe.choice import Choice

if TYPE_CHECKING:
    from surefoot.learn.shards import Shards

serves = ("matrix", "embedding", "value_embedding", "head", "table", "filter", "scalar")
sharded = True
FUSED = ("cpu", "cuda", "mps")
Beta = Annotated[float, Field(ge=0, lt=1)]


class Options(Choice):
    """How a role's parameters learn by AdamW."""

    kind: str = "adam"
    lr: Annotated[float, Field(ge=0)] = 3e-3
    """Peak learning rate"""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Share of a weight taken off each update, times lr"""
    betas: Annotated[tuple[Beta, Beta], Strict(False)] = (0.9, 0.95)
    """How much of the mean gradient, and of the mean square, stays from update to update"""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the root mean square"""

    def refusals(self, role: str) -> Iterator[Problem]:
        """Say why these options can't serve a role."""
        # a row that is seen once would go on moving for thousands of updates: by 32 lr in all
        if role == "table" and self.betas[1] > 0.99:
            yield Problem(
                what="optim.table.betas",
                value=str(list(self.betas)),
                why="a table's rows are seen rarely, and a second beta over 0.99 keeps them moving "
                "long after",
                instead=f"Write optim.table.betas=[{self.betas[0]}, 0.95]",
            )


def slot_bytes(options: Options) -> float:  # noqa: ARG001 (part of the contract)
    """Count the bytes of state a parameter."""
    return 8.0


class Optimiser:
    """Moves parameters by AdamW, all of them in one fused pass."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        options: Options,
        splits: Mapping[str, tuple[int, ...]] | None = None,  # noqa: ARG002 (part of the contract)
        shards: "Shards | None" = None,  # noqa: ARG002 (rows move by themselves)
    ) -> None:
        self.parameters = dict(parameters)
        self.options = options
        self.mean = {name: torch.zeros_like(p.data) for name, p in self.parameters.items()}
        self.square = {name: torch.zeros_like(p.data) for name, p in self.parameters.items()}
        self.steps = {
            name: torch.zeros((), dtype=torch.float32, device=p.device)
            for name, p in self.parameters.items()
        }

    def slots(self) -> dict[str, Tensor]:
        """Give the live state by name."""
        return {
            f"{name}/{slot}": tensors[name]
            for name in self.parameters
            for slot, tensors in (
                ("exp_avg", self.mean),
                ("exp_avg_sq", self.square),
                ("step", self.steps),
            )
        }

    @torch.no_grad()
    def update(self, lr: float, momentum: float) -> float:  # noqa: ARG002 (Adam has its betas)
        """Move the weights once, by the gradients that lie there; give the rate that was used."""
        live = {name: p.grad for name, p in self.parameters.items() if p.grad is not None}
        if not live:
            return lr
        adamw(
            [self.parameters[name] for name in live],
            list(live.values()),
            [self.mean[name] for name in live],
            [self.square[name] for name in live],
            [],
            [self.steps[name] for name in live],
            fused=all(p.device.type in FUSED for p in self.parameters.values()),
            amsgrad=False,
            beta1=self.options.betas[0],
            beta2=self.options.betas[1],
            lr=lr,
            weight_decay=self.options.weight_decay,
            eps=self.options.eps,
            maximize=False,
        )
        return lr
