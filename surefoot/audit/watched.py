"""Watches every module of a model while it runs: what each was given, and what it gave."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Call = tuple[list[Tensor], list[Tensor]]
Calls = dict[str, list[Call]]


@contextmanager
def watching(module: nn.Module, chosen: bool = False) -> Iterator[Calls]:
    """Keep each call's tensors by the module's name; or only whole numbers that it gave."""
    found: Calls = {}
    hooks = [
        one.register_forward_hook(keeper(name, found, chosen), with_kwargs=True)
        for name, one in module.named_modules()
        if name
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def keeper(name: str, found: Calls, chosen: bool) -> Callable[..., None]:
    """Make the hook of one module."""

    def keep(_module: nn.Module, inputs: Any, named: Any, output: Any) -> None:
        if chosen:
            found.setdefault(name, []).append(([], tensors(output, chosen=True)))
            return
        given = [*tensors(inputs), *tensors(named)]
        found.setdefault(name, []).append((given, tensors(output)))

    return keep


def tensors(value: Any, chosen: bool = False) -> list[Tensor]:
    """Take the tensors out of what a module was given or gave; or those of whole numbers."""
    if isinstance(value, Tensor):
        if chosen and (value.dtype.is_floating_point or value.is_complex()):
            return []
        return [value.detach().clone()]  # what is written to in place later still counts as it was
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [tensor for inner in value for tensor in tensors(inner, chosen)]
    return []


def choices(calls: Calls) -> dict[str, Tensor]:
    """Give what modules chose, call by call."""
    told: dict[str, Tensor] = {}
    for name, made in calls.items():
        for i, (_, given) in enumerate(made):
            for j, value in enumerate(given):
                told[f"{name}#{i}.{j}"] = value
    return told


@contextmanager
def leaves_of(module: nn.Module, tokens: Tensor) -> Iterator[list[Tensor]]:
    """Cut the graph where ids become vectors: those vectors are leaves to differentiate by."""
    leaves: list[Tensor] = []

    def tap(one: nn.Module, inputs: Any, output: Any) -> Any:
        ids = inputs[0] if inputs else None
        if (
            isinstance(ids, Tensor)
            and isinstance(output, Tensor)
            and output.dtype.is_floating_point
            and output.shape[:-1] == tokens.shape == ids.shape
            and not next(one.children(), None)
            and torch.equal(ids, tokens)
        ):
            leaves.append(output.detach().requires_grad_())
            return leaves[-1]
        return None

    hooks = [one.register_forward_hook(tap) for one in module.modules()]
    try:
        yield leaves
    finally:
        for hook in hooks:
            hook.remove()
