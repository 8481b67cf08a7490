"""Puts saved weights into a model that is only read: to generate, evaluate or audit."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.learn.learner import differences, misfit
from surefoot.model.model import Model
from surefoot.model.parameters import reset_buffers
from surefoot.recipe.facts import Shape


@torch.no_grad()
def copied(recipe: Any, shape: Shape, device: torch.device, held: Mapping[str, Tensor]) -> Model:
    """Make a model of weights that are whole, to look at."""
    with torch.device("meta"):
        model = Model(recipe, shape).to(next(iter(held.values())).dtype)
    model.to_empty(device=device)
    reset_buffers(model)
    load_weights(model, held)
    return model


@torch.no_grad()
def load_weights(model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Take over all weights by name, or none."""
    own = dict(model.named_parameters())
    if rows := differences(own, saved):
        raise misfit(rows)
    for name, tensor in own.items():
        tensor.copy_(saved[name])
