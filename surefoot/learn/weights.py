"""Puts saved weights into a model that is only read: to generate, evaluate or audit."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from surefoot.learn.learner import differences, misfit


@torch.no_grad()
def load_weights(model: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Take over all weights by name, or none."""
    own = dict(model.named_parameters())
    if rows := differences(own, saved):
        raise misfit(rows)
    for name, tensor in own.items():
        tensor.copy_(saved[name])
