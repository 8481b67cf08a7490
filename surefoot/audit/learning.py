"""Learns on a copy that is thrown away: its values are tensors of the audit's own, no weights."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

Values = dict[str, Tensor]
LR = 3e-3


@dataclass(frozen=True, slots=True)
class Done:
    """One step that was done: its batch, the loss before it, and the values after it."""

    batch: Any
    loss: float
    values: Values


class Scored(nn.Module):
    """A model whose forward gives the loss, so that it can be called with other values."""

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any, knobs: Any) -> Tensor:
        return self.loss(self.model, batch, knobs)


def first_values(model: nn.Module) -> Values:
    """Copy a model's values."""
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def learnt(scored: Scored, batches: Iterator[Any], knobs: Any, values: Values) -> Iterator[Done]:
    """Do an Adam step a batch."""
    mean = {name: torch.zeros_like(value) for name, value in values.items()}
    square = {name: torch.zeros_like(value) for name, value in values.items()}
    for count, batch in enumerate(batches, 1):
        leaves = {name: value.detach().requires_grad_() for name, value in values.items()}
        named = {f"model.{name}": leaf for name, leaf in leaves.items()}
        with torch.enable_grad():
            loss = functional_call(scored, named, (batch, knobs))
            slopes = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        values = {}
        for (name, leaf), slope in zip(leaves.items(), slopes, strict=True):
            g = torch.zeros_like(leaf) if slope is None else slope
            mean[name] = 0.9 * mean[name] + 0.1 * g
            square[name] = 0.99 * square[name] + 0.01 * g * g
            m, v = mean[name] / (1 - 0.9**count), square[name] / (1 - 0.99**count)
            values[name] = (leaf - LR * m / (v.sqrt() + 1e-8)).detach()
        yield Done(batch, float(loss.detach()), values)
