"""Adam for tables: a row moves only in a step that gives it a gradient.

For each row with a gradient: t <- t+1 (its own count), m <- b1 m + (1-b1) g, v <- b2 v + (1-b2) g²,
W <- W - lr sqrt(1-b2^t)/(1-b1^t) m / (sqrt(v) + eps). Equal to torch.optim.SparseAdam, over dense
storage; every other row, its state and its count stay as they are. No weight decay.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field, Strict
from torch import Tensor, nn

from surefoot.recipe.choice import Choice

if TYPE_CHECKING:
    from surefoot.learn.shards import Shards

serves = ("embedding", "value_embedding", "table")
sharded = True
Beta = Annotated[float, Field(ge=0, lt=1)]


class Options(Choice):
    """How a table's rows learn."""

    kind: str = "row_adam"
    lr: Annotated[float, Field(ge=0)] = 1.5e-2
    """Peak learning rate"""
    weight_decay: Annotated[float, Field(ge=0, le=0)] = 0.0
    """None: it would pull rows to zero that nobody has seen"""
    betas: Annotated[tuple[Beta, Beta], Strict(False)] = (0.9, 0.95)
    """How much of the mean gradient, and of the mean square, stays from update to update"""
    eps: Annotated[float, Field(gt=0)] = 1e-10
    """Added to the root mean square"""


def slot_bytes(options: Options) -> float:  # noqa: ARG001 (part of the contract)
    """Count the bytes of state a parameter, but for the count of each row."""
    return 8.0


class Optimiser:
    """Moves the rows that this step has seen."""

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
        self.counts = {
            name: torch.zeros(p.shape[0], dtype=torch.int32, device=p.device)
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
                ("step", self.counts),
            )
        }

    @torch.no_grad()
    def update(self, lr: float, momentum: float) -> float:  # noqa: ARG002 (Adam has its betas)
        """Move the weights once, by the gradients that lie there; give the rate that was used."""
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                self.move(name, parameter, parameter.grad, lr)
        return lr

    def move(self, name: str, parameter: nn.Parameter, gradient: Tensor, lr: float) -> None:
        """Move one table's rows; only they are read and written."""
        beta1, beta2 = self.options.betas
        seen = gradient.flatten(1).any(dim=1).nonzero().squeeze(1)
        g = gradient[seen]
        mean = self.mean[name][seen].lerp_(g, 1.0 - beta1)
        square = self.square[name][seen].mul_(beta2).addcmul_(g, g, value=1.0 - beta2)
        count = self.counts[name][seen] + 1
        # fp64: one number a row, and 1 - 0.95^t loses digits at t = 1 in fp32
        age = count.double().reshape(-1, *[1] * (g.dim() - 1))
        size = lr * (1.0 - beta2**age).sqrt() / (1.0 - beta1**age)
        move = mean / (square.sqrt() + self.options.eps) * size.to(g.dtype)
        parameter.data.index_add_(0, seen, move, alpha=-1.0)
        self.mean[name][seen] = mean
        self.square[name][seen] = square
        self.counts[name][seen] = count
