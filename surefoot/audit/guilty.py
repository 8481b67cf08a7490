"""Names the modules that leak: their inputs agree on the past, and their outputs do not."""

import torch
from torch import Tensor, nn

from surefoot.audit.measure import PASS
from surefoot.audit.subject import Subject, random_tokens, redrawn


@torch.no_grad()
def guilty(subject: Subject, time: int, cuts: list[int]) -> list[str]:
    """Run the perturbed pair with hooks on every module; give the deepest that leak."""
    tokens = random_tokens(subject, len(cuts), time, seed=0)
    past = torch.arange(time) < torch.tensor(cuts)[:, None]
    first = recorded(subject, tokens)
    second = recorded(subject, redrawn(tokens, cuts, subject.vocab))
    accused = [
        name
        for name in first
        if name in second
        and same(first[name][0], second[name][0], past, PASS[subject.dtype])
        and not same(first[name][1], second[name][1], past, PASS[subject.dtype])
    ]
    return [name for name in accused if not any(other.startswith(f"{name}.") for other in accused)]


Seen = tuple[list[Tensor], list[Tensor]]


def recorded(subject: Subject, tokens: Tensor) -> dict[str, Seen]:
    """Keep what every module was given and gave, where it has a time axis."""
    found: dict[str, Seen] = {}
    hooks = []
    for name, module in subject.module.named_modules():
        if name:
            hooks.append(module.register_forward_hook(keeper(name, found)))
    try:
        subject.forward(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def keeper(name: str, found: dict[str, Seen]):
    """Make the hook of one module."""

    def keep(module: nn.Module, inputs: object, output: object) -> None:
        del module
        found.setdefault(name, (tensors(inputs), tensors(output)))

    return keep


def tensors(value: object) -> list[Tensor]:
    """Take the tensors out of what a module was given or gave."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for inner in value for tensor in tensors(inner)]
    return []


def same(a: list[Tensor], b: list[Tensor], past: Tensor, tolerance: float) -> bool:
    """Say whether two records agree on the past."""
    for x, y in zip(a, b, strict=True):
        if x.ndim < 2 or x.shape[:2] != past.shape:
            continue
        x, y = x[past].to(torch.float64), y[past].to(torch.float64)
        scale = x.abs().max().clamp(min=1e-30)
        if not bool(((x - y).abs() <= tolerance * scale).all()):
            return False
    return True
